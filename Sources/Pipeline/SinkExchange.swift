internal import CdcCore
internal import PostgresSource
internal import Synchronization

/// What the source's lane asks of the sink's lane.
enum SinkCommand: Sendable {
    case validate
    case loadState(pipeline: String)
    case setup([TableSchema], PipelineIdentity)
    case beginCopy([TableSchema])
    case finishCopy([TableSchema], at: LSN, position: SourcePosition?)
    case durablePosition
    case write(CdcBatch)
    case discardOpenUnit
}

/// What the sink's lane answers.
enum SinkReply: Sendable {
    case done
    /// The tables are set up; the form in which values are to come.
    case ready(TupleFormat)
    case state(PipelineState?)
    case position(SourcePosition?)
    /// A copy may begin; the tables in the order that suits the sink, as indexes.
    case order([Int])
    case written(CdcBatch, SinkResult)
    /// A later part of a unit failed: what was written of it is void, the source has to send it again.
    case unitLost(CdcBatch, SinkError)
    case failed(PipelineFailure)
    /// Given up because the daemon is stopping.
    case abandoned
}

/// The one place where the two lanes meet: at most one command and one reply at a time, crossed once per batch.
final class SinkExchange: Sendable {
    private struct State {
        var command: SinkCommand?
        var reply: SinkReply?
        var isClosed = false
    }

    private let state = Mutex(State())
    /// Counts what was handed over.
    ///
    /// The mutex alone makes the handing over safe, but the thread sanitizer does not know
    /// Swift's Mutex: a release before and an acquire after say the same in words that it knows.
    private let handedOver = Atomic<Int>(0)
    private let laneSignal: StopSignal
    /// Wakes the source's lane: the daemon's stop signal, so that one poll hears both.
    private let sourceSignal: StopSignal

    init(waking sourceSignal: StopSignal, sinkHealth: LaneHealth = LaneHealth(name: "sink")) {
        self.sourceSignal = sourceSignal
        laneSignal = StopSignal(health: sinkHealth)
    }

    /// The health of the sink's lane.
    var health: LaneHealth { laneSignal.health }

    // MARK: The source's side

    /// Hands a command over.
    ///
    /// The one before must have been answered.
    func submit(_ command: SinkCommand) {
        // Before the lane can take the command up: its own word must be the last.
        health.call()
        handedOver.add(1, ordering: .releasing)
        state.withLock {
            precondition($0.command == nil && $0.reply == nil, "the sink's lane is busy")
            $0.command = command
        }
        laneSignal.wake()
    }

    /// The answer, if it is there.
    func takeReply() -> SinkReply? {
        let reply = state.withLock { $0.reply.take() }
        if reply != nil { _ = handedOver.load(ordering: .acquiring) }
        return reply
    }

    /// Tells the lane to give up waiting and retrying.
    func abandon() {
        laneSignal.stop()
    }

    /// Tells the lane that no command will follow.
    func close() {
        state.withLock { $0.isClosed = true }
        laneSignal.wake()
    }

    // MARK: The lane's side

    /// Whether retries are to end.
    var isAbandoned: Bool { laneSignal.isStopping }

    /// Waits for the next command; nil once closed.
    func nextCommand() -> SinkCommand? {
        while true {
            let (command, isClosed) = state.withLock { ($0.command.take(), $0.isClosed) }
            if let command {
                _ = handedOver.load(ordering: .acquiring)
                return command
            }
            if isClosed { return nil }
            laneSignal.waitIdle()
        }
    }

    /// Answers the command taken last.
    func post(_ reply: SinkReply) {
        handedOver.add(1, ordering: .releasing)
        state.withLock { $0.reply = reply }
        sourceSignal.wake()
    }

    /// Waits before a repetition; false if there is to be none because the daemon is stopping.
    func pause(for duration: Duration) -> Bool {
        laneSignal.backOff(for: duration)
        return !isAbandoned
    }
}
