internal import CSQLite
internal import CdcCore

/// The sink's own two tables: how far each pipeline is, and which table of the source each table here is.
struct SQLiteState {
    static let positionTable = "dbmazz_position"
    static let tableTable = "dbmazz_table"
    static let deadLetterTable = "dbmazz_dead_letter"

    let connection: SQLiteConnection

    /// A table of the source as it is registered here.
    struct Registration {
        let sinkTable: String
        let consistentPoint: String?
        let sourceOID: UInt32?
    }

    /// Makes the two tables if they are missing.
    func create() throws(SinkError) {
        try connection.execute(
            """
            CREATE TABLE IF NOT EXISTS \(SQLiteState.positionTable)(
                pipeline TEXT NOT NULL PRIMARY KEY, system_identifier TEXT NOT NULL, timeline INTEGER NOT NULL,
                slot TEXT NOT NULL, lsn TEXT, commit_lsn TEXT, updated_at TEXT NOT NULL
            ) STRICT;
            CREATE TABLE IF NOT EXISTS \(SQLiteState.tableTable)(
                pipeline TEXT NOT NULL, source_schema TEXT NOT NULL, source_table TEXT NOT NULL,
                sink_table TEXT NOT NULL, consistent_point TEXT, source_oid INTEGER,
                PRIMARY KEY(pipeline, source_schema, source_table)
            ) STRICT;
            """,
            operation: "create state tables"
        )
    }

    // MARK: Position

    /// What is known of a pipeline; nil where the tables or its row are missing.
    func load(_ pipeline: String) throws(SinkError) -> PipelineState? {
        guard try hasTables() else { return nil }
        let rows = try connection.rows(
            "SELECT system_identifier, timeline, slot, lsn, commit_lsn FROM \(SQLiteState.positionTable) WHERE pipeline=?1",
            [pipeline],
            operation: "read position"
        )
        guard let row = rows.first else { return nil }
        guard let system = row[0], let timeline = row[1].flatMap({ UInt32($0) }), let slot = row[2] else {
            throw corrupt(SQLiteState.positionTable, pipeline)
        }
        var state = PipelineState(
            source: SourceIdentity(systemIdentifier: system, timeline: timeline, slot: slot),
            position: try position(lsn: row[3], commitLSN: row[4], pipeline),
            copies: try copies(pipeline)
        )
        state.tableOIDs = try registrations(pipeline).compactMapValues(\.sourceOID)
        return state
    }

    /// The stored position of a pipeline; nil until its first copy is complete.
    func position(_ pipeline: String) throws(SinkError) -> SourcePosition? {
        let rows = try connection.rows(
            "SELECT lsn, commit_lsn FROM \(SQLiteState.positionTable) WHERE pipeline=?1",
            [pipeline],
            operation: "read position"
        )
        guard let row = rows.first else { return nil }
        return try position(lsn: row[0], commitLSN: row[1], pipeline)
    }

    private func position(lsn: String?, commitLSN: String?, _ pipeline: String) throws(SinkError) -> SourcePosition? {
        guard lsn != nil || commitLSN != nil else { return nil }
        guard let end = lsn.flatMap({ LSN($0) }), let commit = commitLSN.flatMap({ LSN($0) }) else {
            throw corrupt(SQLiteState.positionTable, pipeline)
        }
        return SourcePosition(commitLSN: commit, endLSN: end)
    }

    private func copies(_ pipeline: String) throws(SinkError) -> [TableRef: LSN] {
        var copies: [TableRef: LSN] = [:]
        for (table, registration) in try registrations(pipeline) {
            guard let text = registration.consistentPoint else { continue }
            guard let point = LSN(text) else { throw corrupt(SQLiteState.tableTable, pipeline) }
            copies[table] = point
        }
        return copies
    }

    /// Makes or renews the pipeline's row; its position stays.
    func saveIdentity(_ pipeline: PipelineIdentity) throws(SinkError) {
        try connection.run(
            """
            INSERT INTO \(SQLiteState.positionTable)(pipeline, system_identifier, timeline, slot, updated_at)
            VALUES(?1, ?2, CAST(?3 AS INTEGER), ?4, ?5)
            ON CONFLICT(pipeline) DO UPDATE SET timeline=excluded.timeline, slot=excluded.slot
            """,
            [
                pipeline.name, pipeline.source.systemIdentifier, String(pipeline.source.timeline), pipeline.source.slot,
                Timestamp.iso(milliseconds: Timestamp.nowMilliseconds()),
            ],
            operation: "store identity"
        )
    }

