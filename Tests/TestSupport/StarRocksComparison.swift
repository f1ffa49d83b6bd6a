/// How a column of StarRocks is read so that PostgreSQL's text of its values can be told.
struct StarRocksColumn {
    private enum Form {
        case text
        case bytes
        case bool
        case float32
        case float64
        case money
        case moment(hasZone: Bool)
    }

    /// What SELECT has to ask for.
    let expression: String
    private let form: Form

    /// A column of a type as information_schema names it, for a source column of a type.
    init(name: String, type: String, sourceType: UInt32) {
        let column = StarRocksServer.quote(name)
        expression = type.hasPrefix("varbinary") ? "hex(\(column))" : column
        form =
            switch type.prefix(while: { $0 != "(" }) {
            case "varbinary": .bytes
            case "boolean": .bool
            case "tinyint" where type == "tinyint(1)": .bool
            case "float": .float32
            case "double": .float64
            case "datetime": .moment(hasZone: sourceType == 1184)
            case "decimal" where sourceType == 790: .money
            default: .text
            }
    }

    /// PostgreSQL's text of a fetched value; nil when it is none of the column's type.
    func text(_ fetched: String) -> String? {
        switch form {
        case .text: fetched
        case .bytes: "\\x" + fetched.lowercased()
        case .bool: fetched == "1" ? "t" : fetched == "0" ? "f" : nil
        case .float32: Float(fetched).map { PostgresText.float($0) }
        case .float64: Double(fetched).map { PostgresText.double($0) }
        case .money: PostgresText.money(fetched)
        case .moment(let hasZone): Self.moment(fetched) + (hasZone ? "+00" : "")
        }
    }

    private static func moment(_ text: String) -> String {
        guard text.contains(".") else { return text }
        var text = text
        while text.hasSuffix("0") { text.removeLast() }
        return text
    }
}

extension StarRocksServer {
    /// A name in back-ticks.
    public static func quote(_ name: String) -> String {
        "`" + name.split(separator: "`", omittingEmptySubsequences: false).joined(separator: "``") + "`"
    }

    /// A text in quotes.
    public static func literal(_ text: String) -> String {
        var result = "'"
        for scalar in text.unicodeScalars {
            if scalar == "'" || scalar == "\\" { result.unicodeScalars.append("\\") }
            result.unicodeScalars.append(scalar)
        }
        return result + "'"
    }

    /// The types of a table's columns by name; empty when there is no such table.
    public func columnTypes(of table: String, database: String) throws -> [String: String] {
        let rows = try query(
            "SELECT COLUMN_NAME, COLUMN_TYPE FROM information_schema.columns WHERE TABLE_SCHEMA = "
                + "\(Self.literal(database)) AND TABLE_NAME = \(Self.literal(table))"
        )
        var types: [String: String] = [:]
        for row in rows { if let name = row[0], let type = row[1] { types[name.lowercased()] = type } }
        return types
    }

    /// The rows of a table, live ones unless said otherwise, as PostgreSQL prints their values, and `more` as text behind them.
    public func postgresRows(
        of table: String,
        database: String,
        columns: [(name: String, typeOID: UInt32)],
        more: [String] = [],
        onlyLive: Bool = true
    ) throws -> [[String?]] {
        let types = try columnTypes(of: table, database: database)
        let readers = try columns.map { column in
            guard let type = types[column.name.lowercased()] else {
                throw HarnessError("table \(table): no column \(column.name) in StarRocks")
            }
            return StarRocksColumn(name: column.name, type: type, sourceType: column.typeOID)
        }
        let list = (readers.map(\.expression) + more).joined(separator: ", ")
        let filter = onlyLive ? " WHERE dbmazz_is_deleted = false" : ""
        let name = "\(Self.quote(database)).\(Self.quote(table))"
        return try query("SELECT \(list) FROM \(name)\(filter)").map { row in
            try row.enumerated().map { index, field in
                guard let field, index < readers.count else { return field }
                guard let text = readers[index].text(field) else {
                    throw HarnessError("table \(table): \(columns[index].name) holds \(field)")
                }
                return text
            }
        }
    }

    /// The commit end LSN that the sink stored; nil before the first copy is complete.
    func position(_ pipeline: String?, database: String) throws -> UInt64? {
        guard try !columnTypes(of: "dbmazz_position", database: database).isEmpty else { return nil }
        let filter = pipeline.map { " WHERE pipeline = \(Self.literal($0))" } ?? ""
        let rows = try query(
            "SELECT lsn FROM \(Self.quote(database)).dbmazz_position\(filter) ORDER BY revision DESC LIMIT 1"
        )
        return rows.first?[0].flatMap(parseLSN)
    }
}

/// A database of an emulated StarRocks.
public struct StarRocksDatabase: Sendable {
    /// The server.
    public let server: StarRocksServer
    /// The database.
    public let name: String

    /// Names a database.
    public init(_ server: StarRocksServer, _ name: String) {
        self.server = server
        self.name = name
    }
}

extension Model {
    /// What differs between this model and the live rows of a StarRocks database; nothing should write meanwhile.
    func differences(from target: StarRocksDatabase, limit: Int = 10) throws -> [String] {
        var found = Model(shapes: shapes)
        var lines: [String] = []
        for (table, shape) in shapes.enumerated() {
            let rows: [[String?]]
            do {
                rows = try target.server.postgresRows(
                    of: shape.sqliteName,
                    database: target.name,
                    columns: shape.columns.map { ($0.name, $0.typeOID) }
                )
            } catch let error as HarnessError {
                lines.append("\(error)")
                continue
            }
            for row in rows {
                var whole = RowEncoder()
                var key = RowEncoder()
                for (column, text) in zip(shape.columns, row) {
                    Self.append(text, to: &whole, column)
                    if column.isKey { Self.append(text, to: &key, column) }
                }
                if !shape.hasKey {
                    found.contents[table].copies[whole.bytes, default: 0] += 1
                } else if found.contents[table].rows.updateValue(whole.bytes, forKey: key.bytes) != nil {
                    lines.append("table \(shape.sqliteName): key \(RowEncoder.describe(key.bytes)) is there twice")
                }
            }
        }
        return lines + differences(from: found, limit: limit)
    }

    private static func append(_ text: String?, to encoder: inout RowEncoder, _ column: TableShape.Column) {
        guard let text else { return encoder.append(expected: nil, column.kind, isKey: column.isKey) }
        // libpq's decoders want a zero byte behind.
        let bytes = Array(text.utf8) + [0]
        bytes.withUnsafeBytes { bytes in
            let content = UnsafeRawBufferPointer(rebasing: bytes.dropLast())
            encoder.append(expected: content, column.kind, isKey: column.isKey)
        }
    }
}

/// Compares source tables with those of a StarRocks database directly, row by row.
///
/// - Parameters:
///   - source: A connection with the pinned session settings; nothing should write meanwhile.
///   - starrocks: The database.
///   - tables: `schema.table`, or `table` for the schema public; unquoted.
/// - Returns: The differences, empty when all is equal.
/// - Throws: `PgError`, or `HarnessError` for a table that is not there.
public func compareWithSource(
    _ source: PgClient,
    starrocks: StarRocksDatabase,
    tables: [String]
) throws -> [String] {
    let shapes = try tables.map { name in
        let parts = name.split(separator: ".", maxSplits: 1).map(String.init)
        return try TableShape(source, schema: parts.count == 2 ? parts[0] : "public", table: parts.last ?? name)
    }
    return try Model(shapes: shapes, from: source).differences(from: starrocks)
}
