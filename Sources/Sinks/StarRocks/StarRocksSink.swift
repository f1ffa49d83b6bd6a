public import CdcCore
internal import HTTPClient

/// Keeps the source's tables in StarRocks, by Stream Load.
///
/// Every load has a label that was announced in the position's table before, so that it is known after any failure what was
/// loaded; the position follows the rows: effectively once.
public final class StarRocksSink: Sink {
    /// The value of `SINK_TYPE`.
    public static let name = "starrocks"

    /// Each load makes a version of every tablet of the table, so batches are large and seldom.
    public static let capabilities = SinkCapabilities(
        supportsUpsert: true,
        supportsDelete: true,
        supportsSchemaEvolution: true,
        supportsTransactions: false,
        loadingModel: .stagedBatch(format: "CSV"),
        minBatchSize: 10_000,
        maxBatchSize: 500_000,
        maxBatchBytes: 12 << 20,
        optimalFlushInterval: .seconds(5),
        storesPosition: true,
        addsAuditColumns: true
    )

    let config: StarRocksConfig
    private var client: StarRocksClient?
    private let database: StarRocksDatabase
    private let body: BodyWriter
    private var fold = FoldIndex()
    private var version = StarRocksVersion.oldest
    private var ledger: StarRocksLedger?
    /// `dbmazz_synced_at` of a batch.
    private var now = ""
    private var writers: [TableRef: StarRocksTableWriter] = [:]
    /// What operators should know of the tables.
    public private(set) var warnings: [String] = []

    /// Checks the settings; touches nothing outside.
    public init(_ config: SinkConfig) throws(SinkError) {
        self.config = try StarRocksConfig(config)
        database = StarRocksDatabase(self.config)
        body = BodyWriter(self.config.compression)
    }

    /// The front end and the database.
    public var target: String { "starrocks \(config.url) database \(config.database)" }

    // MARK: Start

    /// Checks that both ports answer, that the server is new enough, and has the database.
    public func validateConnection() async throws(SinkError) {
        let operation = "check server"
        let text = try database.rows("SELECT current_version()", operation: operation).first?.first.flatMap { $0 } ?? ""
        guard let version = StarRocksVersion(text), version >= .oldest else {
            throw SinkError(
                .configuration,
                operation: operation,
                cause: "the server at \(config.host):\(config.mysqlPort) is StarRocks \(text)",
                remedy: "the sink needs \(StarRocksVersion.oldest) or newer"
            )
        }
        self.version = version
        if config.usesTransactions, version < .multiTableTransactions {
            throw SinkError(
                .configuration,
                operation: operation,
                cause: "StarRocks \(version) has no transactions of several tables",
                remedy: "remove SINK_STARROCKS_TRANSACTIONS=on, which needs \(StarRocksVersion.multiTableTransactions)"
            )
        }
        let known = try database.rows(
            "SELECT SCHEMA_NAME FROM information_schema.schemata WHERE SCHEMA_NAME = \(config.database.starRocksLiteral)",
            operation: operation
        )
        guard known.first?.first == config.database else {
            throw SinkError(
                .configuration,
                operation: operation,
                cause: "there is no database \"\(config.database)\", or user \"\(config.user)\" may not see it",
                remedy: "CREATE DATABASE \(config.database.starRocksIdentifier); or correct SINK_DATABASE"
            )
        }
        // The other port, with the same user.
        _ = try connect().state(of: "dbmazz_validate", operation: operation, deadline: .now + .seconds(30))
    }

    /// Reads the pipeline's row; nil where there is none.
    public func loadState(of pipeline: String) async throws(SinkError) -> PipelineState? {
        let state = try state(pipeline)
        guard try state.exists(), let found = try state.position() else { return nil }
        var loaded = PipelineState(source: found.source, position: found.position, copies: [:])
        for (table, registration) in try state.registrations() {
            loaded.copies[table] = registration.consistentPoint
            loaded.tableOIDs[table] = registration.sourceOID
        }
        return loaded
    }

    /// Compares with the database's catalog.
    public func plan(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError) -> [TablePlan] {
        try setup(pipeline).plan(tables)
    }

    /// Makes state tables, tables and columns that are missing; reports every difference at once.
    public func setup(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError) {
        try await validateConnection()
        writers.removeAll()
        ledger = nil
        let ready = try setup(pipeline).run(tables)
        warnings = ready.warnings
        let client = try connect()
        for layout in ready.layouts {
            writers[layout.ref] = StarRocksTableWriter(
                layout,
                client: client,
                database: database,
                config: config,
                version: version,
                body: body
            )
        }
        let ledger = StarRocksLedger(try state(pipeline.name))
        try ledger.open(pipeline.source, deadline: .now + .seconds(120))
        try ledger.register(ready.new, at: nil, deadline: .now + .seconds(60))
        self.ledger = ledger
        let registrations = try ledger.state.registrations()
        for (table, writer) in writers {
            let point = registrations[table]?.consistentPoint ?? .zero
            writer.begin(at: max(point, ledger.stored.position?.endLSN ?? .zero))
        }
        // What a daemon sent that is gone may still be on its way into the tables.
        try settle(ledger, deadline: .now + .seconds(120))
        try ledger.tidy()
    }

