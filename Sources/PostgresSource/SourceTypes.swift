internal import CdcCore

/// A type with a modifier, as columns, domains and elements of arrays use it.
struct TypeUse: Hashable {
    var oid: UInt32
    var modifier: Int32
}

/// The types of the published columns, each read and made once however many columns have it.
struct SourceTypes {
    /// A type as columns need it.
    struct Resolved {
        var postgresType: PostgresType
        /// With domains resolved to their base type.
        var dataType: DataType
        /// See ``SourceTable/endsBinaryStream``.
        var endsBinaryStream: Bool
    }

    private var resolved: [TypeUse: Resolved] = [:]

    /// Reads the types of the tables' columns, and those that they consist of.
    ///
    /// - Parameters:
    ///   - tables: OIDs with commas between.
    ///   - session: to read through.
    /// - Throws: ``SourceError`` of the query.
    init(ofColumnsOf tables: String, _ session: PostgresConnection) throws(SourceError) {
        var found: [TypeUse: CatalogType] = [:]
        for row in try session.execute(SourceTypes.query(tables), as: "read the columns' types") {
            guard let type = CatalogType(row) else { continue }
            found[type.use] = type
        }
        let textOnly = SourceTypes.textOnly(found.values)
        for use in found.keys { _ = resolve(use, found, textOnly) }
    }

    /// The type of a column.
    ///
    /// - Throws: a retriable ``SourceError`` for one that was not there a moment ago.
    func type(_ oid: String?, modifier: String?) throws(SourceError) -> Resolved {
        let use = oid.flatMap { UInt32($0) }.flatMap { oid in
            modifier.flatMap { Int32($0) }.map { TypeUse(oid: oid, modifier: $0) }
        }
        guard let type = use.flatMap({ resolved[$0] }) else {
            throw SourceError(
                .retriable,
                operation: "read the tables' columns",
                cause: "a column with a new type, OID \(oid ?? "?"), was added at the same moment",
                remedy: "reading them again"
            )
        }
        return type
    }

    // MARK: Reading

    /// The columns' types and, step by step, what they consist of: a domain's base, an array's element, a range's subtype, a
    /// composite type's attributes.
    ///
    /// An array is what its element's `typarray` names: `int2vector` and `oidvector` have elements and are none.
    private static func query(_ tables: String) -> String {
        """
        WITH RECURSIVE used(oid, modifier) AS (
          SELECT DISTINCT a.atttypid, a.atttypmod FROM pg_catalog.pg_attribute a
          WHERE a.attrelid IN (\(tables)) AND a.attnum > 0 AND NOT a.attisdropped
          UNION
          SELECT part.* FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid CROSS JOIN LATERAL (
            SELECT t.typbasetype, t.typtypmod WHERE t.typtype = 'd'
            UNION ALL
            SELECT e.oid, u.modifier FROM pg_catalog.pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid
            UNION ALL
            SELECT r.rngsubtype, -1 FROM pg_catalog.pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)
            UNION ALL
            SELECT a.atttypid, a.atttypmod FROM pg_catalog.pg_attribute a
            WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) part
        )
        SELECT t.oid, u.modifier, pg_catalog.format_type(t.oid, u.modifier), t.typtype, t.typsend <> 0,
          e.oid, t.typbasetype, t.typtypmod, t.typnotnull,
          CASE WHEN t.typtype = 'e' THEN (SELECT pg_catalog.array_to_json(pg_catalog.array_agg(l.enumlabel ORDER BY l.enumsortorder))
            FROM pg_catalog.pg_enum l WHERE l.enumtypid = t.oid) END,
          c.names, c.definitions,
          CASE WHEN t.typtype IN ('r', 'm') THEN
            ARRAY(SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid))
            WHEN t.typtype = 'c' THEN
            ARRAY(SELECT a.atttypid FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped) END
        FROM used u JOIN pg_catalog.pg_type t ON t.oid = u.oid
          LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND e.typarray = t.oid
          LEFT JOIN LATERAL (
            SELECT pg_catalog.array_to_json(pg_catalog.array_agg(k.conname ORDER BY k.conname)) AS names,
              pg_catalog.array_to_json(pg_catalog.array_agg(pg_catalog.pg_get_constraintdef(k.oid) ORDER BY k.conname))
                AS definitions
            FROM pg_catalog.pg_constraint k WHERE t.typtype = 'd' AND k.contypid = t.oid AND k.contype = 'c') c ON true
        """
    }

