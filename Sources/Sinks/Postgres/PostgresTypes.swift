internal import CdcCore

/// In which type values of a column travel to the target.
///
/// Where source and target have the same built-in type, the source's binary output is the target's binary input
/// (https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4: both are the types' send and receive functions) and
/// nothing is decoded. Everything else travels as text.
struct PostgresCarrier: Hashable {
    /// The type at the target, as SQL.
    var name: String
    /// Its OID there.
    var oid: UInt32
    /// The OID of the array of it, for `unnest`; nil for arrays, which `unnest` would flatten.
    var arrayOID: UInt32?
    /// Whether the source sends the value in binary form.
    var isBinary: Bool
    /// Whether the bytes are an enum's label, which is its binary form too.
    var isLabel = false
    /// For arrays of a type that is not built in: the OID of the element here, which the value carries.
    var elementOID: UInt32?

    /// Text in the type text, whatever form the source sends.
    static func text(isBinary: Bool, isLabel: Bool = false) -> PostgresCarrier {
        PostgresCarrier(name: "pg_catalog.text", oid: 25, arrayOID: 1009, isBinary: isBinary, isLabel: isLabel)
    }
}

/// What the target knows of types: the built-in ones by OID, those of users by name.
struct PostgresTypes {
    /// A type at the target.
    struct Info: Hashable {
        var oid: UInt32
        /// `format_type` without a modifier: fit for casts.
        var name: String
        /// `pg_type.typtype`.
        var kind: UInt8
        var arrayOID: UInt32
        var elementOID: UInt32
        /// For a domain, the type below.
        var baseOID: UInt32
    }

    private var byOID: [UInt32: Info] = [:]
    /// By the source's name for it.
    private var byName: [String: Info] = [:]
    private var labels: [String: [String]] = [:]

    /// OIDs below are the same in every installation (`FirstNormalObjectId`).
    static let firstUserOID: UInt32 = 16384
    /// Types whose binary form does not travel: regproc and its kin send an OID, which means something else in another
    /// database; int2vector, oidvector and tsquery do not take an empty one that they have sent themselves.
    private static let bound: Set<UInt32> = [
        24, 2202, 2203, 2204, 2205, 2206, 3734, 3769, 4089, 4096, 4191, 22, 30, 3615,
    ]

    /// Whether a type is the same in every installation.
    static func isBuiltIn(_ type: PostgresType) -> Bool { type.oid < firstUserOID }

    // MARK: Reading

    private static let columns =
        "t.oid, pg_catalog.format_type(t.oid, -1), t.typtype, t.typarray, t.typelem, t.typbasetype"

    /// Reads the built-in types and all domains, once for a session of the pipeline.
    mutating func readCommon(_ client: PostgresClient) throws(PostgresError) {
        let rows = try client.execute(
            """
            SELECT \(PostgresTypes.columns) FROM pg_catalog.pg_type t
            WHERE t.typtype = 'd' OR t.oid < 16384 AND t.typtype IN ('b', 'r', 'm') AND t.typnamespace = 11
            """
        )
        for row in rows { if let info = PostgresTypes.info(row) { byOID[info.oid] = info } }
    }

    /// Looks types up by the names that the source has for them; those that are missing stay unknown.
    mutating func read(named names: some Collection<String>, _ client: PostgresClient) throws(PostgresError) {
        for name in names where byName[name] == nil {
            // One by one: a schema that is missing is an error before version 17, and must not hide the others.
            guard
                let rows = try? client.query(
                    "SELECT \(PostgresTypes.columns) FROM pg_catalog.pg_type t WHERE t.oid = pg_catalog.to_regtype($1)",
                    [name]
                )
            else { continue }
            guard let info = rows.first.flatMap(PostgresTypes.info) else { continue }
            byName[name] = info
            byOID[info.oid] = info
            guard info.kind == UInt8(ascii: "e") else { continue }
            labels[name] = try client.execute(
                "SELECT enumlabel FROM pg_catalog.pg_enum WHERE enumtypid = \(info.oid)"
            ).compactMap { $0[0] }
        }
    }

