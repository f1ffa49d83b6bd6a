import CdcCore
import Logging

/// Builds the settings from the variables, and checks those that depend on each other.
struct SettingsLoader {
    private let inputs: Inputs
    private let stateDirectory: String
    private var values: ValueReader
    private var notices: [String]
    /// What the sink itself does not accept.
    private var refusals: [Problem] = []

    init(_ inputs: Inputs, environment: [String: String], sinks: [SinkChoice]) {
        self.inputs = inputs
        values = ValueReader(inputs, sinks: sinks)
        notices = inputs.notices
        // systemd gives several directories, colon between, if the unit names several.
        let directories = environment["STATE_DIRECTORY"]?.split(separator: ":")
        stateDirectory = directories?.first.map(String.init) ?? "."
    }

    mutating func load() throws(SettingsProblems) -> DaemonSettings {
        let source = loadSource()
        let sink = loadSink()
        var daemon = DaemonSettings.Operation()
        daemon.http = values.listenAddress(.http)
        daemon.isHTTPChosen = values.isSet(.http)
        daemon.readyMaxLag = values.wholeNumber(.readyMaxLag) ?? daemon.readyMaxLag
        daemon.hangTimeout = values.milliseconds(.hangTimeout)
        let level = values.choice(.logLevel).flatMap(Logger.Level.init(rawValue:)) ?? .info
        let format = values.choice(.logFormat).flatMap(LogFormat.init(rawValue:)) ?? .json
        let problems = values.problems + refusals + inputs.problems
        guard problems.isEmpty, let source, let sink else { throw SettingsProblems(problems) }
        return DaemonSettings(
            source: source,
            sink: sink,
            operation: daemon,
            logLevel: level,
            logFormat: format,
            resolved: values.resolved,
            notices: notices
        )
    }

    private mutating func loadSource() -> SourceConfig? {
        let url = values.secret(.sourceURL)
        var config = SourceConfig(url: url ?? Secret(""))
        config.password = values.secret(.sourcePassword)
        config.slotName = values.text(.sourceSlotName) ?? config.slotName
        config.publicationName = values.text(.sourcePublicationName) ?? config.publicationName
        config.tables = values.tablePatterns()
        config.snapshot = values.choice(.sourceSnapshot).flatMap(SnapshotMode.init(rawValue:)) ?? config.snapshot
        config.origin = values.choice(.sourceOrigin).flatMap(OriginFilter.init(rawValue:)) ?? config.origin
        let heartbeat = values.wholeNumber(.sourceHeartbeatInterval)
        config.heartbeatInterval = heartbeat.flatMap { $0 > 0 ? .milliseconds($0) : nil }
        config.walAlarmBytes = values.wholeNumber(.sourceWALAlarm).flatMap { $0 > 0 ? $0 << 20 : nil }
        if let url, config.password != nil, SourceURLShape.hasPassword(url.value) {
            notices.append("SOURCE_PASSWORD has no effect: SOURCE_URL has a password")
        }
        return url == nil ? nil : config
    }

    private mutating func loadSink() -> SinkConfig? {
        let given = values.sink()
        // With a wrong SINK_TYPE any sink's defaults will do: they only let the reading go on.
        guard let choice = given ?? values.sinks.first else { return nil }
        let capabilities = choice.capabilities
        var config = SinkConfig(type: choice.name, capabilities: capabilities, stateDirectory: stateDirectory)
        loadTarget(&config)
        loadBatching(&config, capabilities)
        loadRetry(&config)
        loadColumns(&config, capabilities)
        if given != nil { ask(choice, about: config) }
        return given == nil ? nil : config
    }

    /// Asks the sink for what it alone knows, so that this too is reported at the first start.
    private mutating func ask(_ choice: SinkChoice, about config: SinkConfig) {
        do throws(SinkError) {
            try choice.check(config)
        } catch {
            guard error.kind == .configuration else { return }
            refusals.append(
                Problem(
                    "SINK_TYPE",
                    value: choice.name,
                    "does not accept the settings (\(error.cause))",
                    suggestion: .advice(error.remedy)
                )
            )
        }
    }

