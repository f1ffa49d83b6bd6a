internal import CdcCore

/// A table as the target's catalog has it.
struct PostgresTable {
    struct Column {
        var name: String
        var typeOID: UInt32
        /// As `format_type` prints it, modifier included.
        var typeName: String
        /// The same without the modifier: fit for casts.
        var castName: String
        var isNotNull: Bool
        var hasDefault: Bool
        /// Whether values are computed, so that none can be written.
        var isGenerated: Bool
        /// Whether it is an identity column, which cannot be NULL.
        var isIdentity: Bool
        /// `GENERATED ALWAYS AS IDENTITY`: an insert has to override, an update cannot.
        var isIdentityAlways: Bool
    }

    /// A unique index that ON CONFLICT can name: on columns alone, whole, immediate.
    struct Key {
        struct Part {
            var column: String
            /// The operator that its index finds rows by, as `OPERATOR(schema.=)`.
            var equality: String
        }
        var parts: [Part]
    }

    var oid: UInt32
    /// Whether rows can be copied into it: a table or a partitioned one.
    var isTable: Bool
    /// What the role may not do with it, of SELECT, INSERT, UPDATE, DELETE and TRUNCATE.
    var missingPrivileges: [String]
    var columns: [Column] = []
    var keys: [Key] = []

    func column(_ name: String) -> Column? { columns.first { $0.name.hasSameBytes(as: name) } }

    /// The key over exactly these columns, in whatever order.
    func key(over names: [String]) -> Key? {
        keys.first { key in
            key.parts.count == names.count
                && names.allSatisfy { name in key.parts.contains { $0.column.hasSameBytes(as: name) } }
        }
    }
}

/// Reads the target's catalog for a number of tables at once.
struct PostgresCatalog {
    let client: PostgresClient

    /// The tables that there are, by their names; schema and name as ``TableRef``.
    func tables(_ names: [TableRef]) throws(PostgresError) -> [TableRef: PostgresTable] {
        guard !names.isEmpty else { return [:] }
        let rows = try client.query(
            """
            SELECT n.nspname, c.relname, c.oid, c.relkind IN ('r', 'p'), (
                SELECT pg_catalog.string_agg(p, ',') FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) p
                WHERE NOT pg_catalog.has_table_privilege(c.oid, p))
            FROM unnest($1::pg_catalog.text[], $2::pg_catalog.text[]) AS w(s, t)
            JOIN pg_catalog.pg_namespace n ON n.nspname = w.s
            JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.t
            """,
            [PostgresCatalog.array(names.map(\.schema)), PostgresCatalog.array(names.map(\.name))]
        )
        var byOID: [UInt32: (TableRef, PostgresTable)] = [:]
        for row in rows {
            guard let schema = row[0], let name = row[1], let oid = row[2].flatMap({ UInt32($0) }) else { continue }
            let missing = (row[4] ?? "").split(separator: ",").map(String.init)
            let table = PostgresTable(oid: oid, isTable: row[3] == "t", missingPrivileges: missing)
            byOID[oid] = (TableRef(schema: schema, name: name), table)
        }
        guard !byOID.isEmpty else { return [:] }
        let oids = PostgresCatalog.array(byOID.keys.map(String.init))
        for row in try columns(oids) {
            guard let oid = row[0].flatMap({ UInt32($0) }), let column = PostgresCatalog.column(row) else { continue }
            byOID[oid]?.1.columns.append(column)
        }
        var lastIndex: String?
        for row in try keys(oids) {
            guard let oid = row[0].flatMap({ UInt32($0) }), let name = row[2], let equality = row[3] else { continue }
            let part = PostgresTable.Key.Part(column: name, equality: equality)
            if row[1] == lastIndex, let last = byOID[oid]?.1.keys.indices.last {
                byOID[oid]?.1.keys[last].parts.append(part)
            } else {
                byOID[oid]?.1.keys.append(PostgresTable.Key(parts: [part]))
            }
            lastIndex = row[1]
        }
        return Dictionary(byOID.values.map { ($0.0, $0.1) }) { first, _ in first }
    }

