/// Templates of table names: text with `{schema}` and `{table}`.
enum TableNameTemplate {
    private static let placeholders = ["schema", "table"]

    static func check(_ text: String) throws(ValueMistake) {
        try PlainText.check(text, maxBytes: 255)
        var rest = text[...]
        var hasTable = false
        while let brace = rest.firstIndex(where: { $0 == "{" || $0 == "}" }) {
            let inside = rest[rest.index(after: brace)...]
            guard rest[brace] == "{", let end = inside.firstIndex(of: "}") else {
                throw ValueMistake(message: "has a brace without its partner", suggestion: .example("{schema}_{table}"))
            }
            try check(placeholder: String(inside[..<end]))
            hasTable = hasTable || inside[..<end] == "table"
            rest = inside[inside.index(after: end)...]
        }
        guard hasTable else {
            throw ValueMistake(
                message: "lacks {table}, so that all tables would get one name",
                suggestion: .example("\(text)_{table}")
            )
        }
    }

    private static func check(placeholder name: String) throws(ValueMistake) {
        guard !placeholders.contains(name) else { return }
        let meant = EditDistance.nearest(to: name.lowercased(), in: placeholders)
        throw ValueMistake(
            message: "has the unknown placeholder {\(name)}",
            suggestion: meant.map { .meant("{\($0)}") }
        )
    }
}
