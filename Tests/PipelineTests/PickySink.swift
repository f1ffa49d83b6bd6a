import CdcCore
import Synchronization

/// What a ``PickySink`` holds and refuses: reaches the lane and the test alike.
final class PickyTarget: Sendable {
    struct State {
        /// The rows by key, as the last commit left them.
        var rows: [String: String] = [:]
        /// Values that are refused.
        var poison: @Sendable (String) -> Bool = { _ in false }
        /// Whether errors name the changes.
        var namesChanges = false
        /// Whether they name the last change that is refused, as folding sinks do.
        var namesLast = false
        var attempts = 0
        /// Whether every call is refused, rows or not.
        var refusesAll = false
        var rehearsals = 0
        var rehearsedRows = 0
        var commits = 0
        var position: SourcePosition?
        /// Lines of dead letters.
        var lines: [String] = []
        /// How many calls to keep lines fail.
        var failingStores = 0
    }

    private let state = Mutex(State())

    init(_ change: (inout State) -> Void = { _ in }) { state.withLock { change(&$0) } }

    func read<Value: Sendable>(_ body: (State) -> Value) -> Value { state.withLock { body($0) } }
    func change(_ body: (inout State) -> Void) { state.withLock { body(&$0) } }
}

/// A transactional sink of rows (id, v) that refuses values by a rule, and updates of rows that it does not have.
final class PickySink: Sink {
    static let name = "picky"
    static let capabilities = ScriptedSink.capabilities

    private let target: PickyTarget
    private var open: [String: String]?

    init(_ target: PickyTarget) { self.target = target }
    convenience init(_ config: SinkConfig) throws(SinkError) { self.init(PickyTarget()) }

    func validateConnection() async throws(SinkError) {}

    func loadState(of pipeline: String) async throws(SinkError) -> PipelineState? {
        PipelineState(
            source: SourceIdentity(systemIdentifier: "1", timeline: 1, slot: "s"),
            position: target.read { $0.position },
            copies: [:]
        )
    }

    func deadLetters(of pipeline: String) async throws(SinkError) -> [String] { target.read { $0.lines } }

    /// Keeps lines at once; a failure voids the open unit.
    func storeDeadLetters(_ lines: [String], of pipeline: String) async throws(SinkError) {
        let fails = target.read { $0.failingStores > 0 && !lines.isEmpty }
        target.change {
            if fails { $0.failingStores -= 1 } else { $0.lines += lines }
        }
        guard fails else { return }
        open = nil
        throw SinkError(.retriable, operation: "store", cause: "no room", remedy: "wait")
    }

    func setup(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError) {}
    func beginCopy(of tables: [TableSchema]) async throws(SinkError) { target.change { $0.rows = [:] } }
    func finishCopy(of tables: [TableSchema], at consistentPoint: LSN, position: SourcePosition?)
        async throws(SinkError)
    {}
    func durablePosition() async throws(SinkError) -> SourcePosition? { target.read { $0.position } }
    func discardOpenUnit() async { open = nil }
    func close() async {}

    func rehearse(_ batch: CdcBatch, deadline: ContinuousClock.Instant) async throws(SinkError) {
        target.change {
            $0.rehearsals += 1
            $0.rehearsedRows += batch.selectedCount
        }
        var rows = target.read { $0.rows }
        try apply(batch, &rows)
        open = nil
    }

    func writeBatch(_ batch: CdcBatch, deadline: ContinuousClock.Instant) async throws(SinkError) -> SinkResult {
        if !batch.beginsUnit, open == nil {
            throw SinkError(.permanent, operation: "write", cause: "the unit is gone", remedy: "none").ofTarget
        }
        var rows = batch.beginsUnit ? target.read { $0.rows } : open ?? [:]
        open = nil
        try apply(batch, &rows)
        if batch.commitsUnit {
            let result = rows
            target.change {
                $0.rows = result
                $0.commits += 1
                $0.position = batch.position ?? $0.position
            }
        } else {
            open = rows
        }
        return SinkResult(
            recordsWritten: batch.selectedCount,
            bytesWritten: batch.tupleBytes,
            durablePosition: batch.commitsUnit ? batch.position : nil
        )
    }

    private func apply(_ batch: CdcBatch, _ rows: inout [String: String]) throws(SinkError) {
        if target.read({ $0.refusesAll }) { throw PickySink.refusal("the target refuses everything", nil) }
        let (poison, names) = target.read { ($0.poison, $0.namesChanges) }
        target.change { $0.attempts += 1 }
        if target.read({ $0.namesLast }) {
            let bad = batch.selectedChanges.filter { index in
                let change = batch.change(index)
                guard change.kind == .insert else { return false }
                return poison(String(decoding: batch.bytes(of: batch.newCell(change, 1)), as: UTF8.self))
            }
            if let last = bad.last { throw PickySink.refusal("poison", last) }
        }
        for index in batch.selectedChanges {
            let change = batch.change(index)
            func text(_ cell: Cell) -> String { String(decoding: batch.bytes(of: cell), as: UTF8.self) }
            switch change.kind {
            case .truncate: rows = [:]
            case .delete: rows[text(batch.oldCell(change, 0))] = nil
            case .insert, .update:
                let (key, value) = (text(batch.newCell(change, 0)), text(batch.newCell(change, 1)))
                if poison(value) { throw PickySink.refusal("poison", names ? index : nil) }
                let old = change.changesKey ? text(batch.oldCell(change, 0)) : key
                if change.kind == .update, rows[old] == nil {
                    throw PickySink.refusal("the row to change is not there", names ? index : nil)
                }
                if old != key { rows[old] = nil }
                rows[key] = value
            }
        }
    }

    private static func refusal(_ cause: String, _ index: Int?) -> SinkError {
        var error = SinkError(.permanent, operation: "write", cause: cause, remedy: "none")
        error.table = TableRef(schema: "public", name: "t")
        error.changes = index.map { [$0] } ?? []
        return error
    }
}
