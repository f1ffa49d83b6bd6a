public import CdcCore
public import Logging

/// Everything the daemon is told by its operator.
public struct DaemonSettings: Sendable {
    /// The `SOURCE_*` variables.
    public var source: SourceConfig
    /// The `SINK_*` variables.
    public var sink: SinkConfig
    /// The `DBMAZZ_*` variables.
    public var operation: Operation
    /// `LOG_LEVEL`: the least important level that is logged.
    public var logLevel: Logger.Level
    /// `LOG_FORMAT`: how log lines look.
    public var logFormat: LogFormat
    /// Every variable with the value that counts and its origin, in the order of the table.
    public var resolved: [ResolvedVariable]
    /// What is odd and works: to be logged as warnings.
    public var notices: [String]

    /// How the daemon is watched.
    public struct Operation: Sendable {
        /// `DBMAZZ_HTTP`: where the HTTP endpoint listens; nil for off.
        public var http: HTTPAddress?
        /// Whether the operator chose the address: then it has to work.
        public var isHTTPChosen = false
        /// `DBMAZZ_READY_MAX_LAG`, in bytes.
        public var readyMaxLag = 64 << 20
        /// `DBMAZZ_HANG_TIMEOUT_MS`.
        public var hangTimeout = Duration.seconds(60)

        /// The defaults, without an endpoint.
        public init() {}
    }

    /// Makes settings without an environment, for those who embed the library.
    public init(
        source: SourceConfig,
        sink: SinkConfig,
        operation: Operation = Operation(),
        logLevel: Logger.Level = .info,
        logFormat: LogFormat = .json,
        resolved: [ResolvedVariable] = [],
        notices: [String] = []
    ) {
        self.source = source
        self.sink = sink
        self.operation = operation
        self.logLevel = logLevel
        self.logFormat = logFormat
        self.resolved = resolved
        self.notices = notices
    }

    /// Reads all settings; connects to nothing.
    ///
    /// - Parameters:
    ///   - environment: the process environment, see ``ProcessEnvironment/current()``; empty values do not count.
    ///   - envFile: the path of a file of variables, which the environment overrides.
    /// - Returns: the settings, complete and checked.
    /// - Throws: ``SettingsProblems`` with everything that is wrong.
    public static func load(
        environment: [String: String],
        envFile: String? = nil
    ) throws(SettingsProblems) -> DaemonSettings {
        try load(environment: environment, envFile: envFile, sinks: SinkChoice.registered)
    }

    /// Reads `DBMAZZ_HTTP` alone, for commands that ask a running daemon.
    ///
    /// - Returns: the address; nil where the endpoint is off.
    /// - Throws: ``SettingsProblems`` if the variable is wrong.
    public static func httpAddress(
        environment: [String: String],
        envFile: String? = nil
    ) throws(SettingsProblems) -> HTTPAddress? {
        var values = ValueReader(Inputs(environment: environment, envFile: envFile), sinks: SinkChoice.registered)
        let address = values.listenAddress(.http)
        guard values.problems.isEmpty else { throw SettingsProblems(values.problems) }
        return address
    }

    static func load(
        environment: [String: String],
        envFile: String?,
        sinks: [SinkChoice]
    ) throws(SettingsProblems) -> DaemonSettings {
        let inputs = Inputs(environment: environment, envFile: envFile)
        var loader = SettingsLoader(inputs, environment: environment, sinks: sinks)
        return try loader.load()
    }
}
