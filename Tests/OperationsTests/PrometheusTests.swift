import CoreMetrics
import Testing

@testable import Operations

@Suite("Prometheus' text format") struct PrometheusTests {
    @Test("counters, gauges and labels")
    func values() {
        let registry = PrometheusRegistry()
        Counter(label: "b_total", dimensions: [("table", "a\"b\\c\nd")], factory: registry).increment(by: 3)
        Counter(label: "b_total", dimensions: [("table", "a\"b\\c\nd")], factory: registry).increment()
        Meter(label: "a", dimensions: [], factory: registry).set(1.5)
        Meter(label: "spilled_total", dimensions: [], factory: registry).set(7)
        #expect(
            registry.text == """
                # HELP a a
                # TYPE a gauge
                a 1.5
                # HELP b_total b_total
                # TYPE b_total counter
                b_total{table="a\\"b\\\\c\\nd"} 4
                # HELP spilled_total spilled_total
                # TYPE spilled_total counter
                spilled_total 7

                """
        )
    }

    @Test("a histogram's buckets add up")
    func histogram() {
        let registry = PrometheusRegistry()
        let rows = Recorder(label: "dbmazz_batch_rows", dimensions: [], aggregate: true, factory: registry)
        for value in [1, 5, 10, 11, 1_000_000] { rows.record(value) }
        let lines = registry.text.split(separator: "\n")
        #expect(lines.contains("# TYPE dbmazz_batch_rows histogram"))
        #expect(lines.contains("dbmazz_batch_rows_bucket{le=\"1\"} 1"))
        #expect(lines.contains("dbmazz_batch_rows_bucket{le=\"10\"} 3"))
        #expect(lines.contains("dbmazz_batch_rows_bucket{le=\"100\"} 4"))
        #expect(lines.contains("dbmazz_batch_rows_bucket{le=\"+Inf\"} 5"))
        #expect(lines.contains("dbmazz_batch_rows_sum 1000027"))
        #expect(lines.contains("dbmazz_batch_rows_count 5"))
    }

    @Test("timers are shown in seconds")
    func timer() {
        let registry = PrometheusRegistry()
        Timer(label: "dbmazz_batch_write_seconds", dimensions: [], factory: registry).recordMilliseconds(20)
        #expect(registry.text.contains("dbmazz_batch_write_seconds_sum 0.02\n"))
        #expect(registry.text.contains("dbmazz_batch_write_seconds_bucket{le=\"0.01\"} 0\n"))
        #expect(registry.text.contains("dbmazz_batch_write_seconds_bucket{le=\"0.025\"} 1\n"))
    }

    @Test("what was destroyed is not shown any more")
    func destroyed() {
        let registry = PrometheusRegistry()
        let gauge = Meter(label: "gone", dimensions: [], factory: registry)
        gauge.set(1)
        gauge.destroy()
        #expect(registry.text == "")
    }
}
