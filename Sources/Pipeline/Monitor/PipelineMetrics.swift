internal import CdcCore
internal import CoreMetrics

/// The pipeline's metrics, over whatever backend swift-metrics was bootstrapped with.
///
/// Counters and histograms are kept as things happen, once a batch; gauges are set when somebody looks
/// (``PipelineMonitor/publishGauges()``). Names follow https://prometheus.io/docs/practices/naming
struct PipelineMetrics: Sendable {
    private let factory: any MetricsFactory

    let transactions: Counter
    let batches: Counter
    let sinkRetries: Counter
    let sinkMerges: Counter
    let sinkReplays: Counter
    let sourceReconnects: Counter
    let heartbeats: Counter
    let batchRows: Recorder
    let batchBytes: Recorder
    let batchWrite: Timer
    let commitToDurable: Timer

    init(_ factory: any MetricsFactory) {
        self.factory = factory
        func counter(_ name: String) -> Counter { Counter(label: name, dimensions: [], factory: factory) }
        transactions = counter("dbmazz_transactions_total")
        batches = counter("dbmazz_batches_total")
        sinkRetries = counter("dbmazz_sink_retries_total")
        func fallbacks(_ kind: String) -> Counter {
            Counter(label: "dbmazz_sink_fallbacks_total", dimensions: [("kind", kind)], factory: factory)
        }
        sinkMerges = fallbacks("merge")
        sinkReplays = fallbacks("replay")
        sourceReconnects = counter("dbmazz_source_reconnects_total")
        heartbeats = counter("dbmazz_heartbeats_total")
        batchRows = Recorder(label: "dbmazz_batch_rows", dimensions: [], aggregate: true, factory: factory)
        batchBytes = Recorder(label: "dbmazz_batch_bytes", dimensions: [], aggregate: true, factory: factory)
        batchWrite = Timer(label: "dbmazz_batch_write_seconds", dimensions: [], factory: factory)
        commitToDurable = Timer(label: "dbmazz_commit_to_durable_seconds", dimensions: [], factory: factory)
        // Before the first error, so that increase() sees it.
        for name in ["retriable", "shutting_down"] { error(side: "source", class: name, by: 0) }
        for name in ["retriable", "ambiguous"] { error(side: "sink", class: name, by: 0) }
    }

    func error(side: String, class name: String, by count: Int = 1) {
        Counter(label: "dbmazz_errors_total", dimensions: [("side", side), ("class", name)], factory: factory)
            .increment(by: count)
    }

    /// Changes of a table that were given up.
    func deadLetters(_ table: TableRef, by count: Int) {
        Counter(
            label: "dbmazz_sink_dead_letters_total",
            dimensions: [("table", table.description)],
            factory: factory
        )
        .increment(by: count)
    }

    /// Values that were changed because the target cannot hold them.
    func substituted(_ substitution: ValueSubstitution) {
        Counter(
            label: "dbmazz_sink_values_substituted_total",
            dimensions: [("table", substitution.table.description), ("column", substitution.column)],
            factory: factory
        )
        .increment(by: substitution.count)
    }

    /// The counters of one table.
    struct Table: Sendable {
        let inserts: Counter
        let updates: Counter
        let deletes: Counter
        let truncates: Counter
        let copied: Counter
        let bytes: Counter
    }

    func table(_ ref: TableRef) -> Table {
        func rows(_ operation: String) -> Counter {
            Counter(
                label: "dbmazz_rows_total",
                dimensions: [("table", ref.description), ("operation", operation)],
                factory: factory
            )
        }
        // Before the first one, so that increase() sees it.
        deadLetters(ref, by: 0)
        return Table(
            inserts: rows("insert"),
            updates: rows("update"),
            deletes: rows("delete"),
            truncates: rows("truncate"),
            copied: rows("copy"),
            bytes: Counter(label: "dbmazz_row_bytes_total", dimensions: [("table", ref.description)], factory: factory)
        )
    }

    // MARK: Gauges

    func gauge(_ name: String, _ value: Double, _ dimensions: [(String, String)] = []) {
        Meter(label: name, dimensions: dimensions, factory: factory).set(value)
    }

    func gauge(_ name: String, _ value: Int, _ dimensions: [(String, String)] = []) {
        gauge(name, Double(value), dimensions)
    }

    /// Sets a gauge that only sometimes has a value; without one it is not shown.
    func gauge(_ name: String, optional value: Int?) {
        if let value {
            gauge(name, value)
        } else {
            Meter(label: name, dimensions: [], factory: factory).destroy()
        }
    }

    /// One gauge a case, 1 for the one that holds.
    func states(_ name: String, _ dimension: String, _ all: [String], current: String?) {
        for state in all { gauge(name, state == current ? 1 : 0, [(dimension, state)]) }
    }
}
