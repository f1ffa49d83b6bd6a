/// A source table as the daemon should see it: its published columns, how each is kept, and which identify a row.
public struct TableShape: Sendable {
    /// A published column.
    public struct Column: Sendable {
        /// Its name.
        public let name: String
        /// How its values are kept in SQLite.
        public let kind: ColumnKind
        /// Whether it belongs to the key.
        public let isKey: Bool
        /// The OID of its type, of a domain that of the type below.
        let typeOID: UInt32
    }

    /// The schema's name.
    public let schema: String
    /// The table's name.
    public let name: String
    /// In their order, without generated columns.
    public let columns: [Column]

    /// Whether rows are identified at all; else they form a multiset.
    public var hasKey: Bool { columns.contains(where: \.isKey) }
    /// The name of the table in SQLite.
    public var sqliteName: String { schema == "public" ? name : "\(schema)_\(name)" }
    /// The quoted, qualified name in PostgreSQL.
    public var qualifiedName: String { quoteIdentifier(schema) + "." + quoteIdentifier(name) }

    /// Reads a table's shape from the catalog of the source.
    ///
    /// The key is the replica identity's: the primary key (also under FULL), or the columns of the chosen index.
    public init(_ client: PgClient, schema: String, table: String) throws {
        self.schema = schema
        name = table
        let rows = try client.query(
            """
            WITH RECURSIVE base AS (
                SELECT a.attnum, a.attname, a.atttypid AS type FROM pg_attribute a
                WHERE a.attrelid = $1::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
              UNION ALL
                SELECT b.attnum, b.attname, t.typbasetype FROM base b JOIN pg_type t ON t.oid = b.type
                WHERE t.typtype = 'd')
            SELECT b.attname, b.type, coalesce(b.attnum = ANY (i.indkey), false) FROM base b
            JOIN pg_type t ON t.oid = b.type AND t.typtype <> 'd'
            LEFT JOIN pg_index i ON i.indrelid = $1::regclass AND CASE
                (SELECT relreplident FROM pg_class WHERE oid = $1::regclass)
                WHEN 'i' THEN i.indisreplident WHEN 'n' THEN false ELSE i.indisprimary END
            ORDER BY b.attnum
            """,
            [quoteIdentifier(schema) + "." + quoteIdentifier(table)]
        )
        columns = try rows.map { row in
            guard let name = row[0], let type = row[1].flatMap({ UInt32($0) }) else {
                throw HarnessError("the catalog's answer for \(schema).\(table) is not understood")
            }
            return Column(name: name, kind: ColumnKind(typeOID: type), isKey: row[2] == "t", typeOID: type)
        }
        guard !columns.isEmpty else { throw HarnessError("\(schema).\(table) has no columns") }
    }

    /// `SELECT` of all columns from PostgreSQL.
    var sourceSelect: String {
        "SELECT " + columns.map { quoteIdentifier($0.name) }.joined(separator: ", ") + " FROM " + qualifiedName
    }

    /// `SELECT` of all columns from SQLite; qualified, since SQLite takes an unknown "name" for a text.
    var sqliteSelect: String {
        let table = quoteIdentifier(sqliteName)
        return "SELECT " + columns.map { table + "." + quoteIdentifier($0.name) }.joined(separator: ", ")
            + " FROM " + table
    }

    /// Encodes a row of a PostgreSQL result whose columns begin at `first`.
    func row(_ result: PgResult, _ index: Int, first: Int = 0) -> Bytes {
        var encoder = RowEncoder()
        for (number, column) in columns.enumerated() {
            encoder.append(expected: result.bytes(index, first + number), column.kind, isKey: column.isKey)
        }
        return encoder.bytes
    }

    /// Encodes the key of a row of a PostgreSQL result.
    func key(_ result: PgResult, _ index: Int) -> Bytes {
        var encoder = RowEncoder()
        for (number, column) in columns.enumerated() where column.isKey {
            encoder.append(expected: result.bytes(index, number), column.kind, isKey: true)
        }
        return encoder.bytes
    }

    /// Encodes a key given as PostgreSQL's texts of the key columns.
    func key(_ values: [String]) -> Bytes {
        var encoder = RowEncoder()
        for (column, value) in zip(columns.lazy.filter(\.isKey), values) {
            value.withCString { text in
                let bytes = UnsafeRawBufferPointer(start: text, count: value.utf8.count)
                encoder.append(expected: bytes, column.kind, isKey: true)
            }
        }
        return encoder.bytes
    }

    /// Encodes a row of SQLite and its key.
    func found(_ row: SQLiteRow) -> (key: Bytes, row: Bytes) {
        var whole = RowEncoder()
        var key = RowEncoder()
        for (number, column) in columns.enumerated() {
            whole.append(found: row, number, column.kind)
            if column.isKey { key.append(found: row, number, column.kind) }
        }
        return (key.bytes, whole.bytes)
    }

    /// Names the columns in which two encoded rows differ.
    func differences(expected: Bytes, found: Bytes) -> String {
        let pairs = zip(RowEncoder.describe(expected), RowEncoder.describe(found))
        return zip(columns, pairs).filter { $1.0 != $1.1 }
            .map { "column \($0.name): expected \($1.0), found \($1.1)" }
            .joined(separator: "; ")
    }
}

/// A name in double quotes, as PostgreSQL and SQLite read it.
public func quoteIdentifier(_ name: String) -> String {
    "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
}
