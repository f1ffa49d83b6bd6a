import CLibpq
import Glibc

/// How the values of a PostgreSQL type are kept in SQLite.
public enum ColumnKind: Sendable {
    /// INTEGER 0 or 1.
    case boolean
    /// INTEGER: int2, int4, int8, oid.
    case integer
    /// REAL with the precision of a Float, or TEXT for NaN, -0 and in keys.
    case real4
    /// REAL, or TEXT for NaN, -0 and in keys.
    case real8
    /// BLOB.
    case bytes
    /// TEXT, byte for byte PostgreSQL's text.
    case text
    /// INTEGER or TEXT: xid and cid.
    case textOrInteger

    /// The kind of a type that is no domain, by its OID.
    public init(typeOID: UInt32) {
        self =
            switch typeOID {
            case 16: .boolean
            case 20, 21, 23, 26: .integer
            case 700: .real4
            case 701: .real8
            case 17: .bytes
            case 28, 29: .textOrInteger
            default: .text
            }
    }
}

/// Bytes that hash and compare fast in debug builds too.
struct Bytes: Hashable, Sendable {
    let array: [UInt8]

    static func == (left: Bytes, right: Bytes) -> Bool {
        guard left.array.count == right.array.count else { return false }
        return left.array.withUnsafeBytes { a in
            right.array.withUnsafeBytes { b in
                guard let first = a.baseAddress, let second = b.baseAddress else { return true }
                return memcmp(first, second, a.count) == 0
            }
        }
    }

    func hash(into hasher: inout Hasher) {
        array.withUnsafeBytes { hasher.combine(bytes: $0) }
    }
}

/// Writes a row, or its key, in the one form in which PostgreSQL's and SQLite's values are compared.
///
/// Per cell: a tag, then its bytes. Long texts and blobs are kept as length, a 128-bit hash and their first bytes, so
/// that a model of many large values stays small.
struct RowEncoder {
    private(set) var array: [UInt8] = []

    var bytes: Bytes { Bytes(array: array) }

    private static let longest = 64
    private static let prefix = 24

    /// Appends what SQLite should hold for a value that PostgreSQL writes as `text`, which a zero byte must follow.
    mutating func append(expected text: UnsafeRawBufferPointer?, _ kind: ColumnKind, isKey: Bool) {
        guard let text else { return append(tag: "0") }
        switch kind {
        case .boolean:
            append(integer: text.first == UInt8(ascii: "t") ? 1 : 0)
        case .integer:
            guard let number = Int64(String(decoding: text, as: UTF8.self)) else { return append("T", text) }
            append(integer: number)
        case .real4, .real8:
            let string = String(decoding: text, as: UTF8.self)
            if isKey || string == "NaN" || string == "-0" { return append("T", text) }
            kind == .real4 ? append(float: strtof(string, nil)) : append(double: strtod(string, nil))
        case .bytes:
            // libpq's decoder rather than one of our own: in debug builds it is a hundred times as fast.
            var count = 0
            let blob = PQunescapeBytea(text.assumingMemoryBound(to: UInt8.self).baseAddress, &count)
            append("B", UnsafeRawBufferPointer(start: blob, count: count))
            PQfreemem(blob)
        case .text, .textOrInteger:
            append("T", text)
        }
    }

    /// Appends what SQLite holds.
    mutating func append(found row: SQLiteRow, _ column: Int, _ kind: ColumnKind) {
        switch row.type(column) {
        case .null: append(tag: "0")
        case .integer:
            let number = row.integer(column)
            if case .textOrInteger = kind {
                var text = String(number)
                text.withUTF8 { append("T", UnsafeRawBufferPointer($0)) }
            } else {
                append(integer: number)
            }
        case .real:
            if case .real4 = kind {
                append(float: Float(row.real(column)))
            } else {
                append(double: row.real(column))
            }
        case .text: append("T", row.bytes(column))
        case .blob: append("B", row.bytes(column))
        }
    }

    private mutating func append(tag: Unicode.Scalar) { array.append(UInt8(ascii: tag)) }

    private mutating func append(integer: Int64) {
        append(tag: "I")
        append(UInt64(bitPattern: integer))
    }

    private mutating func append(float: Float) {
        append(tag: "F")
        append(UInt64(float.bitPattern))
    }

    private mutating func append(double: Double) {
        append(tag: "D")
        append(double.bitPattern)
    }

    private mutating func append(_ number: UInt64) {
        withUnsafeBytes(of: number) { array.append(contentsOf: $0) }
    }

    private mutating func append(_ tag: Unicode.Scalar, _ content: UnsafeRawBufferPointer) {
        guard content.count > Self.longest else {
            append(tag: tag)
            array.append(UInt8(content.count))
            return array.append(contentsOf: content)
        }
        append(tag: tag == "T" ? "t" : "b")
        append(UInt64(content.count))
        for salt in 0..<2 {
            var hasher = Hasher()
            hasher.combine(salt)
            hasher.combine(bytes: content)
            append(UInt64(bitPattern: Int64(hasher.finalize())))
        }
        array.append(contentsOf: content.prefix(Self.prefix))
    }

    /// The cells of an encoded row, for a message.
    static func describe(_ bytes: Bytes) -> [String] {
        let array = bytes.array
        var cells: [String] = []
        var position = 0
        func number() -> UInt64 {
            var value: UInt64 = 0
            for index in (0..<8).reversed() { value = value << 8 | UInt64(array[position + index]) }
            position += 8
            return value
        }
        func content(_ count: Int) -> [UInt8] {
            defer { position += count }
            return Array(array[position..<position + count])
        }
        while position < array.count {
            let tag = Unicode.Scalar(array[position])
            position += 1
            switch tag {
            case "0": cells.append("NULL")
            case "I": cells.append("INTEGER \(Int64(bitPattern: number()))")
            case "F": cells.append("REAL \(Float(bitPattern: UInt32(truncatingIfNeeded: number())))")
            case "D": cells.append("REAL \(Double(bitPattern: number()))")
            case "T", "B":
                position += 1
                let content = content(Int(array[position - 1]))
                cells.append((tag == "T" ? SQLiteValue.text(content) : .blob(content)).description)
            default:
                let count = number()
                let hash = number()
                _ = number()
                let start = SQLiteValue.text(content(Self.prefix)).description
                let name = tag == "t" ? "TEXT" : "BLOB"
                cells.append("\(name) of \(count) bytes, hash \(String(hash, radix: 16)), starting with \(start)")
            }
        }
        return cells
    }
}
