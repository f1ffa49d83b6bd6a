/// A JSON value, as dead letters are kept and as servers answer: strict, numbers as they are written.
package indirect enum JSONValue: Equatable {
    case null
    case boolean(Bool)
    case number(String)
    case string(String)
    case array([JSONValue])
    case object([Member])

    package struct Member: Equatable {
        package var name: String
        package var value: JSONValue

        package init(name: String, value: JSONValue) {
            self.name = name
            self.value = value
        }
    }

    /// The value of an object's member; nil where there is none.
    package subscript(name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name.hasSameBytes(as: name) }?.value
    }

    package var string: String? { if case .string(let text) = self { text } else { nil } }
    package var array: [JSONValue]? { if case .array(let values) = self { values } else { nil } }
    package var isNull: Bool { self == .null }

    package func number<Integer: FixedWidthInteger>(_ type: Integer.Type) -> Integer? {
        if case .number(let digits) = self { Integer(digits) } else { nil }
    }

    package static func number(_ value: some BinaryInteger) -> JSONValue { .number(String(value)) }

    // MARK: Writing

    /// On one line.
    package var text: String {
        var bytes: [UInt8] = []
        write(to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    package func write(to bytes: inout [UInt8]) {
        switch self {
        case .null: bytes.append(contentsOf: "null".utf8)
        case .boolean(let value): bytes.append(contentsOf: (value ? "true" : "false").utf8)
        case .number(let digits): bytes.append(contentsOf: digits.utf8)
        case .string(let text): JSONValue.write(text, to: &bytes)
        case .array(let values):
            bytes.append(UInt8(ascii: "["))
            for (index, value) in values.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                value.write(to: &bytes)
            }
            bytes.append(UInt8(ascii: "]"))
        case .object(let members):
            bytes.append(UInt8(ascii: "{"))
            for (index, member) in members.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                JSONValue.write(member.name, to: &bytes)
                bytes.append(UInt8(ascii: ":"))
                member.value.write(to: &bytes)
            }
            bytes.append(UInt8(ascii: "}"))
        }
    }

    private static let digits = Array("0123456789abcdef".utf8)

    private static func write(_ text: String, to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes.append(contentsOf: [UInt8(ascii: "\\"), byte])
            case 0x0A: bytes.append(contentsOf: "\\n".utf8)
            case 0..<0x20, 0x7F:
                bytes.append(contentsOf: "\\u00".utf8)
                bytes.append(digits[Int(byte >> 4)])
                bytes.append(digits[Int(byte & 15)])
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}

/// Reads JSON (RFC 8259); nothing that is not JSON passes.
package struct JSONReader {
    struct Damage: Error {}

    private let bytes: UnsafeBufferPointer<UInt8>
    private var place = 0
    /// Deeper nesting is no letter's, and would take the stack.
    private static let deepest = 16

    /// Reads one value that takes all of the bytes.
    package static func read(_ bytes: ArraySlice<UInt8>) -> JSONValue? {
        bytes.withUnsafeBufferPointer { buffer in
            var reader = JSONReader(bytes: buffer)
            do throws(Damage) {
                let value = try reader.value(depth: 0)
                reader.skipSpace()
                return reader.place == buffer.count ? value : nil
            } catch {
                return nil
            }
        }
    }

    private init(bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    private var next: UInt8? { place < bytes.count ? bytes[place] : nil }

    private mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { place += 1 }
    }

    private mutating func takes(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        place += 1
        return true
    }

    private mutating func expect(_ text: StaticString) throws(Damage) {
        for index in 0..<text.utf8CodeUnitCount {
            guard takes(text.utf8Start[index]) else { throw Damage() }
        }
    }

    private mutating func value(depth: Int) throws(Damage) -> JSONValue {
        guard depth < JSONReader.deepest else { throw Damage() }
        skipSpace()
        switch next {
        case UInt8(ascii: "n"):
            try expect("null")
            return .null
        case UInt8(ascii: "t"):
            try expect("true")
            return .boolean(true)
        case UInt8(ascii: "f"):
            try expect("false")
            return .boolean(false)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "["):
            return .array(
                try list(UInt8(ascii: "]")) { (self) throws(Damage) in
                    try self.value(depth: depth + 1)
                }
            )
        case UInt8(ascii: "{"):
            return .object(
                try list(UInt8(ascii: "}")) { (self) throws(Damage) in
                    self.skipSpace()
                    let name = try self.string()
                    self.skipSpace()
                    guard self.takes(UInt8(ascii: ":")) else { throw Damage() }
                    return JSONValue.Member(name: name, value: try self.value(depth: depth + 1))
                }
            )
        default: return .number(try number())
        }
    }

    private mutating func list<Element>(
        _ end: UInt8,
        _ element: (inout JSONReader) throws(Damage) -> Element
    ) throws(Damage) -> [Element] {
        place += 1
        var elements: [Element] = []
        skipSpace()
        if takes(end) { return elements }
        while true {
            elements.append(try element(&self))
            skipSpace()
            if takes(end) { return elements }
            guard takes(UInt8(ascii: ",")) else { throw Damage() }
        }
    }

    private mutating func number() throws(Damage) -> String {
        let begin = place
        _ = takes(UInt8(ascii: "-"))
        try digits()
        if takes(UInt8(ascii: ".")) { try digits() }
        if takes(UInt8(ascii: "e")) || takes(UInt8(ascii: "E")) {
            if !takes(UInt8(ascii: "-")) { _ = takes(UInt8(ascii: "+")) }
            try digits()
        }
        return String(decoding: bytes[begin..<place], as: UTF8.self)
    }

    private mutating func digits() throws(Damage) {
        let begin = place
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { place += 1 }
        guard place > begin else { throw Damage() }
    }

    private mutating func string() throws(Damage) -> String {
        guard takes(UInt8(ascii: "\"")) else { throw Damage() }
        var text: [UInt8] = []
        while let byte = next {
            place += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let valid = String(validating: text, as: UTF8.self) else { throw Damage() }
                return valid
            case UInt8(ascii: "\\"): try escape(into: &text)
            case 0..<0x20: throw Damage()
            default: text.append(byte)
            }
        }
        throw Damage()
    }

    private mutating func escape(into text: inout [UInt8]) throws(Damage) {
        guard let byte = next else { throw Damage() }
        place += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "b"): text.append(0x08)
        case UInt8(ascii: "f"): text.append(0x0C)
        case UInt8(ascii: "n"): text.append(0x0A)
        case UInt8(ascii: "r"): text.append(0x0D)
        case UInt8(ascii: "t"): text.append(0x09)
        case UInt8(ascii: "u"): text.append(contentsOf: String(try scalar()).utf8)
        default: throw Damage()
        }
    }

    private mutating func scalar() throws(Damage) -> Unicode.Scalar {
        let first = try unit()
        if let scalar = Unicode.Scalar(first) { return scalar }
        try expect("\\u")
        let second = try unit()
        guard (0xD800...0xDBFF).contains(first), (0xDC00...0xDFFF).contains(second),
            let scalar = Unicode.Scalar((first - 0xD800) << 10 + second - 0xDC00 + 0x10000)
        else { throw Damage() }
        return scalar
    }

    private mutating func unit() throws(Damage) -> UInt32 {
        guard place + 4 <= bytes.count else { throw Damage() }
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = Character(Unicode.Scalar(bytes[place])).hexDigitValue else { throw Damage() }
            value = value << 4 | UInt32(digit)
            place += 1
        }
        return value
    }
}
