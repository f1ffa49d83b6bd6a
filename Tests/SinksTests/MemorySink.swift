import CdcCore
import Synchronization

/// What a ``MemorySink`` writes to: it outlives the sink.
///
/// `@unchecked Sendable`: a check that uses one runs on one task, and no other check knows its name.
final class MemoryStore: @unchecked Sendable {
    /// A promise that the sink breaks on purpose.
    enum Fault: String, CaseIterable, Sendable {
        case none, losesUntouchedColumns, keepsOldKeys, ignoresTruncates, foldsKeys, forgetsPositions, forgetsVersions
        case showsNullAsEmpty, makesTablesWhilePlanning, writesBeforeRefusing, writesBesideOthers
    }

    struct Row {
        var values: [[UInt8]?]
        var version: UInt128
        var isDeleted: Bool
    }

    struct Table {
        var columns: [ColumnDef]
        var rows: [[[UInt8]?]: Row] = [:]
        var truncated: UInt128 = 0
    }

    let fault: Fault
    /// Whether tables need REPLICA IDENTITY FULL, as at a target that cannot read the row that it replaces.
    let requiresFull: Bool
    var tables: [String: Table] = [:]
    var pipelines: [String: PipelineState] = [:]
    var isAway = false

    init(fault: Fault, requiresFull: Bool) {
        self.fault = fault
        self.requiresFull = requiresFull
    }

    private static let stores = Mutex<[String: MemoryStore]>([:])

    static func put(_ store: MemoryStore, at url: String) { stores.withLock { $0[url] = store } }
    static func get(_ url: String) -> MemoryStore? { stores.withLock { $0[url] } }
}

/// The smallest sink without transactions that keeps rows.
///
/// Each row has a version, an older one never wins, and deleted rows leave a mark. Parts of a unit are seen at once, and a unit may come again.
final class MemorySink: Sink {
    static let name = "memory"
    static let capabilities = SinkCapabilities(
        supportsUpsert: true,
        supportsDelete: true,
        supportsTransactions: false,
        loadingModel: .streaming,
        maxBatchSize: 1000,
        maxBatchBytes: 1 << 20,
        optimalFlushInterval: .zero,
        storesPosition: true
    )

    private let url: String
    private let store: MemoryStore
    private var pipeline: String?
    /// The position as this sink knows it: another one is somebody else's.
    private var position: SourcePosition?
    private var places: [TableRef: String] = [:]

    init(_ config: SinkConfig) throws(SinkError) {
        var problems: [String] = []
        let variables: [(String, Bool)] = [
            ("SINK_PORT", config.port != nil), ("SINK_DATABASE", config.database != nil),
            ("SINK_SCHEMA", config.schema != nil), ("SINK_USER", config.user != nil),
            ("SINK_PASSWORD", config.password != nil), ("SINK_TLS_CA", config.tlsCA != nil),
            ("SINK_TLS_CERT", config.tlsCertificate != nil), ("SINK_TLS_KEY", config.tlsKey != nil),
            ("SINK_CLICKHOUSE_CLUSTER", config.clickhouseCluster != nil),
            ("SINK_CLICKHOUSE_COMPRESSION", config.clickhouseCompression != nil),
            ("SINK_STARROCKS_TRANSACTIONS", config.starRocks.transactions != nil),
            ("SINK_STARROCKS_HOST_MAP", config.starRocks.hostMap != nil),
            ("SINK_STARROCKS_COMPRESSION", config.starRocks.compression != nil),
            ("SINK_STARROCKS_REPLICATION_NUM", config.starRocks.replicationNumber != nil),
            ("SINK_STARROCKS_MYSQL_TLS", config.starRocks.mysqlTLS != nil),
            ("SINK_POSTGRES_TRUNCATE", config.postgresTruncate != nil),
            ("SINK_AUDIT_COLUMNS", config.auditColumns), ("SINK_DELETE_MODE", config.deleteMode == .soft),
        ]
        for (name, isSet) in variables where isSet { problems.append("memory has no \(name)") }
        let store = config.url.flatMap { MemoryStore.get($0) }
        if store == nil { problems.append("SINK_URL names no memory") }
        guard let store, problems.isEmpty else {
            throw MemorySink.error(.configuration, problems.joined(separator: "; "))
        }
        (self.store, url) = (store, config.url ?? "")
    }

