public import CdcCore

/// What `pg_replication_slots` says of the permanent slot.
public struct ReplicationSlot: Sendable, Equatable {
    /// The slot's name.
    public var name: String
    /// WAL before this may be gone: the position acknowledged last.
    public var confirmedFlush: LSN?
    /// The process that reads it, if any.
    public var activePID: Int32?
    /// `reserved`, `extended`, `unreserved` or `lost`.
    public var walStatus: String?

    /// Makes a description.
    public init(name: String, confirmedFlush: LSN?, activePID: Int32? = nil, walStatus: String? = "reserved") {
        self.name = name
        self.confirmedFlush = confirmedFlush
        self.activePID = activePID
        self.walStatus = walStatus
    }

    /// Whether PostgreSQL has given up on it.
    public var isLost: Bool { walStatus == "lost" }

    /// Looks the slot up; nil if there is none.
    ///
    /// - Throws: ``SourceError`` if it is a slot of another kind or of another database.
    public static func find(_ name: String, _ session: PostgresConnection) throws(SourceError) -> ReplicationSlot? {
        let operation = "look up slot \(name)"
        let rows = try session.query(
            """
            SELECT plugin, slot_type, database, pg_catalog.current_database(), active_pid, confirmed_flush_lsn, wal_status
            FROM pg_catalog.pg_replication_slots WHERE slot_name = $1
            """,
            [name],
            as: operation
        )
        guard let row = rows.first else { return nil }
        guard row[0] == "pgoutput", row[1] == "logical", row[2] == row[3] else {
            throw SourceError(
                .configuration,
                operation: operation,
                cause: "it is a \(row[1] ?? "?") slot with plugin \(row[0] ?? "none") in database \(row[2] ?? "none")",
                remedy: "set SOURCE_SLOT_NAME to another name"
            )
        }
        return ReplicationSlot(
            name: name,
            confirmedFlush: row[5].flatMap { LSN($0) },
            activePID: row[4].flatMap { Int32($0) },
            walStatus: row[6]
        )
    }
}
