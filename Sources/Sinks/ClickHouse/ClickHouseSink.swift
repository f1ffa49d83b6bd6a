public import CdcCore
internal import Glibc
internal import HTTPClient

/// Keeps the source's tables in ClickHouse, over its HTTP interface.
///
/// Rows carry their version and are chosen by it, so that writing a unit again changes nothing; the position follows the
/// rows: effectively once.
public final class ClickHouseSink: Sink {
    /// The value of `SINK_TYPE`.
    public static let name = "clickhouse"

    /// Each insert makes a part of the table, so batches are large and seldom.
    public static let capabilities = SinkCapabilities(
        supportsUpsert: true,
        supportsDelete: true,
        supportsTransactions: false,
        loadingModel: .stagedBatch(format: "RowBinary"),
        minBatchSize: 1000,
        maxBatchSize: 100_000,
        maxBatchBytes: 8 << 20,
        optimalFlushInterval: .seconds(1),
        storesPosition: true,
        addsAuditColumns: true
    )

    private let config: ClickHouseConfig
    private var client: ClickHouseClient?
    private var encoder: ClickHouseEncoder?
    private var fold = FoldIndex()
    private let body: BodyWriter
    private var pipeline: PipelineIdentity?
    private var writers: [TableRef: ClickHouseTableWriter] = [:]
    /// What operators should know of the tables.
    public private(set) var warnings: [String] = []

    /// The pipeline's row as this process wrote it last.
    private var stored: ClickHouseState.Position?
    /// The greatest revision that this process tried to write.
    private var attempted: UInt64 = 0
    private var attempt: UInt64 = 0

    /// Checks the settings; touches nothing outside.
    public init(_ config: SinkConfig) throws(SinkError) {
        self.config = try ClickHouseConfig(config)
        body = BodyWriter(self.config.compression)
    }

    /// The server and the database.
    public var target: String { "clickhouse \(config.url) database \(config.database)" }

    // MARK: Start

    /// Checks that the server answers, is new enough, and has the database.
    public func validateConnection() async throws(SinkError) {
        let client = try connect()
        let operation = "check server"
        let rows = try client.rows("SELECT version()", operation: operation)
        let text = rows.first?.first.flatMap { $0 } ?? ""
        guard let version = ClickHouseVersion(text), version >= .oldest else {
            throw SinkError(
                .configuration,
                operation: operation,
                cause: "the server at \(config.url) is ClickHouse \(text)",
                remedy: "the sink needs \(ClickHouseVersion.oldest) or newer"
            )
        }
        encoder = ClickHouseEncoder(policy: config.policy, days: ClickHouseEncoder.days(ofServer: version))
        let known = try client.rows(
            "SELECT count() FROM system.databases WHERE name = \(config.database.clickhouseLiteral)",
            operation: operation
        )
        guard known.first?.first == "1" else {
            throw SinkError(
                .configuration,
                operation: operation,
                cause: "there is no database \"\(config.database)\", or user \"\(config.user)\" may not see it",
                remedy: "CREATE DATABASE \(config.database.clickhouseIdentifier); or correct SINK_DATABASE"
            )
        }
        try client.learnSettings()
    }

    /// Reads the pipeline's row; nil where there is none.
    public func loadState(of pipeline: String) async throws(SinkError) -> PipelineState? {
        let state = try state()
        guard try state.exists(), let found = try state.position(pipeline) else { return nil }
        var loaded = PipelineState(source: found.source, position: found.position, copies: [:])
        for (table, registration) in try state.registrations(pipeline) {
            loaded.copies[table] = registration.consistentPoint
            loaded.tableOIDs[table] = registration.sourceOID
        }
        return loaded
    }

    /// Compares with the database's catalog.
    public func plan(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError) -> [TablePlan] {
        try ClickHouseSetup(client: try connect(), config: config, pipeline: pipeline).plan(tables)
    }

