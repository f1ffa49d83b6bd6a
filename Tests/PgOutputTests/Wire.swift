import CdcCore

/// Encoders of what PostgreSQL sends: the mirror image of the decoders' grammars, for tests only.
///
/// See https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
enum Wire {
    /// A column of a tuple.
    enum Column: Hashable, Sendable {
        case null
        case unchanged
        case text(String)
        case binary([UInt8])
    }

    /// A column of a RELATION.
    struct Described {
        var name: String
        var isKey = false
        var type: UInt32 = 25
        var modifier: Int32 = -1
    }

    // MARK: Transactions

    static func begin(commitLSN: UInt64, time: Int64 = 1, xid: UInt32 = 7) -> [UInt8] {
        [UInt8(ascii: "B")] + bytes(commitLSN) + bytes(time) + bytes(xid)
    }

    static func commit(flags: UInt8 = 0, commitLSN: UInt64, endLSN: UInt64, time: Int64 = 1) -> [UInt8] {
        [UInt8(ascii: "C"), flags] + bytes(commitLSN) + bytes(endLSN) + bytes(time)
    }

    static func origin(commitLSN: UInt64, name: String) -> [UInt8] {
        [UInt8(ascii: "O")] + bytes(commitLSN) + string(name)
    }

    // MARK: Descriptions

    static func relation(
        _ oid: UInt32,
        schema: String,
        name: String,
        identity: UInt8 = UInt8(ascii: "d"),
        columns: [Described]
    ) -> [UInt8] {
        var message = [UInt8(ascii: "R")] + bytes(oid) + string(schema) + string(name) + [identity]
        message += bytes(UInt16(columns.count))
        for column in columns {
            message += [column.isKey ? 1 : 0] + string(column.name) + bytes(column.type) + bytes(column.modifier)
        }
        return message
    }

    static func type(_ oid: UInt32, schema: String, name: String) -> [UInt8] {
        [UInt8(ascii: "Y")] + bytes(oid) + string(schema) + string(name)
    }

    // MARK: Rows

    static func tuple(_ columns: [Column]) -> [UInt8] {
        var message = bytes(UInt16(columns.count))
        for column in columns {
            switch column {
            case .null: message.append(UInt8(ascii: "n"))
            case .unchanged: message.append(UInt8(ascii: "u"))
            case .text(let text): message += [UInt8(ascii: "t")] + bytes(UInt32(text.utf8.count)) + Array(text.utf8)
            case .binary(let value): message += [UInt8(ascii: "b")] + bytes(UInt32(value.count)) + value
            }
        }
        return message
    }

    static func insert(_ relation: UInt32, _ new: [Column]) -> [UInt8] {
        [UInt8(ascii: "I")] + bytes(relation) + [UInt8(ascii: "N")] + tuple(new)
    }

    static func update(_ relation: UInt32, key: [Column], new: [Column]) -> [UInt8] {
        update(relation, tag: UInt8(ascii: "K"), old: key, new: new)
    }

    static func update(_ relation: UInt32, full: [Column], new: [Column]) -> [UInt8] {
        update(relation, tag: UInt8(ascii: "O"), old: full, new: new)
    }

    static func update(_ relation: UInt32, new: [Column]) -> [UInt8] {
        [UInt8(ascii: "U")] + bytes(relation) + [UInt8(ascii: "N")] + tuple(new)
    }

    private static func update(_ relation: UInt32, tag: UInt8, old: [Column], new: [Column]) -> [UInt8] {
        [UInt8(ascii: "U")] + bytes(relation) + [tag] + tuple(old) + [UInt8(ascii: "N")] + tuple(new)
    }

    static func delete(_ relation: UInt32, key: [Column]) -> [UInt8] {
        [UInt8(ascii: "D")] + bytes(relation) + [UInt8(ascii: "K")] + tuple(key)
    }

    static func delete(_ relation: UInt32, full: [Column]) -> [UInt8] {
        [UInt8(ascii: "D")] + bytes(relation) + [UInt8(ascii: "O")] + tuple(full)
    }

    // MARK: Others

    static func truncate(_ relations: [UInt32], flags: UInt8 = 0) -> [UInt8] {
        [UInt8(ascii: "T")] + bytes(UInt32(relations.count)) + [flags] + relations.flatMap { bytes($0) }
    }

    static func message(isTransactional: Bool, lsn: UInt64, prefix: String, content: [UInt8]) -> [UInt8] {
        [UInt8(ascii: "M"), isTransactional ? 1 : 0] + bytes(lsn) + string(prefix) + bytes(UInt32(content.count))
            + content
    }

    // MARK: Frames

    static func data(start: UInt64, walEnd: UInt64, time: Int64 = 1, payload: [UInt8]) -> [UInt8] {
        [UInt8(ascii: "w")] + bytes(start) + bytes(walEnd) + bytes(time) + payload
    }

    static func keepalive(walEnd: UInt64, time: Int64 = 1, replyRequested: Bool) -> [UInt8] {
        [UInt8(ascii: "k")] + bytes(walEnd) + bytes(time) + [replyRequested ? 1 : 0]
    }

    // MARK: COPY

    /// A line of COPY's text format, as `CopyAttributeOutText` of PostgreSQL's `copyto.c` writes it.
    ///
    /// - Parameter values: nil for NULL.
    /// - Returns: the line with its end.
    static func copyLine(_ values: [[UInt8]?]) -> [UInt8] {
        let fields = values.map { value -> [UInt8] in value.map { $0.flatMap(escaped) } ?? Array("\\N".utf8) }
        return Array(fields.joined(separator: [UInt8(ascii: "\t")])) + [UInt8(ascii: "\n")]
    }

    private static func escaped(_ byte: UInt8) -> [UInt8] {
        switch byte {
        case 8: Array("\\b".utf8)
        case 9: Array("\\t".utf8)
        case 10: Array("\\n".utf8)
        case 11: Array("\\v".utf8)
        case 12: Array("\\f".utf8)
        case 13: Array("\\r".utf8)
        case UInt8(ascii: "\\"): Array("\\\\".utf8)
        default: [byte]
        }
    }

    /// The beginning of a copy in binary format, as `CopyToBinaryStart` of PostgreSQL's `copyto.c` sends it.
    static func copyHeader(flags: UInt32 = 0, extension content: [UInt8] = []) -> [UInt8] {
        Array("PGCOPY\n".utf8) + [0xFF, 0x0D, 0x0A, 0] + bytes(flags) + bytes(UInt32(content.count)) + content
    }

    /// A row of a copy in binary format.
    ///
    /// - Parameter values: nil for NULL.
    /// - Returns: the row.
    static func copyRow(_ values: [[UInt8]?]) -> [UInt8] {
        bytes(UInt16(values.count))
            + values.flatMap { value in value.map { bytes(UInt32($0.count)) + $0 } ?? bytes(-1 as Int32) }
    }

    /// The end of a copy in binary format.
    static let copyTrailer: [UInt8] = [0xFF, 0xFF]

    // MARK: Parts

    static func bytes(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }

    static func string(_ text: String) -> [UInt8] {
        Array(text.utf8) + [0]
    }
}
