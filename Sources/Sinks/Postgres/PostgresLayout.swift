internal import CdcCore

/// How the rows of one source table lie in its table at the target: everything that writing needs to know.
struct PostgresLayout {
    /// A column that is written.
    struct Column {
        /// Its place in the source's table.
        var source: Int
        /// Its name at the target, quoted.
        var name: String
        var carrier: PostgresCarrier
        /// Its type at the target without modifier: what an old value is cast to, to be compared.
        var type: String
        /// The type that text has to be cast to, where assignment does not do it.
        var cast: String?
        /// For a column of the key: the operator that finds it.
        var equality: String?
        /// Whether UPDATE cannot set it.
        var isIdentityAlways: Bool

        /// An expression of the carrier's type as one that can be assigned to the column.
        func cast(_ expression: String) -> String {
            switch cast {
            case nil: expression
            // The cast of text to regclass does not take the "-" that stands for none; the type's input function does.
            case "regclass": "pg_catalog.regclassin(pg_catalog.textout(\(expression)))"
            case .some(let type): "\(expression)::\(type)"
            }
        }
    }

    /// In which form rows can be copied straight into the table.
    enum DirectCopy {
        case binary
        case text
    }

    let schema: TableSchema
    /// Schema and name at the target, quoted.
    let table: String
    /// By their place at the source; generated columns of the target are left out.
    let columns: [Column]
    /// Nil where a column needs a cast that COPY does not make.
    let directCopy: DirectCopy?
    /// Whether every value can be an element of an array.
    let fitsArrays: Bool

    /// Places among ``columns`` of the key's, in the key's order.
    var key: [Int] { schema.key.compactMap { place in columns.firstIndex { $0.source == place } } }

    /// Lays a table out; nil if a column of it has no counterpart.
    ///
    /// - Parameters:
    ///   - schema: the table as the pipeline knows it.
    ///   - name: its name at the target.
    ///   - there: the table at the target.
    ///   - types: the types there.
    ///   - format: in which form the session's values come.
    init?(
        _ schema: TableSchema,
        name: TableRef,
        there: PostgresTable,
        types: PostgresTypes,
        format: TupleFormat
    ) {
        let key = there.key(over: schema.key.map { schema.columns[$0].name })
        var columns: [Column] = []
        var isDirect = true
        for (place, wanted) in schema.columns.enumerated() {
            guard let found = there.column(wanted.name) else { return nil }
            if found.isGenerated { continue }
            let carrier =
                format == .binary ? types.binaryCarrier(wanted.postgresType) : .text(isBinary: false)
            guard let carrier, let base = types.base(of: found.typeOID) ?? types.there(wanted.postgresType) else {
                return nil
            }
            isDirect = isDirect && PostgresLayout.takes(base, carrier)
            let part = schema.key.contains(place) ? key?.parts.first { $0.column.hasSameBytes(as: wanted.name) } : nil
            columns.append(
                Column(
                    source: place,
                    name: found.name.quotedIdentifier,
                    carrier: carrier,
                    type: found.castName,
                    cast: carrier.oid == 25 && !PostgresLayout.isString(base.oid) ? base.name : nil,
                    equality: part?.equality,
                    isIdentityAlways: found.isIdentityAlways
                )
            )
        }
        self.schema = schema
        table = PostgresLayout.quoted(name)
        self.columns = columns
        fitsArrays = columns.allSatisfy { $0.carrier.arrayOID != nil }
        directCopy = format == .text ? .text : isDirect ? .binary : nil
    }

    /// Schema and name, quoted.
    static func quoted(_ name: TableRef) -> String { "\(name.schema.quotedIdentifier).\(name.name.quotedIdentifier)" }

    /// text and varchar, to which text is assigned and compared as it is (char compares without its blanks).
    private static func isString(_ oid: UInt32) -> Bool { [25, 1043].contains(oid) }

    /// Whether the receive function of the target's type reads the carrier's bytes.
    private static func takes(_ target: PostgresTypes.Info, _ carrier: PostgresCarrier) -> Bool {
        if carrier.isLabel, target.kind == UInt8(ascii: "e") { return true }
        return target.oid == carrier.oid || ([25, 1043].contains(target.oid) && [25, 1043].contains(carrier.oid))
    }
}
