internal import CdcCore
internal import HTTPClient

/// The sink's own two tables: how far each pipeline is, and which table of the source each table here is.
///
/// Both only grow, by rows whose `revision` counts up; the last one counts.
struct ClickHouseState {
    static let positionTable = "dbmazz_position"
    static let tableTable = "dbmazz_table"

    let client: ClickHouseClient
    let config: ClickHouseConfig

    /// A table of the source as it is registered here.
    struct Registration {
        let sinkTable: String
        let consistentPoint: LSN?
        let sourceOID: UInt32?
        /// The last truncate that was begun: rows of older versions have no place in the table.
        let truncatedVersion: UInt128
    }

    /// Where a batch ends that is sent and not yet committed: after that change of that transaction.
    struct BatchEnd: Hashable {
        let commitLSN: LSN
        /// The last change's place in the transaction; 0 for one that ends with its transaction.
        let ordinal: UInt64
    }

    /// A pipeline's row.
    struct Position {
        var source: SourceIdentity
        var position: SourcePosition?
        var batchEnds: [BatchEnd] = []
        var revision: UInt64 = 0
    }

    private func name(_ table: String) -> String {
        "\(config.database.clickhouseIdentifier).\(table.clickhouseIdentifier)"
    }

    private var engine: String { (config.cluster == nil ? "" : "Replicated") + "ReplacingMergeTree(revision)" }

    /// The statements that make the two tables.
    var createStatements: [String] {
        let cluster = ClickHouseLayout.onCluster(config.cluster)
        let settings = ClickHouseLayout.tableSettings(config.cluster)
        return [
            """
            CREATE TABLE IF NOT EXISTS \(name(ClickHouseState.positionTable))\(cluster)
            (
                pipeline String, system_identifier String, timeline UInt32, slot String, lsn String, commit_lsn String,
                batch_ends Array(Tuple(UInt64, UInt64)), revision UInt64, updated_at DateTime64(3, 'UTC') DEFAULT now64(3)
            )
            ENGINE = \(engine) ORDER BY pipeline SETTINGS \(settings)
            """,
            """
            CREATE TABLE IF NOT EXISTS \(name(ClickHouseState.tableTable))\(cluster)
            (
                pipeline String, source_schema String, source_table String, sink_table String, consistent_point String,
                source_oid UInt32, truncated_version UInt128, revision UInt64,
                updated_at DateTime64(3, 'UTC') DEFAULT now64(3)
            )
            ENGINE = \(engine) ORDER BY (pipeline, source_schema, source_table) SETTINGS \(settings)
            """,
        ]
    }

    func create() throws(SinkError) {
        for statement in createStatements { try client.run(statement, operation: "create state tables") }
    }

    /// Whether the two tables are there.
    func exists() throws(SinkError) -> Bool {
        let names = [ClickHouseState.positionTable, ClickHouseState.tableTable].map(\.clickhouseLiteral)
        let rows = try client.rows(
            "SELECT count() FROM system.tables WHERE database = \(config.database.clickhouseLiteral) "
                + "AND name IN (\(names.joined(separator: ", ")))",
            operation: "read position"
        )
        return rows.first?.first == "2"
    }

    // MARK: Position

    /// The pipeline's row; nil where there is none.
    func position(_ pipeline: String) throws(SinkError) -> Position? {
        let operation = "read position"
        let rows = try client.rows(
            """
            SELECT system_identifier, timeline, slot, lsn, commit_lsn, revision,
                arrayStringConcat(arrayMap(e -> concat(toString(e.1), ':', toString(e.2)), batch_ends), ',')
            FROM \(name(ClickHouseState.positionTable)) WHERE pipeline = \(pipeline.clickhouseLiteral)
            ORDER BY revision DESC LIMIT 1
            """,
            operation: operation
        )
        guard let row = rows.first?.map({ $0 ?? "" }) else { return nil }
        guard row.count == 7, let timeline = UInt32(row[1]), let revision = UInt64(row[5]) else {
            throw corrupt(ClickHouseState.positionTable, pipeline)
        }
        var found = Position(
            source: SourceIdentity(systemIdentifier: row[0], timeline: timeline, slot: row[2]),
            revision: revision
        )
        if !row[3].isEmpty || !row[4].isEmpty {
            guard let end = LSN(row[3]), let commit = LSN(row[4]) else {
                throw corrupt(ClickHouseState.positionTable, pipeline)
            }
            found.position = SourcePosition(commitLSN: commit, endLSN: end)
        }
        for end in row[6].split(separator: ",") {
            let numbers = end.split(separator: ":").compactMap { UInt64($0) }
            guard numbers.count == 2 else { throw corrupt(ClickHouseState.positionTable, pipeline) }
            found.batchEnds.append(BatchEnd(commitLSN: LSN(rawValue: numbers[0]), ordinal: numbers[1]))
        }
        return found
    }

