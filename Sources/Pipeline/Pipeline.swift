public import CdcCore
public import PostgresSource

/// The whole way of a change: a source, batches, a sink, and the acknowledgement back.
public struct Pipeline: Sendable {
    private let config: PipelineConfig
    private let makeSink: @Sendable () throws(SinkError) -> any Sink

    /// Makes a pipeline; nothing runs yet.
    ///
    /// - Parameters:
    ///   - config: its settings.
    ///   - makeSink: makes the sink, on the thread that will own it.
    public init(_ config: PipelineConfig, makeSink: @escaping @Sendable () throws(SinkError) -> any Sink) {
        self.config = config
        self.makeSink = makeSink
    }

    /// Runs until `stop` is signalled (then drains), the copy of `SOURCE_SNAPSHOT=only` is complete, or something happens
    /// that no repetition mends.
    ///
    /// - Parameter stop: asks for the stop.
    /// - Throws: ``PipelineFailure`` with the exit code and what to do.
    public func run(stop: StopSignal) async throws(PipelineFailure) {
        let exchange = SinkExchange(waking: stop)
        let source = SourceLane(config: config, exchange: exchange, stop: stop)
        let sink = SinkLane(
            exchange: exchange,
            policy: config.sink.retry,
            logger: config.logger,
            makeSink: makeSink
        )
        async let sinkEnd: Void = sink.run()
        let failure = await source.run()
        await sinkEnd
        if let failure { throw failure }
    }
}
