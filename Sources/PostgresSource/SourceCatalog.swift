internal import CdcCore

/// What the pipeline reads from the source's catalog.
///
/// Every query works from PostgreSQL 14 to 18 and is independent of search_path, which is empty.
public struct SourceCatalog {
    private let session: PostgresConnection

    /// Reads through the given session.
    public init(_ session: PostgresConnection) {
        self.session = session
    }

    private var hasColumnLists: Bool { session.serverVersion >= 150000 }

    /// The publication's tables with their published columns, keys and filters.
    public func publishedTables(_ publication: String) throws(SourceError) -> [SourceTable] {
        // Most tables are published whole: their names are not carried over.
        let list =
            "CASE WHEN pg_catalog.cardinality(p.attnames) < c.relnatts THEN pg_catalog.array_to_json(p.attnames) END"
        let extra = hasColumnLists ? "p.rowfilter, \(list)" : "NULL, NULL"
        let rows = try session.query(
            """
            SELECT c.oid, n.nspname, c.relname, c.relkind, c.relreplident, \(extra)
            FROM pg_catalog.pg_publication_tables p
            JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname
            JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
            WHERE p.pubname = $1 ORDER BY 2, 3
            """,
            [publication],
            as: "read the publication's tables"
        )
        var tables: [SourceTable] = []
        var lists: [UInt32: Set<String>] = [:]
        for row in rows {
            guard let table = SourceCatalog.table(row) else { continue }
            tables.append(table)
            if let list = row[6] { lists[table.oid] = Set(SourceCatalog.strings(json: list)) }
        }
        try addColumns(to: &tables, published: lists)
        return tables
    }

    /// Ordinary and partitioned tables of users: what a publication can hold.
    public func userTables() throws(SourceError) -> [SourceTable] {
        var tables = try userTablesWithoutColumns()
        try addColumns(to: &tables, published: nil)
        return tables
    }

    /// The same without columns and keys, where only names matter.
    func userTablesWithoutColumns() throws(SourceError) -> [SourceTable] {
        let rows = try session.execute(
            """
            SELECT c.oid, n.nspname, c.relname, c.relkind, c.relreplident, NULL
            FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence = 'p'
              AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
              AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
                              AND d.objid = c.oid AND d.deptype = 'e')
            ORDER BY 2, 3
            """,
            as: "read the source's tables"
        )
        return rows.compactMap(SourceCatalog.table)
    }

    private static func table(_ row: [String?]) -> SourceTable? {
        guard let oid = row[0].flatMap({ UInt32($0) }), let schema = row[1], let name = row[2],
            let identity = row[4]?.utf8.first.flatMap(ReplicaIdentity.init(rawValue:))
        else { return nil }
        return SourceTable(
            ref: TableRef(schema: schema, name: name),
            oid: oid,
            isPartitioned: row[3] == "p",
            columns: [],
            key: [],
            identity: identity,
            rowFilter: row[5]
        )
    }

    /// The elements of a JSON array of strings, as `array_to_json` writes it.
    static func strings(json: String) -> [String] {
        var strings: [String] = []
        var current: String.UnicodeScalarView?
        var scalars = json.unicodeScalars[...]
        while let scalar = scalars.popFirst() {
            guard current != nil else {
                if scalar == "\"" { current = .init() }
                continue
            }
            if scalar == "\"" {
                strings.append(String(current.take() ?? .init()))
            } else if scalar == "\\", let escaped = scalars.popFirst() {
                current?.append(unescape(escaped, &scalars))
            } else {
                current?.append(scalar)
            }
        }
        return strings
    }

    private static func unescape(
        _ scalar: Unicode.Scalar,
        _ rest: inout Substring.UnicodeScalarView
    ) -> Unicode.Scalar {
        switch scalar {
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "b": return "\u{8}"
        case "f": return "\u{C}"
        case "u":
            let digits = String(rest.prefix(4))
            rest.removeFirst(min(4, rest.count))
            return UInt32(digits, radix: 16).flatMap(Unicode.Scalar.init) ?? "\u{FFFD}"
        default: return scalar
        }
    }

    /// How many rows the tables have by the planner's statistics; nil where a table was never analyzed.
    public func estimatedRows(_ tables: [SourceTable]) throws(SourceError) -> Int? {
        guard !tables.isEmpty else { return 0 }
        let oids = tables.map { String($0.oid) }.joined(separator: ",")
        let rows = try session.execute(
            """
            SELECT pg_catalog.sum(c.reltuples)::pg_catalog.int8, pg_catalog.bool_or(c.reltuples < 0)
            FROM pg_catalog.pg_class c WHERE c.relkind = 'r' AND (c.oid IN (\(oids)) OR c.oid IN (
              SELECT p.relid FROM pg_catalog.unnest(ARRAY[\(oids)]::pg_catalog.oid[]) t(root),
                LATERAL pg_catalog.pg_partition_tree(t.root::pg_catalog.regclass) p))
            """,
            as: "estimate the tables' sizes"
        )
        guard let row = rows.first, row[1] == "f" else { return nil }
        return row[0].flatMap { Int($0) }
    }

