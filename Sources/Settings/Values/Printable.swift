/// Text from outside on its way into a message: one line, not endless.
enum Printable {
    /// More of a value than this helps nobody to recognise it.
    private static let maxCharacters = 100

    /// The text between double quotes, with what would end them or the line escaped.
    static func quoted(_ text: String) -> String {
        let escaped = text.unicodeScalars.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : visible($0) }.joined()
        return "\"" + cut(escaped) + "\""
    }

    /// The text with control characters escaped.
    static func plain(_ text: String) -> String {
        cut(text.unicodeScalars.map(visible).joined())
    }

    private static func cut(_ text: String) -> String {
        text.count <= maxCharacters ? text : text.prefix(maxCharacters) + "…"
    }

    private static func visible(_ scalar: Unicode.Scalar) -> String {
        switch scalar {
        case "\n": "\\n"
        case "\r": "\\r"
        case "\t": "\\t"
        case _ where scalar.properties.generalCategory == .control: "\\u{\(String(scalar.value, radix: 16))}"
        default: String(scalar)
        }
    }
}
