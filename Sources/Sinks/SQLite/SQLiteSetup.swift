internal import CdcCore

/// Creates what is missing in the file and compares what is there.
///
/// Finds every difference before it reports.
struct SQLiteSetup {
    let connection: SQLiteConnection
    let config: SQLiteConfig
    let pipeline: PipelineIdentity

    private var state: SQLiteState { SQLiteState(connection: connection) }

    /// What is to be done for one table, or why it cannot be taken.
    private struct Verdict {
        var statements: [String] = []
        var differences: [TableDifference] = []
    }

    /// Throws where names cannot lie side by side in one file; looks at no file.
    static func refuseNames(of tables: [TableSchema], _ config: SQLiteConfig) throws(SinkError) {
        let problems = SQLiteNames(auditColumns: config.auditColumns).problems(of: tables)
        if let error = problems.error(.configuration) { throw error }
    }

    /// Runs inside a transaction of the caller, who rolls back on an error: either everything is set up or nothing.
    func run(_ tables: [TableSchema]) throws(SinkError) {
        try state.create()
        try checkIdentity()
        let verdicts = try verdicts(tables)
        if let error = verdicts.flatMap(\.differences).error(.schemaMismatch) { throw error }
        for (table, verdict) in zip(tables, verdicts) { try execute(verdict.statements, for: table) }
        try state.saveIdentity(pipeline)
        for table in tables { try state.register(table, pipeline.name) }
    }

    /// What ``run(_:)`` would do and refuse; changes nothing.
    func plan(_ tables: [TableSchema]) throws(SinkError) -> [TablePlan] {
        let problems = nameProblems(of: tables)
        try checkIdentity()
        let verdicts = try verdicts(tables)
        return zip(tables, verdicts).map { table, verdict in
            let differences = problems.filter { $0.table == table.ref } + verdict.differences
            return TablePlan(
                table: table.ref,
                sinkName: table.sinkName,
                columns: SQLiteColumn.all(of: table, config).map {
                    TablePlan.Column(name: $0.name, type: $0.declaredType)
                },
                statements: verdict.statements,
                problems: differences.map { "\($0.cause); \($0.remedy)" }
            )
        }
    }

    private func nameProblems(of tables: [TableSchema]) -> [TableDifference] {
        SQLiteNames(auditColumns: config.auditColumns).problems(of: tables)
    }

    private func verdicts(_ tables: [TableSchema]) throws(SinkError) -> [Verdict] {
        let isKnown = try state.hasTables()
        let registered = isKnown ? try state.registrations(pipeline.name) : [:]
        var verdicts: [Verdict] = []
        for table in tables {
            verdicts.append(try judge(table, registered: registered[table.ref], isKnown: isKnown))
        }
        return verdicts
    }

    private func execute(_ statements: [String], for table: TableSchema) throws(SinkError) {
        do throws(SinkError) {
            for statement in statements { try connection.execute(statement, operation: "create table") }
        } catch {
            var error = error
            error.table = table.ref
            throw error
        }
    }

    private func checkIdentity() throws(SinkError) {
        try pipeline.requireSystem(try state.load(pipeline.name)?.source.systemIdentifier, "in \(connection.path)")
    }

    // MARK: One table

    private func judge(
        _ table: TableSchema,
        registered: SQLiteState.Registration?,
        isKnown: Bool
    ) throws(SinkError) -> Verdict {
        let there = try SQLiteTable.read(table.sinkName, connection)
        if let registered {
            if registered.sinkTable.sqliteFolded != table.sinkName.sqliteFolded {
                return Verdict(differences: [renamed(table, from: registered.sinkTable)])
            }
            if there == nil && registered.consistentPoint != nil { return Verdict(differences: [lost(table)]) }
        } else if isKnown, let owner = try owner(of: table.sinkName) {
            return Verdict(differences: [.owned(table, by: owner, settings: "SINK_TABLE_NAME or SINK_URL")])
        }
        guard let there else { return Verdict(statements: creation(of: table)) }
        // Whatever its columns: rows of somebody else are not to be dropped.
        if registered == nil, there.isTable, there.isStrict, try !isEmpty(table.sinkName) {
            return Verdict(differences: [.foreign(table)])
        }
        return Verdict(differences: compare(table, there))
    }