    /// Adds a pipeline's next row, unless there is one whose revision is greater than `attempted`: somebody else's.
    ///
    /// One statement looks and adds: half as many requests, and an insert that arrives late finds its successors.
    func store(
        _ position: Position,
        of pipeline: String,
        after attempted: UInt64,
        deadline: ContinuousClock.Instant
    ) throws(SinkError) {
        let table = name(ClickHouseState.positionTable)
        let ends = position.batchEnds.map { "(\($0.commitLSN.rawValue), \($0.ordinal))" }.joined(separator: ", ")
        let operation = "store position"
        let lsn = position.position?.commitLSN
        do throws(SinkError) {
            try client.insert(
                selecting: """
                    INSERT INTO \(table)
                        (pipeline, system_identifier, timeline, slot, lsn, commit_lsn, batch_ends, revision)
                    SELECT \(pipeline.clickhouseLiteral), \(position.source.systemIdentifier.clickhouseLiteral),
                        \(position.source.timeline), \(position.source.slot.clickhouseLiteral),
                        '\(position.position?.endLSN.description ?? "")', '\(lsn?.description ?? "")',
                        CAST([\(ends)], 'Array(Tuple(UInt64, UInt64))'), \(position.revision)
                    WHERE NOT throwIf(
                        (SELECT max(revision) FROM \(table) WHERE pipeline = \(pipeline.clickhouseLiteral)) > \(attempted)
                    )
                    """,
                token: "\(pipeline):\(position.revision)",
                operation: operation,
                lsn: lsn,
                deadline: deadline
            )
        } catch {
            // FUNCTION_THROW_IF_VALUE_IS_NON_ZERO
            guard error.cause.contains("Code: 395.") else { throw error }
            throw SinkError.movedPosition(of: pipeline, in: config.database, operation: operation, lsn: lsn)
        }
    }

    // MARK: Tables

    /// The tables registered for a pipeline.
    func registrations(_ pipeline: String) throws(SinkError) -> [TableRef: Registration] {
        let rows = try client.rows(
            """
            SELECT source_schema, source_table, sink_table, consistent_point, source_oid, truncated_version
            FROM \(name(ClickHouseState.tableTable)) FINAL WHERE pipeline = \(pipeline.clickhouseLiteral)
            """,
            operation: "read copy state"
        )
        var found: [TableRef: Registration] = [:]
        for row in rows.map({ $0.map { $0 ?? "" } }) {
            guard row.count == 6, let oid = UInt32(row[4]), let truncated = UInt128(row[5]) else {
                throw corrupt(ClickHouseState.tableTable, pipeline)
            }
            let point = LSN(row[3])
            guard row[3].isEmpty || point != nil else { throw corrupt(ClickHouseState.tableTable, pipeline) }
            found[TableRef(schema: row[0], name: row[1])] = Registration(
                sinkTable: row[2],
                consistentPoint: point,
                sourceOID: oid == 0 ? nil : oid,
                truncatedVersion: truncated
            )
        }
        return found
    }

    /// Which other pipeline has a table here, by the table's name.
    func owners(besides pipeline: String) throws(SinkError) -> [[UInt8]: String] {
        let rows = try client.rows(
            "SELECT sink_table, any(pipeline) FROM \(name(ClickHouseState.tableTable)) "
                + "WHERE pipeline != \(pipeline.clickhouseLiteral) GROUP BY sink_table",
            operation: "read copy state"
        )
        return Dictionary(rows.map { (Array(($0[0] ?? "").utf8), $0[1] ?? "") }) { first, _ in first }
    }

