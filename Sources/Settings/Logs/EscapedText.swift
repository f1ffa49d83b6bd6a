/// Text between double quotes, escaped by JSON's rules.
///
/// Beyond what JSON demands, everything that moves a terminal's cursor or ends a line somewhere is escaped: DEL, the C1
/// controls and the two Unicode line ends. A log that is looked at must not be able to forge its next line.
enum EscapedText {
    static func append(_ text: String, to line: inout [UInt8]) {
        line.append(UInt8(ascii: "\""))
        if text.utf8.allSatisfy(isPlain) {
            line += text.utf8
        } else {
            for scalar in text.unicodeScalars { append(scalar, to: &line) }
        }
        line.append(UInt8(ascii: "\""))
    }

    /// Whether the byte stands for itself between quotes.
    static func isPlain(_ byte: UInt8) -> Bool {
        (0x20..<0x7F).contains(byte) && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "\\")
    }

    private static func append(_ scalar: Unicode.Scalar, to line: inout [UInt8]) {
        switch scalar {
        case "\"": line += "\\\"".utf8
        case "\\": line += "\\\\".utf8
        case "\n": line += "\\n".utf8
        case "\r": line += "\\r".utf8
        case "\t": line += "\\t".utf8
        case "\u{0}"..<"\u{20}", "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}": appendCode(scalar, to: &line)
        default: line += String(scalar).utf8
        }
    }

    private static func appendCode(_ scalar: Unicode.Scalar, to line: inout [UInt8]) {
        let digits = String(scalar.value, radix: 16)
        line += "\\u".utf8
        line += String(repeating: "0", count: 4 - digits.utf8.count).utf8
        line += digits.utf8
    }
}