    private func creation(of table: TableSchema) -> [String] {
        var parts = SQLiteColumn.all(of: table, config).map(\.definition)
        if table.hasKey {
            // A single INTEGER column becomes SQLite's own row number this way: one tree instead of two.
            let key = table.key.map { table.columns[$0].name.quotedIdentifier }.joined(separator: ", ")
            parts.append("PRIMARY KEY(\(key))")
        }
        let create = "CREATE TABLE \(table.sinkName.quotedIdentifier)(\(parts.joined(separator: ", "))) STRICT"
        return [create] + [oldRowIndex(table)].compactMap(\.self)
    }

    /// Without a key, under REPLICA IDENTITY FULL, each update and delete looks its row up by its values: without an index
    /// that reads the whole table each time.
    private func oldRowIndex(_ table: TableSchema) -> String? {
        guard !table.hasKey, table.identity == .full else { return nil }
        let narrow = table.columns.filter { $0.type.isNarrow }.prefix(4)
        let columns = narrow.isEmpty ? table.columns.prefix(1) : narrow
        guard !columns.isEmpty else { return nil }
        let names = columns.map { $0.name.quotedIdentifier }.joined(separator: ", ")
        let index = SQLiteSetup.oldRowIndexName(table).quotedIdentifier
        return "CREATE INDEX \(index) ON \(table.sinkName.quotedIdentifier)(\(names))"
    }

    private static func oldRowIndexName(_ table: TableSchema) -> String { "dbmazz_old_row_\(table.sinkName)" }

    private func isEmpty(_ name: String) throws(SinkError) -> Bool {
        try connection.rows("SELECT 1 FROM \(name.quotedIdentifier) LIMIT 1", operation: "look into table").isEmpty
    }

    /// The pipeline that another registration of the table belongs to.
    private func owner(of name: String) throws(SinkError) -> String? {
        let rows = try connection.rows(
            "SELECT pipeline FROM \(SQLiteState.tableTable) WHERE sink_table=?1 COLLATE NOCASE LIMIT 1",
            [name],
            operation: "read copy state"
        )
        return rows.first?.first ?? nil
    }

    // MARK: Comparison

    private func compare(_ table: TableSchema, _ there: SQLiteTable) -> [TableDifference] {
        guard there.isTable, there.isStrict else {
            return [
                TableDifference(
                    table: table.ref,
                    cause:
                        "\"\(there.name)\" at the sink is \(there.isTable ? "a table that is not STRICT" : "no table")",
                    remedy: "rename it, or set SINK_TABLE_NAME"
                )
            ]
        }
        return compareColumns(table, there) + compareKey(table, there)
    }

    private func compareColumns(_ table: TableSchema, _ there: SQLiteTable) -> [TableDifference] {
        let name = table.sinkName.quotedIdentifier
        var differences: [TableDifference] = []
        func add(_ cause: String, _ remedy: String) {
            differences.append(TableDifference(table: table.ref, cause: cause, remedy: remedy))
        }
        var extra = there.columns
        for wanted in SQLiteColumn.all(of: table, config) {
            let quoted = wanted.name.quotedIdentifier
            guard let place = extra.firstIndex(where: { $0.name.sqliteFolded == wanted.name.sqliteFolded }) else {
                add("column \(quoted) is missing", "ALTER TABLE \(name) ADD COLUMN \(quoted) \(wanted.declaredType);")
                continue
            }
            let found = extra.remove(at: place)
            if found.type.sqliteFolded != wanted.declaredType.sqliteFolded {
                add(
                    "column \(quoted) is \(found.type) instead of \(wanted.declaredType)",
                    copyAnew(table)
                )
            } else if found.isNotNull && wanted.isNullable && !there.key.contains(found.name) {
                add("column \(quoted) is NOT NULL", copyAnew(table))
            }
        }
        for column in extra {
            let quoted = column.name.quotedIdentifier
            // SQLite does not drop a column that an index uses, and ours for old rows may.
            let index =
                table.hasKey ? "" : "DROP INDEX IF EXISTS \(SQLiteSetup.oldRowIndexName(table).quotedIdentifier); "
            // Without its mark a deleted row would be a live one again.
            let isMark = column.name.sqliteFolded == AuditColumn.isDeleted.rawValue.sqliteFolded
            let purge = isMark ? "DELETE FROM \(name) WHERE \(quoted); " : ""
            add("column \(quoted) is not in the source", "\(purge)\(index)ALTER TABLE \(name) DROP COLUMN \(quoted);")
        }
        return differences
    }

