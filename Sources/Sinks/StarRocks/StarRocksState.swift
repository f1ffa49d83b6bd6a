internal import CdcCore

/// The sink's own tables: how far each pipeline is, which loads are under way, which table here is which table of the source.
///
/// Every write has the next revision, and a label made of it. So a write of a daemon that is gone, and that comes late,
/// finds its label taken; and so does the write of a second daemon.
final class StarRocksState {
    static let positionTable = "dbmazz_position"
    static let tableTable = "dbmazz_table"
    static let deadLetterTable = "dbmazz_dead_letter"

    let database: StarRocksDatabase
    let client: StarRocksClient
    let config: StarRocksConfig
    let pipeline: String
    /// The beginning of every label of the pipeline: it tells which one of them.
    let labelPrefix: String
    /// What stands in keys for the pipeline's name, which may be longer than a key.
    let id: String

    /// A load that was announced.
    struct Load: Equatable {
        var table: TableRef
        /// Each part adds a number of its own, the last `_end`.
        var label: String
        /// The table has the changes up to here without it.
        var from: UInt128
        /// And up to here with all of its parts; 0 for rows of a copy.
        var to: UInt128
        /// Up to where the table has some of the changes behind `from` from an earlier load; 0 for none.
        var uncertain: UInt128 = 0
        /// What its labels end in that were claimed, so that they tell of no load.
        var claimed: [String] = []
    }

    /// A pipeline's row.
    struct Position {
        var source: SourceIdentity
        var position: SourcePosition?
        var revision: UInt64 = 0
        /// Those since the position, of every table the last.
        ///
        /// One without a label was in this row's transaction.
        var loads: [Load] = []
        /// Whether the row is written in a transaction with others.
        var isTransaction = false
    }

    /// A table of the source as it is registered here.
    struct Registration {
        let sinkTable: String
        let consistentPoint: LSN?
        let sourceOID: UInt32?
    }

    init(database: StarRocksDatabase, client: StarRocksClient, config: StarRocksConfig, pipeline: String) {
        self.database = database
        self.client = client
        self.config = config
        self.pipeline = pipeline
        id = Self.hash(pipeline)
        labelPrefix = "dbmazz_\(id.prefix(16))"
    }

    private static func hash(_ texts: String...) -> String {
        var text = texts.joined(separator: "\0")
        return text.withUTF8 { bytes in
            let raw = UnsafeRawBufferPointer(bytes)
            return RowVersion(commitLSN: LSN(rawValue: raw.hashed(into: 0)), ordinal: raw.hashed(into: 1)).hexadecimal
        }
    }

    func name(_ table: String) -> String {
        "\(config.database.starRocksIdentifier).\(table.starRocksIdentifier)"
    }

    // MARK: Making them

    /// The statements that make both tables.
    func createStatements(_ version: StarRocksVersion) -> [String] {
        let properties = StarRocksLayout.properties(replicationNumber: config.replicationNumber, version: version)
        return [
            """
            CREATE TABLE IF NOT EXISTS \(name(Self.positionTable))
            (
                pipeline_id VARCHAR(32) NOT NULL, revision BIGINT NOT NULL, pipeline VARCHAR(1000) NULL,
                system_identifier VARCHAR(32) NULL, timeline BIGINT NULL, slot VARCHAR(100) NULL, lsn VARCHAR(32) NULL,
                commit_lsn VARCHAR(32) NULL, loads VARCHAR(\(StarRocksTypes.longest)) NULL, updated_at DATETIME NULL
            )
            PRIMARY KEY (pipeline_id, revision) DISTRIBUTED BY HASH (pipeline_id) BUCKETS 1 \(properties)
            """,
            """
            CREATE TABLE IF NOT EXISTS \(name(Self.tableTable))
            (
                id VARCHAR(32) NOT NULL, pipeline VARCHAR(1000) NULL, source_schema VARCHAR(100) NULL,
                source_table VARCHAR(100) NULL, sink_table VARCHAR(1000) NULL, consistent_point VARCHAR(32) NULL,
                source_oid BIGINT NULL, updated_at DATETIME NULL
            )
            PRIMARY KEY (id) DISTRIBUTED BY HASH (id) BUCKETS 1 \(properties)
            """,
        ]
    }

    func create(_ version: StarRocksVersion) throws(SinkError) {
        for statement in createStatements(version) { try database.run(statement, operation: "create state tables") }
    }

