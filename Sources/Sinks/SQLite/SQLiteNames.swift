internal import CdcCore

/// Names that PostgreSQL tells apart and SQLite does not, or that SQLite or the sink keep for themselves.
struct SQLiteNames {
    let auditColumns: Bool

    /// Everything that keeps the tables from lying side by side in one file.
    func problems(of tables: [TableSchema]) -> [TableDifference] {
        var problems: [TableDifference] = []
        var seen: [[UInt8]: TableSchema] = [:]
        for table in tables {
            if let other = seen.updateValue(table, forKey: table.sinkName.sqliteFolded) {
                problems.append(same(table, as: other))
            }
            if let cause = reserved(table.sinkName) {
                problems.append(TableDifference(table: table.ref, cause: cause, remedy: SQLiteNames.renameTable))
            }
            problems += columnProblems(of: table)
        }
        return problems
    }

    private static let renameTable =
        "set SINK_TABLE_NAME so that every table has a name of its own, or leave it out of SOURCE_TABLES"

    private func same(_ table: TableSchema, as other: TableSchema) -> TableDifference {
        let names =
            table.sinkName == other.sinkName
            ? "\"\(table.sinkName)\"" : "\"\(table.sinkName)\" and \"\(other.sinkName)\""
        return TableDifference(
            table: table.ref,
            cause: "it and \(other.ref) have one name at the sink (\(names), without regard to case)",
            remedy: SQLiteNames.renameTable
        )
    }

    private func reserved(_ name: String) -> String? {
        let folded = name.sqliteFolded
        if name.isEmpty { return "its name at the sink is empty" }
        if folded.starts(with: "sqlite_".utf8) {
            return "the name \"\(name)\" begins with sqlite_, which SQLite reserves"
        }
        let own = [SQLiteState.positionTable, SQLiteState.tableTable, SQLiteState.deadLetterTable]
        if own.contains(where: { folded == Array($0.utf8) }) {
            return "the name \"\(name)\" is that of the sink's own table"
        }
        return nil
    }

    private func columnProblems(of table: TableSchema) -> [TableDifference] {
        var problems: [TableDifference] = []
        var seen: [[UInt8]: String] = [:]
        let audit = auditColumns ? Set(AuditColumn.allCases.map { Array($0.rawValue.utf8) }) : []
        func add(_ cause: String) {
            problems.append(
                TableDifference(
                    table: table.ref,
                    cause: cause,
                    remedy: "rename the column at the source, or leave it out of the publication"
                )
            )
        }
        for column in table.columns {
            if let other = seen.updateValue(column.name, forKey: column.name.sqliteFolded) {
                add("columns \"\(other)\" and \"\(column.name)\" have one name at the sink, without regard to case")
            }
            if audit.contains(column.name.sqliteFolded) {
                add("column \"\(column.name)\" has the name of an audit column")
            }
        }
        if table.columns.isEmpty { add("it has no columns, and SQLite has no such tables") }
        if !table.hasKey && SQLiteStatements.rowid(of: table) == nil {
            add("it has no key, and columns \"rowid\", \"_rowid_\" and \"oid\" hide SQLite's row number")
        }
        return problems
    }
}