    private func setup(_ pipeline: PipelineIdentity) throws(SinkError) -> StarRocksSetup {
        StarRocksSetup(
            database: database,
            state: try state(pipeline.name),
            config: config,
            pipeline: pipeline,
            version: version
        )
    }

    // MARK: Copy

    /// Empties the tables; their copy counts as unfinished until ``finishCopy(of:at:position:)``.
    public func beginCopy(of tables: [TableSchema]) async throws(SinkError) {
        let ledger = try ready()
        try settle(ledger, deadline: .now + .seconds(60))
        try ledger.register(tables, at: nil, deadline: .now + .seconds(60))
        for table in tables {
            guard let writer = writers[table.ref] else { throw SinkError.notSetUp(table.ref) }
            writer.beginCopy()
            try empty(writer.layout)
        }
    }

    /// Removes all rows by a statement that leaves those of the copy alone, should it get to run later than expected.
    ///
    /// TRUNCATE would not: a daemon that was killed may have sent it, and the copy that follows would lose rows.
    private func empty(_ layout: StarRocksLayout) throws(SinkError) {
        let operation = "empty table"
        let column = AuditColumn.version.rawValue
        let rows = try database.rows(
            "SELECT count(*), max(\(column)) FROM \(layout.name)",
            operation: operation,
            table: layout.ref
        )
        guard let row = rows.first, row.count == 2, row[0] != "0" else { return }
        try database.run(
            "DELETE FROM \(layout.name) WHERE \(column) <= \(row[1] ?? "0") OR \(column) IS NULL",
            operation: operation,
            table: layout.ref
        )
    }

    /// Stores the consistent point of the tables, then the position if one is given.
    public func finishCopy(of tables: [TableSchema], at consistentPoint: LSN, position: SourcePosition?)
        async throws(SinkError)
    {
        let ledger = try ready()
        try ledger.register(tables, at: consistentPoint, deadline: .now + .seconds(60))
        for table in tables { writers[table.ref]?.begin(at: consistentPoint) }
        if let position { try ledger.move(to: position, deadline: .now + .seconds(60)) }
    }

    // MARK: Stream

    /// Reads the pipeline's position.
    public func durablePosition() async throws(SinkError) -> SourcePosition? {
        try ledger?.read(deadline: .now + .seconds(60))
    }

    /// Loads the batch's rows, table by table; with the unit's last batch, moves the position behind them.
    public func writeBatch(_ batch: CdcBatch, deadline: ContinuousClock.Instant) async throws(SinkError) -> SinkResult {
        let ledger = try ready()
        database.limit = deadline
        defer { database.limit = nil }
        try settle(ledger, deadline: deadline)
        now = Timestamp.starRocks()
        var isWhole = false
        if !batch.isEmpty {
            if config.usesTransactions { isWhole = try writeInTransaction(batch, ledger, deadline) }
            if !isWhole { try write(batch, ledger, deadline) }
        }
        var result = SinkResult(
            recordsWritten: batch.selectedCount,
            bytesWritten: batch.tupleBytes,
            durablePosition: nil
        )
        result.substitutions = writers.values.flatMap { $0.takeSubstitutions() }
        guard batch.commitsUnit else { return result }
        Failpoint.beforeSinkCommit.pass()
        if !isWhole, let position = batch.position { try ledger.move(to: position, deadline: deadline) }
        result.durablePosition = ledger.stored.position
        return result
    }

    /// What a call of a table's writer is about; without a transaction its loads are announced.
    private func context(
        _ batch: CdcBatch,
        _ table: UInt32,
        _ ledger: StarRocksLedger,
        _ deadline: ContinuousClock.Instant,
        isRehearsal: Bool = false,
        transaction: StarRocksTableWriter.Transaction? = nil
    ) -> StarRocksTableWriter.Context {
        var announce: ((StarRocksState.Load) throws(SinkError) -> String)?
        if transaction == nil {
            announce = { (load) throws(SinkError) in try ledger.announce([load], deadline: deadline).first ?? "" }
        }
        return StarRocksTableWriter.Context(
            batch: batch,
            table: table,
            mode: batch.isCopy ? .copy : batch.isStreamed ? .stream : .replay,
            isRehearsal: isRehearsal,
            now: now,
            deadline: deadline,
            state: ledger.state,
            announce: announce,
            transaction: transaction
        )
    }