    /// Whether both tables are there.
    func exists() throws(SinkError) -> Bool {
        let rows = try database.rows(
            "SELECT TABLE_NAME FROM information_schema.tables WHERE TABLE_SCHEMA = \(config.database.starRocksLiteral) "
                + "AND TABLE_NAME IN (\(Self.positionTable.starRocksLiteral), \(Self.tableTable.starRocksLiteral))",
            operation: "read position"
        )
        return rows.count == 2
    }

    // MARK: Position

    /// The pipeline's last row; nil where there is none.
    func position() throws(SinkError) -> Position? {
        let operation = "read position"
        let rows = try database.rows(
            "SELECT system_identifier, timeline, slot, lsn, commit_lsn, revision, loads FROM \(name(Self.positionTable)) "
                + "WHERE pipeline_id = \(id.starRocksLiteral) ORDER BY revision DESC LIMIT 1",
            operation: operation
        )
        guard let row = rows.first?.map({ $0 ?? "" }) else { return nil }
        guard row.count == 7, let timeline = UInt32(row[1]), let revision = UInt64(row[5]) else {
            throw corrupt(Self.positionTable)
        }
        var found = Position(
            source: SourceIdentity(systemIdentifier: row[0], timeline: timeline, slot: row[2]),
            revision: revision
        )
        if !row[3].isEmpty || !row[4].isEmpty {
            guard let end = LSN(row[3]), let commit = LSN(row[4]) else { throw corrupt(Self.positionTable) }
            found.position = SourcePosition(commitLSN: commit, endLSN: end)
        }
        for load in row[6].split(separator: ",") {
            guard let load = Load(text: load) else { throw corrupt(Self.positionTable) }
            found.loads.append(load)
        }
        return found
    }

    /// Writes the pipeline's next row; false where the revision was written before, by whomever.
    func store(_ position: Position, deadline: ContinuousClock.Instant) throws(SinkError) -> Bool {
        try write(
            try rows([position]),
            Self.positionTable,
            Self.positionColumns,
            label: label(position.revision),
            operation: "store position",
            lsn: position.position?.commitLSN,
            deadline: deadline
        )
    }

    static let positionColumns = [
        "pipeline_id", "revision", "pipeline", "system_identifier", "timeline", "slot", "lsn", "commit_lsn", "loads",
        "updated_at",
    ]

    func rows(_ positions: [Position]) throws(SinkError) -> StarRocksRows {
        try StarRocksRows(
            positions.map { position in
                [
                    id, String(position.revision), pipeline, position.source.systemIdentifier,
                    String(position.source.timeline), position.source.slot, position.position?.endLSN.description ?? "",
                    position.position?.commitLSN.description ?? "",
                    position.loads.map(\.text).joined(separator: ","), Timestamp.starRocks(),
                ]
            },
            operation: "store position"
        )
    }

    /// The label of a write of this revision.
    func label(_ revision: UInt64) -> String { "\(labelPrefix)_\(revision)" }

    /// Takes a label, so that a load which is on its way finds it used; false where it exists already.
    ///
    /// The pipeline's last row is written again with it, and says that the label was claimed.
    func claim(_ label: String, _ stored: Position, deadline: ContinuousClock.Instant) throws(SinkError) -> Bool {
        try write(
            try rows([stored]),
            Self.positionTable,
            Self.positionColumns,
            label: label,
            operation: "claim label of an earlier load",
            deadline: deadline
        )
    }

    /// Whether a label belongs to a claim instead of to the load that was announced with it.
    func isClaimed(_ label: String, _ part: String) throws(SinkError) -> Bool {
        let rows = try database.rows(
            "SELECT loads FROM \(name(Self.positionTable)) WHERE pipeline_id = \(id.starRocksLiteral)",
            operation: "find what is loaded"
        )
        return rows.contains { row in
            (row.first.flatMap { $0 } ?? "").split(separator: ",").contains { text in
                Load(text: text).map { $0.label == label && $0.claimed.contains(part) } ?? false
            }
        }
    }

    /// Removes rows that nobody will read again.
    func forget(before revision: UInt64) throws(SinkError) {
        guard revision > 0 else { return }
        try database.run(
            "DELETE FROM \(name(Self.positionTable)) WHERE pipeline_id = \(id.starRocksLiteral) AND revision < \(revision)",
            operation: "tidy position"
        )
    }

