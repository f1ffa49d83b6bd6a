/// Why a connection or a statement failed.
///
/// Holds no password, and of a statement nothing but its first words and its table.
public struct MySQLError: Error, Sendable, Equatable {
    /// What kind of failure it is.
    public enum Kind: Sendable, Equatable {
        /// There is no connection: no address, refused, or closed before the server had let us in.
        case unreachable
        /// The connection broke, or was broken off by the server.
        case lost
        /// The deadline or the connect time-out passed.
        case timeout
        /// The ``Cancellation`` was asked for.
        case cancelled
        /// The server does not let this user in, or only by a method that is not spoken here.
        case authentication
        /// The server's certificate is not trusted, or has another name, or the server has no TLS.
        case tls
        /// The server refuses the statement: see ``MySQLError/code`` and ``MySQLError/sqlState``.
        case server
        /// The answer is not what the protocol or the caller demands.
        case `protocol`
        /// A statement or an answer is larger than its limit.
        case limit
        /// An option or the statement is wrong, or the connection was closed by the caller.
        case invalid
    }

    /// What kind of failure it is.
    public var kind: Kind
    /// The server's error number, below 2000 or above 2999, or the library's (`CR_…` in its errmsg.h); 0 where it is neither.
    public var code: UInt32
    /// The server's SQLSTATE; empty where the error is not the server's.
    public var sqlState: String
    /// What was tried, and the reason, in the server's or the library's words without quoted values.
    public var message: String
    /// Whether a statement was under way, complete or not, so that the server may have done it or may still do so.
    ///
    /// A statement that the server refuses had no effect.
    public var mayHaveTakenEffect: Bool

    /// Makes an error; a caller's `row` closure may throw one of its own.
    public init(
        _ kind: Kind,
        code: UInt32 = 0,
        sqlState: String = "",
        _ message: String,
        mayHaveTakenEffect: Bool = false
    ) {
        self.kind = kind
        self.code = code
        self.sqlState = sqlState
        self.message = message
        self.mayHaveTakenEffect = mayHaveTakenEffect
    }
}

extension MySQLError: CustomStringConvertible {
    /// The message, with the code and SQLSTATE.
    public var description: String {
        guard code != 0 else { return message }
        return sqlState.isEmpty ? "\(message) (error \(code))" : "\(message) (error \(code), SQLSTATE \(sqlState))"
    }
}