    /// Writes a batch with its position in one transaction.
    ///
    /// - Returns: false, with nothing done, where a table's changes do not fit into one: what comes behind a truncate, or
    ///   behind rows that have to be read back, needs what comes before to be committed; and a table has one load in it.
    private func writeInTransaction(_ batch: CdcBatch, _ ledger: StarRocksLedger, _ deadline: ContinuousClock.Instant)
        throws(SinkError) -> Bool
    {
        var loads: [StarRocksState.Load] = []
        for table in batch.touchedTables {
            let writer = try writer(of: table, batch)
            let context = context(batch, table, ledger, deadline)
            guard let slice = writer.slice(from: 0, context) else { continue }
            guard case .rows(let range, let last) = slice, writer.isWhole(range, context) else { return false }
            loads.append(writer.load(to: last, context))
        }
        try ledger.prepare(deadline: deadline)
        let next = ledger.next(batch.commitsUnit ? batch.position : nil, applied: batch.isCopy ? [] : loads)
        let isTaken = try ledger.transact(next, deadline: deadline) { (transaction) throws(SinkError) in
            for table in batch.touchedTables {
                let context = context(batch, table, ledger, deadline, transaction: transaction)
                guard try writer(of: table, batch).write(context, &fold, announced: nil) else { return false }
            }
            return true
        }
        guard isTaken else { return false }
        for load in loads { writers[load.table]?.settle(load, first: true, all: true) }
        return true
    }

    private func write(_ batch: CdcBatch, _ ledger: StarRocksLedger, _ deadline: ContinuousClock.Instant)
        throws(SinkError)
    {
        func context(_ table: UInt32) -> StarRocksTableWriter.Context {
            self.context(batch, table, ledger, deadline)
        }
        // The first slice of every table is announced at once: each announcement is a load, too.
        var loads: [StarRocksState.Load] = []
        var places: [UInt32: Int] = [:]
        for table in batch.touchedTables {
            let writer = try writer(of: table, batch)
            if case .rows(_, let last)? = writer.slice(from: 0, context(table)) {
                places[table] = loads.count
                loads.append(writer.load(to: last, context(table)))
            }
        }
        let labels = try ledger.announce(loads, deadline: deadline)
        for table in batch.touchedTables {
            try writer(of: table, batch).write(context(table), &fold, announced: places[table].map { labels[$0] })
        }
        ledger.unsettled.removeAll()
    }

    /// Has the server look at the rows in transactions that are rolled back.
    public func rehearse(_ batch: CdcBatch, deadline: ContinuousClock.Instant) async throws(SinkError) {
        let ledger = try ready()
        database.limit = deadline
        defer { database.limit = nil }
        // What is in needs no rehearsal, and what it was about may be gone.
        try settle(ledger, deadline: deadline)
        now = Timestamp.starRocks()
        for table in batch.touchedTables {
            let transaction = StarRocksTableWriter.Transaction(label: ledger.nextRehearsal(), isMulti: false)
            try writer(of: table, batch).write(
                context(batch, table, ledger, deadline, isRehearsal: true, transaction: transaction),
                &fold,
                announced: nil
            )
        }
    }

    private func writer(of table: UInt32, _ batch: CdcBatch) throws(SinkError) -> StarRocksTableWriter {
        let ref = batch.tables[Int(table)].ref
        guard let writer = writers[ref] else { throw SinkError.notSetUp(ref) }
        return writer
    }

    /// Finds out what became of loads of which nobody knows.
    private func settle(_ ledger: StarRocksLedger, deadline: ContinuousClock.Instant) throws(SinkError) {
        while let load = ledger.unsettled.last {
            let writer = writers[load.table]
            let fate = try ledger.fate(of: load, deadline: deadline)
            var (first, all) = (fate != .nothing, fate == .all)
            if fate == .nothing, load.to > 0, let layout = writer?.layout {
                // Labels are forgotten after some days, or a thousand loads: the rows are not.
                let column = AuditColumn.version.rawValue
                let from = max(load.from, writer?.applied ?? 0)
                let rows = try database.rows(
                    "SELECT \(column) FROM \(layout.name) WHERE \(column) > \(from) AND \(column) <= \(load.to) LIMIT 1",
                    operation: "find what is loaded",
                    table: layout.ref
                )
                first = !rows.isEmpty
                all = first && !layout.schema.hasKey
            }
            writer?.settle(load, first: first, all: all)
            ledger.unsettled.removeLast()
        }
    }

    // MARK: Dead letters

    /// Keeps lines in `dbmazz_dead_letter`.
    public func storeDeadLetters(_ lines: [String], of pipeline: String) async throws(SinkError) {
        try state(pipeline).storeDeadLetters(lines, version)
    }

    /// Reads `dbmazz_dead_letter`.
    public func deadLetters(of pipeline: String) async throws(SinkError) -> [String] {
        try state(pipeline).deadLetters()
    }

    /// Nothing is open: rows that were written stay, and are not written again.
    public func discardOpenUnit() async {}

    /// Closes the connections.
    public func close() async {
        client?.close()
        client = nil
        database.close()
    }

    // MARK: Connection

    private func connect() throws(SinkError) -> StarRocksClient {
        if let client { return client }
        let made = try StarRocksClient(config)
        client = made
        return made
    }

    private func state(_ pipeline: String) throws(SinkError) -> StarRocksState {
        StarRocksState(database: database, client: try connect(), config: config, pipeline: pipeline)
    }

    private func ready() throws(SinkError) -> StarRocksLedger {
        guard let ledger else {
            throw SinkError.notSetUp
        }
        return ledger
    }
}
