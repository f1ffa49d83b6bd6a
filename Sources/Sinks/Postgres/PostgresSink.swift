public import CdcCore

/// Keeps the source's tables in a PostgreSQL database.
///
/// Rows and position commit in one transaction: exactly once.
public final class PostgresSink: Sink {
    /// The value of `SINK_TYPE`.
    public static let name = "postgres"

    /// A unit is one transaction; large batches make sets and copies worth their round trips.
    public static let capabilities = SinkCapabilities(
        supportsUpsert: true,
        supportsDelete: true,
        supportsTransactions: true,
        loadingModel: .stagedBatch(format: "COPY BINARY"),
        maxBatchSize: 100_000,
        maxBatchBytes: 4 << 20,
        optimalFlushInterval: .zero,
        storesPosition: true,
        tupleFormat: .binary,
        keepsSchemas: true
    )

    private let config: PostgresConfig
    let unit: PostgresUnitWriter
    var session: PostgresSession?
    /// The server process of a session that was lost: it may still be at work.
    private var lostBackend: PostgresSession.Backend?

    var pipeline: PipelineIdentity?
    /// The pipeline's fence as this process holds it.
    var fence: Int64?
    /// The position at the target, as far as this process knows.
    var stored: SourcePosition?
    /// Whether ``loadState(of:)`` has told the pipeline of ``stored``.
    private var hasLoaded = false
    private var names: [TableRef: TableRef] = [:]
    /// Whether a transaction is open, or what opens it is about to be sent.
    var isUnitOpen = false
    private var isOriginSet = false

    /// In which form values are to come: binary unless some column cannot travel so.
    public private(set) var tupleFormat = TupleFormat.binary
    /// What the operator should know of the target.
    public private(set) var warnings: [String] = []

    private static let oldestVersion = 130_000
    private static let callTimeout = Duration.seconds(60)
    private static let setupTimeout = Duration.seconds(600)

    /// Checks the settings; touches nothing outside.
    public init(_ config: SinkConfig) throws(SinkError) {
        self.config = try PostgresConfig(config)
        unit = PostgresUnitWriter(self.config)
    }

    /// Host, port and database.
    public var target: String {
        let host = config.value("host") ?? config.value("hostaddr") ?? "localhost"
        return
            "postgres \(host):\(config.value("port") ?? "5432")/\(config.value("dbname") ?? config.value("user") ?? "")"
    }

    // MARK: Start

    /// Connects, and checks version and whether the target can be written to.
    public func validateConnection() async throws(SinkError) {
        let client = try connected(for: PostgresSink.callTimeout).client
        guard client.serverVersion >= PostgresSink.oldestVersion else {
            throw SinkError(
                .configuration,
                operation: "check target",
                cause: "\(client.server) is version \(client.serverVersion / 10_000)",
                remedy: "use PostgreSQL 13 or later"
            )
        }
        let rows = try perform("check target") { () throws(PostgresError) in
            try client.execute(
                "SELECT pg_catalog.pg_is_in_recovery() OR pg_catalog.current_setting('transaction_read_only')::bool"
            )
        }
        guard rows.first?.first == "f" else {
            throw SinkError(
                .retriable,
                operation: "check target",
                cause: "\(client.server) is a standby or read-only",
                remedy:
                    "waiting for it to become a primary; check that SINK_URL names one (target_session_attrs=read-write)"
            )
        }
    }

    /// Reads the pipeline's row; nil if there is none.
    public func loadState(of pipeline: String) async throws(SinkError) -> PipelineState? {
        let client = try connected(for: PostgresSink.callTimeout).client
        let state = try perform("read position") { () throws(PostgresError) in
            try PostgresState(client: client).load(pipeline)
        }
        stored = state?.position
        hasLoaded = true
        return state
    }

    /// Reads the target's catalog and compares.
    public func plan(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError) -> [TablePlan] {
        let session = try connected(for: PostgresSink.setupTimeout)
        var setup = PostgresSetup(
            client: session.client,
            config: config,
            pipeline: pipeline,
            isReplica: session.isReplica
        )
        do throws(PostgresSetupFailure) {
            return try setup.plan(tables)
        } catch {
            throw sinkError(error)
        }
    }

