/// Where the HTTP endpoint listens: `HOST:PORT`, with an IPv6 address in brackets.
public struct HTTPAddress: Hashable, Sendable, CustomStringConvertible {
    /// A numeric address or a name.
    public var host: String
    /// The port, 1 to 65535.
    public var port: UInt16

    /// Makes an address.
    public init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    /// `HOST:PORT`, as in a URL.
    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// The address that a text means; nil for a text that means none.
    public init?(_ text: String) {
        guard let address = try? HTTPAddress.parse(text) else { return nil }
        self = address
    }

    /// The address, or nil for `off`.
    static func parse(_ text: String) throws(ValueMistake) -> HTTPAddress? {
        if text.lowercased() == "off" { return nil }
        guard !text.contains("/") else {
            throw ValueMistake(message: "is not HOST:PORT", suggestion: .advice("leave the scheme and the path out"))
        }
        guard let colon = text.lastIndex(of: ":"), colon != text.startIndex else {
            let isPort = !text.isEmpty && text.drop { $0 == ":" }.allSatisfy { $0.isASCII && $0.isNumber }
            let port = text.drop { $0 == ":" }
            throw ValueMistake(
                message: "has no host",
                suggestion: .example(isPort ? "127.0.0.1:\(port)" : "127.0.0.1:9187")
            )
        }
        guard let port = UInt16(text[text.index(after: colon)...]), port > 0 else {
            throw ValueMistake(message: "has no port from 1 to 65535", suggestion: .example("127.0.0.1:9187"))
        }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw ValueMistake(
                message: "has an IPv6 address without brackets",
                suggestion: .example("[\(host)]:\(port)")
            )
        }
        guard !host.isEmpty, host.allSatisfy({ $0.isASCII && !$0.isWhitespace }) else {
            throw ValueMistake(message: "has no host", suggestion: .example("127.0.0.1:\(port)"))
        }
        return HTTPAddress(host: String(host), port: port)
    }
}
