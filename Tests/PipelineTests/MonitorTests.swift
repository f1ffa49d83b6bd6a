import CdcCore
import CoreMetrics
import Logging
import Testing

@testable import Pipeline
@testable import PostgresSource

@Suite("What is known of a pipeline") struct MonitorTests {
    private func monitor(_ change: (inout PipelineConfig) -> Void = { _ in }) -> PipelineMonitor {
        var config = PipelineConfig(
            source: SourceConfig(url: Secret("host=none")),
            sink: SinkConfig(type: ScriptedSink.name, capabilities: ScriptedSink.capabilities),
            capabilities: ScriptedSink.capabilities,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        )
        config.readyMaxLag = 1000
        change(&config)
        return PipelineMonitor(config, metrics: NOOPMetricsHandler.instance)
    }

    private func turn(_ monitor: PipelineMonitor, received: UInt64, flushed: UInt64, owing: Bool) {
        monitor.turned(
            received: LSN(rawValue: received),
            flushed: LSN(rawValue: flushed),
            isOwing: owing,
            memoryUsed: 0
        )
    }

    @Test("lag counts to the end of the source's WAL, and is nothing once everything is durable")
    func lag() {
        let monitor = monitor()
        monitor.enter(.streaming)
        monitor.looked(SlotReport(walEnd: LSN(rawValue: 5000), restartLSN: LSN(rawValue: 100)))
        turn(monitor, received: 4000, flushed: 3000, owing: true)
        #expect(monitor.status().lagBytes == 2000)
        #expect(!monitor.status().ready)
        turn(monitor, received: 4500, flushed: 4400, owing: true)
        #expect(monitor.status().lagBytes == 600)
        #expect(monitor.status().ready)
        // The source is known to have written more than it has sent: nothing owed is not everything.
        turn(monitor, received: 4500, flushed: 4500, owing: false)
        #expect(monitor.status().lagBytes == 500)
        #expect(monitor.status().lagSeconds >= 0)
        turn(monitor, received: 5000, flushed: 4500, owing: false)
        #expect(monitor.status().lagBytes == 0)
        #expect(monitor.status().lagSeconds == 0)
    }

    @Test("only a pipeline that streams is ready")
    func readiness() {
        let monitor = monitor()
        monitor.enter(.streaming)
        // Nobody knows the lag before the source was asked.
        #expect(!monitor.status().ready && monitor.status().lagSeconds >= 0)
        monitor.looked(SlotReport(walEnd: .zero))
        for phase in PipelinePhase.allCases where phase != .stopping {
            monitor.enter(phase)
            #expect(monitor.status().ready == (phase == .streaming))
        }
        monitor.stopping()
        monitor.enter(.streaming)
        #expect(monitor.status().phase == .stopping)
        #expect(!monitor.status().ready)
    }

    @Test("a lane that hangs makes the pipeline unhealthy, one that waits for its target does not")
    func health() async throws {
        let monitor = monitor { $0.hangTimeout = .milliseconds(50) }
        monitor.sourceHealth.idle()
        monitor.sinkHealth.backingOff(for: .seconds(600))
        try await Task.sleep(for: .milliseconds(80))
        #expect(monitor.isHealthy)
        monitor.sinkHealth.calling(for: .milliseconds(1))
        try await Task.sleep(for: .milliseconds(80))
        #expect(!monitor.isHealthy)
        #expect(monitor.status().lanes.map(\.alive) == [true, false])
    }

    @Test("troubles are kept newest first, ten of them")
    func troubles() {
        let monitor = monitor()
        for number in 1...12 {
            monitor.repeating(SinkError(.retriable, operation: "write \(number)", cause: "locked", remedy: "wait"))
        }
        let troubles = monitor.status().troubles
        #expect(troubles.count == 10)
        #expect(troubles.first?.error == "write 12 failed: locked; wait")
        #expect(monitor.status().totals.sinkRetries == 12)
        monitor.repeating(SourceError(.retriable, operation: "connect", cause: "refused", remedy: "wait"))
        #expect(monitor.status().phase == .waitingForSource)
        #expect(monitor.status().detail == "refused")
    }

    // MARK: WAL guard

    private static let mebibyte = 1 << 20

    @Test(
        "the WAL guard",
        arguments: [
            (SlotReport(walEnd: 5 << 30, restart: 0, "reserved"), nil, WALAlarm.none),
            (SlotReport(walEnd: 5 << 30, restart: 0, "extended"), 4 << 30, .warning),
            (SlotReport(walEnd: 5 << 30, restart: 2 << 30, "extended"), 4 << 30, .none),
            (SlotReport(walEnd: 100, restart: 0, "reserved", safe: 60 << 20, limit: 100 << 20), nil, .none),
            (SlotReport(walEnd: 100, restart: 0, "extended", safe: 49 << 20, limit: 100 << 20), nil, .warning),
            (SlotReport(walEnd: 100, restart: 0, "extended", safe: 9 << 20, limit: 100 << 20), nil, .critical),
            (SlotReport(walEnd: 100, restart: 0, "unreserved", safe: -5, limit: 100 << 20), nil, .critical),
            (SlotReport(walEnd: 100, restart: nil, "lost", limit: 100 << 20), nil, .critical),
        ] as [(SlotReport, Int?, WALAlarm)]
    )
    func guardLevels(report: SlotReport, threshold: Int?, level: WALAlarm) {
        let (judged, text) = WALAlarm.judge(report, threshold: threshold)
        #expect(judged == level, "\(text)")
        #expect(text.isEmpty == (level == .none))
    }

    @Test("a reason for invalidation is told with the remedy")
    func invalidated() {
        var report = SlotReport(walEnd: 100, restart: nil, "lost")
        report.invalidationReason = "wal_removed"
        let (level, text) = WALAlarm.judge(report, threshold: nil)
        #expect(level == .critical)
        #expect(text.contains("wal_removed"))
        #expect(text.contains("Copy everything anew"))
    }

    @Test("the slot's row, as PostgreSQL 14 and as 17 answer it")
    func row() throws {
        let old = try #require(
            SlotReport(row: ["0/2000", "0/1000", "0/1800", "reserved", nil, "-1", nil, nil, nil])
        )
        #expect(old.retainedBytes == 0x1000)
        #expect(old.limitBytes == nil)
        #expect(old.safeWALBytes == nil)
        let new = try #require(
            SlotReport(row: ["1/0", nil, "0/1800", "lost", "-10", "64", "wal_removed", "3", "4096"])
        )
        #expect(new.retainedBytes == 0)
        #expect(new.limitBytes == 64 << 20)
        #expect(new.invalidationReason == "wal_removed")
        #expect([new.spilledTransactions, new.spilledBytes] == [3, 4096])
        #expect(SlotReport(row: [nil, nil]) == nil)
    }
}

extension SlotReport {
    fileprivate init(
        walEnd: UInt64,
        restart: UInt64?,
        _ status: String,
        safe: Int? = nil,
        limit: Int? = nil
    ) {
        self.init(
            walEnd: LSN(rawValue: walEnd),
            restartLSN: restart.map { LSN(rawValue: $0) },
            walStatus: status,
            safeWALBytes: safe,
            limitBytes: limit
        )
    }
}