    /// Creates the state tables and what is missing, reports every difference at once, and takes the pipeline's fence.
    public func setup(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError) {
        await discardOpenUnit()
        let session = try connected(for: PostgresSink.setupTimeout)
        let state = PostgresState(client: session.client)
        let known = try perform("read position") { () throws(PostgresError) in
            try state.exists() ? try state.systemIdentifier(of: pipeline.name) : nil
        }
        try pipeline.requireSystem(known, "at \(session.client.server)")
        var setup = PostgresSetup(
            client: session.client,
            config: config,
            pipeline: pipeline,
            isReplica: session.isReplica
        )
        do throws(PostgresSetupFailure) {
            try setup.run(tables)
            warnings = [try setup.firingWarning(tables)].compactMap(\.self)
        } catch {
            throw sinkError(error)
        }
        names = Dictionary(tables.map { ($0.ref, setup.target($0)) }) { first, _ in first }
        tupleFormat = chooseFormat(tables, setup.types)
        unit.takeUp(names, setup.types, tupleFormat)
        self.pipeline = pipeline
        try claim(state, pipeline)
        try perform("register tables") { () throws(PostgresError) in
            try state.register(tables.map { ($0, setup.target($0)) }, pipeline.name)
            isOriginSet = try session.setOrigin(pipeline.name)
            if !isOriginSet { warnings.append(PostgresSink.withoutOrigin) }
            if try session.client.execute("SHOW fsync").first?.first == "off" {
                warnings.append("fsync is off at the target: a crash of its machine can lose what it confirmed")
            }
        }
    }

    /// Binary, unless the binary form of some column means nothing at the target: then everything travels as text.
    private func chooseFormat(_ tables: [TableSchema], _ types: PostgresTypes) -> TupleFormat {
        // The source says so where the server cannot send binary at all.
        if tables.allSatisfy({ $0.columns.allSatisfy { !$0.postgresType.hasBinaryOutput } }) { return .text }
        for table in tables {
            for column in table.columns where types.binaryCarrier(column.postgresType) == nil {
                warnings.append(
                    "values travel as text, which costs more, because of column \"\(column.name)\" of \(table.ref) "
                        + "(\(column.postgresType.name))"
                )
                return .text
            }
        }
        return .binary
    }

    private func claim(_ state: PostgresState, _ pipeline: PipelineIdentity) throws(SinkError) {
        let claim = try perform("claim pipeline") { () throws(PostgresError) in
            try state.claim(pipeline, fence: fence)
        }
        guard let claim else { throw fenced() }
        fence = claim.fence
        guard !hasLoaded || claim.position == stored else {
            throw SinkError(
                .permanent,
                operation: "claim pipeline",
                cause: "another daemon moved the position of pipeline \"\(pipeline.name)\" from "
                    + "\(PostgresSink.text(stored)) to \(PostgresSink.text(claim.position)) while this one started",
                remedy: "stop the other daemon, or set SINK_PIPELINE to another name; then start again"
            )
        }
        stored = claim.position
    }

    private func fenced() -> SinkError {
        SinkError(
            .permanent,
            operation: "claim pipeline",
            cause: "another daemon has taken pipeline \"\(pipeline?.name ?? "")\" over at the target",
            remedy: "stop one of the two, or set SINK_PIPELINE to another name"
        )
    }

    static func text(_ position: SourcePosition?) -> String { position?.endLSN.description ?? "none" }

    // MARK: Copy

    /// Empties the tables; their copy counts as unfinished until ``finishCopy(of:at:position:)``.
    ///
    /// Refuses tables with rows that this pipeline did not write.
    public func beginCopy(of tables: [TableSchema]) async throws(SinkError) {
        let session = try connected(for: PostgresSink.setupTimeout)
        let pipeline = try ready()
        let state = PostgresState(client: session.client)
        let known = try perform("read copy state") { () throws(PostgresError) in
            try state.registrations(pipeline.name)
        }
        let copy = PostgresCopy(session: session, names: names)
        let ours = tables.filter { known[$0.ref]?.isOurs == true }
        let full = try perform("look into tables") { () throws(PostgresError) in
            try copy.withRows(tables.filter { known[$0.ref]?.isOurs != true })
        }
        if let error = copy.refusal(full) { throw error }
        try inTransaction("begin copy") { () throws(PostgresError) in
            try copy.empty(ours, config.truncate)
            try state.setConsistentPoint(nil, of: tables, pipeline.name)
        }
    }

