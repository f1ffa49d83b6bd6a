public import CdcCore

/// Counts and discards: for measuring the source and the pipeline alone.
public final class NullSink: Sink {
    /// The value of `SINK_TYPE`.
    public static let name = "null"

    /// Batches that fit the processor's cache; a flush interval so that small transactions share one hand-over.
    public static let capabilities = SinkCapabilities(
        supportsUpsert: true,
        supportsDelete: true,
        supportsTransactions: false,
        loadingModel: .streaming,
        maxBatchSize: 100_000,
        maxBatchBytes: 1 << 20,
        optimalFlushInterval: .milliseconds(50),
        storesPosition: false
    )

    private let stateDirectory: String
    private var state: StateFile?
    private var written: SourcePosition?

    /// Checks the settings; touches nothing outside.
    public init(_ config: SinkConfig) throws(SinkError) {
        var check = SettingsCheck(sink: NullSink.name)
        check.refuseServerSettings(of: config)
        check.refuseTableSettings(of: config)
        check.require([.error], of: config)
        try check.finish()
        stateDirectory = config.stateDirectory
    }

    /// Checks that the state directory can be written.
    public func validateConnection() async throws(SinkError) {
        try StateFile.checkDirectory(stateDirectory)
    }

    /// Reads the pipeline's state file; nil if there is none.
    public func loadState(of pipeline: String) async throws(SinkError) -> PipelineState? {
        try StateFile(directory: stateDirectory, pipeline: pipeline).load()
    }

    /// Remembers the source's identity.
    public func setup(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError) {
        let file = StateFile(directory: stateDirectory, pipeline: pipeline.name)
        try file.saveIdentity(pipeline.source)
        state = file
    }

    /// Remembers that the copy has begun.
    public func beginCopy(of tables: [TableSchema]) async throws(SinkError) {
        try state?.setCopies(of: tables, at: nil)
    }

    /// Remembers that the copy is complete.
    public func finishCopy(of tables: [TableSchema], at consistentPoint: LSN, position: SourcePosition?)
        async throws(SinkError)
    {
        try state?.setCopies(of: tables, at: consistentPoint)
        if let position { written = position }
    }

    /// The last position discarded by this process; nil at its start.
    public func durablePosition() async throws(SinkError) -> SourcePosition? {
        written
    }

    /// Counts.
    public func writeBatch(_ batch: CdcBatch, deadline: ContinuousClock.Instant) async throws(SinkError) -> SinkResult {
        if batch.commitsUnit, let position = batch.position { written = position }
        return SinkResult(
            recordsWritten: batch.selectedCount,
            bytesWritten: batch.tupleBytes,
            durablePosition: batch.commitsUnit ? written : nil
        )
    }

    /// Does nothing: there is no open unit.
    public func discardOpenUnit() async {}

    /// Does nothing.
    public func close() async {}
}
