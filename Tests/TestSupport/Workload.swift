import Synchronization

/// A generated workload against a PostgreSQL server, and a model that knows what every table holds after every commit.
///
/// The clients note what each of their statements returned; a replication slot of the harness tells in which order
/// the transactions were committed and where each commit ends. The model owes nothing to the program under test.
public final class Workload: Sendable {
    /// What the workload is like.
    public let options: WorkloadOptions
    private let server: PostgresServer
    private let publication: String?
    private let name: String
    private let tables: [WorkloadTable]
    private let values: ValueGenerator

    private struct State {
        var shared: WorkloadShared?
        var feed: CommitFeed?
        var threads: [WorkerThread] = []
        var model: Model?
        /// Commits that the model has not applied yet, with their effects.
        var pending: [(end: UInt64, effects: [Effect])] = []
        var applied: UInt64 = 0
        var checked: UInt64 = 0
        var commits = 0
        var unknown = 0
    }
    private let state = Mutex(State())

    /// A workload on a running server.
    ///
    /// - Parameters:
    ///   - server: Where the tables are made.
    ///   - options: Seed, clients and proportions.
    ///   - publication: Made by `createSchema` over all tables, for the daemon; nil when the daemon should make it.
    ///   - name: Of the harness's own slot and publication.
    public init(
        server: PostgresServer,
        options: WorkloadOptions,
        publication: String? = "dbmazz_pub",
        name: String = "harness_model"
    ) {
        self.server = server
        self.options = options
        self.publication = publication
        self.name = name
        values = ValueGenerator(seed: options.seed, hasCommonDates: options.hasCommonDates)
        tables = WorkloadTable.all(values: values, options)
    }

    /// A workload with the default options.
    public convenience init(
        server: PostgresServer,
        seed: UInt64,
        clients: Int = 4,
        publication: String? = "dbmazz_pub"
    ) {
        var options = WorkloadOptions(seed: seed)
        options.clients = clients
        self.init(server: server, options: options, publication: publication)
    }

    deinit { try? close() }

    /// The tables, as SOURCE_TABLES names them.
    public var tableNames: [String] { tables.map { "\($0.schema).\($0.name)" } }

    /// What the clients did so far.
    public var statistics: WorkloadStatistics {
        state.withLock { $0.shared }?.run.withLock { $0.statistics } ?? WorkloadStatistics()
    }

    /// COMMITs that the server confirmed so far.
    public var transactionsCommitted: Int { statistics.committed }

    /// Creates types, tables and publications, inserts the first rows, and begins the model with them.
    public func createSchema() throws {
        let client = try server.connect(database: options.database)
        let moods = ValueGenerator.moods.map { quoteLiteral($0) }.joined(separator: ", ")
        try client.execute("CREATE SCHEMA other; CREATE TYPE public.mood AS ENUM (\(moods))")
        try client.execute("CREATE DOMAIN public.small AS int2 CHECK (VALUE IS NOT NULL OR VALUE IS NULL)")
        for table in tables {
            for statement in table.definition { try client.execute(statement) }
        }
        let names = tables.map(\.qualifiedName).joined(separator: ", ")
        for publication in [name, publication].compactMap(\.self) {
            try client.execute(
                "CREATE PUBLICATION \(quoteIdentifier(publication)) FOR TABLE \(names) "
                    + "WITH (publish_via_partition_root = true)"
            )
        }
        let shapes = try tables.map { try TableShape(client, schema: $0.schema, table: $0.name) }
        let url = server.url(database: options.database)
        let shared = WorkloadShared(url: url, options: options, tables: tables, shapes: shapes, values: values)
        try insertFirstRows(client, shared)

        let (model, start) = try snapshotModel(shapes, slot: name, temporary: false)
        let feed = CommitFeed(url: replicationURL, slot: name, publication: name, start: start)
        state.withLock { state in
            state.shared = shared
            state.model = model
            state.feed = feed
            state.applied = start
        }
    }

    private func insertFirstRows(_ client: PgClient, _ shared: WorkloadShared) throws {
        let writer = WorkloadClient(number: options.clients, shared: shared)
        for (table, spec) in tables.enumerated() {
            for _ in 0..<(options.seedRows + 4) / 5 {
                switch spec.role {
                case .bag: try writer.insertCopies(client, table)
                case .unique: for _ in 0..<5 { try writer.insertUnique(client, table) }
                case .child: for _ in 0..<5 { try insertChild(writer, client, table) }
                case .bulk: break
                default: try writer.insert(client, table, rows: 5)
                }
            }
        }
    }

    /// A child whose parent is drawn and not there is a conflict like any other.
    private func insertChild(_ writer: WorkloadClient, _ client: PgClient, _ table: Int) throws {
        do {
            try writer.childOperation(client, table)
        } catch let error as PgError where error.sqlState == "23503" || error.sqlState == "23505" {}
    }

