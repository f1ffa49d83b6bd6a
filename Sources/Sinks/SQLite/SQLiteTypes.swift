internal import CdcCore

/// How a column's values are kept, so that every value comes back as it was.
enum SQLiteEncoding: Sendable {
    /// `INTEGER`: decimal digits become a 64-bit integer.
    case integer
    /// `INTEGER`: `t` and `f` become 1 and 0.
    case boolean
    /// `ANY`: a double, but the texts `NaN` and `-0` for what SQLite would make NULL, and for what it keeps but cannot tell
    /// from 0 in any expression.
    case real
    /// `BLOB`: the bytes that `bytea`'s hexadecimal digits stand for.
    case blob
    /// `TEXT`: the bytes that PostgreSQL prints; they must be UTF-8.
    case text
    /// `TEXT`, for types that PostgreSQL prints in ASCII whatever they hold.
    case ascii

    /// The encoding of a column.
    ///
    /// A key is compared by bytes, as the source's stream names it: -0 and 0 are two texts but one number, therefore
    /// floating point keys are text.
    ///
    /// With `SINK_ON_UNREPRESENTABLE=text` other floating point columns are text, too; with `null` and `clamp` they hold numbers
    /// alone, which the binder sees to.
    init(_ type: DataType, isKey: Bool, _ policy: UnrepresentablePolicy) {
        switch type {
        case .boolean: self = .boolean
        case .int16, .int32, .int64, .uint32: self = .integer
        case .float32, .float64: self = isKey || policy == .text ? .ascii : .real
        case .bytes: self = .blob
        // An xid8 can exceed 63 bits; SQLite's numbers hold no decimal exactly.
        case .uint64, .decimal, .uuid, .date, .time, .timestamp, .timestampTz: self = .ascii
        case .string, .text, .json, .jsonb, .other: self = .text
        }
    }

    /// The column's type in a STRICT table, where `ANY` takes a value as it is given, without conversion.
    var declaredType: String {
        switch self {
        case .integer, .boolean: "INTEGER"
        case .real: "ANY"
        case .blob: "BLOB"
        case .text, .ascii: "TEXT"
        }
    }
}

/// A column of a table at the sink.
struct SQLiteColumn {
    let name: String
    let declaredType: String
    let isKey: Bool
    let isNullable: Bool

    /// The columns that the sink's table has: the source's, then the audit columns.
    static func all(of table: TableSchema, _ config: SQLiteConfig) -> [SQLiteColumn] {
        var columns = table.columns.indices.map { index in
            let column = table.columns[index]
            let isKey = table.key.contains(index)
            return SQLiteColumn(
                name: column.name,
                declaredType: SQLiteEncoding(column.type, isKey: isKey, config.onUnrepresentable).declaredType,
                isKey: isKey,
                isNullable: !isKey && column.isNullable
            )
        }
        guard config.auditColumns else { return columns }
        for column in AuditColumn.allCases {
            columns.append(
                SQLiteColumn(name: column.rawValue, declaredType: column.declaredType, isKey: false, isNullable: true)
            )
        }
        return columns
    }

    /// The column as CREATE TABLE and ADD COLUMN write it.
    var definition: String {
        // NOT NULL for keys alone: SQLite cannot drop it again when the source does.
        "\(name.quotedIdentifier) \(declaredType)\(isKey ? " NOT NULL" : "")"
    }
}

extension AuditColumn {
    var declaredType: String {
        switch self {
        case .operation, .isDeleted: "INTEGER"
        case .syncedAt, .version: "TEXT"
        }
    }
}