    /// Makes state tables, tables and views that are missing; reports every difference at once.
    public func setup(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError) {
        if encoder == nil { try await validateConnection() }
        let client = try connect()
        guard let encoder else { return }
        writers.removeAll()
        client.queryPrefix = "dbmazz-sink-\(ClickHouseSink.hash(pipeline.name))-"
        let setup = ClickHouseSetup(client: client, config: config, pipeline: pipeline)
        let ready = try setup.run(tables)
        warnings = ready.warnings
        let state = try state()
        // Batches were announced whose position never came: nobody knows how much of them arrived.
        let isUncertain = try state.position(pipeline.name)?.batchEnds.isEmpty == false
        for layout in ready.layouts {
            writers[layout.ref] = ClickHouseTableWriter(
                layout,
                client: client,
                config: config,
                encoder: encoder,
                body: body,
                isUncertain: isUncertain
            )
        }
        // What a daemon sent that is gone may still be on its way into the tables.
        try client.awaitGivenUpInserts(operation: "set up sink", table: nil, deadline: .now + .seconds(60))
        for (table, registration) in try state.registrations(pipeline.name) {
            try writers[table]?.removeRows(
                before: registration.truncatedVersion,
                deadline: .now + .seconds(60)
            )
        }
        self.pipeline = pipeline
        var position = try state.position(pipeline.name) ?? ClickHouseState.Position(source: pipeline.source)
        attempted = position.revision
        if position.revision == 0 || position.source != pipeline.source {
            position.source = pipeline.source
            try store(&position, deadline: .now + .seconds(60))
        }
        stored = position
    }

    private static func hash(_ name: String) -> String {
        var name = name
        return name.withUTF8 { String(UnsafeRawBufferPointer($0).hashed(into: 0), radix: 16) }
    }

    // MARK: Copy

    /// Empties the tables; their copy counts as unfinished until ``finishCopy(of:at:position:)``.
    public func beginCopy(of tables: [TableSchema]) async throws(SinkError) {
        let (client, pipeline) = try ready()
        attempt = UInt64.random(in: 1...(.max))
        try state().register(tables, at: nil, pipeline.name)
        try client.awaitGivenUpInserts(operation: "empty table", table: nil, deadline: .now + .seconds(60))
        for table in tables {
            guard let writer = writers[table.ref] else { throw SinkError.notSetUp(table.ref) }
            writer.beginCopy()
            try client.run(
                "TRUNCATE TABLE \(writer.layout.name)\(ClickHouseLayout.onCluster(config.cluster))",
                operation: "empty table",
                table: table.ref
            )
        }
    }

    /// Stores the consistent point of the tables, then the position if one is given.
    public func finishCopy(of tables: [TableSchema], at consistentPoint: LSN, position: SourcePosition?)
        async throws(SinkError)
    {
        let (_, pipeline) = try ready()
        try state().register(tables, at: consistentPoint, pipeline.name)
        if let position { try move(to: position, deadline: .now + .seconds(60)) }
    }

    // MARK: Stream

    /// Reads the pipeline's position.
    public func durablePosition() async throws(SinkError) -> SourcePosition? {
        guard let pipeline else { return nil }
        guard let found = try state().position(pipeline.name) else { return nil }
        if found.revision <= attempted { stored = found }
        return found.position
    }

    /// Inserts the batch's rows, table by table; with the unit's last batch, moves the position behind them.
    public func writeBatch(_ batch: CdcBatch, deadline: ContinuousClock.Instant) async throws(SinkError) -> SinkResult {
        let (client, _) = try ready()
        client.limit = deadline
        defer { client.limit = nil }
        // The cut goes first: after a crash it tells that nobody knows how much of the batch arrived.
        if !batch.isEmpty, !batch.isCopy { try announce(batch, deadline) }
        try write(batch, deadline)
        var result = SinkResult(
            recordsWritten: batch.selectedCount,
            bytesWritten: batch.tupleBytes,
            durablePosition: nil
        )
        result.substitutions = writers.values.flatMap { $0.takeSubstitutions() }
        guard batch.commitsUnit else { return result }
        Failpoint.beforeSinkCommit.pass()
        if let position = batch.position { try move(to: position, deadline: deadline) }
        result.durablePosition = stored?.position
        return result
    }

