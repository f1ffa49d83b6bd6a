import CdcCore
import Synchronization

/// What a ``ScriptedSink`` is to do, call by call, and what it was asked.
///
/// Reaches the sink's lane and the test alike, which a sink itself must not.
final class SinkScript: Sendable {
    /// What one call does.
    enum Step {
        case succeed
        case fail(SinkError.Kind)
        /// For `write`: succeeds off the fast way.
        case fallBack(merges: Int, replays: Int)
        /// For `durablePosition`: the commit's end.
        case position(UInt64?)
    }

    private struct State {
        var steps: [String: [Step]] = [:]
        var calls: [String] = []
    }

    private let state = Mutex(State())

    /// Begins with the steps of each kind of call; what comes after them succeeds.
    init(_ steps: [String: [Step]] = [:]) {
        state.withLock { $0.steps = steps }
    }

    /// The calls so far.
    var calls: [String] { state.withLock { $0.calls } }

    func next(_ call: String) -> Step {
        state.withLock {
            $0.calls.append(call)
            guard let step = $0.steps[call]?.first else { return .succeed }
            $0.steps[call]?.removeFirst()
            return step
        }
    }
}

/// A sink that does what a script says.
final class ScriptedSink: Sink {
    static let name = "scripted"
    static let capabilities = SinkCapabilities(
        supportsUpsert: true,
        supportsDelete: true,
        supportsTransactions: true,
        loadingModel: .streaming,
        maxBatchSize: 100,
        maxBatchBytes: 1 << 20,
        optimalFlushInterval: .zero,
        storesPosition: true
    )

    private let script: SinkScript
    /// Known with the setup, not before.
    private(set) var tupleFormat = TupleFormat.text

    init(script: SinkScript) {
        self.script = script
    }

    convenience init(_ config: SinkConfig) throws(SinkError) {
        self.init(script: SinkScript())
    }

    @discardableResult
    private func call(_ name: String) throws(SinkError) -> WriteFallbacks {
        var fallbacks = WriteFallbacks()
        switch script.next(name) {
        case .fail(let kind): throw ScriptedSink.error(kind, name)
        case .fallBack(let merges, let replays):
            fallbacks.merges = merges
            fallbacks.replays = replays
        case .succeed, .position: break
        }
        return fallbacks
    }

    private static func error(_ kind: SinkError.Kind, _ operation: String) -> SinkError {
        SinkError(kind, operation: operation, cause: "the script says \(kind)", remedy: "none")
    }

    func validateConnection() async throws(SinkError) { try call("validate") }

    func loadState(of pipeline: String) async throws(SinkError) -> PipelineState? {
        try call("loadState")
        return nil
    }

    func setup(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError) {
        try call("setup")
        tupleFormat = .binary
    }

    func beginCopy(of tables: [TableSchema]) async throws(SinkError) { try call("beginCopy") }

    func finishCopy(
        of tables: [TableSchema],
        at consistentPoint: LSN,
        position: SourcePosition?
    ) async throws(SinkError) {
        try call("finishCopy")
    }

    func durablePosition() async throws(SinkError) -> SourcePosition? {
        switch script.next("durablePosition") {
        case .succeed, .fallBack: return nil
        case .fail(let kind): throw ScriptedSink.error(kind, "durablePosition")
        case .position(let end): return end.map { SourcePosition(at: LSN(rawValue: $0)) }
        }
    }

    func writeBatch(
        _ batch: CdcBatch,
        deadline: ContinuousClock.Instant
    ) async throws(SinkError) -> SinkResult {
        let fallbacks = try call("write")
        return SinkResult(
            recordsWritten: batch.selectedCount,
            bytesWritten: batch.tupleBytes,
            durablePosition: batch.commitsUnit ? batch.position : nil,
            fallbacks: fallbacks
        )
    }

    func discardOpenUnit() async { _ = script.next("discard") }

    func close() async { _ = script.next("close") }
}