    private static func error(_ kind: SinkError.Kind, _ cause: String, table: TableRef? = nil) -> SinkError {
        SinkError(kind, operation: "memory", table: table, cause: cause, remedy: "change it: \(cause)")
    }

    private func reach() throws(SinkError) {
        if store.isAway { throw MemorySink.error(.retriable, "the target is away") }
    }

    // MARK: Start

    func validateConnection() async throws(SinkError) { try reach() }

    func loadState(of pipeline: String) async throws(SinkError) -> PipelineState? {
        try reach()
        return store.pipelines[pipeline]
    }

    func plan(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError) -> [TablePlan] {
        try reach()
        if store.fault == .makesTablesWhilePlanning {
            for table in tables { store.tables[table.sinkName] = MemoryStore.Table(columns: table.columns) }
        }
        return tables.map { table in
            TablePlan(
                table: table.ref,
                sinkName: table.sinkName,
                columns: table.columns.map { TablePlan.Column(name: $0.name, type: $0.postgresType.name) },
                statements: store.tables[table.sinkName] == nil ? ["make \(table.sinkName)"] : [],
                problems: differences(table)
            )
        }
    }

    private func differences(_ table: TableSchema) -> [String] {
        guard let there = store.tables[table.sinkName] else { return [] }
        return table.columns.filter { !there.columns.contains($0) }.map {
            "\(table.ref): column \"\($0.name)\" differs"
        }
    }

    func setup(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError) {
        try reach()
        var names: [String: TableRef] = [:]
        for table in tables {
            if let other = names.updateValue(table.ref, forKey: table.sinkName) {
                throw MemorySink.error(.configuration, "\(other) and \(table.ref) have one name")
            }
            if store.requiresFull, table.identity != .full {
                throw MemorySink.error(.configuration, "\(table.ref) needs REPLICA IDENTITY FULL")
            }
            if !table.hasKey { throw MemorySink.error(.configuration, "\(table.ref) has no key") }
        }
        let known = store.pipelines[pipeline.name]
        if let known, known.source.systemIdentifier != pipeline.source.systemIdentifier {
            throw MemorySink.error(.configuration, "another system")
        }
        let found = tables.flatMap(differences)
        if !found.isEmpty { throw MemorySink.error(.schemaMismatch, found.joined(separator: "; ")) }
        for table in tables where store.tables[table.sinkName] == nil {
            store.tables[table.sinkName] = MemoryStore.Table(columns: table.columns)
        }
        var state = known ?? PipelineState(source: pipeline.source, position: nil, copies: [:])
        state.source = pipeline.source
        store.pipelines[pipeline.name] = state
        self.pipeline = pipeline.name
        position = state.position
        places = Dictionary(tables.map { ($0.ref, $0.sinkName) }) { first, _ in first }
    }

    // MARK: Copy

    func beginCopy(of tables: [TableSchema]) async throws(SinkError) {
        try reach()
        for table in tables {
            store.tables[table.sinkName]?.rows = [:]
            store.pipelines[pipeline ?? ""]?.copies[table.ref] = nil
        }
    }

    func finishCopy(of tables: [TableSchema], at consistentPoint: LSN, position: SourcePosition?)
        async throws(SinkError)
    {
        try reach()
        for table in tables { store.pipelines[pipeline ?? ""]?.copies[table.ref] = consistentPoint }
        if let position { move(to: position) }
    }

    // MARK: Stream

    func durablePosition() async throws(SinkError) -> SourcePosition? {
        try reach()
        return store.pipelines[pipeline ?? ""]?.position
    }

    private func move(to position: SourcePosition) {
        guard store.fault != .forgetsPositions else { return }
        store.pipelines[pipeline ?? ""]?.position = position
        self.position = position
    }