    /// Looks types up by their OIDs here.
    mutating func read(oids: Set<UInt32>, _ client: PostgresClient) throws(PostgresError) {
        let unknown = oids.filter { byOID[$0] == nil }
        guard !unknown.isEmpty else { return }
        let list = unknown.map(String.init).joined(separator: ",")
        for row in try client.execute(
            "SELECT \(PostgresTypes.columns) FROM pg_catalog.pg_type t WHERE t.oid IN (\(list))"
        ) {
            if let info = PostgresTypes.info(row) { byOID[info.oid] = info }
        }
    }

    private static func info(_ row: [String?]) -> Info? {
        guard let oid = row[0].flatMap({ UInt32($0) }), let name = row[1], let kind = row[2]?.utf8.first else {
            return nil
        }
        func number(_ text: String?) -> UInt32 { text.flatMap { UInt32($0) } ?? 0 }
        return Info(
            oid: oid,
            name: name,
            kind: kind,
            arrayOID: number(row[3]),
            elementOID: number(row[4]),
            baseOID: number(row[5])
        )
    }

    // MARK: Answers

    /// A type of the source at the target; nil if the target has none of that name.
    func there(_ type: PostgresType) -> Info? {
        PostgresTypes.isBuiltIn(type) ? byOID[type.oid] : byName[type.name]
    }

    /// The labels of an enum; nil if there is none of that name.
    func labels(of name: String) -> [String]? { labels[name] }

    /// The type under a domain, or the type itself.
    func base(of oid: UInt32) -> Info? {
        var info = byOID[oid]
        while let domain = info, domain.kind == UInt8(ascii: "d") { info = byOID[domain.baseOID] }
        return info
    }

    /// Every name of a type that is not built in, its domains' and elements' included.
    static func userTypes(of type: PostgresType) -> [PostgresType] {
        let below: [PostgresType] =
            switch type.kind {
            case .domain(let domain): userTypes(of: domain.base)
            case .array(let element): userTypes(of: element)
            case .base, .enumeration, .composite, .range: []
            }
        return isBuiltIn(type) ? below : below + [type]
    }

    /// How values travel in a session where the source sends binary; nil if the type's binary form means nothing at the
    /// target, so that the whole session has to be text.
    func binaryCarrier(_ type: PostgresType) -> PostgresCarrier? {
        guard type.hasBinaryOutput else { return .text(isBinary: false) }
        switch type.kind {
        case .domain(let domain): return binaryCarrier(domain.base)
        case .enumeration: return .text(isBinary: true, isLabel: true)
        case .composite: return nil
        case .base:
            guard !PostgresTypes.bound.contains(type.oid), let info = there(type),
                info.kind == UInt8(ascii: "b")
            else { return nil }
            return PostgresCarrier(name: info.name, oid: info.oid, arrayOID: arrayOID(info), isBinary: true)
        case .range:
            guard let info = there(type), info.kind == UInt8(ascii: "r") || info.kind == UInt8(ascii: "m") else {
                return nil
            }
            return PostgresCarrier(name: info.name, oid: info.oid, arrayOID: arrayOID(info), isBinary: true)
        case .array(let element):
            guard let info = there(type), isPortable(element) else { return nil }
            return PostgresCarrier(
                name: info.name,
                oid: info.oid,
                arrayOID: nil,
                isBinary: true,
                elementOID: PostgresTypes.isBuiltIn(type) ? nil : info.elementOID
            )
        }
    }

    private func arrayOID(_ info: Info) -> UInt32? { info.arrayOID == 0 ? nil : info.arrayOID }

    /// Whether elements of the type may stand in a binary array.
    private func isPortable(_ element: PostgresType) -> Bool {
        guard element.hasBinaryOutput else { return false }
        return switch element.kind {
        case .enumeration: there(element) != nil
        case .domain(let domain): there(element) != nil && isPortable(domain.base)
        case .base, .range: binaryCarrier(element) != nil
        case .array, .composite: false
        }
    }
}