    /// Starts the clients.
    public func start() throws {
        guard let shared = state.withLock({ $0.shared }) else { throw HarnessError("createSchema comes first") }
        shared.run.withLock {
            $0.stopping = false
            $0.paused = false
        }
        let threads = (0..<options.clients).map { number in
            WorkerThread { WorkloadClient(number: number, shared: shared).runUntilStopped() }
        }
        state.withLock { $0.threads = threads }
    }

    /// Lets every client finish its transaction and begin no other.
    public func pause(timeout: Duration = .seconds(60)) throws {
        guard let shared = state.withLock({ $0.shared }) else { return }
        shared.run.withLock { $0.paused = true }
        guard eventually(within: timeout, every: .milliseconds(1), { shared.run.withLock { $0.busy } == 0 }) else {
            throw HarnessError("the clients did not pause within \(timeout)")
        }
    }

    /// Ends a pause.
    public func resume() { state.withLock { $0.shared }?.run.withLock { $0.paused = false } }

    /// Ends the clients and waits for them.
    ///
    /// - Throws: When a client met an error that no conflict explains.
    public func stop() throws {
        let (shared, threads) = state.withLock { state in
            defer { state.threads = [] }
            return (state.shared, state.threads)
        }
        shared?.run.withLock { $0.stopping = true }
        for thread in threads { thread.join() }
        if let unexpected = shared?.run.withLock({ $0.statistics.unexpected }), !unexpected.isEmpty {
            throw HarnessError("the workload's clients met errors: \(unexpected.joined(separator: "\n"))")
        }
    }

    /// Ends the clients and the harness's own replication; the slot and the tables stay.
    public func close() throws {
        defer { state.withLock { $0.feed }?.stop() }
        try stop()
    }

    /// Compares the SQLite file with the model at the position that the file itself names.
    @discardableResult
    public func check(sqlitePath path: String, pipeline: String? = nil) throws -> CheckResult {
        try check(.sqlite(path), pipeline: pipeline)
    }

    /// Compares the target with the model at the position that the target itself names.
    ///
    /// - Parameters:
    ///   - target: Where the daemon writes.
    ///   - pipeline: Whose position, if the target has several.
    ///   - timeout: For the harness's slot to tell the commits up to there.
    /// - Returns: What was compared.
    /// - Throws: `WorkloadMismatch` with the first differences, also when the position went back.
    @discardableResult
    public func check(
        _ target: WorkloadTarget,
        pipeline: String? = nil,
        timeout: Duration = .seconds(60)
    ) throws -> CheckResult {
        // The commits are fetched before the target is looked at: a reader of a file can hold up the daemon.
        if let lsn = try target.position(pipeline) { try pull(through: lsn, timeout: timeout) }
        return try target.snapshot { view in
            guard let lsn = try view.position(pipeline) else {
                return CheckResult(lsn: nil, commits: 0, commitsTotal: state.withLock { $0.commits }, rows: 0)
            }
            let (model, commits, total) = try advance(to: lsn, timeout: timeout)
            let differences = try view.differences(from: model)
            guard differences.isEmpty else { throw WorkloadMismatch(lsn: lsn, differences: differences) }
            return CheckResult(lsn: lsn, commits: commits, commitsTotal: total, rows: model.rowCount)
        }
    }

    /// Like ``checkFinal(_:pipeline:timeout:)``, of a SQLite file.
    @discardableResult
    public func checkFinal(
        sqlitePath path: String,
        pipeline: String? = nil,
        timeout: Duration = .seconds(240)
    ) throws -> CheckResult {
        try checkFinal(.sqlite(path), pipeline: pipeline, timeout: timeout)
    }

    /// Stops the clients, waits until the daemon has caught up, and compares model, source and target with each other.
    ///
    /// - Throws: As `check`; also when the daemon does not reach the last commit within `timeout`.
    @discardableResult
    public func checkFinal(
        _ target: WorkloadTarget,
        pipeline: String? = nil,
        timeout: Duration = .seconds(240)
    ) throws -> CheckResult {
        try stop()
        let last = try lastCommit()
        let reached = try eventually(within: timeout) { try target.position(pipeline).map { $0 >= last } ?? false }
        guard reached else {
            let position = try target.position(pipeline).map(formatLSN) ?? "none"
            throw HarnessError("the target's position is \(position), not \(formatLSN(last)), after \(timeout)")
        }
        let result = try check(target, pipeline: pipeline)
        let client = try server.connect(database: options.database)
        try client.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        guard let model = state.withLock({ $0.model }) else { throw HarnessError("createSchema comes first") }
        let source = try Model(shapes: model.shapes, from: client)
        try require(model.differences(from: source), "the model differs from the source", result.lsn)
        let differences = try target.snapshot { try $0.differences(from: source) }
        try require(differences, "the target differs from the source", result.lsn)
        return result
    }

    /// The end LSN of the last commit that changed something, while the clients are paused or stopped.
    public func lastCommit(timeout: Duration = .seconds(60)) throws -> UInt64 {
        try pull(through: flushLSN(), timeout: timeout)
        return state.withLock { $0.pending.last?.end ?? $0.applied }
    }