    func writeBatch(_ batch: CdcBatch, deadline: ContinuousClock.Instant) async throws(SinkError) -> SinkResult {
        try reach()
        if store.fault != .writesBesideOthers, store.pipelines[pipeline ?? ""]?.position != position {
            throw MemorySink.error(.permanent, "somebody else moved the position")
        }
        if store.fault != .writesBeforeRefusing { try refuseValues(of: batch) }
        for index in 0..<batch.changeCount { apply(batch.change(index), batch) }
        try refuseValues(of: batch)
        if batch.commitsUnit, let position = batch.position { move(to: position) }
        return SinkResult(
            recordsWritten: batch.changeCount,
            bytesWritten: batch.tupleBytes,
            durablePosition: batch.commitsUnit ? store.pipelines[pipeline ?? ""]?.position : nil
        )
    }

    /// Texts have to be UTF-8: looked at before anything is written, because nothing can be taken back.
    private func refuseValues(of batch: CdcBatch) throws(SinkError) {
        for index in 0..<batch.changeCount {
            let change = batch.change(index)
            guard change.kind == .insert || change.kind == .update else { continue }
            let table = batch.tables[Int(change.table)]
            for column in table.columns.indices {
                let bytes = batch.bytes(of: batch.newCell(change, column))
                guard String(validating: bytes, as: UTF8.self) == nil else { continue }
                throw MemorySink.error(.permanent, "column \(table.columns[column].name) is no UTF-8", table: table.ref)
            }
        }
    }

    private func apply(_ change: Change, _ batch: CdcBatch) {
        let schema = batch.tables[Int(change.table)]
        guard let name = places[schema.ref], var table = store.tables.removeValue(forKey: name) else { return }
        defer { store.tables[name] = table }
        let version = store.fault == .forgetsVersions ? .max : batch.version(of: change).number
        func key(_ cell: (Int) -> Cell) -> [[UInt8]?] {
            schema.key.map { column in
                let bytes = Array(batch.bytes(of: cell(column)))
                guard store.fault == .foldsKeys else { return bytes }
                return Array(String(decoding: bytes, as: UTF8.self).lowercased().utf8)
            }
        }
        let old = change.oldTuple == .none ? nil : key { batch.oldCell(change, $0) }
        switch change.kind {
        case .truncate:
            guard store.fault != .ignoresTruncates else { return }
            table.truncated = max(table.truncated, version)
            for (key, row) in table.rows where row.version < version {
                table.rows[key] = MemoryStore.Row(values: row.values, version: version, isDeleted: true)
            }
        case .delete:
            guard let old else { return }
            remove(old, version, &table)
        case .insert, .update:
            let new = key { batch.newCell(change, $0) }
            let before = table.rows[change.changesKey ? old ?? new : new]
            let values = schema.columns.indices.map { column -> [UInt8]? in
                let cell = batch.newCell(change, column)
                if cell.isUnchanged { return store.fault == .losesUntouchedColumns ? nil : before?.values[column] }
                if cell.isNull { return store.fault == .showsNullAsEmpty ? [] : nil }
                return Array(batch.bytes(of: cell))
            }
            if change.changesKey, let old, store.fault != .keepsOldKeys { remove(old, version, &table) }
            guard isNewer(version, new, table) else { return }
            table.rows[new] = MemoryStore.Row(values: values, version: version, isDeleted: false)
        }
    }

    private func isNewer(_ version: UInt128, _ key: [[UInt8]?], _ table: MemoryStore.Table) -> Bool {
        guard store.fault != .forgetsVersions else { return true }
        return version > table.truncated && version > table.rows[key]?.version ?? 0
    }

    private func remove(_ key: [[UInt8]?], _ version: UInt128, _ table: inout MemoryStore.Table) {
        guard isNewer(version, key, table) else { return }
        let values = table.rows[key]?.values ?? []
        table.rows[key] = MemoryStore.Row(values: values, version: version, isDeleted: true)
    }

    func discardOpenUnit() async {}

    func close() async {}
}
