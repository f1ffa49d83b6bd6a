internal import CdcCore

/// How cells of a column become CSV.
struct StarRocksEncoding: Hashable, Sendable {
    enum Kind: UInt8, Sendable {
        /// PostgreSQL's text as it is: the server checks its length.
        case text
        /// `t` and `f`.
        case boolean
        /// Digits as they are.
        case integer
        /// Digits as they are, NaN and infinity refused.
        case float
        /// Digits as they are, NaN and infinity refused.
        case decimal
        /// Without `$` and commas.
        case money
        case date
        /// Without the `+00` of timestamptz.
        case timestamp
        /// Hexadecimal digits.
        case bytes
    }

    var kind: Kind
    var isNullable: Bool
}

/// A column as the target has it.
struct StarRocksColumn: Hashable, Sendable {
    let name: String
    /// For example `DECIMAL(20, 2)`.
    let type: String
    let encoding: StarRocksEncoding
}

/// Which type a source's column gets.
///
/// See types of https://docs.starrocks.io/docs/sql-reference/data-types/
struct StarRocksTypes: Sendable {
    let policy: UnrepresentablePolicy

    /// The longest VARCHAR, in bytes.
    static let longest = 1_048_576
    /// The longest primary key, encoded, in bytes.
    ///
    /// See https://docs.starrocks.io/docs/table_design/table_types/primary_key_table/
    static let longestKey = 128
    private static let money: UInt32 = 790

    /// Whether every value of a key of these columns is short enough.
    func fitsKey(_ columns: [ColumnDef]) -> Bool {
        // Behind a text that is not the last there are two bytes.
        var bytes = 2 * (columns.count - 1)
        for column in columns {
            switch column.type {
            case .boolean: bytes += 1
            case .int16: bytes += 2
            case .int32: bytes += 4
            case .int64, .uint32: bytes += 8
            case .uint64: bytes += 16
            case .date, .timestamp, .timestampTz: bytes += policy == .text ? 30 : 8
            case .time: bytes += 15
            case .uuid: bytes += 36
            case .float32, .float64: bytes += 24
            case .decimal(let precision?, let scale?): bytes += max(precision, precision - scale) + 3
            // The modifier is the length and four; a character has up to four bytes.
            case .string where column.postgresType.modifier > 4: bytes += 4 * Int(column.postgresType.modifier - 4)
            default: return false
            }
        }
        return bytes <= Self.longestKey
    }

    /// The column as the sink makes it.
    ///
    /// All but the key's may be NULL: a delete carries the key alone.
    func column(_ column: ColumnDef, isKey: Bool) -> StarRocksColumn {
        let (type, kind) = base(column, isKey: isKey)
        return StarRocksColumn(
            name: column.name,
            type: type,
            encoding: StarRocksEncoding(kind: kind, isNullable: !isKey)
        )
    }

    /// The column with the type that the target has; nil if values do not fit into that.
    ///
    /// Text takes everything, a shorter text or a decimal with fewer digits what the server lets pass: it refuses the rest.
    /// Fewer digits behind the point are refused here, since the server would round.
    func column(_ column: ColumnDef, isKey: Bool, found type: String) -> StarRocksColumn? {
        let wanted = base(column, isKey: isKey)
        let found = StarRocksTypes.normalized(type)
        let encoding: StarRocksEncoding.Kind
        switch (wanted.kind, StarRocksTypes.parsed(found)) {
        case _ where StarRocksTypes.normalized(wanted.type) == found: encoding = wanted.kind
        case (.decimal, .decimal(_, let scale)), (.money, .decimal(_, let scale)):
            guard case .decimal(_, let least)? = StarRocksTypes.parsed(StarRocksTypes.normalized(wanted.type)),
                scale >= least
            else { return nil }
            encoding = wanted.kind
        case (.bytes, .other("varbinary")): encoding = .bytes
        case (.bytes, .text): return nil
        case (_, .text):
            // What is kept as text is PostgreSQL's text.
            encoding = .text
        case (.text, .other("json")) where column.type == .json || column.type == .jsonb: encoding = .text
        case (.integer, .integer(let bits)):
            guard case .integer(let least)? = StarRocksTypes.parsed(StarRocksTypes.normalized(wanted.type)),
                bits >= least
            else { return nil }
            encoding = .integer
        case (.float, .other("double")): encoding = .float
        default: return nil
        }
        return StarRocksColumn(
            name: column.name,
            type: type,
            encoding: StarRocksEncoding(kind: encoding, isNullable: !isKey)
        )
    }

