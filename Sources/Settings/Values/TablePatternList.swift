import CdcCore

/// `SOURCE_TABLES`: a comma list of patterns.
///
///     list    = pattern { "," pattern }
///     pattern = name "." name
///     name    = bare | '"' anything, with "" for a quotation mark '"'
///
/// White space around names is dropped. Names count as written: they are not folded to small letters, because they are
/// compared with names and not read by SQL.
struct TablePatternList {
    /// The patterns that are right, each once.
    private(set) var patterns: [TablePattern] = []
    /// What is wrong with the others.
    private(set) var mistakes: [ValueMistake] = []

    init(_ text: String) {
        var rest = text[...]
        while !rest.isEmpty {
            do throws(ValueMistake) {
                let names = try Self.names(of: &rest)
                guard !names.isEmpty else { continue }
                let pattern = try Self.pattern(names)
                if !patterns.contains(pattern) { patterns.append(pattern) }
            } catch {
                mistakes.append(error)
            }
        }
        if patterns.isEmpty && mistakes.isEmpty {
            mistakes = [ValueMistake(message: "names no table", suggestion: .example("public.*"))]
        }
    }

    /// Takes one pattern off the list: its names, or none for nothing between two commas.
    private static func names(of rest: inout Substring) throws(ValueMistake) -> [String] {
        var names: [String] = []
        var current = ""
        var isQuoted = false
        var mistake: ValueMistake?
        while let character = rest.popFirst(), character != "," {
            switch character {
            case "\"" where current.allSatisfy(\.isWhitespace) && !isQuoted:
                isQuoted = true
                current = try quoted(&rest)
            case ".":
                names.append(isQuoted ? current : trimmed(current))
                current = ""
                isQuoted = false
            case _ where isQuoted && !character.isWhitespace, "\"":
                mistake = ValueMistake(
                    message: "has a quotation mark inside a name",
                    suggestion: .advice("put the whole name in quotation marks, and write \"\" for one inside"),
                    showsAllowed: false
                )
            default:
                if !isQuoted { current.append(character) }
            }
        }
        if let mistake { throw mistake }
        let last = isQuoted ? current : trimmed(current)
        return names.isEmpty && last.isEmpty ? [] : names + [last]
    }

    private static func quoted(_ rest: inout Substring) throws(ValueMistake) -> String {
        var name = ""
        while let character = rest.popFirst() {
            guard character == "\"" else {
                name.append(character)
                continue
            }
            guard rest.first == "\"" else { return name }
            rest.removeFirst()
            name.append(character)
        }
        throw ValueMistake(
            message: "opens a quotation mark that is never closed",
            suggestion: .advice("close it"),
            showsAllowed: false
        )
    }

    private static func pattern(_ names: [String]) throws(ValueMistake) -> TablePattern {
        let written = names.joined(separator: ".")
        switch names.count {
        case 1:
            let meant = names[0] == "*" ? "*.* for every table" : "public.\(names[0])"
            throw ValueMistake(
                message: "has \(Printable.quoted(written)) without a schema",
                suggestion: .example(meant),
                showsAllowed: false
            )
        case 2: break
        default:
            throw ValueMistake(
                message: "has \(Printable.quoted(written)) with \(names.count) parts",
                suggestion: .example("SCHEMA.TABLE"),
                showsAllowed: false
            )
        }
        guard names.allSatisfy({ !$0.isEmpty }) else {
            throw ValueMistake(
                message: "has \(Printable.quoted(written)) with an empty name",
                suggestion: .example("SCHEMA.TABLE"),
                showsAllowed: false
            )
        }
        guard !written.unicodeScalars.contains("\u{FFFD}") else {
            throw ValueMistake(message: "is not UTF-8 text", showsAllowed: false)
        }
        guard names.allSatisfy({ $0.utf8.count <= 63 }) else {
            throw ValueMistake(
                message: "has a name that is longer than PostgreSQL's 63 bytes",
                suggestion: .advice("write it as PostgreSQL shows it"),
                showsAllowed: false
            )
        }
        return TablePattern(schema: names[0], name: names[1])
    }

    private static func trimmed(_ text: String) -> String { text.trimmingWhitespace() }
}
