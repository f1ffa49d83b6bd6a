internal import CLibpq
public import CdcCore

/// What libpq is told: the keywords of `SOURCE_URL` with ours added.
public struct ConnectionParameters: Sendable {
    private let keywords: [(String, String)]

    /// Takes `SOURCE_URL` apart with libpq's own parser.
    ///
    /// - Throws: ``SourceError`` with libpq's reason, without the part of the URL that it quotes: it may hold a password.
    public init(_ config: SourceConfig) throws(SourceError) {
        var message: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(config.url.value, &message) else {
            let reason = message.map { String(cString: $0) } ?? "out of memory"
            PQfreemem(message)
            throw SourceError(
                .configuration,
                operation: "read SOURCE_URL",
                cause: String(reason.prefix { $0 != "\"" && $0 != "\n" }),
                remedy: "write postgres://USER@HOST:PORT/DATABASE, with special characters percent-encoded"
            )
        }
        defer { PQconninfoFree(options) }
        var found: [(String, String)] = []
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { found.append((String(cString: keyword), String(cString: value))) }
            option += 1
        }
        found.removeAll { ["replication", "application_name", "client_encoding"].contains($0.0) }
        ConnectionParameters.addDefaults(to: &found, password: config.password)
        keywords = found
    }

    private static func addDefaults(to keywords: inout [(String, String)], password: Secret?) {
        // Without these a peer that vanished is noticed after hours (Linux' keepalive) or never (a full send buffer).
        var defaults = [
            ("connect_timeout", "10"), ("keepalives", "1"), ("keepalives_idle", "30"), ("keepalives_interval", "10"),
            ("keepalives_count", "3"), ("tcp_user_timeout", "60000"),
        ]
        if let password { defaults.append(("password", password.value)) }
        for (keyword, value) in defaults where !keywords.contains(where: { $0.0 == keyword }) {
            keywords.append((keyword, value))
        }
        keywords += [("application_name", "dbmazz-sink"), ("client_encoding", "UTF8")]
    }

    /// The seconds that a connection attempt may take.
    var connectTimeout: Duration {
        let seconds = keywords.last { $0.0 == "connect_timeout" }.flatMap { Int($0.1) } ?? 10
        return .seconds(seconds <= 0 ? 3600 : max(2, seconds))
    }

    /// Begins to connect; the caller polls.
    func start(replication: Bool) -> OpaquePointer? {
        let all = keywords + (replication ? [("replication", "database")] : [])
        return withCStrings(all.map(\.0)) { names in
            withCStrings(all.map(\.1)) { values in PQconnectStartParams(names, values, 0) }
        }
    }
}

/// Lends a NULL-terminated array of C strings.
func withCStrings<Result>(_ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Result) -> Result {
    var bytes: [CChar] = []
    var starts: [Int] = []
    for string in strings {
        starts.append(bytes.count)
        bytes.append(contentsOf: string.utf8CString)
    }
    return bytes.withUnsafeBufferPointer { buffer in
        var pointers = starts.map { start in buffer.baseAddress.map { $0 + start } }
        pointers.append(nil)
        return pointers.withUnsafeBufferPointer { body($0.baseAddress.unsafelyUnwrapped) }
    }
}