    private func columns(_ oids: String) throws(PostgresError) -> PostgresClient.Rows {
        try client.query(
            """
            SELECT a.attrelid, a.attname, a.atttypid, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
                   a.atthasdef OR a.attidentity <> '', a.attgenerated <> '', a.attidentity = 'a',
                   pg_catalog.format_type(a.atttypid, -1), a.attidentity <> ''
            FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = ANY($1::pg_catalog.oid[]) AND a.attnum > 0 AND NOT a.attisdropped
            ORDER BY a.attrelid, a.attnum
            """,
            [oids]
        )
    }

    private static func column(_ row: [String?]) -> PostgresTable.Column? {
        guard let name = row[1], let type = row[2].flatMap({ UInt32($0) }), let typeName = row[3] else { return nil }
        return PostgresTable.Column(
            name: name,
            typeOID: type,
            typeName: typeName,
            castName: row[8] ?? typeName,
            isNotNull: row[4] == "t",
            hasDefault: row[5] == "t",
            isGenerated: row[6] == "t",
            isIdentity: row[9] == "t",
            isIdentityAlways: row[7] == "t"
        )
    }

    /// The equality that an index finds rows by is strategy 3 of its operator family
    /// (https://www.postgresql.org/docs/current/btree.html#BTREE-OPCLASSES); with an empty search_path it has to be named.
    private func keys(_ oids: String) throws(PostgresError) -> PostgresClient.Rows {
        try client.query(
            """
            SELECT i.indrelid, i.indexrelid, a.attname,
                   'OPERATOR(' || pg_catalog.quote_ident(n.nspname) || '.' || o.oprname || ')'
            FROM pg_catalog.pg_index i
            CROSS JOIN LATERAL unnest(i.indkey::pg_catalog.int2[], i.indclass::pg_catalog.oid[])
              WITH ORDINALITY k(attnum, opclass, place)
            JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
            JOIN pg_catalog.pg_opclass c ON c.oid = k.opclass
            JOIN pg_catalog.pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3
              AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
            JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr
            JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
            WHERE i.indrelid = ANY($1::pg_catalog.oid[]) AND i.indisunique AND i.indimmediate AND i.indisvalid
              AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts
            ORDER BY i.indrelid, i.indisprimary DESC, i.indexrelid, k.place
            """,
            [oids]
        )
    }

    /// The tables that each table's foreign keys point to.
    func parents(of names: [TableRef]) throws(PostgresError) -> [TableRef: Set<TableRef>] {
        let rows = try client.query(
            """
            SELECT n.nspname, c.relname, pn.nspname, p.relname FROM pg_catalog.pg_constraint k
            JOIN pg_catalog.pg_class c ON c.oid = k.conrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_catalog.pg_class p ON p.oid = k.confrelid JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace
            JOIN unnest($1::text[], $2::text[]) w(s, t) ON n.nspname = w.s AND c.relname = w.t
            WHERE k.contype = 'f'
            """,
            [PostgresCatalog.array(names.map(\.schema)), PostgresCatalog.array(names.map(\.name))]
        )
        var parents: [TableRef: Set<TableRef>] = [:]
        for row in rows {
            guard let schema = row[0], let name = row[1], let parentSchema = row[2], let parent = row[3] else {
                continue
            }
            let parentRef = TableRef(schema: parentSchema, name: parent)
            parents[TableRef(schema: schema, name: name), default: []].insert(parentRef)
        }
        return parents
    }

    /// Statements that make the schemas which are missing.
    func missingSchemas(_ names: Set<String>) throws(PostgresError) -> [String] {
        // Asked first: CREATE SCHEMA IF NOT EXISTS wants the privilege even where there is nothing to do.
        let rows = try client.query(
            "SELECT s FROM unnest($1::text[]) s WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = s)",
            [PostgresCatalog.array(Array(names))]
        )
        return rows.compactMap { $0[0] }.map { "CREATE SCHEMA IF NOT EXISTS \($0.quotedIdentifier)" }
    }

    /// An array literal.
    static func array(_ elements: [String]) -> String {
        "{"
            + elements.map {
                "\"" + $0.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
            }.joined(separator: ",") + "}"
    }
}
