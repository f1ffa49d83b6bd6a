/// Why there is no complete response.
///
/// Holds no secret: no query, no user, no password, no header.
public struct HTTPError: Error, Sendable {
    /// What is known of the request's fate.
    public enum Kind: Sendable {
        /// Nothing of the request was sent: no address, refused, no connection in time.
        case unreachable
        /// It was sent in part or whole, and there is no complete answer: it may have taken effect.
        case ambiguous
        /// The server's certificate is not trusted, or ours is not, or there is no TLS in common.
        ///
        /// A server that refuses our certificate in TLS 1.3 and closes at once can look unreachable, or leave the outcome
        /// open.
        case tls
        /// The request or a setting is wrong: a malformed URL, a file that cannot be read, another protocol.
        case invalid
        /// The client's ``Cancellation`` was asked for; ambiguous if bytes were sent.
        case cancelled
        /// Too many redirects, or one that leads from https to http or elsewhere.
        case redirects
        /// The response is larger than its limit; it took effect all the same.
        case tooLarge
    }

    /// What is known of the request's fate.
    public var kind: Kind
    /// curl's code; 0 where the error is the client's own.
    public var code: Int32
    /// What failed and why, with curl's own words.
    public var message: String
    /// About how many bytes of the request, headers and body, went to the last host; 0 only where none did.
    public var bytesSent: Int

    init(_ kind: Kind, code: Int32 = 0, _ message: String, bytesSent: Int = 0) {
        self.kind = kind
        self.code = code
        self.message = message
        self.bytesSent = bytesSent
    }
}

extension HTTPError: CustomStringConvertible {
    /// The message, with curl's code.
    public var description: String {
        code == 0 ? message : "\(message) (curl error \(code))"
    }
}