    /// The statement that moves a pipeline's position on.
    ///
    /// It compares the position before: a second daemon that writes under the same pipeline is found out, because one of
    /// the two moves a position that the other does not know.
    static let moveSQL = """
        UPDATE \(positionTable) SET lsn=?2, commit_lsn=?3, updated_at=?4 WHERE pipeline=?1 AND lsn IS ?5
        """

    // MARK: Tables

    /// The tables registered for a pipeline.
    func registrations(_ pipeline: String) throws(SinkError) -> [TableRef: Registration] {
        let rows = try connection.rows(
            "SELECT source_schema, source_table, sink_table, consistent_point, source_oid FROM \(SQLiteState.tableTable) "
                + "WHERE pipeline=?1",
            [pipeline],
            operation: "read copy state"
        )
        var registrations: [TableRef: Registration] = [:]
        for row in rows {
            guard let schema = row[0], let table = row[1], let sinkTable = row[2] else {
                throw corrupt(SQLiteState.tableTable, pipeline)
            }
            registrations[TableRef(schema: schema, name: table)] = Registration(
                sinkTable: sinkTable,
                consistentPoint: row[3],
                sourceOID: row[4].flatMap { UInt32($0) }
            )
        }
        return registrations
    }

    /// Registers a table whose copy is to come; a registration that is there stays.
    func register(_ table: TableSchema, _ pipeline: String) throws(SinkError) {
        try connection.run(
            """
            INSERT INTO \(SQLiteState.tableTable)(pipeline, source_schema, source_table, sink_table, source_oid)
            VALUES(?1, ?2, ?3, ?4, CAST(?5 AS INTEGER)) ON CONFLICT DO NOTHING
            """,
            [pipeline, table.ref.schema, table.ref.name, table.sinkName, String(table.oid)],
            operation: "register table"
        )
    }

    /// Stores how far a table's copy is: nil where it has begun, the consistent point where it is complete.
    func setConsistentPoint(_ point: LSN?, of table: TableSchema, _ pipeline: String) throws(SinkError) {
        try connection.run(
            """
            UPDATE \(SQLiteState.tableTable) SET consistent_point=?4, source_oid=CAST(?5 AS INTEGER)
            WHERE pipeline=?1 AND source_schema=?2 AND source_table=?3
            """,
            [pipeline, table.ref.schema, table.ref.name, point?.description, String(table.oid)],
            operation: "store copy state"
        )
    }

    /// Whether the file has the sink's own tables.
    func hasTables() throws(SinkError) -> Bool {
        let names = [SQLiteState.positionTable, SQLiteState.tableTable]
        let rows = try connection.rows(
            "SELECT name FROM sqlite_schema WHERE type='table' AND name IN (?1, ?2)",
            names,
            operation: "read position"
        )
        return rows.count == names.count
    }

    // MARK: Dead letters

    /// Keeps lines of dead letters, in their order.
    func storeDeadLetters(_ lines: [String], _ pipeline: String) throws(SinkError) {
        let operation = "store dead letters"
        try connection.execute(
            """
            CREATE TABLE IF NOT EXISTS \(SQLiteState.deadLetterTable)(
                id INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, line TEXT NOT NULL
            ) STRICT
            """,
            operation: operation
        )
        let sql = "INSERT INTO \(SQLiteState.deadLetterTable)(pipeline, line) VALUES(?1, ?2)"
        let statement = try connection.prepare(sql, operation: operation)
        for line in lines {
            statement.bind(1, copying: pipeline)
            statement.bind(2, copying: line)
            let code = sqlite3_step(statement.handle)
            sqlite3_reset(statement.handle)
            guard code == SQLITE_DONE else { throw connection.error(operation) }
        }
    }

    /// The lines of a pipeline's dead letters; none where there is no table.
    func deadLetters(_ pipeline: String) throws(SinkError) -> [String] {
        let operation = "read dead letters"
        let exists = try connection.rows(
            "SELECT 1 FROM sqlite_schema WHERE type='table' AND name=?1",
            [SQLiteState.deadLetterTable],
            operation: operation
        )
        guard !exists.isEmpty else { return [] }
        return try connection.rows(
            "SELECT line FROM \(SQLiteState.deadLetterTable) WHERE pipeline=?1 ORDER BY id",
            [pipeline],
            operation: operation
        )
        .compactMap { $0[0] }
    }

    private func corrupt(_ table: String, _ pipeline: String) -> SinkError {
        SinkError(
            .permanent,
            operation: "read position",
            cause:
                "the row of pipeline \"\(pipeline)\" in table \(table) of \(connection.path) is not as it was written",
            remedy: "restore the file from a backup, or remove it and the slot and copy anew"
        )
    }
}