    /// What ALTER TABLE cannot mend: forget the table, and the next start copies it.
    private func copyAnew(_ table: TableSchema) -> String {
        "DROP TABLE \(table.sinkName.quotedIdentifier); DELETE FROM \(SQLiteState.tableTable) \(registration(table)); "
            + "(the next start copies the table anew)"
    }

    private func compareKey(_ table: TableSchema, _ there: SQLiteTable) -> [TableDifference] {
        let wanted = table.key.map { table.columns[$0].name }
        guard wanted.map(\.sqliteFolded) != there.key.map(\.sqliteFolded) else { return [] }
        func list(_ names: [String]) -> String {
            names.isEmpty ? "no key" : "the key (\(names.map(\.quotedIdentifier).joined(separator: ", ")))"
        }
        return [
            TableDifference(
                table: table.ref,
                cause: "it has \(list(there.key)) instead of \(list(wanted))",
                remedy: copyAnew(table)
            )
        ]
    }

    // MARK: Reports

    private func renamed(_ table: TableSchema, from old: String) -> TableDifference {
        let rename = "ALTER TABLE \(old.quotedIdentifier) RENAME TO \(table.sinkName.quotedIdentifier);"
        let register =
            "UPDATE \(SQLiteState.tableTable) SET sink_table=\(table.sinkName.quotedLiteral) \(registration(table));"
        return .renamed(table, from: old, remedy: "\(rename) \(register)")
    }

    private func lost(_ table: TableSchema) -> TableDifference {
        .lost(table, forget: "DELETE FROM \(SQLiteState.tableTable) \(registration(table));")
    }

    private func registration(_ table: TableSchema) -> String {
        "WHERE pipeline=\(pipeline.name.quotedLiteral) AND source_schema=\(table.ref.schema.quotedLiteral) "
            + "AND source_table=\(table.ref.name.quotedLiteral)"
    }
}

extension DataType {
    /// Whether values are short, so that an index over them is small.
    fileprivate var isNarrow: Bool {
        switch self {
        case .boolean, .int16, .int32, .int64, .uint32, .uint64, .float32, .float64, .decimal, .uuid, .date, .time,
            .timestamp, .timestampTz:
            true
        case .string, .text, .json, .jsonb, .bytes, .other: false
        }
    }
}

/// A table as SQLite's catalog has it.
struct SQLiteTable {
    struct Column {
        let name: String
        let type: String
        let isNotNull: Bool
    }

    let name: String
    let isTable: Bool
    let isStrict: Bool
    let columns: [Column]
    /// The names of the key's columns, in the key's order.
    let key: [String]

    /// Nil if nothing has the name.
    static func read(_ name: String, _ connection: SQLiteConnection) throws(SinkError) -> SQLiteTable? {
        let operation = "read catalog"
        let rows = try connection.rows(
            "SELECT name, type, strict FROM pragma_table_list WHERE schema='main' AND name=?1 COLLATE NOCASE",
            [name],
            operation: operation
        )
        guard let row = rows.first else { return nil }
        let columns = try connection.rows(
            "SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo(?1)",
            [row[0]],
            operation: operation
        )
        let key = columns.compactMap { column in
            column[3].flatMap { Int($0) }.flatMap { place in place > 0 ? (place, column[0] ?? "") : nil }
        }
        return SQLiteTable(
            name: row[0] ?? name,
            isTable: row[1] == "table",
            isStrict: row[2] == "1",
            columns: columns.map { Column(name: $0[0] ?? "", type: $0[1] ?? "", isNotNull: $0[2] == "1") },
            key: key.sorted { $0.0 < $1.0 }.map(\.1)
        )
    }
}
