/// Cuts an env-file into assignments and mistakes; see ``EnvFile`` for the grammar.
struct EnvFileScanner {
    enum Statement {
        case assignment(String, EnvFile.Entry)
        case mistake(EnvFile.Mistake)
    }

    private var rest: ArraySlice<UInt8>
    private var line = 1

    init(_ content: [UInt8]) {
        let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
        rest = content.starts(with: mark) ? content.dropFirst(mark.count) : content[...]
    }

    /// The next line that says something; nil at the end.
    mutating func next() -> Statement? {
        while true {
            skipBlanks()
            guard let byte = rest.first else { return nil }
            switch byte {
            case Self.newline: advance()
            case UInt8(ascii: "#"), UInt8(ascii: ";"): skipLine()
            default: return statement()
            }
        }
    }

    private mutating func statement() -> Statement {
        let start = line
        let head = rest.prefix { $0 != Self.newline && $0 != UInt8(ascii: "=") }
        guard rest.dropFirst(head.count).first == UInt8(ascii: "=") else {
            skipLine()
            return mistake(start, "has no \"=\"", "write NAME=VALUE, or # before a comment")
        }
        guard let name = Self.name(head) else {
            skipLine()
            return mistake(start, "has no valid name before \"=\"", "write NAME=VALUE, with letters, digits and _")
        }
        rest = rest.dropFirst(head.count + 1)
        skipBlanks()
        return value(of: name, from: start)
    }

    private mutating func value(of name: String, from start: Int) -> Statement {
        let quote = rest.first
        guard quote == UInt8(ascii: "'") || quote == UInt8(ascii: "\"") else { return bareValue(of: name, from: start) }
        advance()
        guard let value = quotedValue(until: quote!) else {
            return mistake(start, "opens a quotation mark that is never closed", "close it")
        }
        skipBlanks()
        guard rest.isEmpty || rest.first == Self.newline else {
            skipLine()
            return mistake(
                start,
                "has text after the closing quotation mark",
                "put the whole value in one pair of them"
            )
        }
        return .assignment(name, EnvFile.Entry(value: value, line: start))
    }

    private mutating func quotedValue(until quote: UInt8) -> String? {
        var value: [UInt8] = []
        while let byte = advance() {
            if byte == quote { return String(decoding: value, as: UTF8.self) }
            guard byte == Self.backslash, quote == UInt8(ascii: "\""), let next = rest.first else {
                value.append(byte)
                continue
            }
            // A backslash before anything else stays: "C:\data" means what it shows.
            if !Self.escapable.contains(next) && next != Self.newline { value.append(byte) }
            advance()
            if next != Self.newline { value.append(next) }
        }
        return nil
    }

    private mutating func bareValue(of name: String, from start: Int) -> Statement {
        var value: [UInt8] = []
        // How much of the value white space at the end must leave: escaped characters count as text.
        var kept = 0
        while let byte = rest.first, byte != Self.newline {
            advance()
            if byte == UInt8(ascii: "#"), let last = value.last, Self.isBlank(last), value.count > kept {
                skipLine()
                return mistake(
                    start,
                    "has # after white space in a value without quotation marks",
                    "put a comment on a line of its own, or the value in quotation marks"
                )
            }
            if byte == Self.backslash, let next = advance() {
                if next != Self.newline { value.append(next) }
                kept = value.count
            } else {
                value.append(byte)
                if !Self.isBlank(byte) { kept = value.count }
            }
        }
        return .assignment(name, EnvFile.Entry(value: String(decoding: value[..<kept], as: UTF8.self), line: start))
    }

    // MARK: Bytes

    private static let newline = UInt8(ascii: "\n")
    private static let backslash = UInt8(ascii: "\\")
    private static let escapable: [UInt8] = Array("\"\\$`".utf8)

    /// A carriage return counts as white space, so that a file written on Windows works.
    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
    }

    private static func name(_ head: ArraySlice<UInt8>) -> String? {
        var words = head.split(whereSeparator: isBlank)
        if words.count == 2, words[0].elementsEqual("export".utf8) { words.removeFirst() }
        guard words.count == 1, let word = words.first, let first = word.first else { return nil }
        guard isNameByte(first), !isDigit(first), word.allSatisfy(isNameByte) else { return nil }
        return String(decoding: word, as: UTF8.self)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        isDigit(byte) || byte == UInt8(ascii: "_")
            || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte & ~0x20)
    }

    @discardableResult private mutating func advance() -> UInt8? {
        let byte = rest.popFirst()
        if byte == Self.newline { line += 1 }
        return byte
    }

    private mutating func skipBlanks() {
        rest = rest.drop(while: Self.isBlank)
    }

    private mutating func skipLine() {
        rest = rest.drop { $0 != Self.newline }
    }

    private func mistake(_ line: Int, _ message: String, _ advice: String) -> Statement {
        .mistake(EnvFile.Mistake(line: line, message: message, advice: advice))
    }
}
