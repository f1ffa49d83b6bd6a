internal import CdcCore

/// The sink's own two tables: how far each pipeline is, and which table of the source each table here is.
struct PostgresState {
    static let positionTable = TableRef.positionState.description
    static let tableTable = TableRef.tableState.description

    let client: PostgresClient

    /// A table of the source as it is registered here.
    struct Registration {
        let sinkTable: TableRef
        let consistentPoint: String?
        let sourceOID: UInt32?
        /// Whether the pipeline has emptied it once: what is in it is the pipeline's.
        let isOurs: Bool
    }

    /// What makes the tables, one statement each; the schema comes first.
    ///
    /// Most of a page of the position's table stays free, so that the many versions of its rows replace each other there.
    static let creation = [
        """
        CREATE TABLE IF NOT EXISTS \(positionTable) (
          pipeline text PRIMARY KEY, system_identifier text NOT NULL, timeline int8 NOT NULL, slot text NOT NULL,
          lsn pg_lsn, commit_lsn pg_lsn, fence int8 NOT NULL, updated_at timestamptz NOT NULL DEFAULT now()
        ) WITH (fillfactor = 10)
        """,
        """
        CREATE TABLE IF NOT EXISTS \(tableTable) (
          pipeline text, source_schema text, source_table text, sink_schema text NOT NULL, sink_table text NOT NULL,
          source_oid oid NOT NULL, consistent_point pg_lsn, copy_begun bool NOT NULL DEFAULT false,
          PRIMARY KEY (pipeline, source_schema, source_table)
        )
        """,
    ]

    /// Makes the schema and the tables where they are missing.
    func create() throws(PostgresError) {
        guard try !exists() else { return }
        let schemas = try PostgresCatalog(client: client).missingSchemas([TableRef.positionState.schema])
        try client.execute((schemas + PostgresState.creation).joined(separator: ";"))
    }

    /// Whether the role may make what is missing of the sink's own schema and tables.
    func mayCreate() throws(PostgresError) -> Bool {
        if try exists() { return true }
        let schema = TableRef.positionState.schema
        let rows = try client.execute(
            """
            SELECT CASE WHEN pg_catalog.to_regnamespace('\(schema)') IS NULL
              THEN pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')
              ELSE pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace('\(schema)'), 'CREATE')
                AND pg_catalog.has_schema_privilege(pg_catalog.to_regnamespace('\(schema)'), 'USAGE') END
            """
        )
        return rows.first?.first == "t"
    }

    /// Whether the target has the sink's own tables.
    func exists() throws(PostgresError) -> Bool {
        let rows = try client.execute(
            "SELECT pg_catalog.to_regclass('\(PostgresState.positionTable)') IS NOT NULL "
                + "AND pg_catalog.to_regclass('\(PostgresState.tableTable)') IS NOT NULL"
        )
        return rows.first?.first == "t"
    }

    // MARK: Position

    /// What is known of a pipeline; nil where the tables or its row are missing.
    ///
    /// Waits for a transaction that is changing the row: the session of a daemon that was killed may still be committing.
    func load(_ pipeline: String) throws(PostgresError) -> PipelineState? {
        guard try exists() else { return nil }
        let rows = try client.query(
            "SELECT system_identifier, timeline, slot, lsn, commit_lsn FROM \(PostgresState.positionTable) "
                + "WHERE pipeline = $1 FOR UPDATE",
            [pipeline]
        )
        guard let row = rows.first, let system = row[0], let timeline = row[1].flatMap({ UInt32($0) }),
            let slot = row[2]
        else { return nil }
        let registrations = try registrations(pipeline)
        var state = PipelineState(
            source: SourceIdentity(systemIdentifier: system, timeline: timeline, slot: slot),
            position: PostgresState.position(row[3], row[4]),
            copies: registrations.compactMapValues { $0.consistentPoint.flatMap { LSN($0) } }
        )
        state.tableOIDs = registrations.compactMapValues(\.sourceOID)
        return state
    }

