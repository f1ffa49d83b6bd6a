import CdcCore
import Logging
import PostgresSource
import Testing

@testable import Pipeline

/// The sink's lane as dialogues: a command over the exchange, what the sink says to it, the answer.
@Suite("SinkLane", .timeLimit(.minutes(1)))
struct SinkLaneTests {
    private static func config(_ retry: RetryPolicy) -> PipelineConfig {
        var sink = SinkConfig(type: ScriptedSink.name, capabilities: ScriptedSink.capabilities)
        sink.retry = retry
        return PipelineConfig(
            source: SourceConfig(url: Secret("host=none")),
            sink: sink,
            capabilities: ScriptedSink.capabilities,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        )
    }

    private static let quick = RetryPolicy(
        maxRetries: 3,
        initial: .milliseconds(1),
        maximum: .milliseconds(2)
    )

    private static let table = TableSchema(
        ref: TableRef(schema: "public", name: "t"),
        sinkName: "t",
        columns: [ColumnDef(name: "id", type: .int32, postgresType: PostgresType(oid: 23, name: "integer"))],
        key: [0],
        identity: .default
    )

    /// A batch of one row of the transaction that commits from 90 to 100.
    private func batch(begins: Bool = true, commits: Bool = true, position: UInt64? = 100) -> CdcBatch {
        let batch = CdcBatch(tables: [SinkLaneTests.table])
        batch.begin(TransactionInfo(xid: 1, commitLSN: LSN(rawValue: 90), commitTime: 0))
        batch.appendInsert(table: 0, newCells: batch.addCells(1, filledWith: .null), ordinal: 1)
        batch.markCommitted()
        batch.beginsUnit = begins
        batch.commitsUnit = commits
        batch.position = position.map { SourcePosition(at: LSN(rawValue: $0)) }
        return batch
    }

    /// Runs a lane over the script while `body` talks to it, then closes the exchange and waits for the lane's end.
    private func withLane(
        _ script: SinkScript,
        policy: RetryPolicy = quick,
        monitor: PipelineMonitor? = nil,
        _ body: (SinkExchange) async throws -> Void
    ) async throws {
        let exchange = SinkExchange(waking: StopSignal())
        let config = SinkLaneTests.config(policy)
        let lane = SinkLane(
            exchange: exchange,
            config: config,
            monitor: monitor ?? PipelineMonitor(config),
            makeSink: { ScriptedSink(script: script) }
        )
        async let end: Void = lane.run()
        do {
            try await body(exchange)
        } catch {
            exchange.abandon()
            exchange.close()
            await end
            throw error
        }
        exchange.close()
        await end
        #expect(script.calls.last == "close")
    }

    private func answer(_ exchange: SinkExchange) async throws -> SinkReply {
        while true {
            if let reply = exchange.takeReply() { return reply }
            try await Task.sleep(for: .milliseconds(1))
        }
    }

    private func ask(_ exchange: SinkExchange, _ command: SinkCommand) async throws -> SinkReply {
        exchange.submit(command)
        return try await answer(exchange)
    }

    private func written(_ reply: SinkReply, _ batch: CdcBatch) throws -> SinkResult {
        guard case .written(let returned, let result) = reply, returned === batch else { throw Unexpected(reply) }
        return result
    }

    private func failure(_ reply: SinkReply) throws -> PipelineFailure {
        guard case .failed(let failure) = reply else { throw Unexpected(reply) }
        return failure
    }

    // MARK: Success and repetition

    @Test("a batch that is written comes back with what it earned")
    func success() async throws {
        let script = SinkScript()
        try await withLane(script) { exchange in
            let batch = batch()
            let result = try written(try await ask(exchange, .write(batch)), batch)
            #expect(result.durablePosition?.endLSN == LSN(rawValue: 100))
            #expect(result.recordsWritten == 1)
        }
        #expect(script.calls == ["write", "close"])
    }

    @Test("a retriable error is repeated until the sink works again")
    func retriable() async throws {
        let script = SinkScript(["write": [.fail(.retriable), .fail(.retriable), .succeed]])
        try await withLane(script) { exchange in
            let batch = batch()
            _ = try written(try await ask(exchange, .write(batch)), batch)
        }
        #expect(script.calls == ["write", "write", "write", "close"])
    }

    @Test("retries count anew after every success")
    func countsAnew() async throws {
        let script = SinkScript([
            "write": [.fail(.retriable), .fail(.retriable), .succeed, .fail(.retriable), .fail(.retriable), .succeed]
        ])
        try await withLane(script) { exchange in
            for _ in 0..<2 {
                let batch = batch()
                _ = try written(try await ask(exchange, .write(batch)), batch)
            }
        }
    }

    @Test("the last retry that fails ends the daemon, with its own exit code")
    func retriesExhausted() async throws {
        let script = SinkScript(["write": Array(repeating: .fail(.retriable), count: 10)])
        try await withLane(script) { exchange in
            let failure = try failure(try await ask(exchange, .write(batch())))
            #expect(failure.code == .retriesExhausted)
            #expect(failure.description.contains("3 retries"))
        }
        #expect(script.calls == ["write", "write", "write", "write", "close"])
    }