    // MARK: Columns and keys

    /// Fills in columns and keys.
    ///
    /// - Parameters:
    ///   - tables: without columns and keys so far.
    ///   - published: the names of the columns that are published, for tables of which not all are; nil where nothing is
    ///     published yet.
    /// - Throws: ``SourceError`` of the queries, or where a column appears while they run.
    private func addColumns(to tables: inout [SourceTable], published: [UInt32: Set<String>]?) throws(SourceError) {
        guard !tables.isEmpty else { return }
        let oids = tables.map { String($0.oid) }.joined(separator: ",")
        let types = try SourceTypes(ofColumnsOf: oids, session)
        let places = Dictionary(tables.enumerated().map { ($1.oid, $0) }, uniquingKeysWith: { first, _ in first })
        // Row by row: ten thousand tables have a hundred thousand columns.
        try session.forEachRow(
            """
            SELECT a.attrelid, a.attname, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated <> ''
            FROM pg_catalog.pg_attribute a
            WHERE a.attrelid IN (\(oids)) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
            """,
            as: "read the tables' columns"
        ) { (row) throws(SourceError) in
            guard let oid = row[0].flatMap({ UInt32($0) }), let place = places[oid], let name = row[1] else { return }
            guard isPublished(name, isGenerated: row[5] == "t", of: oid, published) else {
                tables[place].leftOut.append(name)
                return
            }
            let type = try types.type(row[2], modifier: row[3])
            tables[place].columns.append(
                ColumnDef(
                    name: name,
                    type: type.dataType,
                    postgresType: type.postgresType,
                    isNullable: row[4] != "t"
                )
            )
            if type.endsBinaryStream { tables[place].endsBinaryStream = true }
        }
        let keys = try keys(of: oids)
        for index in tables.indices {
            tables[index].key = SourceCatalog.key(keys[tables[index].oid] ?? [], of: tables[index])
        }
    }

    /// Before version 18 generated columns are never sent, although `pg_publication_tables` lists them.
    private func isPublished(
        _ name: String,
        isGenerated: Bool,
        of table: UInt32,
        _ published: [UInt32: Set<String>]?
    ) -> Bool {
        if isGenerated, session.serverVersion < 180000 { return false }
        guard let published else { return !isGenerated }
        return published[table]?.contains(name) ?? true
    }

    private struct KeyIndex {
        var isPrimary: Bool
        var isIdentity: Bool
        var columns: [String]
    }

    /// Primary keys and identity indexes.
    ///
    /// A deferrable primary key is none: PostgreSQL does not take it as identity, and rows may share its value in
    /// the middle of a transaction.
    private func keys(of oids: String) throws(SourceError) -> [UInt32: [KeyIndex]] {
        let rows = try session.execute(
            """
            SELECT i.indrelid, i.indexrelid, i.indisprimary, i.indisreplident, a.attname
            FROM pg_catalog.pg_index i
            CROSS JOIN LATERAL pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY k(attnum, place)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
            WHERE i.indrelid IN (\(oids)) AND i.indimmediate AND i.indisvalid AND i.indisunique
              AND (i.indisprimary OR i.indisreplident) AND k.place <= i.indnkeyatts
            ORDER BY i.indrelid, i.indexrelid, k.place
            """,
            as: "read the tables' keys"
        )
        var keys: [UInt32: [KeyIndex]] = [:]
        var lastIndex: String?
        for row in rows {
            guard let table = row[0].flatMap({ UInt32($0) }), let index = row[1], let column = row[4] else { continue }
            if index == lastIndex, let last = keys[table]?.indices.last {
                keys[table]?[last].columns.append(column)
            } else {
                keys[table, default: []].append(
                    KeyIndex(isPrimary: row[2] == "t", isIdentity: row[3] == "t", columns: [column])
                )
            }
            lastIndex = index
        }
        return keys
    }

    /// DEFAULT and INDEX: the identity's columns.
    ///
    /// FULL and NOTHING: the primary key from the catalog. Empty if a column of it is not published.
    private static func key(_ indexes: [KeyIndex], of table: SourceTable) -> [Int] {
        let chosen = indexes.first { table.identity == .index ? $0.isIdentity : $0.isPrimary }
        let places = (chosen?.columns ?? []).map { name in table.columns.firstIndex { $0.name.hasSameBytes(as: name) } }
        return places.contains(nil) ? [] : places.compactMap(\.self)
    }
}
