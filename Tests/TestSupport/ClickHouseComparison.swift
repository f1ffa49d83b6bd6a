extension Model {
    /// What differs between this model and the tables of a ClickHouse database, as FINAL shows them.
    ///
    /// ClickHouse has no snapshot over several tables: nothing should write meanwhile.
    func differences(from client: ClickHouseClient, limit: Int = 10) throws -> [String] {
        var found = Model(shapes: shapes)
        var lines: [String] = []
        for (table, shape) in shapes.enumerated() {
            do {
                if let line = try found.read(table, shape, from: client) { lines.append(line) }
            } catch let error as ClickHouseFailure {
                lines.append("table \(shape.sqliteName): \(error)")
            }
        }
        return lines + differences(from: found, limit: limit)
    }

    /// Reads a table, and tells what makes that impossible.
    private mutating func read(_ table: Int, _ shape: TableShape, from client: ClickHouseClient) throws -> String? {
        let types = try client.columnTypes(of: shape.sqliteName)
        guard !types.isEmpty else { return "table \(shape.sqliteName): missing in ClickHouse" }
        var columns: [ClickHouseColumn] = []
        for column in shape.columns {
            guard let type = types[column.name] else {
                return "table \(shape.sqliteName): no column \(column.name) in ClickHouse"
            }
            guard let read = ClickHouseColumn(name: column.name, type: type, sourceType: column.typeOID) else {
                return "table \(shape.sqliteName): column \(column.name) is \(type), which no value is compared with"
            }
            columns.append(read)
        }
        var problem: String?
        let list = columns.map(\.expression).joined(separator: ", ")
        // Where deletes are soft, the rows that are marked stay visible.
        let filter = types["dbmazz_is_deleted"] == nil ? "" : " WHERE dbmazz_is_deleted = 0"
        let name = ClickHouseClient.quote(shape.sqliteName)
        try client.forEachRow("SELECT \(list) FROM \(name) FINAL\(filter)") { fields in
            var whole = RowEncoder()
            var key = RowEncoder()
            for ((column, read), field) in zip(zip(shape.columns, columns), fields) {
                var text = field.flatMap { read.text($0) }
                if let field, text == nil {
                    problem =
                        "table \(shape.sqliteName): \(column.name) holds \(String(decoding: field, as: UTF8.self))"
                }
                // libpq's decoders want a zero byte behind.
                text?.append(0)
                Self.append(text, to: &whole, column)
                if column.isKey { Self.append(text, to: &key, column) }
            }
            if !shape.hasKey {
                contents[table].copies[whole.bytes, default: 0] += 1
            } else if contents[table].rows.updateValue(whole.bytes, forKey: key.bytes) != nil {
                problem = "table \(shape.sqliteName): key \(RowEncoder.describe(key.bytes)) is there twice"
            }
        }
        return problem
    }

    private static func append(_ text: [UInt8]?, to encoder: inout RowEncoder, _ column: TableShape.Column) {
        guard let text else { return encoder.append(expected: nil, column.kind, isKey: column.isKey) }
        text.withUnsafeBytes { bytes in
            let content = UnsafeRawBufferPointer(rebasing: bytes.dropLast())
            encoder.append(expected: content, column.kind, isKey: column.isKey)
        }
    }
}

extension ClickHouseClient {
    /// The types of a table's columns by name; empty when there is no such table.
    public func columnTypes(of table: String) throws -> [String: String] {
        let rows = try query(
            "SELECT name, type FROM system.columns WHERE database = currentDatabase() "
                + "AND table = \(ClickHouseClient.literal(table))"
        )
        var types: [String: String] = [:]
        for row in rows { if let name = row[0], let type = row[1] { types[name] = type } }
        return types
    }

    /// The commit end LSN that the sink stored; nil before the first copy is complete.
    func position(_ pipeline: String?) throws -> UInt64? {
        guard try value("EXISTS TABLE dbmazz_position") == "1" else { return nil }
        let filter = pipeline.map { " WHERE pipeline = \(ClickHouseClient.literal($0))" } ?? ""
        let rows = try query("SELECT lsn FROM dbmazz_position FINAL\(filter)")
        guard rows.count <= 1 else { throw HarnessError("dbmazz_position has \(rows.count) rows") }
        return rows.first?[0].flatMap(parseLSN)
    }
}

/// Compares source tables with those of a ClickHouse database directly, row by row.
///
/// - Parameters:
///   - source: A connection with the pinned session settings; nothing should write meanwhile.
///   - clickhouse: The database.
///   - tables: `schema.table`, or `table` for the schema public; unquoted.
/// - Returns: The differences, empty when all is equal.
/// - Throws: `PgError`, `ClickHouseFailure`, or `HarnessError` for a table that is not there.
public func compareWithSource(
    _ source: PgClient,
    clickhouse: ClickHouseClient,
    tables: [String]
) throws -> [String] {
    let shapes = try tables.map { name in
        let parts = name.split(separator: ".", maxSplits: 1).map(String.init)
        return try TableShape(source, schema: parts.count == 2 ? parts[0] : "public", table: parts.last ?? name)
    }
    return try Model(shapes: shapes, from: source).differences(from: clickhouse)
}

extension ClickHouseClient {
    /// The rows of a table, live ones unless said otherwise, as PostgreSQL prints their values, and `more` as text behind them.
    public func postgresRows(
        of table: String,
        columns: [(name: String, typeOID: UInt32)],
        more: [String] = [],
        onlyLive: Bool = true
    ) throws -> [[String?]] {
        let types = try columnTypes(of: table)
        let readers = try columns.map { column in
            guard let type = types[column.name],
                let reader = ClickHouseColumn(name: column.name, type: type, sourceType: column.typeOID)
            else { throw HarnessError("\(table).\(column.name) is \(types[column.name] ?? "missing")") }
            return reader
        }
        let list = (readers.map(\.expression) + more).joined(separator: ", ")
        let filter = onlyLive ? " WHERE dbmazz_is_deleted = 0" : ""
        var rows: [[String?]] = []
        try forEachRow("SELECT \(list) FROM \(ClickHouseClient.quote(table)) FINAL\(filter)") { fields in
            rows.append(
                fields.enumerated().map { index, field in
                    field.map {
                        String(decoding: index < readers.count ? readers[index].text($0) ?? $0 : $0, as: UTF8.self)
                    }
                }
            )
        }
        return rows
    }
}
