import Synchronization

/// What the clients of a workload have in common with the workload itself.
final class WorkloadShared: Sendable {
    struct Run {
        var stopping = false
        var paused = false
        var busy = 0
        var statistics = WorkloadStatistics()
    }

    let url: String
    let options: WorkloadOptions
    let tables: [WorkloadTable]
    let shapes: [TableShape]
    let values: ValueGenerator
    let log = EffectLog()
    let run = Mutex(Run())

    init(
        url: String,
        options: WorkloadOptions,
        tables: [WorkloadTable],
        shapes: [TableShape],
        values: ValueGenerator
    ) {
        self.url = url
        self.options = options
        self.tables = tables
        self.shapes = shapes
        self.values = values
    }

    func count(_ change: (inout WorkloadStatistics) -> Void) { run.withLock { change(&$0.statistics) } }

    var isStopping: Bool { run.withLock { $0.stopping } }

    /// Claims the right to run one transaction; false while the workload is paused or stopping.
    func enter() -> Bool {
        run.withLock { run in
            guard !run.stopping, !run.paused else { return false }
            run.busy += 1
            return true
        }
    }

    func leave() { run.withLock { $0.busy -= 1 } }
}