    @Test(
        "an error that no repetition mends ends the daemon at once, with its own exit code",
        arguments: zip(
            [SinkError.Kind.permanent, .configuration, .schemaMismatch, .outputClosed],
            [7, 2, 6, 9] as [Int32]
        )
    )
    func permanent(kind: SinkError.Kind, code: Int32) async throws {
        let script = SinkScript(["write": [.fail(kind)]])
        try await withLane(script) { exchange in
            let failure = try failure(try await ask(exchange, .write(batch())))
            #expect(failure.code.rawValue == code)
        }
        #expect(script.calls == ["write", "close"])
    }

    @Test("where the sink left its fast way is counted")
    func fallbacks() async throws {
        let script = SinkScript([
            "write": [.fallBack(merges: 1, replays: 0), .succeed, .fallBack(merges: 2, replays: 3)]
        ])
        let monitor = PipelineMonitor(SinkLaneTests.config(SinkLaneTests.quick))
        try await withLane(script, monitor: monitor) { exchange in
            for _ in 0..<3 {
                let batch = batch()
                _ = try written(try await ask(exchange, .write(batch)), batch)
            }
        }
        let totals = monitor.status().totals
        #expect([totals.sinkFallbacks.merge, totals.sinkFallbacks.replay, totals.batches] == [3, 3, 3])
    }

    @Test("a setup is answered with the form of values that the sink wants by then")
    func format() async throws {
        try await withLane(SinkScript(["setup": [.fail(.retriable)]])) { exchange in
            let identity = PipelineIdentity(
                name: "p",
                source: SourceIdentity(systemIdentifier: "1", timeline: 1, slot: "s")
            )
            guard case .ready(.binary) = try await ask(exchange, .setup([], identity)) else {
                throw Unexpected("setup")
            }
        }
    }

