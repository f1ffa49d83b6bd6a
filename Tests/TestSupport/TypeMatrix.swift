/// Every type of PostgreSQL with its edge cases, for the round trip of values from a source to SQLite.
///
/// Per type there is a table `public.m_NAME (id int4 PRIMARY KEY, v TYPE)` and, where the type can be a key, a table
/// `public.k_NAME (v TYPE PRIMARY KEY, n int4)`.
public struct TypeMatrix: Sendable {
    /// A type and the values to try.
    public struct Entry: Sendable {
        /// Used in the tables' names.
        public let name: String
        /// As in CREATE TABLE.
        public let type: String
        /// SQL expressions.
        public let values: [String]
        /// The first major version that has it.
        public let since: Int
        /// The extension it needs.
        public let needs: String?

        init(_ name: String, _ type: String, _ values: [String], since: Int = 14, needs: String? = nil) {
            self.name = name
            self.type = type
            self.values = values
            self.since = since
            self.needs = needs
        }
    }

    /// Makes the role `reader`, whose settings would spoil every value that a session does not pin.
    public static let hostileRole = [
        "CREATE ROLE reader LOGIN SUPERUSER",
        "ALTER ROLE reader SET datestyle = 'German'",
        "ALTER ROLE reader SET intervalstyle = 'sql_standard'",
        "ALTER ROLE reader SET timezone = 'Asia/Kolkata'",
        "ALTER ROLE reader SET extra_float_digits = -10",
        "ALTER ROLE reader SET bytea_output = 'escape'",
        "ALTER ROLE reader SET statement_timeout = '1ms'",
        "ALTER ROLE reader SET search_path = 'nowhere'",
    ]

    /// The types that this server has.
    public let entries: [Entry]
    private let keyed: Set<String>

    /// Creates the types and the empty tables of all entries that the server can hold.
    ///
    /// - Parameters:
    ///   - client: A connection to the server.
    ///   - newest: Leaves out what came with a later major version.
    /// - Throws: `PgError` when the server refuses a definition.
    public init(creating client: PgClient, newest: Int = .max) throws {
        let running = Int(try client.value("SHOW server_version_num") ?? "").map { $0 / 10_000 } ?? 0
        let version = min(running, newest)
        for statement in Self.definitions { try client.execute(statement) }
        let extensions = Set(Self.all.compactMap(\.needs)).filter { name in
            if name == "xml" { return (try? client.value("SELECT '<a/>'::xml")) != nil }
            return (try? client.execute("CREATE EXTENSION IF NOT EXISTS \(name) SCHEMA public")) != nil
        }
        entries = Self.all.filter { entry in
            entry.since <= version && entry.needs.map { extensions.contains($0) } ?? true
        }
        var keyed: Set<String> = []
        for entry in entries {
            try client.execute("CREATE TABLE public.m_\(entry.name) (id int4 PRIMARY KEY, v \(entry.type))")
            // What cannot be compared (json, point, arrays of them, …) is no key.
            let some = "CAST(\(entry.values[0]) AS \(entry.type))"
            guard (try? client.execute("SELECT \(some) < \(some)")) != nil else { continue }
            let key = "CREATE TABLE public.k_\(entry.name) (v \(entry.type) PRIMARY KEY, n int4)"
            if (try? client.execute(key)) != nil { keyed.insert(entry.name) }
        }
        self.keyed = keyed
    }

    /// All tables, as SOURCE_TABLES names them.
    public var tables: [String] {
        entries.flatMap { entry in
            ["public.m_\(entry.name)"] + (keyed.contains(entry.name) ? ["public.k_\(entry.name)"] : [])
        }
    }

    /// Inserts every value, and NULL, with ids from `firstID`; and as a key where that is possible.
    ///
    /// - Throws: `HarnessError` that names the type whose value the server refused.
    public func insert(_ client: PgClient, firstID: Int = 1) throws {
        try client.execute("BEGIN")
        for entry in entries {
            for (index, value) in (entry.values + ["NULL"]).enumerated() {
                do {
                    try client.execute("INSERT INTO public.m_\(entry.name) VALUES (\(firstID + index), \(value))")
                    guard keyed.contains(entry.name), value != "NULL", !value.contains("repeat") else { continue }
                    try client.execute(
                        "INSERT INTO public.k_\(entry.name) VALUES (\(value), \(index)) ON CONFLICT DO NOTHING"
                    )
                } catch {
                    throw HarnessError("\(entry.type), value \(value.prefix(80)): \(error)")
                }
            }
        }
        try client.execute("COMMIT")
    }

    /// Updates every row: in one table the value stays and the row moves to another id, in the other the key stays.
    public func update(_ client: PgClient, moveBy distance: Int = 100_000) throws {
        for entry in entries {
            try client.execute("UPDATE public.m_\(entry.name) SET id = id + \(distance)")
            if keyed.contains(entry.name) { try client.execute("UPDATE public.k_\(entry.name) SET n = n + 1") }
        }
    }

    /// Deletes every row with an even number.
    public func deleteHalf(_ client: PgClient) throws {
        for entry in entries {
            try client.execute("DELETE FROM public.m_\(entry.name) WHERE id % 2 = 0")
            if keyed.contains(entry.name) {
                try client.execute("DELETE FROM public.k_\(entry.name) WHERE n % 2 = 0")
            }
        }
    }

    /// The differences between the source's tables and the SQLite file.
    public func differences(_ client: PgClient, sqlite path: String, limit: Int = 20) throws -> [String] {
        try compareWithSource(client, sqlite: path, tables: tables, limit: limit)
    }
}