    /// The source system that a pipeline's state here belongs to; nil for none.
    func systemIdentifier(of pipeline: String) throws(PostgresError) -> String? {
        let rows = try client.query(
            "SELECT system_identifier FROM \(PostgresState.positionTable) WHERE pipeline = $1",
            [pipeline]
        )
        return rows.first?[0]
    }

    static func position(_ lsn: String?, _ commitLSN: String?) -> SourcePosition? {
        guard let end = lsn.flatMap({ LSN($0) }) else { return nil }
        return SourcePosition(commitLSN: commitLSN.flatMap { LSN($0) } ?? end, endLSN: end)
    }

    /// The pipeline's row, and who holds it.
    struct Claim {
        var position: SourcePosition?
        var fence: Int64
    }

    /// Makes or renews the pipeline's row and takes its fence; the position stays.
    ///
    /// - Parameters:
    ///   - pipeline: the pipeline.
    ///   - fence: the fence that this process holds already; nil to take a new one, which shuts every older process out.
    /// - Returns: the row as it is now; nil if another process has taken the fence.
    /// - Throws: ``PostgresError``, also when the row stays locked.
    func claim(_ pipeline: PipelineIdentity, fence: Int64?) throws(PostgresError) -> Claim? {
        let rows = try client.query(
            """
            INSERT INTO \(PostgresState.positionTable) AS p (pipeline, system_identifier, timeline, slot, fence)
            VALUES ($1, $2, $3, $4, 1)
            ON CONFLICT (pipeline) DO UPDATE SET timeline = excluded.timeline, slot = excluded.slot,
              fence = coalesce($5::pg_catalog.int8, p.fence + 1)
            WHERE $5::pg_catalog.int8 IS NULL OR p.fence = $5::pg_catalog.int8
            RETURNING fence, lsn, commit_lsn
            """,
            [
                pipeline.name, pipeline.source.systemIdentifier, String(pipeline.source.timeline), pipeline.source.slot,
                fence.map(String.init),
            ]
        )
        return rows.first.flatMap(PostgresState.claim)
    }

    /// Reads the pipeline's row, after every transaction that is changing it has ended.
    func settled(_ pipeline: String) throws(PostgresError) -> Claim? {
        let rows = try client.query(
            "SELECT fence, lsn, commit_lsn FROM \(PostgresState.positionTable) WHERE pipeline = $1 FOR UPDATE",
            [pipeline]
        )
        return rows.first.flatMap(PostgresState.claim)
    }

    private static func claim(_ row: [String?]) -> Claim? {
        row[0].flatMap { Int64($0) }.map { Claim(position: position(row[1], row[2]), fence: $0) }
    }

    /// The statement that moves a pipeline's position on: `$1` pipeline, `$2` lsn, `$3` commit_lsn, `$4` fence, `$5` the lsn before.
    ///
    /// It finds no row if another process took the fence, or if the position is not the one that this process knows.
    static let moveSQL = """
        UPDATE \(positionTable) SET lsn = $2::text::pg_lsn, commit_lsn = $3::text::pg_lsn, updated_at = now()
        WHERE pipeline = $1::text AND fence = $4::text::int8 AND lsn IS NOT DISTINCT FROM $5::text::pg_lsn
        """

    // MARK: Dead letters

    static let deadLetterTable = TableRef.deadLetterState.description

    /// Keeps lines of dead letters, in their order; makes the table where it is missing.
    func storeDeadLetters(_ lines: [String], _ pipeline: String) throws(PostgresError) {
        if try !hasDeadLetters() {
            try client.execute(
                """
                CREATE TABLE \(PostgresState.deadLetterTable) (
                  id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY, pipeline text NOT NULL, line json NOT NULL)
                """
            )
        }
        for line in lines {
            try client.query(
                "INSERT INTO \(PostgresState.deadLetterTable) (pipeline, line) VALUES ($1, $2::pg_catalog.json)",
                [pipeline, line]
            )
        }
    }

