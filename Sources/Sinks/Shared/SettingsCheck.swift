internal import CdcCore

/// Collects what is wrong with a sink's settings, so that everything is reported at once.
struct SettingsCheck {
    private let sink: String
    private var problems: [String] = []

    init(sink: String) {
        self.sink = sink
    }

    /// Notes a problem together with its remedy, as one clause.
    mutating func add(_ problem: String) {
        problems.append(problem)
    }

    /// Refuses the variables of network targets, and those of one of them: a setting that does nothing is a misunderstanding.
    mutating func refuseServerSettings(of config: SinkConfig) {
        refuse("SINK_PORT", isSet: config.port != nil)
        refuse("SINK_DATABASE", isSet: config.database != nil)
        refuse("SINK_SCHEMA", isSet: config.schema != nil)
        refuse("SINK_USER", isSet: config.user != nil)
        refuse("SINK_PASSWORD", isSet: config.password != nil)
        refuseHTTPSettings(of: config)
        refuse("SINK_POSTGRES_TRUNCATE", isSet: config.postgresTruncate != nil)
    }

    /// Refuses the variables of HTTP targets.
    mutating func refuseHTTPSettings(of config: SinkConfig) {
        refuse("SINK_TLS_CA", isSet: config.tlsCA != nil)
        refuse("SINK_TLS_CERT", isSet: config.tlsCertificate != nil)
        refuse("SINK_TLS_KEY", isSet: config.tlsKey != nil)
        refuseClickHouseSettings(of: config)
        refuseStarRocksSettings(of: config)
    }

    /// Refuses what no target with an HTTP interface has, and notes what each of them needs.
    mutating func requireHTTPTarget(_ config: SinkConfig) {
        refuse("SINK_SCHEMA", isSet: config.schema != nil)
        refuse("SINK_POSTGRES_TRUNCATE", isSet: config.postgresTruncate != nil)
        if !config.auditColumns {
            add("the sink needs its audit columns to tell newer rows from older: remove SINK_AUDIT_COLUMNS=false")
        }
        // The certificate's file may hold its key as well.
        if config.tlsKey != nil, config.tlsCertificate == nil {
            add("SINK_TLS_KEY means nothing without SINK_TLS_CERT: set that, too")
        }
    }

    /// Refuses the variables of ClickHouse.
    mutating func refuseClickHouseSettings(of config: SinkConfig) {
        refuse("SINK_CLICKHOUSE_CLUSTER", isSet: config.clickhouseCluster != nil)
        refuse("SINK_CLICKHOUSE_COMPRESSION", isSet: config.clickhouseCompression != nil)
    }

    /// Refuses the variables of StarRocks.
    mutating func refuseStarRocksSettings(of config: SinkConfig) {
        refuse("SINK_STARROCKS_TRANSACTIONS", isSet: config.starRocks.transactions != nil)
        refuse("SINK_STARROCKS_HOST_MAP", isSet: config.starRocks.hostMap != nil)
        refuse("SINK_STARROCKS_COMPRESSION", isSet: config.starRocks.compression != nil)
        refuse("SINK_STARROCKS_REPLICATION_NUM", isSet: config.starRocks.replicationNumber != nil)
        refuse("SINK_STARROCKS_MYSQL_TLS", isSet: config.starRocks.mysqlTLS != nil)
    }

    /// Refuses what only a sink with tables has.
    mutating func refuseTableSettings(of config: SinkConfig) {
        refuse("SINK_URL", isSet: config.url != nil)
        if config.deleteMode == .soft { add("\(sink) keeps no rows: remove SINK_DELETE_MODE=soft") }
        if config.auditColumns { add("\(sink) has no audit columns: remove SINK_AUDIT_COLUMNS=true") }
    }

    /// Refuses policies for values that mean nothing to the sink.
    mutating func require(_ policies: [UnrepresentablePolicy], of config: SinkConfig) {
        guard !policies.contains(config.onUnrepresentable) else { return }
        let known = policies.map(\.rawValue).joined(separator: ", ")
        add("\(sink) knows SINK_ON_UNREPRESENTABLE=\(known): remove \(config.onUnrepresentable.rawValue)")
    }

    /// Notes that the sink does not know a variable that is set.
    mutating func refuse(_ variable: String, isSet: Bool) {
        if isSet { add("\(sink) has no \(variable): remove it") }
    }

    /// Throws everything noted, if anything was.
    func finish() throws(SinkError) {
        guard !problems.isEmpty else { return }
        throw SinkError(
            .configuration,
            operation: "read settings of sink \(sink)",
            cause: problems.joined(separator: "; "),
            remedy: "see the sink's README for its variables"
        )
    }
}