    func write(
        _ rows: StarRocksRows,
        _ table: String,
        _ columns: [String],
        label: String,
        operation: String,
        lsn: LSN? = nil,
        deadline: ContinuousClock.Instant
    ) throws(SinkError) -> Bool {
        let load = StarRocksClient.Load(
            table: table,
            label: label,
            columns: columns.map(\.starRocksIdentifier).joined(separator: ","),
            separators: rows.separators,
            compression: .none,
            rows: rows.count
        )
        let outcome = rows.body.withUnsafeBytes {
            client.send($0, load, operation: operation, lsn: lsn, deadline: deadline)
        }
        switch outcome {
        case .loaded(true): return true
        case .loaded(false):
            try awaitVisible(label, operation: operation, deadline: deadline)
            return true
        case .labelExists: return false
        case .failed(let error): throw error.ofTarget
        case .unknown(let error):
            // The label tells; and where it does not, sending the same again under it does no harm.
            switch try settled(label, operation: operation, deadline: deadline) {
            case .visible, .committed: return true
            case .aborted, .unknown, .running: throw error
            }
        }
    }

    /// Waits until a label runs no more, and what is committed is visible.
    func settled(_ label: String, operation: String, deadline: ContinuousClock.Instant) throws(SinkError)
        -> StarRocksClient.LabelState
    {
        var pause = Duration.milliseconds(20)
        while true {
            let state = try client.state(of: label, operation: operation, deadline: deadline)
            if state == .visible || state == .aborted || state == .unknown { return state }
            if config.cancellation.isCancelled || .now + pause >= deadline {
                throw SinkError(
                    .retriable,
                    operation: operation,
                    cause: state == .running
                        ? "the load with label \(label) is still running"
                        : "the load with label \(label) is not visible yet",
                    remedy: "waiting for it"
                ).ofTarget
            }
            sleep(for: pause)
            pause = min(pause * 2, .seconds(1))
        }
    }

    func awaitVisible(_ label: String, operation: String, deadline: ContinuousClock.Instant) throws(SinkError) {
        _ = try settled(label, operation: operation, deadline: deadline)
    }

    // MARK: Tables

    /// The tables registered for the pipeline.
    func registrations() throws(SinkError) -> [TableRef: Registration] {
        let rows = try database.rows(
            "SELECT source_schema, source_table, sink_table, consistent_point, source_oid FROM \(name(Self.tableTable)) "
                + "WHERE pipeline = \(pipeline.starRocksLiteral)",
            operation: "read copy state"
        )
        var found: [TableRef: Registration] = [:]
        for row in rows.map({ $0.map { $0 ?? "" } }) {
            guard row.count == 5, let oid = UInt32(row[4]) else { throw corrupt(Self.tableTable) }
            let point = LSN(row[3])
            guard row[3].isEmpty || point != nil else { throw corrupt(Self.tableTable) }
            found[TableRef(schema: row[0], name: row[1])] = Registration(
                sinkTable: row[2],
                consistentPoint: point,
                sourceOID: oid == 0 ? nil : oid
            )
        }
        return found
    }

    /// Which other pipeline has a table here, by the table's name.
    func owners() throws(SinkError) -> [[UInt8]: String] {
        let rows = try database.rows(
            "SELECT sink_table, pipeline FROM \(name(Self.tableTable)) WHERE pipeline <> \(pipeline.starRocksLiteral)",
            operation: "read copy state"
        )
        return Dictionary(rows.map { (Array(($0[0] ?? "").utf8), $0[1] ?? "") }) { first, _ in first }
    }

    /// Registers tables, with how far their copy is: nil where it is not complete.
    ///
    /// False where the revision was written before.
    func register(
        _ tables: [TableSchema],
        at point: LSN?,
        revision: UInt64,
        deadline: ContinuousClock.Instant
    ) throws(SinkError) -> Bool {
        guard !tables.isEmpty else { return true }
        let now = Timestamp.starRocks()
        let rows = try StarRocksRows(
            tables.map { table in
                [
                    Self.hash(pipeline, table.ref.schema, table.ref.name), pipeline, table.ref.schema, table.ref.name,
                    table.sinkName, point?.description ?? "", String(table.oid), now,
                ]
            },
            operation: "store copy state"
        )
        return try write(
            rows,
            Self.tableTable,
            [
                "id", "pipeline", "source_schema", "source_table", "sink_table", "consistent_point", "source_oid",
                "updated_at",
            ],
            label: label(revision),
            operation: "store copy state",
            deadline: deadline
        )
    }

    /// What makes the next start copy a table again.
    func forgetStatement(_ table: TableRef) -> String {
        "DELETE FROM \(name(Self.tableTable)) WHERE id = "
            + "\(Self.hash(pipeline, table.schema, table.name).starRocksLiteral);"
    }

    private func corrupt(_ table: String) -> SinkError {
        .corruptState(of: pipeline, in: "\(config.database).\(table)")
    }
}