    /// Registers tables, with how far their copy is: nil where it is not complete.
    func register(
        _ tables: [TableSchema],
        at point: LSN?,
        truncated: UInt128 = 0,
        _ pipeline: String
    ) throws(SinkError) {
        guard !tables.isEmpty else { return }
        let rows = try client.rows(
            "SELECT max(revision) FROM \(name(ClickHouseState.tableTable)) "
                + "WHERE pipeline = \(pipeline.clickhouseLiteral)",
            operation: "read copy state"
        )
        let revision = (rows.first?.first?.flatMap { UInt64($0) } ?? 0) + 1
        var body = RowBuffer()
        for table in tables {
            body.append(string: pipeline)
            body.append(string: table.ref.schema)
            body.append(string: table.ref.name)
            body.append(string: table.sinkName)
            body.append(string: point?.description ?? "")
            body.append(table.oid)
            body.append(truncated)
            body.append(revision)
        }
        try client.insert(
            "INSERT INTO \(name(ClickHouseState.tableTable)) "
                + "(pipeline, source_schema, source_table, sink_table, consistent_point, source_oid, "
                + "truncated_version, revision)",
            body.bytes,
            .none,
            token: "\(pipeline):\(revision):\(point?.description ?? ""):\(truncated)",
            operation: "store copy state",
            deadline: .now + .seconds(60)
        )
    }

    /// Says that a table is about to be truncated: if that breaks off, the next start ends it.
    func announceTruncate(of table: TableSchema, _ version: RowVersion, _ pipeline: String) throws(SinkError) {
        let known = try registrations(pipeline)[table.ref]
        try register([table], at: known?.consistentPoint, truncated: version.number, pipeline)
    }

    // MARK: Dead letters

    static let deadLetterTable = "dbmazz_dead_letter"

    /// Adds lines, in their order; makes the table if it is missing.
    func storeDeadLetters(_ lines: [String], _ pipeline: String) throws(SinkError) {
        let operation = "store dead letters"
        let table = name(ClickHouseState.deadLetterTable)
        try client.run(
            """
            CREATE TABLE IF NOT EXISTS \(table)\(ClickHouseLayout.onCluster(config.cluster))
            (pipeline String, number UInt64, line String, stored_at DateTime64(3, 'UTC') DEFAULT now64(3))
            ENGINE = \(config.cluster == nil ? "" : "Replicated")MergeTree ORDER BY (pipeline, number)
            SETTINGS \(ClickHouseLayout.tableSettings(config.cluster))
            """,
            operation: operation
        )
        guard !lines.isEmpty else { return }
        let last = try client.rows(
            "SELECT max(number) FROM \(table) WHERE pipeline = \(pipeline.clickhouseLiteral)",
            operation: operation
        )
        var number = last.first?.first?.flatMap { UInt64($0) } ?? 0
        var body = RowBuffer()
        for line in lines {
            number += 1
            body.append(string: pipeline)
            body.append(number)
            body.append(string: line)
        }
        try client.insert(
            "INSERT INTO \(table) (pipeline, number, line)",
            body.bytes,
            .none,
            // The same lines under the same numbers; others have other bytes.
            token: "\(pipeline):\(number):\(String(body.bytes.hashed(into: 0), radix: 16))",
            operation: operation,
            deadline: .now + .seconds(60)
        )
    }

    /// The lines in their order; none where there is no table.
    func deadLetters(_ pipeline: String) throws(SinkError) -> [String] {
        let operation = "read dead letters"
        let known = try client.rows(
            "SELECT 1 FROM system.tables WHERE database = \(config.database.clickhouseLiteral) "
                + "AND name = \(ClickHouseState.deadLetterTable.clickhouseLiteral)",
            operation: operation
        )
        guard !known.isEmpty else { return [] }
        return try client.rows(
            "SELECT line FROM \(name(ClickHouseState.deadLetterTable)) "
                + "WHERE pipeline = \(pipeline.clickhouseLiteral) ORDER BY number",
            operation: operation
        ).compactMap { $0[0] }
    }

    private func corrupt(_ table: String, _ pipeline: String) -> SinkError {
        .corruptState(of: pipeline, in: "\(config.database).\(table)")
    }
}
