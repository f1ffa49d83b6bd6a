/// Sees to it that no row of ClickHouse goes back to an older version, at any time and under any fault.
///
/// For one thread at a time.
public final class ClickHouseVersionWatch {
    private let client: ClickHouseClient
    private let tables: [(name: String, key: String)]
    /// The newest version seen of each key, and how often it was looked.
    private var newest: [[String: UInt128]]
    /// How many versions were compared so far.
    public private(set) var compared = 0

    /// Watches the tables that a workload writes to; those that are not there yet are left out at first.
    ///
    /// - Parameters:
    ///   - client: The database.
    ///   - source: A connection to the source, which knows the keys.
    ///   - names: `schema.table`.
    /// - Throws: `PgError`, or `HarnessError` for a table that is not there.
    public init(_ client: ClickHouseClient, source: PgClient, names: [String]) throws {
        self.client = client
        tables = try names.map { name in
            let parts = name.split(separator: ".", maxSplits: 1).map(String.init)
            let shape = try TableShape(source, schema: parts[0], table: parts[1])
            let key = shape.columns.filter(\.isKey).map { "toString(\(ClickHouseClient.quote($0.name)))" }
            // Parts with their lengths: two keys never look alike.
            let text = key.map { "length(\($0)), ':', \($0)" }.joined(separator: ", ")
            return (shape.sqliteName, shape.hasKey ? "concat(\(text), '')" : "toString(dbmazz_row_id)")
        }
        newest = tables.map { _ in [:] }
    }

    /// Looks once, and returns what went back.
    ///
    /// First the newest version of each key, deleted rows too, then what FINAL shows, which must not be older. A key
    /// that TRUNCATE removed may be gone, and must be newer when it comes back.
    public func look() throws -> [String] {
        var problems: [String] = []
        for (index, table) in tables.enumerated() {
            let name = ClickHouseClient.quote(table.name)
            guard try client.value("EXISTS TABLE \(name)") == "1" else { continue }
            let key = "hex(\(table.key)) AS k"
            for query in [
                "SELECT \(key), max(dbmazz_cdc_version) FROM \(name) GROUP BY k",
                "SELECT \(key), dbmazz_cdc_version FROM \(name) FINAL",
            ] {
                for row in try client.query(query) {
                    guard let key = row[0], let version = row[1].flatMap({ UInt128($0) }) else {
                        throw HarnessError("\(table.name): a version that is no number: \(row)")
                    }
                    let before = newest[index][key] ?? 0
                    compared += 1
                    if version < before {
                        problems.append("table \(table.name): key \(key) went back from \(before) to \(version)")
                    }
                    newest[index][key] = max(before, version)
                }
            }
        }
        return problems
    }
}
