import CdcCore
import CoreMetrics
import Glibc
import Logging
import Pipeline
import TestSupport
import Testing

@testable import Operations

/// The notify protocol against a real datagram socket.
///
/// One after the other: the environment is the process's.
@Suite("systemd's notify protocol", .serialized) struct NotifierTests {
    /// The service manager for this process.
    private func listen(watchdog: Duration?) throws -> NotifyListener {
        let listener = try NotifyListener()
        setenv("NOTIFY_SOCKET", listener.path, 1)
        if let watchdog {
            setenv("WATCHDOG_USEC", String(Int(watchdog / .microseconds(1))), 1)
            setenv("WATCHDOG_PID", "\(getpid())", 1)
        }
        return listener
    }

    private func leave(_ listener: NotifyListener) {
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] { unsetenv(name) }
        listener.stop()
    }

    private func monitor(patience: Duration = .seconds(60)) -> PipelineMonitor {
        let capabilities = SinkCapabilities(
            supportsUpsert: true,
            supportsDelete: true,
            supportsTransactions: true,
            loadingModel: .streaming,
            maxBatchSize: 1,
            maxBatchBytes: 1,
            optimalFlushInterval: .zero,
            storesPosition: true
        )
        var config = PipelineConfig(
            source: SourceConfig(url: Secret("host=none")),
            sink: SinkConfig(type: "test", capabilities: capabilities),
            capabilities: capabilities,
            logger: quiet
        )
        config.hangTimeout = patience
        return PipelineMonitor(config, metrics: NOOPMetricsHandler.instance)
    }

    private let quiet = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })

    @Test("the watchdog is fed at half of its interval while lanes live, and not once one hangs")
    func watchdog() throws {
        let listener = try listen(watchdog: .milliseconds(400))
        defer { leave(listener) }
        let monitor = monitor(patience: .milliseconds(500))
        let notifier = ServiceNotifier()
        #expect(notifier.watchdogInterval == .milliseconds(400))
        var signs = LifeSigns(monitor, notifier: notifier, logger: quiet)
        #expect(signs.interval == .milliseconds(50))
        func feedings(for duration: Duration, while keepAlive: () -> Void) -> Int {
            let begin = ContinuousClock.now
            while ContinuousClock.now < begin + duration {
                keepAlive()
                signs.look()
                sleepThread(signs.interval)
            }
            return listener.feedings(since: begin)
        }
        // Two seconds at a feeding every 200 ms.
        let alive = feedings(for: .seconds(2)) {
            monitor.sourceHealth.moving()
            monitor.sinkHealth.backingOff(for: .seconds(600))
        }
        #expect((8...14).contains(alive), "\(alive)")
        monitor.sinkHealth.calling(for: .zero)
        sleepThread(.milliseconds(600))
        #expect(feedings(for: .seconds(1)) { monitor.sourceHealth.moving() } == 0)
    }

    @Test("a service that starts asks for more time, and shows what it is at")
    func starting() throws {
        let listener = try listen(watchdog: nil)
        defer { leave(listener) }
        var signs = LifeSigns(monitor(), notifier: ServiceNotifier(), logger: quiet)
        signs.look()
        #expect(listener.wait(for: "STATUS=") != nil)
        let messages = listener.messages.map(\.text)
        #expect(messages.contains("EXTEND_TIMEOUT_USEC=60000000"), "\(messages)")
        #expect(messages.contains { $0.hasPrefix("STATUS=starting; lag 0 B") }, "\(messages)")
        #expect(!messages.contains { $0.contains("READY=1") })
        #expect(!messages.contains { $0.contains("WATCHDOG") })
    }

    @Test("nobody listens: nothing happens")
    func nobody() {
        let notifier = ServiceNotifier()
        #expect(!notifier.isListenedTo)
        #expect(notifier.watchdogInterval == nil)
        notifier.ready("x")
    }

    @Test("a reload says since when, as systemd 253 wants it")
    func reload() throws {
        let listener = try listen(watchdog: nil)
        defer { leave(listener) }
        ServiceNotifier().reloading()
        ServiceNotifier().ready("streaming")
        ServiceNotifier().stopping()
        #expect(listener.wait(for: "STOPPING=1") != nil)
        let messages = listener.messages.map(\.text)
        #expect(messages.count == 3)
        #expect(messages[0].hasPrefix("RELOADING=1\nMONOTONIC_USEC="))
        #expect(messages[1] == "READY=1\nSTATUS=streaming")
        #expect(messages[2] == "STOPPING=1\nSTATUS=stopping")
    }
}
