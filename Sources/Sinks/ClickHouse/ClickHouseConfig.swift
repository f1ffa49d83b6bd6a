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
        check.refuse("SINK_SCHEMA", isSet: config.schema != nil)
        check.refuse("SINK_POSTGRES_TRUNCATE", isSet: config.postgresTruncate != nil)
        check.refuseStarRocksSettings(of: config)
        if !config.auditColumns {
            check.add("the sink needs its audit columns to tell newer rows from older: remove SINK_AUDIT_COLUMNS=false")
        }
        // The certificate's file may hold its key as well.
        if config.tlsKey != nil, config.tlsCertificate == nil {
            check.add("SINK_TLS_KEY means nothing without SINK_TLS_CERT: set that, too")
        }
        // The server commits a larger insert in blocks, one by one.
        if config.batchSize > 500_000 { check.add("SINK_BATCH_SIZE is to be at most 500000") }
        if config.batchBytes > 64 << 20 { check.add("SINK_BATCH_BYTES is to be at most \(64 << 20)") }
        url = ClickHouseConfig.address(config, &check)
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

    /// The scheme, host and port of `SINK_URL` and `SINK_PORT`.
    private static func address(_ config: SinkConfig, _ check: inout SettingsCheck) -> String {
        let example = "write http://HOST:8123 or https://HOST:8443"
        guard let url = config.url else {
            check.add("SINK_URL is missing: \(example)")
            return ""
        }
        let lower = url.lowercased()
        guard lower.hasPrefix("http://") || lower.hasPrefix("https://") else {
            check.add("SINK_URL is no HTTP address: \(example)")
            return ""
        }
        let isSecure = lower.hasPrefix("https://")
        var host = String(url.dropFirst(isSecure ? 8 : 7))
        while host.hasSuffix("/") { host.removeLast() }
        if host.contains("@") {
            check.add("SINK_URL holds a user or password: write them to SINK_USER and SINK_PASSWORD")
            return ""
        }
        guard !host.isEmpty, !host.contains(where: { "/?# ".contains($0) }) else {
            check.add("SINK_URL has more than scheme, host and port: \(example); the database is SINK_DATABASE")
            return ""
        }
        let bracket = host.lastIndex(of: "]") ?? host.startIndex
        let hasPort = host[bracket...].contains(":")
        if !hasPort { host += ":\(config.port ?? (isSecure ? 8443 : 8123))" }
        return (isSecure ? "https://" : "http://") + host
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