    /// Has the server look at the rows and forget them.
    ///
    /// Rows that were left there would pass for all that came before them.
    public func rehearse(_ batch: CdcBatch, deadline: ContinuousClock.Instant) async throws(SinkError) {
        let (client, _) = try ready()
        client.limit = deadline
        defer { client.limit = nil }
        for table in batch.touchedTables {
            try writer(of: table, batch).rehearse(try context(batch, table, deadline), &fold)
        }
    }

    private func write(_ batch: CdcBatch, _ deadline: ContinuousClock.Instant) throws(SinkError) {
        for table in batch.touchedTables {
            try writer(of: table, batch).write(try context(batch, table, deadline), &fold)
        }
    }

    private func writer(of table: UInt32, _ batch: CdcBatch) throws(SinkError) -> ClickHouseTableWriter {
        let ref = batch.tables[Int(table)].ref
        guard let writer = writers[ref] else { throw SinkError.notSetUp(ref) }
        return writer
    }

    private func context(_ batch: CdcBatch, _ table: UInt32, _ deadline: ContinuousClock.Instant)
        throws(SinkError) -> ClickHouseTableWriter.Context
    {
        ClickHouseTableWriter.Context(
            batch: batch,
            table: table,
            pipeline: try ready().1.name,
            state: try state(),
            attempt: attempt,
            position: stored?.position?.endLSN ?? .zero,
            deadline: deadline
        )
    }

    // MARK: Dead letters

    /// Keeps lines in `dbmazz_dead_letter`.
    public func storeDeadLetters(_ lines: [String], of pipeline: String) async throws(SinkError) {
        try state().storeDeadLetters(lines, pipeline)
    }

    /// Reads `dbmazz_dead_letter`.
    public func deadLetters(of pipeline: String) async throws(SinkError) -> [String] {
        try state().deadLetters(pipeline)
    }

    /// Nothing is open: rows that were written stay, and come again unchanged.
    public func discardOpenUnit() async {}

    /// Closes the connection.
    public func close() async {
        client?.close()
        client = nil
    }

    // MARK: Position

    private func announce(_ batch: CdcBatch, _ deadline: ContinuousClock.Instant) throws(SinkError) {
        guard var next = stored, batch.transactionCount > 0 else { return }
        let last = batch.change(batch.changeCount - 1)
        let end = ClickHouseState.BatchEnd(
            commitLSN: batch.transaction(Int(last.transaction)).commitLSN,
            ordinal: batch.commitsUnit ? 0 : last.ordinal
        )
        if batch.beginsUnit { next.batchEnds = [] }
        guard next.batchEnds.last != end else { return }
        next.batchEnds.append(end)
        try store(&next, deadline: deadline)
        stored = next
    }

    private func move(to position: SourcePosition, deadline: ContinuousClock.Instant) throws(SinkError) {
        guard var next = stored else { return }
        if let known = next.position, known.endLSN >= position.endLSN, next.batchEnds.isEmpty { return }
        next.position = position
        next.batchEnds = []
        do throws(SinkError) {
            try store(&next, deadline: deadline)
        } catch {
            var error = error
            // The rows are there, and the row of the position may be: asking is cheaper than sending all again.
            if error.kind == .retriable { error.kind = .ambiguous }
            throw error
        }
        stored = next
    }

    /// Adds the pipeline's next row, unless somebody else has added one.
    private func store(_ position: inout ClickHouseState.Position, deadline: ContinuousClock.Instant) throws(SinkError)
    {
        guard let pipeline = pipeline?.name else { return }
        position.revision = attempted + 1
        defer { attempted = position.revision }
        try state().store(position, of: pipeline, after: attempted, deadline: deadline)
    }

    // MARK: Connection

    private func connect() throws(SinkError) -> ClickHouseClient {
        if let client { return client }
        let made = try ClickHouseClient(config)
        client = made
        return made
    }

    private func state() throws(SinkError) -> ClickHouseState {
        ClickHouseState(client: try connect(), config: config)
    }

    private func ready() throws(SinkError) -> (ClickHouseClient, PipelineIdentity) {
        guard let pipeline else {
            throw SinkError.notSetUp
        }
        return (try connect(), pipeline)
    }
}
