public import CdcCore
internal import Glibc
public import PgOutput

/// The answer to IDENTIFY_SYSTEM.
public struct SystemIdentification: Sendable, Equatable {
    /// The cluster's identifier, decimal.
    public var systemIdentifier: String
    /// The current timeline.
    public var timeline: UInt32
    /// How far WAL is flushed.
    public var walEnd: LSN
}

/// Replication commands over a session that takes them.
///
/// See https://www.postgresql.org/docs/current/protocol-replication.html
extension PostgresConnection {
    /// Which system this is.
    public func identifySystem() throws(SourceError) -> SystemIdentification {
        let rows = try execute("IDENTIFY_SYSTEM", as: "identify the source")
        guard let row = rows.first, row.count >= 3, let id = row[0], let timeline = row[1].flatMap({ UInt32($0) }),
            let end = row[2].flatMap({ LSN($0) })
        else {
            throw SourceError(
                .protocolViolation,
                operation: "identify the source",
                cause: "unexpected answer to IDENTIFY_SYSTEM",
                remedy: "check that SOURCE_URL names a PostgreSQL server, not a proxy"
            )
        }
        return SystemIdentification(systemIdentifier: id, timeline: timeline, walEnd: end)
    }

    /// The history file of a timeline, as text.
    public func timelineHistory(_ timeline: UInt32) throws(SourceError) -> String {
        let rows = try execute("TIMELINE_HISTORY \(timeline)", as: "read the history of timeline \(timeline)")
        return rows.first.flatMap { $0.count > 1 ? $0[1] : nil } ?? ""
    }

    /// Makes the permanent slot; returns its consistent point.
    ///
    /// Waits for transactions that are open at the source.
    ///
    /// The command's old form is understood by every version from 14 to 18.
    public func createSlot(_ name: String) throws(SourceError) -> LSN {
        let slot = PostgresConnection.quote(identifier: name)
        let rows = try withoutLimit { () throws(SourceError) in
            try execute(
                "CREATE_REPLICATION_SLOT \(slot) LOGICAL pgoutput NOEXPORT_SNAPSHOT",
                as: "create slot \(name)"
            )
        }
        return try consistentPoint(rows, slot: name)
    }

    /// Makes a temporary slot and reads, in the transaction begun here, what the source held at the consistent point returned.
    public func beginSnapshot(slot name: String) throws(SourceError) -> LSN {
        try execute("BEGIN READ ONLY ISOLATION LEVEL REPEATABLE READ", as: "begin the copy")
        let slot = PostgresConnection.quote(identifier: name)
        let rows = try withoutLimit { () throws(SourceError) in
            try execute(
                "CREATE_REPLICATION_SLOT \(slot) TEMPORARY LOGICAL pgoutput USE_SNAPSHOT",
                as: "take the copy's snapshot"
            )
        }
        return try consistentPoint(rows, slot: name)
    }

    /// Locks the tables against TRUNCATE and rewrites until the snapshot's transaction ends, and checks that none happened
    /// between the consistent point and the lock.
    ///
    /// A snapshot does not protect from TRUNCATE: the table would read as empty, although changes of its rows follow in the
    /// stream. The snapshot's own view of `pg_class` still has the file that the table had at the consistent point.
    ///
    /// - Throws: a retriable ``SourceError`` if a table was rewritten meanwhile; the next attempt takes another snapshot.
    public func lockForCopy(_ tables: [SourceTable]) throws(SourceError) {
        guard !tables.isEmpty else { return }
        let names = tables.map { ($0.isPartitioned ? "" : "ONLY ") + $0.quotedName }.joined(separator: ", ")
        try withoutLimit { () throws(SourceError) in
            _ = try execute("LOCK TABLE \(names) IN ACCESS SHARE MODE", as: "lock the tables against TRUNCATE")
        }
        let oids = tables.map { String($0.oid) }.joined(separator: ",")
        let rewritten = try execute(
            """
            SELECT c.oid::pg_catalog.regclass FROM pg_catalog.pg_class c
            WHERE c.relkind = 'r' AND c.relfilenode IS DISTINCT FROM pg_catalog.pg_relation_filenode(c.oid)
              AND (c.oid IN (\(oids)) OR c.oid IN (
                SELECT p.relid FROM pg_catalog.unnest(ARRAY[\(oids)]::pg_catalog.oid[]) t(root),
                  LATERAL pg_catalog.pg_partition_tree(t.root::pg_catalog.regclass) p))
            """,
            as: "look for tables that were truncated meanwhile"
        )
        guard rewritten.isEmpty else {
            throw SourceError(
                .retriable,
                operation: "take the copy's snapshot",
                cause: "\(rewritten.compactMap { $0.first ?? nil }.joined(separator: ", ")) was truncated or rewritten "
                    + "at the same moment",
                remedy: "taking another snapshot"
            )
        }
    }

    private func consistentPoint(_ rows: Rows, slot: String) throws(SourceError) -> LSN {
        guard let row = rows.first, row.count > 1, let point = row[1].flatMap({ LSN($0) }) else {
            throw SourceError(
                .protocolViolation,
                operation: "create slot \(slot)",
                cause: "no consistent point in the answer",
                remedy: "report this with the server's version"
            )
        }
        return point
    }

    /// Begins to stream.
    ///
    /// - Parameters:
    ///   - slot: the slot to read.
    ///   - position: where to begin; the server silently begins later if the slot is further, so check before.
    ///   - publication: what to read.
    ///   - format: whether values are to come as text or binary.
    ///   - origin: which changes are to come; the server must be able to filter, see ``Preflight``.
    /// - Throws: ``SourceError``, for example while the slot is active elsewhere.
    public func startReplication(
        slot: String,
        at position: LSN,
        publication: String,
        format: TupleFormat,
        origin: OriginFilter
    ) throws(SourceError) {
        let names = PostgresConnection.quote(literal: PostgresConnection.quote(identifier: publication))
        let binary = format == .binary ? ", binary 'true'" : ""
        let filter = origin == .none ? ", origin 'none'" : ""
        try execute(
            "START_REPLICATION SLOT \(PostgresConnection.quote(identifier: slot)) LOGICAL \(position) "
                + "(proto_version '2', publication_names \(names), messages 'true'\(binary)\(filter))",
            as: "start replication from slot \(slot)"
        )
        stopBlocking()
    }

    /// Tells the server how far the sink is.
    public func send(_ status: StandbyStatusUpdate) throws(SourceError) {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let unixMicroseconds = Int64(now.tv_sec) * 1_000_000 + Int64(now.tv_nsec) / 1000
        try sendCopyData(status.encoded(time: unixMicroseconds - 946_684_800_000_000))
    }

    /// Ends the stream; what the server still sends is not read.
    public func endReplication() {
        sendCopyEnd()
    }
}