    /// Compares the model with a consistent snapshot of the source at a known LSN, while the clients go on.
    ///
    /// This proves the harness, not the daemon; the model that `check` uses does not move.
    public func checkSource() throws -> CheckResult {
        guard let shapes = state.withLock({ $0.model })?.shapes else { throw HarnessError("createSchema comes first") }
        for _ in 0..<50 {
            let source: Model
            let lsn: UInt64
            do {
                (source, lsn) = try snapshotModel(shapes, slot: name + "_look", temporary: true)
            } catch let error as PgError where error.sqlState == "40P01" {
                continue
            }
            try pull(through: flushLSN(), timeout: .seconds(60))
            let (pending, total) = state.withLock { ($0.pending, $0.commits) }
            // A snapshot does not protect from TRUNCATE: a table that was truncated since looks empty in it.
            if pending.contains(where: { $0.end > lsn && $0.effects.contains(where: \.isClear) }) { continue }
            guard var copy = state.withLock({ $0.model }) else { throw HarnessError("createSchema comes first") }
            let due = pending.prefix { $0.end <= lsn }
            for (end, effects) in due {
                if let problem = copy.apply(effects) { throw HarnessError("\(problem) (commit \(formatLSN(end)))") }
            }
            try require(copy.differences(from: source), "the model differs from the source", lsn)
            return CheckResult(lsn: lsn, commits: due.count, commitsTotal: total + due.count, rows: copy.rowCount)
        }
        throw HarnessError("a TRUNCATE came between every snapshot and its reading")
    }

    private func require(_ differences: [String], _ title: String, _ lsn: UInt64?) throws {
        guard !differences.isEmpty else { return }
        throw WorkloadMismatch(lsn: lsn, differences: [title] + differences)
    }

    /// Brings the model to the last commit that ends at or before `lsn`.
    private func advance(to lsn: UInt64, timeout: Duration) throws -> (model: Model, commits: Int, total: Int) {
        try pull(through: lsn, timeout: timeout)
        return try state.withLock { state in
            guard lsn >= state.checked, lsn >= state.applied else {
                let before = formatLSN(max(state.checked, state.applied))
                throw WorkloadMismatch(lsn: lsn, differences: ["the position went back: it was \(before) before"])
            }
            // Taken out while it changes, so that its tables are not copied.
            guard var model = state.model.take() else { throw HarnessError("createSchema comes first") }
            defer { state.model = model }
            let due = state.pending.prefix { $0.end <= lsn }
            for (end, effects) in due {
                state.applied = end
                if let problem = model.apply(effects) { throw HarnessError("\(problem) (commit \(formatLSN(end)))") }
            }
            state.pending.removeFirst(due.count)
            state.commits += due.count
            state.checked = lsn
            return (model, due.count, state.commits)
        }
    }

    /// Fetches commits up to `lsn` and joins them with their effects.
    private func pull(through lsn: UInt64, timeout: Duration) throws {
        let (feed, shared) = state.withLock { ($0.feed, $0.shared) }
        guard let feed, let shared else { throw HarnessError("createSchema comes first") }
        let commits = try feed.take(through: lsn, timeout: timeout)
        state.withLock { state in
            for commit in commits {
                guard let effects = shared.log.take(commit.xid) else {
                    state.unknown += 1
                    continue
                }
                state.pending.append((commit.end, effects))
            }
        }
    }

    private var replicationURL: String { server.url(database: options.database) + "?replication=database" }

    private func flushLSN() throws -> UInt64 {
        let client = try server.connect(database: options.database)
        guard let lsn = try client.value("SELECT pg_current_wal_flush_lsn()").flatMap(parseLSN) else {
            throw HarnessError("pg_current_wal_flush_lsn gave no LSN")
        }
        return lsn
    }

    /// Makes a slot and reads the tables in the snapshot of its consistent point.
    private func snapshotModel(
        _ shapes: [TableShape],
        slot: String,
        temporary: Bool
    ) throws -> (model: Model, lsn: UInt64) {
        let replication = try PgClient(replicationURL, pinned: false)
        let kind = temporary ? "TEMPORARY LOGICAL" : "LOGICAL"
        let result = try replication.run(
            "CREATE_REPLICATION_SLOT \"\(slot)\" \(kind) pgoutput EXPORT_SNAPSHOT",
            simple: ()
        )
        defer { result.close() }
        func text(_ column: Int) -> String? { result.bytes(0, column).map { String(decoding: $0, as: UTF8.self) } }
        guard let lsn = text(1).flatMap(parseLSN), let snapshot = text(2) else {
            throw HarnessError("CREATE_REPLICATION_SLOT gave no consistent point")
        }
        let client = try server.connect(database: options.database)
        try client.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '\(snapshot)'")
        return (try Model(shapes: shapes, from: client), lsn)
    }
}

/// A text as an SQL literal, whatever it contains.
func quoteLiteral(_ text: String) -> String {
    let quoted = text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''")
    let escaped = quoted.split(separator: "\\", omittingEmptySubsequences: false).joined(separator: "\\\\")
    return "E'" + escaped + "'"
}
