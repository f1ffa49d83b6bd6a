public import CdcCore

/// Where to connect to, as whom, and how long to wait.
public struct MySQLOptions: Sendable {
    /// Whether the connection is encrypted.
    public enum Encryption: Sendable {
        /// In plain text. The password is not: no method that would send it readable is spoken.
        case off
        /// TLS 1.2 or later with a server whose certificate is trusted and has the host's name; else no connection.
        case required
    }

    /// A name or an address; `localhost` is TCP like any other.
    public var host: String
    /// 3306 for MySQL and MariaDB, 9030 for StarRocks' front end.
    public var port: UInt16
    /// Who.
    public var user: String
    /// With which password; an empty one where it is nil.
    public var password: Secret?
    /// The database to be in; none where it is nil.
    public var database: String?
    /// Whether the connection is encrypted.
    public var encryption: Encryption = .off
    /// A PEM file of certificates to trust instead of the system's.
    public var certificateAuthority: String?
    /// A PEM file with the certificate to show.
    public var certificate: String?
    /// The PEM file with that certificate's key.
    public var key: String?
    /// The longest that name, connection, TLS handshake and authentication may take together.
    public var connectTimeout: Duration = .seconds(10)
    /// Bytes of the largest statement to send and of the largest row to receive.
    ///
    /// A larger statement is not sent. A larger row is not read, and the connection is gone.
    public var packetLimit = 64 << 20

    /// Makes options with the defaults.
    public init(host: String, port: UInt16, user: String, password: Secret? = nil, database: String? = nil) {
        self.host = host
        self.port = port
        self.user = user
        self.password = password
        self.database = database
    }

    /// The server, for messages.
    var server: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
