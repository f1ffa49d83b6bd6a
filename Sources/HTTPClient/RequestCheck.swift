import CdcCore

extension HTTPRequest {
    /// Refuses what would become another request on the wire: a line break in a header, above all.
    func check() throws(HTTPError) {
        guard Self.isToken(method) else { throw HTTPError(.invalid, "the method is not a word") }
        for (name, value) in headers { try Self.check(name, value) }
        for (name, value) in secretHeaders { try Self.check(name, value.value) }
        if let credentials {
            guard !credentials.user.utf8.contains(UInt8(ascii: ":")) else {
                throw HTTPError(.invalid, "HTTP cannot carry a user's name with a colon in it")
            }
            guard Self.isText(credentials.user), Self.isText(credentials.password.value) else {
                throw HTTPError(.invalid, "user or password have control characters in them")
            }
        }
    }

    private static func check(_ name: String, _ value: String) throws(HTTPError) {
        guard isToken(name) else { throw HTTPError(.invalid, "the name of a header is not a word") }
        guard isText(value) else {
            throw HTTPError(.invalid, "the value of the header \(name) has control characters in it")
        }
    }

    private static func isToken(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                byte > 0x20 && byte < 0x7F && !#"()<>@,;:\"/[]?={}"#.utf8.contains(byte)
            }
    }

    private static func isText(_ text: String) -> Bool {
        text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }
    }

    /// curl's words without what must not be shown: queries, users and passwords of URLs, and secrets as they are.
    func redacted(_ words: String) -> String {
        var secrets = secretHeaders.map(\.value.value)
        if let credentials { secrets.append(credentials.password.value) }
        if let query = url.utf8.firstIndex(of: UInt8(ascii: "?")) {
            secrets.append(String(url[url.index(after: query)...]))
        }
        var text = words
        for secret in secrets where !secret.isEmpty { text = text.replacing(secret, with: "***") }
        return withoutPrivateParts(text)
    }
}

/// Clears the URLs in a text of what stands between `//` and `@`, and of what follows a `?`.
func withoutPrivateParts(_ text: String) -> String {
    text.split(separator: " ", omittingEmptySubsequences: false).map { word in
        var word = String(word)
        guard let scheme = word.firstRange(of: "://") else { return word }
        if let query = word[scheme.upperBound...].firstIndex(of: "?") { word = word[..<query] + "?***" }
        let authority = word[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" }
        if let at = authority.lastIndex(of: "@") { word.replaceSubrange(scheme.upperBound..<at, with: "***") }
        return word
    }.joined(separator: " ")
}