    /// A row of the query.
    private struct CatalogType {
        var use: TypeUse
        var name: String
        var kind: Character
        var hasSend: Bool
        var element: UInt32?
        var base: TypeUse
        var isNotNull: Bool
        var labels: [String]
        var checks: [PostgresType.Domain.Check]
        /// What a range or composite type consists of.
        var members: [UInt32]

        init?(_ row: [String?]) {
            guard let oid = row[0].flatMap({ UInt32($0) }), let modifier = row[1].flatMap({ Int32($0) }),
                let name = row[2], let kind = row[3]?.first
            else { return nil }
            use = TypeUse(oid: oid, modifier: modifier)
            self.name = name
            self.kind = kind
            hasSend = row[4] == "t"
            element = row[5].flatMap { UInt32($0) }
            base = TypeUse(
                oid: row[6].flatMap { UInt32($0) } ?? 0,
                modifier: row[7].flatMap { Int32($0) } ?? -1
            )
            isNotNull = row[8] == "t"
            labels = row[9].map(SourceCatalog.strings) ?? []
            let definitions = row[11].map(SourceCatalog.strings) ?? []
            checks = zip(row[10].map(SourceCatalog.strings) ?? [], definitions).map {
                PostgresType.Domain.Check(name: $0, definition: $1)
            }
            members = (row[12] ?? "").split { "{,}".contains($0) }.compactMap { UInt32($0) }
        }

        /// The types whose send functions this one's calls.
        var parts: [UInt32] { members + [element, kind == "d" ? base.oid : nil].compactMap(\.self) }
    }

    // MARK: Making

    /// The types that have no binary form, because they or parts of them have no send function.
    private static func textOnly(_ types: some Collection<CatalogType>) -> Set<UInt32> {
        var textOnly = Set(types.lazy.filter { !$0.hasSend }.map(\.use.oid))
        var size = -1
        while size != textOnly.count {
            size = textOnly.count
            for type in types where type.parts.contains(where: textOnly.contains) { textOnly.insert(type.use.oid) }
        }
        return textOnly
    }

    private mutating func resolve(
        _ use: TypeUse,
        _ found: [TypeUse: CatalogType],
        _ textOnly: Set<UInt32>
    ) -> Resolved? {
        if let known = resolved[use] { return known }
        guard let type = found[use] else { return nil }
        var dataType = DataType(builtInType: use.oid, modifier: use.modifier)
        var kind = PostgresType.Kind.base
        switch type.kind {
        case "e": kind = .enumeration(type.labels)
        case "c": kind = .composite
        case "r", "m": kind = .range
        case "d":
            if let base = resolve(type.base, found, textOnly) {
                kind = .domain(.init(base: base.postgresType, isNotNull: type.isNotNull, checks: type.checks))
                dataType = base.dataType
            }
        default:
            let element = type.element.map { TypeUse(oid: $0, modifier: use.modifier) }
            if let element = element.flatMap({ resolve($0, found, textOnly) }) { kind = .array(element.postgresType) }
        }
        let made = Resolved(
            postgresType: PostgresType(
                oid: use.oid,
                modifier: use.modifier,
                name: type.name,
                kind: kind,
                hasBinaryOutput: !textOnly.contains(use.oid)
            ),
            dataType: dataType,
            endsBinaryStream: type.hasSend && textOnly.contains(use.oid)
        )
        resolved[use] = made
        return made
    }
}