    /// Parents before children, where foreign keys of the target hold while the copy goes on.
    public func copyOrder(of tables: [TableSchema]) async throws(SinkError) -> [Int] {
        let session = try connected(for: PostgresSink.setupTimeout)
        return try perform("read foreign keys") { () throws(PostgresError) in
            try PostgresCopy(session: session, names: names).order(of: tables)
        }
    }

    /// Stores the consistent point of the tables, and the position if one is given, in one transaction.
    public func finishCopy(of tables: [TableSchema], at consistentPoint: LSN, position: SourcePosition?)
        async throws(SinkError)
    {
        let session = try connected(for: PostgresSink.setupTimeout)
        let pipeline = try ready()
        try inTransaction("finish copy") { () throws(PostgresError) in
            try PostgresState(client: session.client).setConsistentPoint(consistentPoint, of: tables, pipeline.name)
            if let position { try move(to: position, session) }
        }
        if let position { stored = position }
    }

    // MARK: Stream

    /// Reads the pipeline's position from the target, after whatever is still changing it has ended.
    public func durablePosition() async throws(SinkError) -> SourcePosition? {
        guard let pipeline else { return stored }
        // Inside a unit only this process's own commit moves it.
        guard !isUnitOpen else { return stored }
        let session = try connected(for: PostgresSink.callTimeout)
        let claim = try perform("read position") { () throws(PostgresError) in
            try PostgresState(client: session.client).settled(pipeline.name)
        }
        guard let claim, claim.fence == fence else { throw fenced() }
        try refuseLostPosition(claim.position)
        stored = claim.position
        return stored
    }

    /// A position behind one that was confirmed: a failover to a standby that had not received it.
    private func refuseLostPosition(_ found: SourcePosition?) throws(SinkError) {
        guard let stored, found?.endLSN ?? .zero < stored.endLSN else { return }
        throw SinkError(
            .permanent,
            operation: "read position",
            cause:
                "the target is at \(PostgresSink.text(found)), although it had confirmed \(stored.endLSN): it has lost "
                + "commits, as a failover to a standby does that was not synchronous",
            remedy:
                "start again: if the source's slot still has the changes they are read again, else the daemon says so"
        )
    }

    /// Applies the batch inside the unit's transaction; with the unit's last batch, moves the position and commits.
    public func writeBatch(_ batch: CdcBatch, deadline: ContinuousClock.Instant) async throws(SinkError) -> SinkResult {
        _ = try ready()
        let session = try connected(until: deadline)
        var fallbacks = WriteFallbacks()
        do throws(SinkError) {
            try begin(batch, session)
            try write(batch, session, &fallbacks)
            guard batch.commitsUnit else { return result(batch, durable: nil, fallbacks) }
            try commit(batch, session)
        } catch {
            abandonUnit()
            throw error
        }
        isUnitOpen = false
        if let position = batch.position { stored = position }
        return result(batch, durable: stored, fallbacks)
    }

    /// Writes the batch as a unit of its own, has every deferred constraint checked as a commit would, and takes it back.
    public func rehearse(_ batch: CdcBatch, deadline: ContinuousClock.Instant) async throws(SinkError) {
        _ = try ready()
        let session = try connected(until: deadline)
        let (begins, commits, position) = (batch.beginsUnit, batch.commitsUnit, batch.position)
        batch.beginsUnit = true
        batch.commitsUnit = false
        batch.position = nil
        defer {
            batch.beginsUnit = begins
            batch.commitsUnit = commits
            batch.position = position
            abandonUnit()
        }
        var fallbacks = WriteFallbacks()
        try begin(batch, session)
        guard !batch.isEmpty else { return }
        try write(batch, session, &fallbacks)
        do throws(PostgresError) {
            try session.client.execute("SET CONSTRAINTS ALL IMMEDIATE")
        } catch {
            throw error.sinkError("commit", lsn: position?.commitLSN)
        }
    }

