internal import CdcCore
internal import Logging
internal import PostgresSource

/// Drives the pipeline on a thread of its own: session after session with the source, until the daemon ends.
actor SourceLane {
    private nonisolated let executor: ThreadExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let config: PipelineConfig
    private let link: SinkLink
    private let monitor: PipelineMonitor
    private let logger: Logger
    private let knownRelations = RelationTable.KnownRelations()
    private var random = SystemRandomNumberGenerator()
    private var failures = 0
    private let own = OwnSessions()
    /// Whether the server could not send a value as binary: it would not the next time either.
    private var needsText = false
    /// The last durable position of this process, for sinks that store none, and the timeline that it is on.
    private var lastDurable = LSN.zero
    private var lastTimeline: UInt32?

    init(config: PipelineConfig, exchange: SinkExchange, monitor: PipelineMonitor, stop: StopSignal) {
        executor = ThreadExecutor(name: "source")
        self.config = config
        self.monitor = monitor
        link = SinkLink(exchange: exchange, stop: stop)
        logger = config.logger
    }

    /// Runs until stopped, or until something happens that no repetition mends.
    func run() async -> PipelineFailure? {
        defer {
            monitor.stopping()
            link.exchange.close()
            link.stop.health.ended()
            executor.finish()
        }
        do throws(SessionEnd) {
            _ = try link.call(.validate)
            let parameters: ConnectionParameters
            do throws(SourceError) { parameters = try ConnectionParameters(config.source) } catch {
                throw SessionEnd(error)
            }
            try repeatSessions(parameters)
        } catch {
            if case .failed(let failure) = error { return failure }
        }
        return nil
    }

    private func repeatSessions(_ parameters: ConnectionParameters) throws(SessionEnd) {
        while true {
            do throws(SessionEnd) {
                try session(parameters)
                return
            } catch {
                switch error {
                case .failed, .stopped: throw error
                case .restart(let reason): logger.info("session begins again", metadata: ["reason": "\(reason)"])
                case .needsText(let cause):
                    needsText = true
                    logger.info("session begins again", metadata: ["reason": "values have to come as text: \(cause)"])
                case .retry(let cause): pause(after: cause)
                }
                if link.stop.isStopping { throw .stopped }
                _ = try link.call(.discardOpenUnit)
                Failpoint.reconnecting.pass()
            }
        }
    }

    private func pause(after error: SourceError) {
        failures += 1
        monitor.repeating(error)
        let retry = config.live.sink.retry
        let policy = RetryPolicy(initial: retry.initial, maximum: retry.maximum)
        let delay = policy.delay(before: failures, using: &random) ?? policy.maximum
        logger.warning(
            "waiting for source",
            metadata: [
                "operation": "\(error.operation)", "cause": "\(error.cause)", "sqlstate": "\(error.sqlState ?? "-")",
                "remedy": "\(error.remedy)", "attempt": .stringConvertible(failures),
                "retry_in_ms": .stringConvertible(delay.nanoseconds / 1_000_000),
            ]
        )
        link.stop.backOff(for: delay)
    }

    // MARK: One session

    private func session(_ parameters: ConnectionParameters) throws(SessionEnd) {
        let setup: SessionSetup
        do throws(SourceError) {
            setup = try SessionSetup(
                parameters,
                config: config,
                monitor: monitor,
                own: own,
                stop: link.stop
            )
            // After a failover the source may lack what was printed last: its slot says where it goes on.
            if lastTimeline != setup.system.timeline { lastDurable = .zero }
            lastTimeline = setup.system.timeline
        } catch {
            throw SessionEnd(error)
        }
        let start = SessionStart(
            setup: setup,
            link: link,
            parameters: parameters,
            knownRelations: knownRelations,
            monitor: monitor,
            own: own,
            needsText: needsText
        )
        try start
            .run(lastDurable: lastDurable) { stream throws(SessionEnd) in
                failures = 0
                do throws(SessionEnd) {
                    try stream.run()
                } catch {
                    let failure = stream.settle()
                    lastDurable = max(lastDurable, stream.durable)
                    if case .failed = error { throw error }
                    if let failure { throw .failed(failure) }
                    throw error
                }
            }
    }
}
