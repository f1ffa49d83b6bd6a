internal import CdcCore

/// Who may run a pipeline: one daemon a slot.
///
/// The slot itself is exclusive only while it streams; a copy does not hold it, so that two daemons could empty and fill the
/// same tables. An advisory lock of the source's database, held by the ordinary session, covers the whole time. It goes
/// with its session, however the daemon ends.
public struct PipelineLock {
    private let session: PostgresConnection
    private let slot: String

    /// `dbmz`: the first half of the key, by which administrators find the lock in pg_locks.
    private static let space: Int32 = 0x6462_6D7A

    /// A lock for a slot, not yet taken.
    public init(_ session: PostgresConnection, slot: String) {
        self.session = session
        self.slot = slot
    }

    /// The other half of the key: FNV-1a of the slot's name.
    private static func key(_ slot: String) -> Int32 {
        Int32(bitPattern: slot.utf8.reduce(2_166_136_261) { ($0 ^ UInt32($1)) &* 16_777_619 })
    }

    /// The server has to notice within a minute that the daemon has vanished, because the lock goes with the session.
    ///
    /// Only here, not for replication: TCP_USER_TIMEOUT also ends a connection whose reader has stopped reading for a while.
    private static let noticeVanishedClient = """
        SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
        SET tcp_user_timeout = 30000
        """

    /// The statement that tries to take a slot's lock, for sessions that do not wait.
    public static func attempt(slot: String) -> String {
        "SELECT pg_catalog.pg_try_advisory_lock(\(space), \(key(slot)))"
    }

    /// Takes the lock, or says who has it.
    ///
    /// - Returns: nil once this session has the lock.
    public func take() throws(SourceError) -> SlotHolder? {
        let rows = try session.execute(
            "\(PipelineLock.noticeVanishedClient); \(PipelineLock.attempt(slot: slot))",
            as: "lock pipeline of slot \(slot)"
        )
        if rows.first?.first == "t" { return nil }
        // pg_locks shows the database, and the key as unsigned numbers.
        let holders = try session.execute(
            """
            SELECT l.pid, a.application_name, a.client_addr, a.backend_start, a.state_change
            FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
            WHERE l.locktype = 'advisory' AND l.granted
              AND l.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
              AND l.classid = \(UInt32(bitPattern: PipelineLock.space)) AND l.objid = \(UInt32(bitPattern: PipelineLock.key(slot))) AND l.objsubid = 2
            """,
            as: "look up who runs slot \(slot)"
        )
        return SlotHolder(row: holders.first ?? [])
    }

    /// Says who reads the slot; nil if nobody does.
    public func reader() throws(SourceError) -> SlotHolder? {
        let rows = try session.query(
            """
            SELECT s.active_pid, a.application_name, a.client_addr, a.backend_start, r.reply_time
            FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid
            LEFT JOIN pg_catalog.pg_stat_replication r ON r.pid = s.active_pid
            WHERE s.slot_name = $1 AND s.active
            """,
            [slot],
            as: "look up slot \(slot)"
        )
        return rows.first.map { SlotHolder(row: $0) }
    }

    /// Ends a server process that belonged to this daemon's own connection, which the server does not know to be broken.
    public func end(_ holder: SlotHolder) throws(SourceError) {
        guard let pid = holder.pid else { return }
        try session.execute("SELECT pg_catalog.pg_terminate_backend(\(pid))", as: "end own broken session")
    }
}

/// The server process that holds a slot or its lock, and whose it is.
public struct SlotHolder: Sendable, CustomStringConvertible {
    /// Which process it is: numbers are used again, numbers with their start are not.
    public struct Identity: Hashable, Sendable {
        /// The process at the server.
        public var pid: Int32?
        /// When it began.
        public var since: String
    }

    /// The process at the server.
    public var pid: Int32?
    /// The client's application_name.
    public var application: String
    /// The client's address; empty for a local socket or where the role may not see it.
    public var address: String
    /// When the process began.
    public var since: String
    /// When the client last did something; a client that vanished stays at its last word.
    public var lastActive: String

    init(row: [String?]) {
        func text(_ index: Int) -> String { row.indices.contains(index) ? row[index] ?? "" : "" }
        pid = Int32(text(0))
        application = text(1)
        address = text(2)
        since = text(3)
        lastActive = text(4)
    }

    /// Which process it is.
    public var identity: Identity { Identity(pid: pid, since: since) }

    /// For example `PID 4711 (dbmazz-sink at 10.0.0.7, since 2026-11-25 10:00:00+00)`.
    public var description: String {
        let who = application.isEmpty ? "a process" : application
        return "PID \(pid.map(String.init) ?? "?") (\(who)\(address.isEmpty ? "" : " at \(address)")"
            + "\(since.isEmpty ? "" : ", since \(since)"))"
    }
}