    /// Keeps lines in `dbmazz.dead_letter`, within the open unit if there is one.
    public func storeDeadLetters(_ lines: [String], of pipeline: String) async throws(SinkError) {
        let operation = "store dead letters"
        let isInside = isUnitOpen
        let session = try connected(for: PostgresSink.callTimeout)
        guard isInside, isUnitOpen else {
            return try inTransaction(operation) { () throws(PostgresError) in
                try PostgresState(client: session.client).storeDeadLetters(lines, pipeline)
            }
        }
        do throws(PostgresError) {
            try PostgresState(client: session.client).storeDeadLetters(lines, pipeline)
        } catch {
            abandonUnit()
            throw error.sinkError(operation)
        }
    }

    /// Reads `dbmazz.dead_letter`.
    public func deadLetters(of pipeline: String) async throws(SinkError) -> [String] {
        let client = try connected(for: PostgresSink.callTimeout).client
        return try perform("read dead letters") { () throws(PostgresError) in
            try PostgresState(client: client).deadLetters(pipeline)
        }
    }

    /// Writes rows and, with the unit's end, the position.
    private func write(
        _ batch: CdcBatch,
        _ session: PostgresSession,
        _ fallbacks: inout WriteFallbacks
    ) throws(SinkError) {
        // In one flight with what comes last of the rows.
        func finish() throws(PostgresWriteFailure) {
            if batch.commitsUnit, let position = batch.position { try flyMove(to: position, session) }
        }
        do throws(PostgresWriteFailure) {
            if batch.isEmpty {
                try finish()
                try session.land { _ in nil }
            } else {
                try unit.write(batch, session, &fallbacks, finish: finish)
            }
        } catch {
            throw sinkError(error, batch)
        }
    }

    private func result(_ batch: CdcBatch, durable: SourcePosition?, _ fallbacks: WriteFallbacks) -> SinkResult {
        SinkResult(
            recordsWritten: batch.selectedCount,
            bytesWritten: batch.tupleBytes,
            durablePosition: durable,
            fallbacks: fallbacks
        )
    }

    private func begin(_ batch: CdcBatch, _ session: PostgresSession) throws(SinkError) {
        guard batch.beginsUnit else {
            guard isUnitOpen else {
                throw SinkError(
                    .retriable,
                    operation: "write",
                    cause: "the transaction with the unit's first part is gone",
                    remedy: "sending the unit again from its beginning"
                )
            }
            unit.begin(batch, session)
            return
        }
        try perform("void unit") { () throws(PostgresError) in
            session.prologue.removeAll()
            if session.client.isInTransaction { try session.client.execute("ROLLBACK") }
            try session.recycle()
        }
        isUnitOpen = true
        unit.begin(batch, session)
    }

    // MARK: Sessions

    private func ready() throws(SinkError) -> PipelineIdentity {
        guard let pipeline else {
            throw SinkError(
                .permanent,
                operation: "write",
                cause: "the sink was not set up",
                remedy: "restart the daemon"
            )
            .ofTarget
        }
        return pipeline
    }

    private func connected(for timeout: Duration) throws(SinkError) -> PostgresSession {
        try connected(until: .now + timeout)
    }

    /// The session, opened anew where it was lost.
    private func connected(until deadline: ContinuousClock.Instant) throws(SinkError) -> PostgresSession {
        if let session {
            session.client.deadline = deadline
            if session.client.isUsable { return session }
            drop()
        }
        isUnitOpen = false
        do throws(PostgresError) {
            let opened = try PostgresSession(config, deadline: deadline)
            if let lostBackend { try opened.end(lostBackend) }
            lostBackend = nil
            if let pipeline, isOriginSet { _ = try opened.setOrigin(pipeline.name) }
            session = opened
            unit.forgetWriters()
            return opened
        } catch {
            throw error.sinkError("connect to target")
        }
    }

    func drop() {
        if let session { lostBackend = session.backend }
        session = nil
        unit.forgetWriters()
        isUnitOpen = false
    }
}
