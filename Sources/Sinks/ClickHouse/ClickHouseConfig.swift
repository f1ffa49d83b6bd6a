internal import CdcCore

/// A server's version: year and number of the release.
struct ClickHouseVersion: Comparable, Sendable, CustomStringConvertible {
    let major: Int
    let minor: Int

    init(_ major: Int, _ minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// Reads `SELECT version()`, for example `25.3.2.39`.
    init?(_ text: String) {
        let parts = text.split(separator: ".").compactMap { Int($0) }
        guard parts.count >= 2 else { return nil }
        self.init(parts[0], parts[1])
    }

    /// The first one that the sink works with: `is_deleted` in FINAL (23.2), and `format()` with binary data.
    static let oldest = ClickHouseVersion(23, 5)

    static func < (left: ClickHouseVersion, right: ClickHouseVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    var description: String { "\(major).\(minor)" }
}

/// The settings of the clickhouse sink, checked.
struct ClickHouseConfig: Sendable {
    /// For example `https://ch.example.com:8443`, without a slash at the end.
    let url: String
    let database: String
    let user: String
    let password: Secret
    let cluster: String?
    let compression: CompressionMethod
    let deleteMode: DeleteMode
    let policy: UnrepresentablePolicy
    let certificateAuthority: String?
    let certificate: String?
    let key: String?
    let cancellation: Cancellation

    init(_ config: SinkConfig) throws(SinkError) {
        var check = SettingsCheck(sink: "clickhouse")
        check.requireHTTPTarget(config)
        check.refuseStarRocksSettings(of: config)
        // The server commits a larger insert in blocks, one by one.
        if config.batchSize > 500_000 { check.add("SINK_BATCH_SIZE is to be at most 500000") }
        if config.batchBytes > 64 << 20 { check.add("SINK_BATCH_BYTES is to be at most \(64 << 20)") }
        let address = HTTPAddress(
            config.url,
            example: "write http://HOST:8123 or https://HOST:8443",
            elsewhere: "; the database is SINK_DATABASE",
            &check
        )
        url = address.map { $0.url(defaultPort: config.port ?? ($0.isSecure ? 8443 : 8123)) } ?? ""
        database = config.database ?? "default"
        user = config.user ?? "default"
        password = config.password ?? Secret("")
        cluster = config.clickhouseCluster
        compression = config.clickhouseCompression ?? .lz4
        deleteMode = config.deleteMode
        policy = config.onUnrepresentable
        certificateAuthority = config.tlsCA
        certificate = config.tlsCertificate
        key = config.tlsKey
        cancellation = config.cancellation
        if user.utf8.contains(where: { $0 < 0x20 }) || password.value.utf8.contains(where: { $0 < 0x20 }) {
            check.add("SINK_USER and SINK_PASSWORD travel in headers, which hold no control characters")
        }
        try check.finish()
    }
}

extension String {
    /// A name as ClickHouse takes it: in back-ticks, with backslash escapes.
    var clickhouseIdentifier: String { "`" + escaped("`") + "`" }
    /// A text as ClickHouse takes it.
    var clickhouseLiteral: String { "'" + escaped("'") + "'" }

    private func escaped(_ quote: Unicode.Scalar) -> String {
        var text = ""
        for scalar in unicodeScalars {
            if scalar == quote || scalar == "\\" { text.unicodeScalars.append("\\") }
            text.unicodeScalars.append(scalar)
        }
        return text
    }
}