    /// Whether the server may refuse values of the source's type, since the column has less room than the sink would give it.
    func isNarrower(_ column: ColumnDef, isKey: Bool, found type: String) -> Bool {
        let wanted = StarRocksTypes.parsed(StarRocksTypes.normalized(base(column, isKey: isKey).type))
        switch (wanted, StarRocksTypes.parsed(StarRocksTypes.normalized(type))) {
        case (.text(let length)?, .text(let found)?): return found < length
        case (.decimal(let precision, let scale)?, .decimal(let found, let foundScale)?):
            return found - foundScale < precision - scale
        case (_, .text(let found)?): return found < 65_533
        default: return false
        }
    }

    private enum Parsed: Equatable {
        case text(Int)
        case decimal(Int, Int)
        case integer(Int)
        case other(String)
    }

    /// `varchar(20)`, `decimal(10, 2)` and the like, in the forms of CREATE TABLE and of information_schema.
    private static func parsed(_ type: String) -> Parsed? {
        let name = type.prefix { $0 != "(" }
        let numbers = type.dropFirst(name.count).split { !$0.isNumber }.compactMap { Int($0) }
        switch name {
        case "varchar": return .text(numbers.first ?? 1)
        case "string": return .text(65_533)
        case "decimal", "decimal32", "decimal64", "decimal128", "decimalv3", "numeric":
            return numbers.count == 2 ? .decimal(numbers[0], numbers[1]) : nil
        case "tinyint": return .integer(8)
        case "smallint": return .integer(16)
        case "int", "integer": return .integer(32)
        case "bigint": return .integer(64)
        case "largeint": return .integer(128)
        default: return .other(String(name))
        }
    }

    /// In lower case, without spaces, and without the display widths that information_schema has.
    static func normalized(_ type: String) -> String {
        let plain = type.lowercased().filter { $0 != " " }
        let name = String(plain.prefix { $0 != "(" })
        switch name {
        // As information_schema has it.
        case _ where name.hasPrefix("bigint") && plain.hasSuffix("unsigned"): return "largeint"
        case "tinyint" where plain == "tinyint(1)": return "boolean"
        case "tinyint", "smallint", "int", "integer", "bigint", "largeint", "float", "double", "boolean", "datetime",
            "date",
            "json":
            return name
        case "varbinary": return "varbinary"
        case "decimal32", "decimal64", "decimal128": return "decimal" + plain.dropFirst(name.count)
        default: return plain
        }
    }

    private func base(_ column: ColumnDef, isKey: Bool) -> (type: String, kind: StarRocksEncoding.Kind) {
        let text = ("VARCHAR(\(StarRocksTypes.longest))", StarRocksEncoding.Kind.text)
        let plain = StarRocksTypes.plain(column)
        switch plain.1 {
        // A primary key takes neither of these types.
        case .float, .decimal, .money, .bytes: return isKey ? text : policy == .text && plain.1 != .bytes ? text : plain
        case .date, .timestamp: return policy == .text ? text : plain
        default: return plain
        }
    }

    private static func plain(_ column: ColumnDef) -> (String, StarRocksEncoding.Kind) {
        func varchar(_ bytes: Int) -> (String, StarRocksEncoding.Kind) { ("VARCHAR(\(min(bytes, longest)))", .text) }
        switch column.type {
        case .boolean: return ("BOOLEAN", .boolean)
        case .int16: return ("SMALLINT", .integer)
        case .int32: return ("INT", .integer)
        case .int64, .uint32: return ("BIGINT", .integer)
        case .uint64: return ("LARGEINT", .integer)
        case .float32: return ("FLOAT", .float)
        case .float64: return ("DOUBLE", .float)
        case .uuid: return varchar(36)
        case .date: return ("DATE", .date)
        case .timestamp, .timestampTz: return ("DATETIME", .timestamp)
        case .time: return varchar(20)
        case .bytes: return ("VARBINARY", .bytes)
        case .decimal(let precision?, let scale?):
            // A negative scale means zeros before the point, one above the precision zeros behind it.
            let digits = scale < 0 ? precision - scale : max(precision, scale)
            return digits <= 38 ? ("DECIMAL(\(digits), \(max(0, scale)))", .decimal) : varchar(longest)
        case .other where column.postgresType.oid == money: return ("DECIMAL(20, 2)", .money)
        default: return varchar(longest)
        }
    }
}
