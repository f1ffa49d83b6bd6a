public import CoreMetrics
import Synchronization

/// A backend for swift-metrics that shows everything in Prometheus' text format.
///
/// The format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
public final class PrometheusRegistry: MetricsFactory, Sendable {
    private let families = Mutex<[String: Family]>([:])

    private struct Family {
        var type: String
        /// Series by their labels, as they are written.
        var series: [String: any PrometheusSeries] = [:]
    }

    /// Makes an empty registry.
    public init() {}

    /// All series, sorted by name and labels.
    public var text: String {
        let all = families.withLock { $0 }
        var text = ""
        for (name, family) in all.sorted(by: { $0.key < $1.key }) where !family.series.isEmpty {
            text += "# HELP \(name) \(MetricCatalog.help(name))\n# TYPE \(name) \(family.type)\n"
            for (labels, series) in family.series.sorted(by: { $0.key < $1.key }) {
                series.append(name: name, labels: labels, to: &text)
            }
        }
        return text
    }

    // MARK: swift-metrics

    /// A counter; the same one for the same name and labels.
    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        series(label, dimensions, type: "counter") { CounterSeries() }
    }

    /// A counter of fractions.
    public func makeFloatingPointCounter(
        label: String,
        dimensions: [(String, String)]
    ) -> any FloatingPointCounterHandler {
        series(label, dimensions, type: "counter") { GaugeSeries() }
    }

    /// A gauge; a counter that somebody else counts where the name says so.
    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        series(label, dimensions, type: label.hasSuffix("_total") ? "counter" : "gauge") { GaugeSeries() }
    }

    /// A histogram, or a gauge where values are not to be gathered.
    public func makeRecorder(
        label: String,
        dimensions: [(String, String)],
        aggregate: Bool
    ) -> any RecorderHandler {
        guard aggregate else { return series(label, dimensions, type: "gauge") { GaugeSeries() } }
        return series(label, dimensions, type: "histogram") { HistogramSeries(bounds: MetricCatalog.buckets(label)) }
    }

    /// A histogram of seconds.
    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        series(label, dimensions, type: "histogram") { HistogramSeries(bounds: MetricCatalog.buckets(label)) }
    }

    /// Takes a counter out.
    public func destroyCounter(_ handler: any CounterHandler) { remove(handler) }
    /// Takes a counter out.
    public func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) { remove(handler) }
    /// Takes a gauge out.
    public func destroyMeter(_ handler: any MeterHandler) { remove(handler) }
    /// Takes a histogram out.
    public func destroyRecorder(_ handler: any RecorderHandler) { remove(handler) }
    /// Takes a histogram out.
    public func destroyTimer(_ handler: any TimerHandler) { remove(handler) }

    private func series<Series: PrometheusSeries>(
        _ name: String,
        _ dimensions: [(String, String)],
        type: String,
        _ make: () -> Series
    ) -> Series {
        let labels = PrometheusRegistry.labels(dimensions)
        return families.withLock { families in
            if let known = families[name]?.series[labels] as? Series { return known }
            let new = make()
            families[name, default: Family(type: type)].series[labels] = new
            return new
        }
    }

    private func remove(_ handler: AnyObject) {
        families.withLock { families in
            for (name, family) in families {
                guard let labels = family.series.first(where: { $0.value === handler })?.key else { continue }
                families[name]?.series[labels] = nil
            }
        }
    }

    /// `name="value",…` without braces.
    static func labels(_ dimensions: [(String, String)]) -> String {
        dimensions.map { name, value in
            let escaped = value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
            return "\(name)=\"\(escaped)\""
        }
        .joined(separator: ",")
    }
}

/// One series: a value, or the buckets of a histogram.
protocol PrometheusSeries: AnyObject, Sendable {
    func append(name: String, labels: String, to text: inout String)
}

extension PrometheusSeries {
    func line(_ name: String, _ labels: String, _ value: String, to text: inout String) {
        text += labels.isEmpty ? "\(name) \(value)\n" : "\(name){\(labels)} \(value)\n"
    }
}

/// Numbers as Prometheus takes them: whole ones without a fraction.
func prometheusNumber(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
    return value.rounded() == value && abs(value) < 1e18 ? String(Int(value)) : String(value)
}

private final class CounterSeries: CounterHandler, PrometheusSeries {
    private let value = Atomic<Int64>(0)

    func increment(by amount: Int64) { value.add(amount, ordering: .relaxed) }
    func reset() { value.store(0, ordering: .relaxed) }

    func append(name: String, labels: String, to text: inout String) {
        line(name, labels, String(value.load(ordering: .relaxed)), to: &text)
    }
}

private final class GaugeSeries: MeterHandler, RecorderHandler, FloatingPointCounterHandler, PrometheusSeries {
    private let value = Mutex<Double>(0)

    func set(_ value: Int64) { self.value.withLock { $0 = Double(value) } }
    func set(_ value: Double) { self.value.withLock { $0 = value } }
    func record(_ value: Int64) { set(value) }
    func record(_ value: Double) { set(value) }
    func increment(by amount: Double) { value.withLock { $0 += amount } }
    func decrement(by amount: Double) { value.withLock { $0 -= amount } }
    func reset() { set(0.0) }

    func append(name: String, labels: String, to text: inout String) {
        line(name, labels, prometheusNumber(value.withLock { $0 }), to: &text)
    }
}

private final class HistogramSeries: RecorderHandler, TimerHandler, PrometheusSeries {
    private struct State {
        var counts: [Int]
        var count = 0
        var sum = 0.0
    }

    private let bounds: [Double]
    private let state: Mutex<State>

    init(bounds: [Double]) {
        self.bounds = bounds
        state = Mutex(State(counts: Array(repeating: 0, count: bounds.count)))
    }

    func record(_ value: Int64) { record(Double(value)) }
    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }

    func record(_ value: Double) {
        let bucket = bounds.firstIndex { value <= $0 }
        state.withLock { state in
            if let bucket { state.counts[bucket] += 1 }
            state.count += 1
            state.sum += value
        }
    }

    func append(name: String, labels: String, to text: inout String) {
        let state = state.withLock { $0 }
        let prefix = labels.isEmpty ? "" : labels + ","
        var below = 0
        for (bound, count) in zip(bounds, state.counts) {
            below += count
            line("\(name)_bucket", "\(prefix)le=\"\(prometheusNumber(bound))\"", String(below), to: &text)
        }
        line("\(name)_bucket", "\(prefix)le=\"+Inf\"", String(state.count), to: &text)
        line("\(name)_sum", labels, prometheusNumber(state.sum), to: &text)
        line("\(name)_count", labels, String(state.count), to: &text)
    }
}