    /// The lines of a pipeline's dead letters; none where there is no table.
    func deadLetters(_ pipeline: String) throws(PostgresError) -> [String] {
        guard try hasDeadLetters() else { return [] }
        let rows = try client.query(
            "SELECT line FROM \(PostgresState.deadLetterTable) WHERE pipeline = $1 ORDER BY id",
            [pipeline]
        )
        return rows.compactMap { $0[0] }
    }

    private func hasDeadLetters() throws(PostgresError) -> Bool {
        let rows = try client.execute("SELECT pg_catalog.to_regclass('\(PostgresState.deadLetterTable)') IS NOT NULL")
        return rows.first?.first == "t"
    }

    // MARK: Tables

    /// The tables registered for a pipeline, by their name at the source.
    func registrations(_ pipeline: String) throws(PostgresError) -> [TableRef: Registration] {
        let rows = try client.query(
            """
            SELECT source_schema, source_table, sink_schema, sink_table, consistent_point, source_oid, copy_begun
            FROM \(PostgresState.tableTable) WHERE pipeline = $1
            """,
            [pipeline]
        )
        var registrations: [TableRef: Registration] = [:]
        for row in rows {
            guard let schema = row[0], let name = row[1], let sinkSchema = row[2], let sinkTable = row[3] else {
                continue
            }
            registrations[TableRef(schema: schema, name: name)] = Registration(
                sinkTable: TableRef(schema: sinkSchema, name: sinkTable),
                consistentPoint: row[4],
                sourceOID: row[5].flatMap { UInt32($0) },
                isOurs: row[6] == "t" || row[4] != nil
            )
        }
        return registrations
    }

    /// Which pipelines other than this one have a table here.
    func owners(besides pipeline: String) throws(PostgresError) -> [TableRef: String] {
        let rows = try client.query(
            "SELECT sink_schema, sink_table, pipeline FROM \(PostgresState.tableTable) WHERE pipeline <> $1",
            [pipeline]
        )
        var owners: [TableRef: String] = [:]
        for row in rows {
            guard let schema = row[0], let table = row[1], let owner = row[2] else { continue }
            owners[TableRef(schema: schema, name: table)] = owner
        }
        return owners
    }

    /// Registers tables whose copy is to come; registrations that are there stay.
    func register(_ tables: [(source: TableSchema, sink: TableRef)], _ pipeline: String) throws(PostgresError) {
        try client.query(
            """
            INSERT INTO \(PostgresState.tableTable) (pipeline, source_schema, source_table, sink_schema, sink_table, source_oid)
            SELECT $1, s, t, ss, st, o FROM
              unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::oid[]) AS n(s, t, ss, st, o)
            ON CONFLICT DO NOTHING
            """,
            [
                pipeline, PostgresCatalog.array(tables.map(\.source.ref.schema)),
                PostgresCatalog.array(tables.map(\.source.ref.name)), PostgresCatalog.array(tables.map(\.sink.schema)),
                PostgresCatalog.array(tables.map(\.sink.name)),
                PostgresCatalog.array(tables.map { String($0.source.oid) }),
            ]
        )
    }

    /// Stores how far the tables' copy is: nil where it has begun, the consistent point where it is complete.
    func setConsistentPoint(_ point: LSN?, of tables: [TableSchema], _ pipeline: String) throws(PostgresError) {
        try client.query(
            """
            UPDATE \(PostgresState.tableTable) r SET consistent_point = $5::text::pg_lsn, source_oid = n.o,
              copy_begun = r.copy_begun OR $5::text IS NULL
            FROM unnest($2::text[], $3::text[], $4::oid[]) AS n(s, t, o)
            WHERE r.pipeline = $1 AND r.source_schema = n.s AND r.source_table = n.t
            """,
            [
                pipeline, PostgresCatalog.array(tables.map(\.ref.schema)),
                PostgresCatalog.array(tables.map(\.ref.name)),
                PostgresCatalog.array(tables.map { String($0.oid) }), point?.description,
            ]
        )
    }
}