    @Test("other commands are repeated as well")
    func otherCommands() async throws {
        let script = SinkScript([
            "validate": [.fail(.retriable)], "beginCopy": [.fail(.ambiguous)], "setup": [.fail(.configuration)],
            "durablePosition": [.fail(.retriable), .position(70)],
        ])
        try await withLane(script) { exchange in
            guard case .done = try await ask(exchange, .validate) else { throw Unexpected("validate") }
            guard case .order([]) = try await ask(exchange, .beginCopy([])) else { throw Unexpected("beginCopy") }
            guard case .position(let position) = try await ask(exchange, .durablePosition) else {
                throw Unexpected("position")
            }
            #expect(position?.endLSN == LSN(rawValue: 70))
            let identity = PipelineIdentity(
                name: "p",
                source: SourceIdentity(systemIdentifier: "1", timeline: 1, slot: "s")
            )
            let failure = try failure(try await ask(exchange, .setup([], identity)))
            #expect(failure.code == .configuration)
        }
        #expect(
            script.calls == [
                "validate", "validate", "beginCopy", "beginCopy", "durablePosition", "durablePosition", "setup",
                "close",
            ]
        )
    }

    @Test("a sink that cannot be made fails the first command")
    func noSink() async throws {
        let exchange = SinkExchange(waking: StopSignal())
        let config = SinkLaneTests.config(SinkLaneTests.quick)
        let lane = SinkLane(
            exchange: exchange,
            config: config,
            monitor: PipelineMonitor(config),
            makeSink: { () throws(SinkError) in
                throw SinkError(.configuration, operation: "open", cause: "no such file", remedy: "make one")
            }
        )
        async let end: Void = lane.run()
        let failure = try failure(try await ask(exchange, .validate))
        #expect(failure.code == .configuration)
        #expect(failure.description.contains("no such file"))
        await end
    }

    // MARK: Ambiguous outcomes

    @Test("an ambiguous commit that was durable counts as written, and is not written again")
    func ambiguousDurable() async throws {
        let script = SinkScript(["write": [.fail(.ambiguous)], "durablePosition": [.position(100)]])
        try await withLane(script) { exchange in
            let batch = batch()
            let result = try written(try await ask(exchange, .write(batch)), batch)
            #expect(result.durablePosition?.endLSN == LSN(rawValue: 100))
            #expect(result.recordsWritten == 1)
        }
        #expect(script.calls == ["write", "durablePosition", "close"])
    }

    @Test("an ambiguous commit that was not durable is written again", arguments: [nil, 99] as [UInt64?])
    func ambiguousNotDurable(durable: UInt64?) async throws {
        let script = SinkScript(["write": [.fail(.ambiguous)], "durablePosition": [.position(durable)]])
        try await withLane(script) { exchange in
            let batch = batch()
            _ = try written(try await ask(exchange, .write(batch)), batch)
        }
        #expect(script.calls == ["write", "durablePosition", "write", "close"])
    }

    @Test("the question whether a commit was durable is repeated until it is answered")
    func ambiguousUnanswered() async throws {
        let script = SinkScript([
            "write": [.fail(.ambiguous)], "durablePosition": [.fail(.retriable), .fail(.retriable), .position(100)],
        ])
        try await withLane(script) { exchange in
            let batch = batch()
            _ = try written(try await ask(exchange, .write(batch)), batch)
        }
        #expect(script.calls == ["write", "durablePosition", "durablePosition", "durablePosition", "close"])
    }

    @Test("an ambiguous commit is never written again while nobody knows whether it was durable")
    func ambiguousUnanswerable() async throws {
        let script = SinkScript(["write": [.fail(.ambiguous)], "durablePosition": [.fail(.permanent)]])
        try await withLane(script) { exchange in
            let failure = try failure(try await ask(exchange, .write(batch())))
            #expect(failure.code == .sinkRefused)
        }
        #expect(script.calls == ["write", "durablePosition", "close"])
    }

    @Test("rows of a copy whose outcome is ambiguous are not written again: without a key they would be there twice")
    func ambiguousCopy() async throws {
        let script = SinkScript(["write": [.fail(.ambiguous)]])
        try await withLane(script) { exchange in
            _ = try await ask(exchange, .write(batch(position: nil)))
        }
        #expect(script.calls == ["write", "close"])
    }

    @Test("an ambiguous last part of a unit that was durable counts as written")
    func ambiguousLastPart() async throws {
        let script = SinkScript(["write": [.fail(.ambiguous)], "durablePosition": [.position(100)]])
        try await withLane(script) { exchange in
            let batch = batch(begins: false)
            _ = try written(try await ask(exchange, .write(batch)), batch)
        }
    }

    // MARK: Parts of units

    @Test("a unit's first part is repeated like any batch")
    func firstPart() async throws {
        let script = SinkScript(["write": [.fail(.retriable)]])
        try await withLane(script) { exchange in
            let batch = batch(commits: false, position: nil)
            let result = try written(try await ask(exchange, .write(batch)), batch)
            #expect(result.durablePosition == nil)
        }
        #expect(script.calls == ["write", "write", "close"])
    }

    @Test(
        "a later part that fails loses the unit: the source has to send it again, the part alone is not repeated",
        arguments: [(SinkError.Kind.retriable, true), (.retriable, false), (.ambiguous, true), (.ambiguous, false)]
    )
    func unitLost(kind: SinkError.Kind, commits: Bool) async throws {
        let script = SinkScript(["write": [.succeed, .fail(kind)]])
        try await withLane(script) { exchange in
            let first = batch(commits: false, position: nil)
            _ = try written(try await ask(exchange, .write(first)), first)
            let later = batch(begins: false, commits: commits, position: commits ? 100 : nil)
            guard case .unitLost(let returned, let error) = try await ask(exchange, .write(later)) else {
                throw Unexpected("no lost unit")
            }
            #expect(returned === later)
            #expect(error.kind == kind)
            guard case .done = try await ask(exchange, .discardOpenUnit) else { throw Unexpected("discard") }
        }
        #expect(script.calls.filter { $0 == "write" }.count == 2)
    }

    @Test("a later part that the sink refuses for good ends the daemon")
    func permanentLaterPart() async throws {
        let script = SinkScript(["write": [.fail(.permanent)]])
        try await withLane(script) { exchange in
            let later = batch(begins: false, commits: false, position: nil)
            let failure = try failure(try await ask(exchange, .write(later)))
            #expect(failure.code == .sinkRefused)
        }
    }

    // MARK: Stopping

    private static let patient = RetryPolicy(initial: .seconds(3600), maximum: .seconds(3600))

    @Test("a lane that waits for the sink gives up at once when it is abandoned")
    func abandonedWhileWaiting() async throws {
        let script = SinkScript(["write": Array(repeating: .fail(.retriable), count: 10)])
        try await withLane(script, policy: SinkLaneTests.patient) { exchange in
            exchange.submit(.write(batch()))
            while script.calls.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
            try await Task.sleep(for: .milliseconds(20))
            if let early = exchange.takeReply() { throw Unexpected(early) }
            exchange.abandon()
            guard case .abandoned = try await answer(exchange) else { throw Unexpected("not abandoned") }
        }
        #expect(script.calls == ["write", "close"])
    }

    @Test("an abandoned lane does not even begin to wait, and asks no more about an ambiguous commit")
    func abandonedBefore() async throws {
        let script = SinkScript(["write": [.fail(.ambiguous)], "durablePosition": [.fail(.retriable)]])
        try await withLane(script, policy: SinkLaneTests.patient) { exchange in
            exchange.abandon()
            guard case .abandoned = try await ask(exchange, .write(batch())) else { throw Unexpected("not abandoned") }
        }
        #expect(script.calls == ["write", "durablePosition", "close"])
    }

    @Test("an abandoned lane still writes what goes well")
    func abandonedButWell() async throws {
        try await withLane(SinkScript()) { exchange in
            exchange.abandon()
            let batch = batch()
            _ = try written(try await ask(exchange, .write(batch)), batch)
        }
    }
}
