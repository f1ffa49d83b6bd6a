/// What an error says of a statement: its first keywords and its table, no literal.
///
/// - Parameter sql: The statement.
/// - Returns: For example ``INSERT INTO `shop`.`orders` …``.
func statementName(_ sql: UnsafeRawBufferPointer) -> String {
    var scanner = StatementScanner(sql)
    var words: [String] = []
    while words.count < 8, let word = scanner.next() {
        guard word.isName else { break }
        words.append(word.text)
        // The first name that is no keyword is the table's, the user's, the variable's.
        guard StatementScanner.keywords.contains(word.text.uppercased()) else { break }
        guard word.text.uppercased() != "SELECT" else { break }
    }
    let isRead = ["SELECT", "WITH"].contains(words.first?.uppercased() ?? "")
    if isRead, let table = scanner.table() { return "\(words[0]) … FROM \(table) …" }
    guard !words.isEmpty else { return "a statement" }
    return words.joined(separator: " ") + (isRead || scanner.next() != nil ? " …" : "")
}

/// Takes the beginning of a statement apart into names and other things.
private struct StatementScanner {
    struct Word {
        let text: String
        let isName: Bool
    }

    static let keywords: Set<String> = [
        "SELECT", "WITH", "INSERT", "INTO", "IGNORE", "OVERWRITE", "REPLACE", "UPDATE", "DELETE", "FROM", "TRUNCATE",
        "CREATE", "ALTER", "DROP", "RENAME", "TABLE", "TABLES", "TEMPORARY", "EXTERNAL", "DATABASE", "SCHEMA", "INDEX",
        "UNIQUE", "VIEW", "MATERIALIZED", "USER", "IF", "NOT", "EXISTS", "OR", "SHOW", "FULL", "COLUMNS", "DESCRIBE",
        "DESC", "EXPLAIN", "ANALYZE", "SET", "GLOBAL", "SESSION", "GRANT", "REVOKE", "LOAD", "DATA", "LOCAL", "INFILE",
        "KILL", "CONNECTION", "QUERY", "LOCK", "UNLOCK", "START", "BEGIN", "COMMIT", "ROLLBACK", "TRANSACTION", "USE",
        "ADMIN", "CANCEL", "CALL", "OPTIMIZE", "FLUSH", "ROUTINE",
    ]

    private let sql: UnsafeRawBufferPointer
    private var place = 0

    init(_ sql: UnsafeRawBufferPointer) {
        // Longer lists of columns than this hide the table; nobody misses it.
        self.sql = UnsafeRawBufferPointer(rebasing: sql.prefix(4096))
    }

    /// The name behind the first FROM outside of literals.
    mutating func table() -> String? {
        while let word = next() {
            guard word.isName, word.text.uppercased() == "FROM" else { continue }
            guard let table = next(), table.isName else { return nil }
            return table.text
        }
        return nil
    }

    mutating func next() -> Word? {
        while place < sql.count, isSpace(sql[place]) { place += 1 }
        guard place < sql.count else { return nil }
        let byte = sql[place]
        if byte == quote || byte == doubleQuote { return literal(byte) }
        if startsComment { return comment() }
        guard isNameByte(byte), !(0x30...0x39).contains(byte) else {
            place += 1
            return Word(text: "", isName: false)
        }
        let start = place
        while place < sql.count, isNameByte(sql[place]) || sql[place] == UInt8(ascii: ".") {
            if sql[place] == backtick {
                place += 1
                while place < sql.count, sql[place] != backtick { place += 1 }
            }
            place += 1
        }
        let text = String(decoding: sql[start..<min(place, sql.count)], as: UTF8.self)
        return Word(text: text, isName: true)
    }

    private mutating func literal(_ end: UInt8) -> Word {
        place += 1
        while place < sql.count, sql[place] != end { place += sql[place] == UInt8(ascii: "\\") ? 2 : 1 }
        place += 1
        return Word(text: "", isName: false)
    }

    private var startsComment: Bool {
        place + 1 < sql.count && sql[place] == UInt8(ascii: "/") && sql[place + 1] == UInt8(ascii: "*")
    }

    private mutating func comment() -> Word? {
        place += 2
        while place + 1 < sql.count, !(sql[place] == UInt8(ascii: "*") && sql[place + 1] == UInt8(ascii: "/")) {
            place += 1
        }
        place += 2
        return next()
    }

    private func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }

    private func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "_"), UInt8(ascii: "$"), backtick, 0x80...: true
        default: false
        }
    }
}

private let quote = UInt8(ascii: "'")
private let doubleQuote = UInt8(ascii: "\"")
private let backtick = UInt8(ascii: "`")
