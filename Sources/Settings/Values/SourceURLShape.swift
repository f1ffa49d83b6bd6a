/// Whether a text looks like what libpq connects to.
///
/// libpq itself has the last word when the source is opened; this only tells what certainly is none before anything
/// starts. Messages never show a part of the text: it may be a password.
enum SourceURLShape {
    private static let schemes = ["postgres://", "postgresql://"]

    /// Checks the form and the value of `replication`.
    static func check(_ text: String) throws(ValueMistake) {
        for parameter in try parameters(of: text) where parameter.name == "replication" {
            guard parameter.value != "database" else { continue }
            throw ValueMistake(
                message: "has a replication parameter that is not \"database\"",
                suggestion: .advice("leave replication out"),
                showsAllowed: false
            )
        }
    }

    /// Whether the text holds a password, as far as its form can tell.
    static func hasPassword(_ text: String) -> Bool {
        guard let parameters = try? parameters(of: text) else { return false }
        if parameters.contains(where: { $0.name == "password" && !$0.value.isEmpty }) { return true }
        guard let scheme = scheme(of: text) else { return false }
        let authority = text.dropFirst(scheme.count).prefix { $0 != "/" && $0 != "?" }
        guard let at = authority.lastIndex(of: "@"), let colon = authority.firstIndex(of: ":") else { return false }
        return authority.index(after: colon) < at
    }

    private static func scheme(of text: String) -> String? {
        schemes.first { text.hasPrefix($0) }
    }

    private static func parameters(of text: String) throws(ValueMistake) -> [(name: String, value: String)] {
        if scheme(of: text) != nil { return try uriParameters(text) }
        if text.contains("://") { throw otherScheme(text) }
        guard text.contains("=") else {
            throw ValueMistake(message: "is neither a URI nor key=value pairs")
        }
        return try ConnInfo.parse(text)
    }

    private static func uriParameters(_ text: String) throws(ValueMistake) -> [(name: String, value: String)] {
        guard !text.contains(where: \.isWhitespace) else {
            throw ValueMistake(
                message: "has white space in a URI",
                suggestion: .advice("write %20 for a space"),
                showsAllowed: false
            )
        }
        // libpq ends the password at the first @ and takes the rest of it for the host, which then stands in every error.
        let authority = text.drop { $0 != "/" }.dropFirst(2).prefix { $0 != "/" && $0 != "?" }
        guard authority.count(where: { $0 == "@" }) <= 1 else {
            throw ValueMistake(
                message: "has more than one @ before the host",
                suggestion: .advice("write %40 for an @ in user or password"),
                showsAllowed: false
            )
        }
        guard let mark = text.firstIndex(of: "?") else { return [] }
        return text[text.index(after: mark)...].split(separator: "&").map { pair in
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (String(parts[0]), parts.count > 1 ? String(parts[1]) : "")
        }
    }

    private static func otherScheme(_ text: String) -> ValueMistake {
        if text.hasPrefix("jdbc:") {
            return ValueMistake(message: "is an address for Java", suggestion: .advice("leave jdbc: out"))
        }
        return ValueMistake(message: "is not an address of PostgreSQL")
    }
}
