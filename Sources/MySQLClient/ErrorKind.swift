/// What the library's and the server's error numbers mean.
///
/// Below 2000 and from 3000 on they are the server's (MariaDB's and MySQL's lists agree in those here), between them the
/// library's (errmsg.h). From 5000 on StarRocks has some, and the library others, which it needs before it is let in.
enum ErrorCode {
    /// CR_SERVER_GONE_ERROR: it could not be sent.
    static let gone: UInt32 = 2006
    /// CR_SERVER_LOST: there was no answer.
    static let lost: UInt32 = 2013
    /// CR_SSL_CONNECTION_ERROR.
    static let tls: UInt32 = 2026

    /// CR_PLUGIN_NOT_ALLOWED: MARIADB_OPT_RESTRICTED_AUTH does not name the method.
    static let methodNotAllowed: UInt32 = 5010

    /// Whether the number is the server's own.
    static func isServers(_ code: UInt32, connecting: Bool) -> Bool {
        (1..<2000).contains(code) || (code >= 3000 && !(connecting && (5000..<6000).contains(code)))
    }

    /// The kind of an error.
    ///
    /// - Parameters:
    ///   - code: mysql_errno.
    ///   - connecting: Whether the server had not yet let us in.
    /// - Returns: The kind.
    static func kind(_ code: UInt32, connecting: Bool) -> MySQLError.Kind {
        switch code {
        // Connection, host, address or socket: errors of the way there.
        case 2001...2005, 2010, 2011: .unreachable
        case gone, lost, 2055: connecting ? .unreachable : .lost
        // The server says why it ends the connection: shutdown, forced close, network trouble at its side, killed, idle.
        case 1053, 1077, 1080, 1152, 1158...1161, 1184, 1927, 4031: connecting ? .unreachable : .lost
        case tls: .tls
        // Wrong password, no password, unknown method, expired, locked.
        case 1045, 1251, 1275, 1698, 1820, 1862, 3118, 3159, 4151: .authentication
        // No such method here, or one that is not allowed.
        case 2049, 2059, 2061: .authentication
        case methodNotAllowed...5012 where connecting: .authentication
        // max_allowed_packet: the server's, the client's. No memory.
        case 1153, 2008, 2020: .limit
        case _ where isServers(code, connecting: connecting): .server
        default: .protocol
        }
    }

    /// Whether the connection can be used after an error of this kind.
    static func leavesUsable(_ kind: MySQLError.Kind) -> Bool { kind == .server || kind == .authentication }
}

/// A server's message without the values that it quotes.
///
/// - Parameters:
///   - message: mysql_error.
///   - code: mysql_errno.
/// - Returns: The message on one line; of the errors that quote a value or a part of the statement, without that.
func redactedMessage(_ message: String, code: UInt32) -> String {
    let line = message.split(whereSeparator: \.isNewline).joined(separator: " ")
    switch code {
    // Duplicate keys, syntax, invalid strings, wrong values of a type or for a function, out of range.
    case 1062, 1064, 1149, 1169, 1292, 1300, 1366, 1367, 1411, 1525, 1586, 1690, 3819:
        return withoutQuoted(line, startingAt: code == 1064 ? "near '" : "'")
    default: return line
    }
}

/// Replaces what stands between the first quote and the last one that can end it: the value may hold quotes.
private func withoutQuoted(_ line: String, startingAt opening: String) -> String {
    guard let start = line.firstRange(of: opening)?.upperBound else { return line }
    let rest = line[start...]
    let ends = ["' for key ", "' for column ", "' at line "].compactMap { rest.ranges(of: $0).last?.lowerBound }
    guard let end = ends.max() ?? rest.lastIndex(of: "'") else { return line[..<start] + "…" }
    return line[..<start] + "…" + line[end...]
}
