internal import CdcCore

/// How cells of a column become RowBinary.
struct ClickHouseEncoding: Hashable, Sendable {
    enum Kind: UInt8, Sendable {
        case boolean, int16, int32, int64, uint32, uint64, float32, float64, decimal, string, bytes, uuid, date
        case timestamp, array
    }

    var kind: Kind
    /// Of an array's elements.
    var element = Kind.string
    /// Of a decimal, or of an array's decimals.
    var precision = 0
    var scale = 0
    /// Whether a byte before the value says if it is NULL.
    var isNullable = false

    /// Bytes of a value; 0 where it has a length of its own.
    var size: Int {
        switch kind {
        case .boolean: 1
        case .int16: 2
        case .int32, .uint32, .float32, .date: 4
        case .int64, .uint64, .float64, .timestamp: 8
        case .uuid: 16
        case .decimal: ClickHouseEncoding.decimalSize(precision)
        case .string, .bytes, .array: 0
        }
    }

    static func decimalSize(_ precision: Int) -> Int {
        precision <= 9 ? 4 : precision <= 18 ? 8 : precision <= 38 ? 16 : 32
    }

    /// The same for an array's elements, which may be NULL.
    var elementEncoding: ClickHouseEncoding {
        ClickHouseEncoding(kind: element, precision: precision, scale: scale, isNullable: true)
    }
}

/// A column as the target has it.
struct ClickHouseColumn: Hashable, Sendable {
    let name: String
    /// For example `Nullable(Decimal(20, 2))`.
    let type: String
    let encoding: ClickHouseEncoding
}

/// Which type a source's column gets.
struct ClickHouseTypes: Sendable {
    let policy: UnrepresentablePolicy

    private static let money: UInt32 = 790

    /// The column as the sink makes it.
    func column(_ column: ColumnDef, isKey: Bool) -> ClickHouseColumn {
        var (name, encoding) = base(column, isKey: isKey)
        let takesNull = policy == .null && ClickHouseTypes.isLimited(encoding.kind)
        guard encoding.kind != .array, !isKey, column.isNullable || takesNull else {
            return ClickHouseColumn(name: column.name, type: name, encoding: encoding)
        }
        encoding.isNullable = true
        name = name == "LowCardinality(String)" ? "LowCardinality(Nullable(String))" : "Nullable(\(name))"
        return ClickHouseColumn(name: column.name, type: name, encoding: encoding)
    }

    /// The column with the type that the target has; nil if values do not fit into that.
    ///
    /// Text takes everything; a column may take NULL where the source's does not.
    func column(_ column: ColumnDef, isKey: Bool, found type: String) -> ClickHouseColumn? {
        let wanted = self.column(column, isKey: isKey)
        if wanted.type == type { return wanted }
        let isLow = type.hasPrefix("LowCardinality(") && type.hasSuffix(")")
        var inner = isLow ? String(type.dropFirst(15).dropLast()) : type
        let isNullable = inner.hasPrefix("Nullable(") && inner.hasSuffix(")")
        if isNullable { inner = String(inner.dropFirst(9).dropLast()) }
        guard !(isNullable && isKey), isNullable || isKey || !column.isNullable else { return nil }
        var encoding: ClickHouseEncoding
        if inner == "String" {
            encoding = ClickHouseEncoding(kind: column.type == .bytes ? .bytes : .string)
        } else {
            let plain = base(column, isKey: isKey)
            guard plain.name == inner, plain.encoding.kind != .array else { return nil }
            encoding = plain.encoding
        }
        encoding.isNullable = isNullable
        return ClickHouseColumn(name: column.name, type: type, encoding: encoding)
    }

    /// Whether PostgreSQL has values of the type that the column cannot hold.
    private static func isLimited(_ kind: ClickHouseEncoding.Kind) -> Bool {
        kind == .date || kind == .timestamp || kind == .decimal
    }

    private func base(_ column: ColumnDef, isKey: Bool) -> (name: String, encoding: ClickHouseEncoding) {
        let text = ("String", ClickHouseEncoding(kind: .string))
        // ClickHouse takes -0 and 0 for one key, PostgreSQL tells of both.
        if isKey, column.type == .float32 || column.type == .float64 { return text }
        let plain = ClickHouseTypes.plain(column.type, oid: column.postgresType.oid)
        guard plain.encoding.kind == .string else {
            return policy == .text && ClickHouseTypes.isLimited(plain.encoding.kind) ? text : plain
        }
        switch ClickHouseTypes.undomained(column.postgresType).kind {
        case .enumeration: return isKey ? text : ("LowCardinality(String)", text.1)
        case .array(let element) where !isKey && policy != .text && (policy == .clamp || !column.isNullable):
            // ClickHouse has no array that is NULL: such a column is text, unless an empty one may stand for it.
            let inner = ClickHouseTypes.plain(
                DataType(builtInType: element.oid, modifier: element.modifier),
                oid: element.oid
            )
            guard inner.encoding.kind != .bytes else { return text }
            return (
                "Array(Nullable(\(inner.name)))",
                ClickHouseEncoding(
                    kind: .array,
                    element: inner.encoding.kind,
                    precision: inner.encoding.precision,
                    scale: inner.encoding.scale
                )
            )
        default: return plain
        }
    }

    private static func undomained(_ type: PostgresType) -> PostgresType {
        guard case .domain(let domain) = type.kind else { return type }
        return undomained(domain.base)
    }

    private static func plain(_ type: DataType, oid: UInt32) -> (name: String, encoding: ClickHouseEncoding) {
        func made(_ name: String, _ kind: ClickHouseEncoding.Kind) -> (String, ClickHouseEncoding) {
            (name, ClickHouseEncoding(kind: kind))
        }
        switch type {
        case .boolean: return made("Bool", .boolean)
        case .int16: return made("Int16", .int16)
        case .int32: return made("Int32", .int32)
        case .int64: return made("Int64", .int64)
        case .uint32: return made("UInt32", .uint32)
        case .uint64: return made("UInt64", .uint64)
        case .float32: return made("Float32", .float32)
        case .float64: return made("Float64", .float64)
        case .uuid: return made("UUID", .uuid)
        case .date: return made("Date32", .date)
        case .timestamp, .timestampTz: return made("DateTime64(6, 'UTC')", .timestamp)
        case .bytes: return made("String", .bytes)
        case .decimal(let precision?, let scale?):
            // A negative scale means zeros before the point, one above the precision zeros behind it.
            let digits = scale < 0 ? precision - scale : max(precision, scale)
            guard digits <= 76 else { return made("String", .string) }
            return decimal(digits, max(0, scale))
        case .other where oid == money: return decimal(20, 2)
        default: return made("String", .string)
        }
    }

    private static func decimal(_ precision: Int, _ scale: Int) -> (String, ClickHouseEncoding) {
        ("Decimal(\(precision), \(scale))", ClickHouseEncoding(kind: .decimal, precision: precision, scale: scale))
    }
}
