public import CdcCore
public import PostgresSource

/// The whole way of a change: a source, batches, a sink, and the acknowledgement back.
public struct Pipeline: Sendable {
    private let config: PipelineConfig
    /// What is known of the pipeline while it runs.
    public let monitor: PipelineMonitor
    private let makeSink: @Sendable () throws(SinkError) -> any Sink

    /// Makes a pipeline; nothing runs yet.
    ///
    /// - Parameters:
    ///   - config: its settings.
    ///   - monitor: what its lanes tell; made for it unless one is given.
    ///   - makeSink: makes the sink, on the thread that will own it.
    public init(
        _ config: PipelineConfig,
        monitor: PipelineMonitor? = nil,
        makeSink: @escaping @Sendable () throws(SinkError) -> any Sink
    ) {
        self.config = config
        self.monitor = monitor ?? PipelineMonitor(config)
        self.makeSink = makeSink
    }

    /// Runs until `stop` is signalled (then drains), the copy of `SOURCE_SNAPSHOT=only` is complete, or something happens
    /// that no repetition mends.
    ///
    /// - Parameter stop: asks for the stop; made with the monitor's ``PipelineMonitor/sourceHealth``.
    /// - Throws: ``PipelineFailure`` with the exit code and what to do.
    public func run(stop: StopSignal) async throws(PipelineFailure) {
        let exchange = SinkExchange(waking: stop, sinkHealth: monitor.sinkHealth)
        let source = SourceLane(config: config, exchange: exchange, monitor: monitor, stop: stop)
        let sink = SinkLane(
            exchange: exchange,
            config: config,
            monitor: monitor,
            makeSink: makeSink
        )
        async let sinkEnd: Void = sink.run()
        let failure = await source.run()
        await sinkEnd
        if let failure { throw failure }
    }
}
