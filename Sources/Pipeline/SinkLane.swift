internal import CdcCore
internal import Logging
internal import PostgresSource

/// Owns the sink: runs its calls one after the other on a thread of its own, and repeats what may succeed later.
actor SinkLane {
    private nonisolated let executor: ThreadExecutor
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let makeSink: @Sendable () throws(SinkError) -> any Sink
    let exchange: SinkExchange
    let live: LiveSettings
    let monitor: PipelineMonitor
    let logger: Logger
    private var random = SystemRandomNumberGenerator()
    private var attempts = 0
    private var failingSince: ContinuousClock.Instant?
    /// Whether it is writing that fails: what else works meanwhile says nothing about that.
    private var failsToWrite = false
    /// Whether the log has said that the sink left its fastest way: what one batch meets, others often meet, too.
    private var hasToldFallback = false

    /// What becomes of refused changes; nil before the sink is set up.
    var office: DeadLetterOffice?
    /// The position that the sink told last.
    private var position: SourcePosition?
    private let sinkConfig: SinkConfig
    /// Refusals that the log has had, by table and cause.
    var toldRefusals: Set<Refusal> = []

    /// How long one call may wait for the target before it has to say so.
    let callTimeout: Duration
    /// Whether a unit whose later part failed is void; else the part alone is repeated.
    let losesUnits: Bool
    /// Bytes that the open unit has brought so far: what its commit may have to make durable.
    private var unitBytes = 0

    /// The slowest target that is not taken for a hung one: a commit of a large unit may take long.
    static let slowestBytesPerSecond = 1 << 20

    init(
        exchange: SinkExchange,
        config: PipelineConfig,
        monitor: PipelineMonitor,
        makeSink: @escaping @Sendable () throws(SinkError) -> any Sink
    ) {
        executor = ThreadExecutor(name: "sink")
        self.exchange = exchange
        self.monitor = monitor
        live = config.live
        callTimeout = config.hangTimeout
        losesUnits = config.capabilities.supportsTransactions
        logger = config.logger
        sinkConfig = config.sink
        self.makeSink = makeSink
    }

    /// Answers commands until the exchange is closed.
    func run() async {
        defer {
            exchange.health.ended()
            executor.finish()
        }
        let sink: any Sink
        do throws(SinkError) {
            sink = try makeSink()
        } catch {
            // The first command learns why there is no sink.
            if exchange.nextCommand() != nil { exchange.post(.failed(PipelineFailure(error))) }
            return
        }
        monitor.sinkIs(sink.target)
        logger.info("writing to", metadata: ["target": "\(sink.target)"])
        while let command = exchange.nextCommand() {
            exchange.post(await answer(command, sink))
        }
        exchange.health.calling(for: callTimeout)
        await sink.close()
    }

    private func answer(_ command: SinkCommand, _ sink: any Sink) async -> SinkReply {
        if case .write(let batch) = command { return await write(batch, sink) }
        while true {
            exchange.health.calling(for: limit(of: command))
            do throws(SinkError) {
                let reply = try await perform(command, sink)
                if !failsToWrite { recovered() }
                return reply
            } catch {
                if let end = await wait(after: error) { return end }
            }
        }
    }

    /// How long a call may take: creating and emptying tables depends on how many there are and what is in them.
    private func limit(of command: SinkCommand) -> Duration {
        switch command {
        case .setup(let tables, _), .beginCopy(let tables), .finishCopy(let tables, _, _):
            callTimeout * 10 + .milliseconds(100) * tables.count
        default: callTimeout
        }
    }

    private func perform(_ command: SinkCommand, _ sink: any Sink) async throws(SinkError) -> SinkReply {
        switch command {
        case .validate: try await sink.validateConnection()
        case .loadState(let pipeline):
            let state = try await sink.loadState(of: pipeline)
            position = state?.position
            return .state(state)
        case .setup(let tables, let pipeline):
            try await sink.setup(tables, for: pipeline)
            try await openOffice(pipeline.name, sink)
            for warning in sink.warnings { logger.warning("target", metadata: ["warning": "\(warning)"]) }
            return .ready(sink.tupleFormat)
        case .beginCopy(let tables):
            try await sink.beginCopy(of: tables)
            office?.copyBegins(tables)
            try await office?.save()
            return .order(try await sink.copyOrder(of: tables))
        case .finishCopy(let tables, let point, let position):
            try await sink.finishCopy(of: tables, at: point, position: position)
        case .durablePosition: return .position(try await sink.durablePosition())
        case .discardOpenUnit:
            await sink.discardOpenUnit()
        case .write: break
        }
        return .done
    }

    private func openOffice(_ pipeline: String, _ sink: any Sink) async throws(SinkError) {
        let office = try DeadLetterOffice(sinkConfig)
        try await office.open(pipeline, at: position, sink)
        self.office = office
        guard office.pendingCount > 0 else { return }
        logger.warning(
            "dead letters wait",
            metadata: [
                "count": .stringConvertible(office.pendingCount),
                "remedy":
                    "mend their causes, stop the daemon, and run dbmazz-sink dlq replay; till then later changes of their rows follow",
            ]
        )
    }

    // MARK: Writing

    private func write(_ batch: CdcBatch, _ sink: any Sink) async -> SinkReply {
        office?.admit(batch)
        if let end = await saveLetters(before: batch) { return end }
        var refusals = 0
        unitBytes = (batch.beginsUnit ? 0 : unitBytes) + batch.byteCount
        while true {
            let limit = callTimeout + .seconds(unitBytes / SinkLane.slowestBytesPerSecond)
            let began = ContinuousClock.now
            exchange.health.calling(for: limit)
            do throws(SinkError) {
                let result = try await sink.writeBatch(batch, deadline: began + limit)
                // A part that is taken says nothing of the unit: its commit does.
                if batch.commitsUnit { recovered() }
                monitor.written(batch, took: .now - began, fallbacks: result.fallbacks)
                if result.fallbacks != WriteFallbacks() { tell(result.fallbacks) }
                monitor.substituted(result.substitutions)
                return finished(batch, result)
            } catch {
                failsToWrite = true
                if mayBury(error) {
                    refusals += 1
                    switch await isolate(batch, after: error, attempt: refusals, sink) {
                    case .ended(let reply): return reply
                    case .nothing: return .failed(PipelineFailure(error))
                    case .found: break
                    }
                    // The rest of the unit is void; it comes again, and the letters are known then.
                    guard batch.beginsUnit || !losesUnits else { return .unitLost(batch, error) }
                    continue
                }
                if error.kind == .ambiguous, let end = await resolve(batch, sink) { return end }
                if let end = await wait(after: error) { return end }
                // Nothing tells whether copied rows arrived: the copy has to begin anew, as a unit that has lost its first
                // part has to be sent again.
                guard batch.beginsUnit || !losesUnits, error.kind != .ambiguous || batch.position != nil else {
                    return .unitLost(batch, error)
                }
            }
        }
    }

    private func finished(_ batch: CdcBatch, _ result: SinkResult) -> SinkReply {
        if batch.commitsUnit, batch.position != nil { office?.committed() }
        (batch.commitsUnit ? Failpoint.sinkCommitted : .unitPartWritten).pass()
        return .written(batch, result)
    }

    private func tell(_ fallbacks: WriteFallbacks) {
        logger.log(
            level: hasToldFallback ? .debug : .info,
            "left the fast way",
            metadata: [
                "merge": .stringConvertible(fallbacks.merges), "replay": .stringConvertible(fallbacks.replays),
            ]
        )
        hasToldFallback = true
    }

    /// Asks the sink whether a commit whose outcome is unknown took place; nil if it did not, and may be repeated.
    private func resolve(_ batch: CdcBatch, _ sink: any Sink) async -> SinkReply? {
        guard batch.commitsUnit, let wanted = batch.position else { return nil }
        while true {
            exchange.health.calling(for: callTimeout)
            do throws(SinkError) {
                let durable = try await sink.durablePosition()
                guard let durable, durable.endLSN >= wanted.endLSN else { return nil }
                logger.info("ambiguous commit was durable", metadata: ["lsn": "\(durable.endLSN)"])
                recovered()
                monitor.written(batch, took: .zero)
                return finished(
                    batch,
                    SinkResult(
                        recordsWritten: batch.selectedCount,
                        bytesWritten: batch.tupleBytes,
                        durablePosition: durable
                    )
                )
            } catch {
                if let end = await wait(after: error) { return end }
            }
        }
    }

    // MARK: Repeating

    /// Waits before the next attempt; returns a reply if there is to be none.
    func wait(after error: SinkError) async -> SinkReply? {
        guard error.kind == .retriable || error.kind == .ambiguous else { return .failed(PipelineFailure(error)) }
        guard !exchange.isAbandoned else { return .abandoned }
        attempts += 1
        failingSince = failingSince ?? .now
        monitor.repeating(error)
        let retry = live.sink.retry
        guard var delay = retry.delay(before: attempts, using: &random) else {
            return .failed(PipelineFailure(.retriesExhausted, "\(error) (given up after \(attempts - 1) retries)"))
        }
        // A target that is overloaded asks for time; how long a wait may be at all is set.
        delay = max(delay, min(error.pause, retry.maximum))
        logger.warning(
            "sink waits",
            metadata: [
                "operation": "\(error.operation)", "table": "\(error.table?.description ?? "-")",
                "cause": "\(error.cause)", "remedy": "\(error.remedy)", "attempt": .stringConvertible(attempts),
                "retry_in_ms": .stringConvertible(delay.nanoseconds / 1_000_000),
            ]
        )
        return exchange.pause(for: delay) ? nil : .abandoned
    }

    private func recovered() {
        guard let since = failingSince else { return }
        logger.info(
            "sink works again",
            metadata: [
                "attempts": .stringConvertible(attempts),
                "after_ms": .stringConvertible((ContinuousClock.now - since).nanoseconds / 1_000_000),
            ]
        )
        failingSince = nil
        failsToWrite = false
        attempts = 0
        monitor.sinkWorks()
    }
}