    private mutating func loadTarget(_ config: inout SinkConfig) {
        config.url = values.text(.sinkURL)
        config.port = values.wholeNumber(.sinkPort)
        config.database = values.text(.sinkDatabase)
        config.schema = values.text(.sinkSchema)
        config.user = values.text(.sinkUser)
        config.password = values.secret(.sinkPassword)
        config.tlsCA = values.text(.sinkTLSCA)
        config.tlsCertificate = values.text(.sinkTLSCertificate)
        config.tlsKey = values.text(.sinkTLSKey)
        config.pipeline = values.text(.sinkPipeline)
        config.tableName = values.text(.sinkTableName)
        config.postgresTruncate = values.choice(.sinkPostgresTruncate).flatMap(TruncateMode.init(rawValue:))
        config.clickhouseCluster = values.text(.sinkClickhouseCluster)
        config.clickhouseCompression = values.choice(.sinkClickhouseCompression)
            .flatMap(CompressionMethod.init(rawValue:))
        config.starRocks.transactions = values.choice(.sinkStarRocksTransactions).map { $0 == "on" }
        config.starRocks.hostMap = values.text(.sinkStarRocksHostMap)
        config.starRocks.compression = values.choice(.sinkStarRocksCompression)
            .flatMap(CompressionMethod.init(rawValue:))
        config.starRocks.replicationNumber = values.wholeNumber(.sinkStarRocksReplicationNumber)
        config.starRocks.mysqlTLS = values.choice(.sinkStarRocksMySQLTLS).map { $0 == "on" }
    }

    private mutating func loadBatching(_ config: inout SinkConfig, _ capabilities: SinkCapabilities) {
        config.batchSize = values.wholeNumber(.sinkBatchSize, for: capabilities) ?? config.batchSize
        config.batchBytes = values.wholeNumber(.sinkBatchBytes, for: capabilities) ?? config.batchBytes
        config.flushInterval = values.milliseconds(.sinkFlushInterval, for: capabilities)
        if let mebibytes = values.wholeNumber(.sinkMemoryLimit) {
            config.memoryLimit = mebibytes << 20
            fitBatchBytes(&config, mebibytes: mebibytes)
        }
        if let fewest = capabilities.minBatchSize, config.batchSize < fewest {
            notices.append("SINK_BATCH_SIZE=\(config.batchSize) is small: \(config.type) works best from \(fewest) up")
        }
    }

    /// One batch fills while another is written, so that two have to fit.
    private mutating func fitBatchBytes(_ config: inout SinkConfig, mebibytes: Int) {
        let most = config.memoryLimit / 2
        guard config.batchBytes > most else { return }
        guard values.isSet(.sinkBatchBytes) else {
            config.batchBytes = most
            values.adjust(.sinkBatchBytes, to: String(most))
            return
        }
        let enough = (config.batchBytes * 2 + (1 << 20) - 1) >> 20
        values.contradiction(
            in: .sinkBatchBytes,
            "is more than half of SINK_MEMORY_LIMIT_MB=\(mebibytes)",
            "write at most \(most), or set SINK_MEMORY_LIMIT_MB to \(enough) or more"
        )
    }

    private mutating func loadRetry(_ config: inout SinkConfig) {
        config.retry.maxRetries = values.wholeNumber(.sinkMaxRetries)
        var initial = values.wholeNumber(.sinkRetryInitial)
        let maximum = values.wholeNumber(.sinkRetryMax)
        if let first = initial, let maximum, first > maximum {
            values.contradiction(
                in: .sinkRetryInitial,
                "is more than SINK_RETRY_MAX_MS=\(maximum)",
                "write at most \(maximum), or set SINK_RETRY_MAX_MS to \(first) or more"
            )
            if !values.isSet(.sinkRetryInitial) { values.adjust(.sinkRetryInitial, to: String(maximum)) }
            initial = maximum
        }
        if let initial { config.retry.initial = .milliseconds(initial) }
        if let maximum { config.retry.maximum = .milliseconds(maximum) }
        config.shutdownTimeout = values.milliseconds(.sinkShutdownTimeout)
    }

    private mutating func loadColumns(_ config: inout SinkConfig, _ capabilities: SinkCapabilities) {
        config.deleteMode = values.choice(.sinkDeleteMode).flatMap(DeleteMode.init(rawValue:)) ?? config.deleteMode
        config.auditColumns = values.choice(.sinkAuditColumns, for: capabilities).map { $0 == "true" } ?? true
        if config.deleteMode == .soft && !config.auditColumns {
            values.contradiction(
                in: .sinkAuditColumns,
                "contradicts SINK_DELETE_MODE=soft, which marks deleted rows in the column dbmazz_is_deleted",
                "write true, or leave it out"
            )
            if !values.isSet(.sinkAuditColumns) { values.adjust(.sinkAuditColumns, to: "true") }
            config.auditColumns = true
        }
        config.onUnrepresentable =
            values.choice(.sinkOnUnrepresentable).flatMap(UnrepresentablePolicy.init(rawValue:))
            ?? config.onUnrepresentable
        config.onError = values.choice(.sinkOnError).flatMap(ErrorPolicy.init(rawValue:)) ?? config.onError
        config.deadLetterURL = values.text(.sinkDeadLetterURL)
        config.standby = values.choice(.sinkStandby).flatMap(StandbyMode.init(rawValue:)) ?? config.standby
    }
}
