public import CdcCore
public import Logging
internal import PostgresSource

/// Everything a pipeline needs to know.
public struct PipelineConfig: Sendable {
    /// The `SOURCE_*` settings.
    public var source: SourceConfig
    /// The `SINK_*` settings.
    public var sink: SinkConfig
    /// What the sink can do.
    public var capabilities: SinkCapabilities
    /// Where events go.
    public var logger: Logger
    /// `DBMAZZ_HANG_TIMEOUT_MS`: how long a lane may be late, and one call into the sink may take, before it counts as hung.
    public var hangTimeout = Duration.seconds(60)
    /// The sink's settings that may change while the pipeline runs.
    public let live: LiveSettings
    /// `DBMAZZ_READY_MAX_LAG`, in bytes: with more than this the pipeline does not count as ready.
    public var readyMaxLag = 64 << 20

    /// Makes a configuration.
    public init(source: SourceConfig, sink: SinkConfig, capabilities: SinkCapabilities, logger: Logger) {
        self.source = source
        self.sink = sink
        self.capabilities = capabilities
        self.logger = logger
        live = LiveSettings(sink)
    }

    /// The name of a table at the sink, by `SINK_TABLE_NAME`.
    func sinkName(_ table: TableRef) -> String {
        let keepsSchema = capabilities.keepsSchemas && sink.schema == nil
        let template = sink.tableName ?? (table.schema == "public" || keepsSchema ? "{table}" : "{schema}_{table}")
        // One pass: a schema that is itself named {table} stays what it is.
        return template.split(separator: "{schema}", omittingEmptySubsequences: false)
            .map { $0.replacing("{table}", with: table.name) }.joined(separator: table.schema)
    }

    /// The pipeline's name and source.
    func identity(_ system: SystemIdentification) -> PipelineIdentity {
        PipelineIdentity(
            name: sink.pipeline ?? "\(system.systemIdentifier)_\(source.slotName)",
            source: SourceIdentity(
                systemIdentifier: system.systemIdentifier,
                timeline: system.timeline,
                slot: source.slotName
            )
        )
    }

    func streamOptions(statusInterval: Duration) -> StreamOptions {
        let sink = live.sink
        // Two batches are alive: one filling, one at the sink.
        let share = sink.memoryLimit / 2
        return StreamOptions(
            batchRows: sink.batchSize,
            batchBytes: min(sink.batchBytes, share),
            partBytes: min(2 * sink.batchBytes, share),
            flushInterval: sink.flushInterval,
            shutdownTimeout: sink.shutdownTimeout,
            storesPosition: capabilities.storesPosition,
            statusInterval: statusInterval
        )
    }
}
