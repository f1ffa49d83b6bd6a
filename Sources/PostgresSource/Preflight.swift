public import CdcCore

/// Whether the source can be read as the settings want: every finding at once, each with its remedy.
public struct Preflight {
    private let session: PostgresConnection

    /// Works through the given session.
    public init(_ session: PostgresConnection) {
        self.session = session
    }

    /// Checks version, wal_level, the right to replicate, free slots and senders, and whether the server can filter by origin.
    ///
    /// - Parameters:
    ///   - origin: `SOURCE_ORIGIN`.
    ///   - needsSlot: whether the permanent slot has to be made.
    ///   - needsCopy: whether a copy will take a temporary slot and a sender.
    /// - Throws: ``SourceError`` of kind configuration with all findings.
    public func check(origin: OriginFilter, needsSlot: Bool, needsCopy: Bool) throws(SourceError) {
        guard session.serverVersion >= 140000 else {
            throw SourceError(
                .configuration,
                operation: "check the source",
                cause: "PostgreSQL \(session.serverVersion / 10000) is too old",
                remedy: "upgrade to 14 or later"
            )
        }
        let rows = try session.execute(
            """
            SELECT pg_catalog.current_setting('wal_level'),
              (SELECT rolsuper OR rolreplication
               OR EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname IN ('rds_replication', 'cloudsqlsuperuser')
                          AND pg_catalog.pg_has_role(r.oid, 'member'))
               FROM pg_catalog.pg_roles WHERE rolname = current_user),
              pg_catalog.current_setting('max_replication_slots')::int
                - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_replication_slots),
              pg_catalog.current_setting('max_wal_senders')::int
                - (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_get_wal_senders()),
              current_user
            """,
            as: "check the source"
        )
        guard let row = rows.first else { return }
        var findings: [(cause: String, remedy: String)] = []
        if origin == .none, session.serverVersion < 160000 {
            findings.append(
                (
                    "SOURCE_ORIGIN=none needs PostgreSQL 16 or later, and this is \(session.serverVersion / 10000)",
                    "set SOURCE_ORIGIN=any, which takes changes from everywhere, or upgrade the source"
                )
            )
        }
        if row[0] != "logical" {
            findings.append(
                ("wal_level is \(row[0] ?? "?")", "set wal_level = logical in postgresql.conf and restart the source")
            )
        }
        if row[1] != "t" {
            let user = PostgresConnection.quote(identifier: row[4] ?? "")
            findings.append(("user \(row[4] ?? "?") may not replicate", "run ALTER ROLE \(user) REPLICATION;"))
        }
        let slots = (needsSlot ? 1 : 0) + (needsCopy ? 1 : 0)
        if let free = row[2].flatMap({ Int($0) }), free < slots {
            findings.append(("\(free) replication slots are free, \(slots) needed", "raise max_replication_slots"))
        }
        // Only before the first start: later the sender that is missing may be our own from before a cut, soon to be free.
        let senders = needsSlot || needsCopy ? 1 + (needsCopy ? 1 : 0) : 0
        if let free = row[3].flatMap({ Int($0) }), free < senders {
            findings.append(("\(free) WAL senders are free, \(senders) needed", "raise max_wal_senders"))
        }
        try Preflight.report(findings)
    }

    /// Checks that the tables may be read, which only a copy needs.
    ///
    /// - Throws: ``SourceError`` of kind configuration with the GRANT statements.
    public func checkReadable(_ tables: [SourceTable]) throws(SourceError) {
        guard !tables.isEmpty else { return }
        let oids = tables.map { String($0.oid) }.joined(separator: ",")
        let rows = try session.execute(
            """
            SELECT c.oid, pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE'),
              pg_catalog.has_table_privilege(c.oid, 'SELECT') OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT'),
              current_user
            FROM pg_catalog.pg_class c WHERE c.oid IN (\(oids))
            """,
            as: "check the right to read"
        )
        var findings: [(cause: String, remedy: String)] = []
        for row in rows where row[1] != "t" || row[2] != "t" {
            guard let table = tables.first(where: { String($0.oid) == row[0] }) else { continue }
            let user = PostgresConnection.quote(identifier: row[3] ?? "")
            let schema = PostgresConnection.quote(identifier: table.ref.schema)
            let grant =
                row[1] != "t"
                ? "run GRANT USAGE ON SCHEMA \(schema) TO \(user);"
                : "run GRANT SELECT ON \(table.quotedName) TO \(user);"
            findings.append(("user \(row[3] ?? "?") may not read \(table.ref)", grant))
        }
        try Preflight.report(findings)
    }

    /// Checks that the publication can be made.
    ///
    /// - Throws: ``SourceError`` of kind configuration with the statement for somebody who may.
    public func checkMayPublish(_ tables: [SourceTable], creation: String) throws(SourceError) {
        let oids = tables.map { String($0.oid) }.joined(separator: ",")
        let rows = try session.execute(
            """
            SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
              (SELECT pg_catalog.bool_and(pg_catalog.pg_has_role(relowner, 'USAGE')) FROM pg_catalog.pg_class
               WHERE oid IN (\(oids))), current_user
            """,
            as: "check the right to publish"
        )
        guard let row = rows.first, row[0] != "t" || row[1] != "t" else { return }
        let reason = row[0] != "t" ? "may not create in the database" : "does not own all tables"
        throw SourceError(
            .configuration,
            operation: "check the source",
            cause: "there is no publication, and user \(row[2] ?? "?") \(reason)",
            remedy: "have the tables' owner run \(creation);"
        )
    }

    /// What works today and may lose changes or fill a disk one day; each with what to do.
    public func warnings() throws(SourceError) -> [String] {
        let rows = try session.execute(
            """
            SELECT (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'),
              (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'idle_replication_slot_timeout'),
              pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('fsync'),
              (SELECT pg_catalog.pg_encoding_to_char(encoding) FROM pg_catalog.pg_database
               WHERE datname = pg_catalog.current_database())
            """,
            as: "look at the source's settings"
        )
        guard let row = rows.first else { return [] }
        var warnings: [String] = []
        if row[0] == "-1" {
            warnings.append(
                "max_slot_wal_keep_size is -1: while the daemon is down the slot keeps WAL until the source's disk is full; "
                    + "watch it, or set a limit (beyond which changes are lost and the tables have to be copied anew)"
            )
        }
        if let timeout = row[1].flatMap({ Int($0) }), timeout > 0 {
            warnings.append(
                "idle_replication_slot_timeout is \(timeout) s: a daemon that is down for longer loses its slot"
            )
        }
        if row[2] == "t" { warnings.append("the source is a standby: heartbeats cannot be written there") }
        if row[3] == "off" {
            warnings.append("fsync is off at the source: after a crash it may have less than the target")
        }
        if row[4] == "SQL_ASCII" {
            warnings.append(
                "the database's encoding is SQL_ASCII: a text that is not UTF-8 ends the daemon with code 7"
            )
        }
        return warnings
    }

    private static func report(_ findings: [(cause: String, remedy: String)]) throws(SourceError) {
        guard !findings.isEmpty else { return }
        throw SourceError(
            .configuration,
            operation: "check the source",
            cause: findings.map(\.cause).joined(separator: ", and "),
            remedy: findings.map(\.remedy).joined(separator: " and ")
        )
    }
}
