public import CdcCore

/// What holds for every request of a client.
public struct HTTPClientOptions: Sendable {
    /// The longest that names, connection and TLS handshake may take.
    public var connectTimeout: Duration = .seconds(10)
    /// Once a request is on its way: no byte in either direction for so long ends the call.
    public var stallTimeout: Duration = .seconds(60)
    /// How long the body is held back for the server's `100 Continue`, where it was asked for.
    ///
    /// curl's own second is too short for a front end that looks up where to send the request to.
    public var expectTimeout: Duration = .seconds(30)
    /// Redirects that one call follows.
    public var maxRedirects = 3
    /// Bytes of a response's body that are kept, unless the request says otherwise.
    public var responseLimit = 1 << 20
    /// Bytes of a response's headers and trailers; more end the call.
    public var headerLimit = 64 << 10
    /// A PEM file of certificates to trust instead of the system's.
    public var certificateAuthority: String?
    /// A PEM file with the certificate to show.
    public var certificate: String?
    /// The PEM file with that certificate's key.
    public var key: String?
    /// The `User-Agent`.
    public var userAgent: String
    /// `host:port` as URLs and redirects have it, to the `host:port` to connect to, where the former cannot be reached.
    ///
    /// The keys count as ``allowedRedirectHosts``. TLS checks the name in the URL.
    public var hostMap: [String: String] = [:]
    /// Host names that may have credentials and secret headers besides the one which the request names.
    public var allowedRedirectHosts: Set<String> = []
    /// Whether every host that is redirected to may have them.
    ///
    /// For a server that is trusted to name the hosts of its own cluster, as StarRocks' front end is.
    public var allowsAnyRedirectHost = false

    /// Makes options with the defaults.
    public init(userAgent: String) { self.userAgent = userAgent }
}

/// User and password, sent as HTTP Basic.
public struct HTTPCredentials: Sendable {
    /// Who.
    public var user: String
    /// With which password.
    public var password: Secret

    /// Makes credentials.
    public init(user: String, password: Secret) {
        self.user = user
        self.password = password
    }
}

/// One request.
///
/// Not Sendable: it lends memory.
public struct HTTPRequest {
    /// `GET`, `POST`, `PUT` and the like.
    public var method: String
    /// `http` or `https`, percent-encoded, without user and password.
    public var url: String
    /// Headers that any host may see.
    public var headers: [(name: String, value: String)]
    /// Headers for the host of the URL, and those that the options allow.
    public var secretHeaders: [(name: String, value: Secret)]
    /// For the same hosts.
    public var credentials: HTTPCredentials?
    /// The body, lent for the call and sent with its length; an empty one where it is nil and the method has one.
    public var body: UnsafeRawBufferPointer?
    /// Whether the body waits for the server's `100 Continue`.
    public var expectsContinue = false
    /// Bytes of the response's body that are kept; nil means ``HTTPClientOptions/responseLimit``.
    public var responseLimit: Int?
    /// Whether a longer body ends the call with ``HTTPError/Kind/tooLarge`` instead of being cut.
    public var mustFit = false

    /// Makes a request.
    public init(
        method: String,
        url: String,
        headers: [(name: String, value: String)] = [],
        secretHeaders: [(name: String, value: Secret)] = [],
        credentials: HTTPCredentials? = nil,
        body: UnsafeRawBufferPointer? = nil,
        expectsContinue: Bool = false,
        responseLimit: Int? = nil,
        mustFit: Bool = false
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.secretHeaders = secretHeaders
        self.credentials = credentials
        self.body = body
        self.expectsContinue = expectsContinue
        self.responseLimit = responseLimit
        self.mustFit = mustFit
    }
}
