/// One JSON line of the daemon's log: its top-level fields, strings unescaped, everything else as written.
public struct LogLine: Sendable, CustomStringConvertible {
    /// The line.
    public let raw: String
    /// The top-level fields by name; empty when the line is no JSON object.
    public let fields: [String: String]

    /// The field `event`.
    public var event: String? { fields["event"] }
    /// The field `level`.
    public var level: String? { fields["level"] }
    /// The line itself.
    public var description: String { raw }

    /// A field's value.
    public subscript(_ name: String) -> String? { fields[name] }

    /// Reads a line.
    public init(_ line: String) {
        raw = line
        var scanner = Scanner(bytes: Array(line.utf8))
        fields = scanner.object() ?? [:]
    }

    /// Reads the top level of one JSON object; deeper levels stay text.
    private struct Scanner {
        let bytes: [UInt8]
        var position = 0

        init(bytes: [UInt8]) { self.bytes = bytes }

        mutating func object() -> [String: String]? {
            var fields: [String: String] = [:]
            guard take(UInt8(ascii: "{")) else { return nil }
            if take(UInt8(ascii: "}")) { return fields }
            while true {
                guard let name = string(), take(UInt8(ascii: ":")), let value = value() else { return nil }
                fields[name] = value
                if take(UInt8(ascii: ",")) { continue }
                return take(UInt8(ascii: "}")) ? fields : nil
            }
        }

        private mutating func skipBlanks() {
            while position < bytes.count, bytes[position] <= 0x20 { position += 1 }
        }

        private mutating func take(_ byte: UInt8) -> Bool {
            skipBlanks()
            guard position < bytes.count, bytes[position] == byte else { return false }
            position += 1
            return true
        }

        private mutating func value() -> String? {
            skipBlanks()
            guard position < bytes.count else { return nil }
            if bytes[position] == UInt8(ascii: "\"") { return string() }
            let start = position
            var depth = 0
            while position < bytes.count {
                switch bytes[position] {
                case UInt8(ascii: "\""):
                    guard string() != nil else { return nil }
                    continue
                case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
                case UInt8(ascii: "}"), UInt8(ascii: "]"):
                    if depth == 0 { return text(start..<position) }
                    depth -= 1
                case UInt8(ascii: ","):
                    if depth == 0 { return text(start..<position) }
                default: break
                }
                position += 1
            }
            return nil
        }

        private func text(_ range: Range<Int>) -> String { String(decoding: bytes[range], as: UTF8.self) }

        private mutating func string() -> String? {
            guard take(UInt8(ascii: "\"")) else { return nil }
            var units: [UInt16] = []
            var plain: [UInt8] = []
            func flushed() -> [UInt16] { Array(String(decoding: plain, as: UTF8.self).utf16) }
            while position < bytes.count {
                let byte = bytes[position]
                position += 1
                switch byte {
                case UInt8(ascii: "\""):
                    return String(decoding: units + flushed(), as: UTF16.self)
                case UInt8(ascii: "\\"):
                    units += flushed()
                    plain = []
                    guard let unit = escape() else { return nil }
                    units.append(unit)
                default:
                    plain.append(byte)
                }
            }
            return nil
        }

        private mutating func escape() -> UInt16? {
            guard position < bytes.count else { return nil }
            let byte = bytes[position]
            position += 1
            switch byte {
            case UInt8(ascii: "n"): return 10
            case UInt8(ascii: "t"): return 9
            case UInt8(ascii: "r"): return 13
            case UInt8(ascii: "b"): return 8
            case UInt8(ascii: "f"): return 12
            case UInt8(ascii: "u"):
                guard position + 4 <= bytes.count else { return nil }
                let unit = UInt16(text(position..<position + 4), radix: 16)
                position += 4
                return unit
            default: return UInt16(byte)
            }
        }
    }
}
