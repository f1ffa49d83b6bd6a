internal import CdcCore
internal import MySQLClient

/// A server's version, as `SELECT current_version()` has it: `3.3.5-6d81f75`.
struct StarRocksVersion: Comparable, Sendable, CustomStringConvertible {
    let major: Int
    let minor: Int

    init(_ major: Int, _ minor: Int) {
        self.major = major
        self.minor = minor
    }

    /// Reads the first two numbers.
    init?(_ text: String) {
        let parts = text.split(separator: ".").prefix(2).compactMap { Int($0) }
        guard parts.count == 2 else { return nil }
        self.init(parts[0], parts[1])
    }

    /// The first one that the sink works with: VARBINARY, partial updates by CSV and transactions of loads.
    static let oldest = StarRocksVersion(3, 0)
    /// The first one with `fast_schema_evolution`.
    static let fastSchemaEvolution = StarRocksVersion(3, 2)
    /// The first one with `merge_condition` in partial updates (3.1.3).
    static let conditionalPartialUpdates = StarRocksVersion(3, 2)
    /// The first one whose transactions take several tables.
    static let multiTableTransactions = StarRocksVersion(4, 0)

    static func < (left: StarRocksVersion, right: StarRocksVersion) -> Bool {
        (left.major, left.minor) < (right.major, right.minor)
    }

    var description: String { "\(major).\(minor)" }
}

/// The settings of the starrocks sink, checked.
struct StarRocksConfig: Sendable {
    /// The front end's HTTP address, for example `http://sr.example.com:8030`, without a slash at the end.
    let url: String
    /// The front end's host, for the MySQL protocol.
    let host: String
    let mysqlPort: Int
    let mysqlTLS: Bool
    let database: String
    let user: String
    let password: Secret
    let usesTransactions: Bool
    /// `host:port` as the front end names back ends, to the `host:port` at which they are reached.
    let hostMap: [String: String]
    let compression: CompressionMethod
    let replicationNumber: Int?
    let deleteMode: DeleteMode
    let policy: UnrepresentablePolicy
    let certificateAuthority: String?
    let certificate: String?
    let key: String?
    let cancellation: Cancellation

    init(_ config: SinkConfig) throws(SinkError) {
        var check = SettingsCheck(sink: "starrocks")
        check.requireHTTPTarget(config)
        check.refuseClickHouseSettings(of: config)
        // The vendor's advice is 100 MB at most a load, which is held in memory here.
        if config.batchBytes > 64 << 20 { check.add("SINK_BATCH_BYTES is to be at most \(64 << 20)") }
        if let pipeline = config.pipeline, pipeline.utf8.count > 1000 {
            check.add("SINK_PIPELINE is to have at most 1000 bytes")
        }
        let address = HTTPAddress(
            config.url,
            example: "write http://HOST:8030, the front end's HTTP address; SINK_PORT is its MySQL port",
            &check
        )
        url = address?.url(defaultPort: 8030) ?? ""
        host = address?.host ?? ""
        mysqlPort = config.port ?? 9030
        mysqlTLS = config.starRocks.mysqlTLS ?? address?.isSecure ?? false
        if let database = config.database, !database.isEmpty {
            self.database = database
        } else {
            check.add("SINK_DATABASE is missing: name the database that is to have the tables")
            database = ""
        }
        user = config.user ?? "root"
        password = config.password ?? Secret("")
        usesTransactions = config.starRocks.transactions ?? false
        hostMap = StarRocksConfig.hostMap(config.starRocks.hostMap, &check)
        compression = config.starRocks.compression ?? .zstd
        replicationNumber = config.starRocks.replicationNumber
        deleteMode = config.deleteMode
        policy = config.onUnrepresentable
        certificateAuthority = config.tlsCA
        certificate = config.tlsCertificate
        key = config.tlsKey
        cancellation = config.cancellation
        if user.utf8.contains(where: { $0 < 0x20 || $0 == UInt8(ascii: ":") }) {
            check.add("SINK_USER travels in a header that ends it at a colon: it has no colon and no control character")
        }
        if password.value.utf8.contains(where: { $0 < 0x20 }) {
            check.add("SINK_PASSWORD travels in a header, which holds no control characters")
        }
        try check.finish()
    }

    /// Reads `be1:8040=10.0.0.1:8040,be2:8040=10.0.0.2:8040`.
    private static func hostMap(_ text: String?, _ check: inout SettingsCheck) -> [String: String] {
        var map: [String: String] = [:]
        for entry in (text ?? "").split(separator: ",") {
            let sides = entry.split(separator: "=", omittingEmptySubsequences: false).map(String.init)
            guard sides.count == 2, sides.allSatisfy(isAddress) else {
                check.add(
                    "SINK_STARROCKS_HOST_MAP has an entry \"\(entry)\": write HOST:PORT=HOST:PORT, separated by commas"
                )
                continue
            }
            map[sides[0]] = sides[1]
        }
        return map
    }

    private static func isAddress(_ text: String) -> Bool {
        guard let colon = text.lastIndex(of: ":"), colon != text.startIndex else { return false }
        return UInt16(text[text.index(after: colon)...]) != nil && !text.contains(where: { " /@".contains($0) })
    }
}

extension String {
    /// A name as StarRocks takes it.
    var starRocksIdentifier: String { MySQLText.identifier(self) }
    /// A text as StarRocks takes it: backslashes escape.
    var starRocksLiteral: String { MySQLText.literal(self, backslashEscapes: true) }
}
