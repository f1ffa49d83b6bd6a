/// libpq's `key = value` strings, read for their form.
///
/// - SeeAlso: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-KEYWORD-VALUE
enum ConnInfo {
    static func parse(_ text: String) throws(ValueMistake) -> [(name: String, value: String)] {
        var rest = text[...]
        var pairs: [(name: String, value: String)] = []
        while true {
            skipSpace(&rest)
            guard !rest.isEmpty else { return pairs }
            let name = String(rest.prefix { $0 != "=" && !$0.isWhitespace })
            rest = rest.dropFirst(name.count)
            skipSpace(&rest)
            guard !name.isEmpty, rest.popFirst() == "=" else {
                throw ValueMistake(
                    message: "has a word that is not key=value",
                    suggestion: .advice("put a value with spaces in single quotation marks")
                )
            }
            skipSpace(&rest)
            pairs.append((name, try value(&rest)))
        }
    }

    private static func value(_ rest: inout Substring) throws(ValueMistake) -> String {
        let isQuoted = rest.first == "'"
        if isQuoted { rest.removeFirst() }
        var value = ""
        while let character = rest.first, isQuoted || !character.isWhitespace {
            rest.removeFirst()
            if isQuoted && character == "'" { return value }
            value.append(character == "\\" ? (rest.popFirst() ?? character) : character)
        }
        guard !isQuoted else {
            throw ValueMistake(
                message: "opens a quotation mark that is never closed",
                suggestion: .advice("write \\' for one inside"),
                showsAllowed: false
            )
        }
        return value
    }

    private static func skipSpace(_ rest: inout Substring) {
        rest = rest.drop(while: \.isWhitespace)
    }
}
