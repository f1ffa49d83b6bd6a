internal import CdcCore

/// What the database has under the names that are wanted.
struct StarRocksCatalog {
    struct Table {
        /// `PRIMARY_KEYS`, `DUP_KEYS` and the like; empty for a view.
        var model = ""
        var columns: [Column] = []

        struct Column {
            let name: String
            let type: String
            let isNullable: Bool
            let isKey: Bool
        }

        /// The key's columns, in the table's order.
        var key: [String] { columns.filter(\.isKey).map(\.name) }
    }

    /// By the bytes of their names, which the server compares as they are.
    var tables: [[UInt8]: Table] = [:]
    var registrations: [TableRef: StarRocksState.Registration] = [:]
    var owners: [[UInt8]: String] = [:]

    subscript(name: String) -> Table? { tables[Array(name.utf8)] }

    /// Reads information_schema.
    ///
    /// See https://docs.starrocks.io/docs/sql-reference/information_schema/tables_config/
    init(_ names: [String], _ state: StarRocksState) throws(SinkError) {
        let operation = "read catalog"
        let database = state.database
        let schema = state.config.database.starRocksLiteral
        let known = try database.rows(
            "SELECT TABLE_NAME FROM information_schema.tables WHERE TABLE_SCHEMA = \(schema)",
            operation: operation
        )
        let there = Set(known.compactMap { $0.first.flatMap { $0 }.map { Array($0.utf8) } })
        let wanted = names.filter { there.contains(Array($0.utf8)) }
        if !wanted.isEmpty {
            let list = wanted.map(\.starRocksLiteral).joined(separator: ", ")
            for name in wanted { tables[Array(name.utf8)] = Table() }
            for row in try database.rows(
                "SELECT TABLE_NAME, TABLE_MODEL FROM information_schema.tables_config WHERE TABLE_SCHEMA = \(schema) "
                    + "AND TABLE_NAME IN (\(list))",
                operation: operation
            ) {
                tables[Array((row[0] ?? "").utf8)]?.model = row[1] ?? ""
            }
            for row in try database.rows(
                "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_KEY FROM information_schema.columns "
                    + "WHERE TABLE_SCHEMA = \(schema) AND TABLE_NAME IN (\(list)) ORDER BY TABLE_NAME, ORDINAL_POSITION",
                operation: operation
            ) {
                tables[Array((row[0] ?? "").utf8)]?.columns.append(
                    Table.Column(
                        name: row[1] ?? "",
                        type: row[2] ?? "",
                        isNullable: row[3]?.uppercased() == "YES",
                        isKey: row[4]?.uppercased() == "PRI"
                    )
                )
            }
        }
        let tableTable = Array(StarRocksState.tableTable.utf8)
        if there.contains(tableTable) {
            registrations = try state.registrations()
            owners = try state.owners()
        }
    }
}
