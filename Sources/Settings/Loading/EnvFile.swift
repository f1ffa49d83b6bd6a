/// A file of variables, read as systemd reads its `EnvironmentFile=`.
///
///     file    = { blank | comment | [ "export" ] name "=" value newline }
///     comment = ( "#" | ";" ) anything
///     value   = bare | "'" anything but ' "'" | '"' anything, with \" \\ \$ \` and \newline escaped '"'
///
/// In a bare value a backslash takes the next character as it is, or continues the line; white space around it is
/// dropped. Nothing is expanded. Where the readers of such files differ (a comment behind a value, text behind a
/// closing quote), the line is an error instead of a guess.
struct EnvFile {
    /// A variable and where it was set.
    struct Entry {
        var value: String
        var line: Int
    }

    /// A line that is not understood.
    struct Mistake {
        var line: Int
        var message: String
        var advice: String
    }

    /// What the file sets; of a name that is set twice, the last counts.
    private(set) var entries: [String: Entry] = [:]
    /// Every line that is not understood.
    private(set) var mistakes: [Mistake] = []
    /// Names that are set more than once, with both lines.
    private(set) var repeated: [(name: String, lines: [Int])] = []

    /// Parses the content of a file.
    init(_ content: [UInt8]) {
        guard String(validating: content, as: UTF8.self) != nil, !content.contains(0) else {
            let line = content.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
                .firstIndex { $0.contains(0) || String(validating: $0, as: UTF8.self) == nil }
            let number = (line ?? 0) + 1
            mistakes = [Mistake(line: number, message: "is not UTF-8 text", advice: "save the file as UTF-8")]
            return
        }
        var scanner = EnvFileScanner(content)
        while let statement = scanner.next() {
            switch statement {
            case .assignment(let name, let entry): set(name, entry)
            case .mistake(let mistake): mistakes.append(mistake)
            }
        }
    }

    private mutating func set(_ name: String, _ entry: Entry) {
        if let earlier = entries[name] { repeated.append((name, [earlier.line, entry.line])) }
        entries[name] = entry
    }
}
