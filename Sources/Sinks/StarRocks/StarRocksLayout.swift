internal import CdcCore

/// A table as the sink writes it: columns in the order of every load, and the statements about it.
struct StarRocksLayout: Sendable {
    let schema: TableSchema
    /// Of the source's columns, in their order.
    let columns: [StarRocksColumn]
    let database: String

    /// A table without a key tells its rows apart by the first of these: where a row was inserted; and finds them by the second.
    static let rowID = "dbmazz_row_id"
    static let rowHash = "dbmazz_row_hash"

    var ref: TableRef { schema.ref }
    /// With the database, quoted.
    var name: String { "\(database.starRocksIdentifier).\(schema.sinkName.starRocksIdentifier)" }

    /// Names of the key's columns at the target, in the key's order.
    var keyNames: [String] { schema.hasKey ? schema.key.map { columns[$0].name } : [Self.rowID] }

    /// The columns that the sink adds, with their types; those of the key first.
    static func added(to schema: TableSchema) -> [(name: String, type: String)] {
        let ids = schema.hasKey ? [] : [(rowID, "LARGEINT"), (rowHash, "LARGEINT")]
        return ids + [
            (AuditColumn.operation.rawValue, "TINYINT"), (AuditColumn.isDeleted.rawValue, "BOOLEAN"),
            (AuditColumn.syncedAt.rawValue, "DATETIME"), (AuditColumn.version.rawValue, "LARGEINT"),
        ]
    }

    private static let comments: [String: String] = [
        AuditColumn.operation.rawValue: "0 insert, 1 update, 2 delete",
        AuditColumn.isDeleted.rawValue: "deleted at the source",
        AuditColumn.syncedAt.rawValue: "written here at, UTC",
        AuditColumn.version.rawValue: "commit LSN * 2^64 + ordinal in the transaction",
        rowID: "where the row was inserted",
        rowHash: "of the row's content",
    ]

    // MARK: Loads

    /// The `columns` header, for rows that have the source's columns `present`.
    ///
    /// With `isShifted` texts have a letter before them; with `hasOperation` a cell at the end says if the row is to go.
    func columnsHeader(_ present: [Int], isShifted: Bool, hasOperation: Bool) -> String {
        var names: [String] = []
        var derived: [String] = []
        for index in present {
            let column = columns[index]
            let quoted = column.name.starRocksIdentifier
            let temporary = "dbmazz_cell_\(index)"
            switch column.encoding.kind {
            case .bytes:
                // What a back end makes of a bare VARBINARY cell depends on its version.
                names.append(temporary)
                derived.append("\(quoted)=to_binary(\(temporary), 'hex')")
            case .text where isShifted:
                names.append(temporary)
                derived.append("\(quoted)=substr(\(temporary), 2)")
            default: names.append(quoted)
            }
        }
        names += Self.added(to: schema).map(\.name.starRocksIdentifier)
        if hasOperation { names.append("__op") }
        return (names + derived).joined(separator: ",")
    }

    // MARK: Making it

    /// The table: a primary-key table, the key's columns first.
    func createStatement(replicationNumber: Int?, version: StarRocksVersion) -> String {
        let added = Self.added(to: schema)
        let keys: [(name: String, type: String)] =
            schema.hasKey ? schema.key.map { (columns[$0].name, columns[$0].type) } : [added[0]]
        let others: [(name: String, type: String)] =
            columns.indices.filter { !schema.key.contains($0) }.map { (columns[$0].name, columns[$0].type) }
            + added.filter { $0.name != Self.rowID }
        let lines =
            keys.map { "    \($0.name.starRocksIdentifier) \($0.type) NOT NULL" }
            + others.map { column in
                let comment = Self.comments[column.name].map { " COMMENT \($0.starRocksLiteral)" } ?? ""
                return "    \(column.name.starRocksIdentifier) \(column.type) NULL\(comment)"
            }
        let key = keyNames.map(\.starRocksIdentifier).joined(separator: ", ")
        return """
            CREATE TABLE IF NOT EXISTS \(name)
            (
            \(lines.joined(separator: ",\n"))
            )
            PRIMARY KEY (\(key))
            DISTRIBUTED BY HASH (\(key))
            \(Self.properties(replicationNumber: replicationNumber, version: version))
            """
    }

    /// What every table of the sink has.
    static func properties(replicationNumber: Int?, version: StarRocksVersion) -> String {
        var properties = [("enable_persistent_index", "true")]
        if let replicationNumber { properties.insert(("replication_num", String(replicationNumber)), at: 0) }
        if version >= .fastSchemaEvolution { properties.append(("fast_schema_evolution", "true")) }
        return "PROPERTIES (" + properties.map { "\"\($0.0)\" = \"\($0.1)\"" }.joined(separator: ", ") + ")"
    }
}
