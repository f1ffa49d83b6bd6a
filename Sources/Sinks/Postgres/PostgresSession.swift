internal import CdcCore

/// A session with the target that is ready to write: settings, rights and origin are settled.
final class PostgresSession {
    let client: PostgresClient
    /// Whether triggers and foreign keys of the target are off.
    let isReplica: Bool
    /// Whether temporary tables may be made.
    let mayStage: Bool
    /// The server process, to end it from another session when this one is lost.
    let backend: Backend
    /// Statements to run before whatever comes next: what begins a transaction.
    var prologue: [String] = []
    /// Prepared statements of an earlier generation are gone.
    private(set) var generation = 0
    private var names = 0
    /// Statements with a name of their own that are prepared.
    private var named: Set<String> = []
    private var hasOrigin = false
    /// How often a staging table was filled.
    private var stagingUses = 0

    /// A server process: its id may be used again, the moment it began is its own.
    struct Backend: Equatable {
        let pid: Int32
        let started: String
    }

    /// After so many uses the session's temporary tables are dropped: they age, and nobody vacuums them.
    private static let stagingLimit = 5_000
    /// So many prepared statements cost a server process some ten megabytes.
    private static let statementLimit = 2_000

    /// Connects.
    init(_ config: PostgresConfig, deadline: ContinuousClock.Instant) throws(PostgresError) {
        client = try PostgresClient(config.conninfo, deadline: deadline)
        isReplica = try PostgresSession.becomeReplica(client)
        let rows = try client.execute(
            "SELECT backend_start, pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY') "
                + "FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()"
        )
        mayStage = rows.first?[1] == "t"
        backend = Backend(pid: client.backendPID, started: (rows.first?.first ?? nil) ?? "")
    }

    /// Superusers may, and from version 15 whoever was granted it.
    private static func becomeReplica(_ client: PostgresClient) throws(PostgresError) -> Bool {
        do throws(PostgresError) {
            try client.execute("SET session_replication_role = replica")
            return true
        } catch {
            guard error.sqlState == "42501" else { throw error }
            return false
        }
    }

    /// Marks what this session writes as coming from the pipeline, so that a reader of the target can leave it out.
    ///
    /// - Returns: whether the role may.
    /// - Throws: ``PostgresError``, also while another session still has the origin.
    func setOrigin(_ pipeline: String) throws(PostgresError) -> Bool {
        guard !hasOrigin else { return true }
        let name = "dbmazz_" + pipeline
        do throws(PostgresError) {
            try client.query(
                "SELECT pg_catalog.pg_replication_origin_create($1) WHERE pg_catalog.pg_replication_origin_oid($1) IS NULL",
                [name]
            )
            try client.query("SELECT pg_catalog.pg_replication_origin_session_setup($1)", [name])
            hasOrigin = true
            return true
        } catch {
            // Not allowed, or no room for another origin (max_replication_slots), or for any.
            guard ["42501", "53400", "55000"].contains(error.sqlState ?? "") else { throw error }
            return false
        }
    }

    /// Ends a session of ours that was lost on the way: its transaction must not commit after we have looked.
    func end(_ lost: Backend) throws(PostgresError) {
        try client.query(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
                + "WHERE pid = $1::int4 AND backend_start = $2::timestamptz",
            [String(lost.pid), lost.started]
        )
    }

    // MARK: Statements

    /// Whether a statement with a name of its own has to be prepared again; from here on it counts as prepared.
    func needsPreparation(of name: String) -> Bool { named.insert(name).inserted }

    /// A name for a prepared statement.
    func nextName() -> String {
        names += 1
        return "s\(names)"
    }

    /// Sends what begins the transaction, if it has not been sent.
    func flyPrologue() throws(PostgresError) {
        let statements = prologue
        prologue.removeAll(keepingCapacity: true)
        for statement in statements {
            try client.fly(statement, PostgresClient.Expectation(operation: "begin"))
        }
    }

    /// What begins the transaction, if it has not been sent, for a message of several statements.
    func takePrologue() -> [String] {
        defer { prologue.removeAll(keepingCapacity: true) }
        return prologue
    }

    /// Forgets prepared statements after a flight that failed: nobody knows which of them exist.
    func forgetStatements() throws(PostgresError) {
        generation += 1
        names = 0
        named.removeAll()
        try client.execute("DEALLOCATE ALL")
    }

    /// Notes a use of a staging table.
    func stages() { stagingUses += 1 }

    /// Between units: drops old temporary tables, and statements of which the server holds too many.
    func recycle() throws(PostgresError) {
        if names >= PostgresSession.statementLimit { try forgetStatements() }
        guard stagingUses >= PostgresSession.stagingLimit else { return }
        stagingUses = 0
        try client.execute("DISCARD TEMP")
    }
}
