import ArgumentParser
import CLinux
import CdcCore
import Glibc
import Logging
import Operations
import Pipeline
import PostgresSource
import ServiceLifecycle
import Settings
import Sinks
import UnixSignals

/// The running daemon: a pipeline, and those who watch it.
struct Daemon {
    private let settings: DaemonSettings
    private let registry: PrometheusRegistry
    private let reload: Reload
    private let logger = Logger(label: "dbmazz-sink")

    init(_ settings: DaemonSettings, registry: PrometheusRegistry, reload: Reload) {
        self.settings = settings
        self.registry = registry
        self.reload = reload
    }

    /// Runs to the end and exits with its code.
    func run() async throws {
        for notice in settings.notices { logger.warning("\(notice)") }
        logger.info(
            "starting",
            metadata: [
                "version": "\(Version.text)", "sink": "\(settings.sink.type)", "slot": "\(settings.source.slotName)",
                "publication": "\(settings.source.publicationName)", "pid": .stringConvertible(getpid()),
            ]
        )
        do {
            try await serve()
        } catch let failure as PipelineFailure {
            logger.error(
                "ended",
                metadata: ["exit_code": .stringConvertible(failure.code.rawValue), "error": "\(failure)"]
            )
            throw failure.code.exit
        }
        logger.info("stopped")
    }

    private func serve() async throws {
        let config = try pipelineConfig()
        let sink = settings.sink
        let monitor = PipelineMonitor(config)
        let notifier = ServiceNotifier()
        let pipeline = Pipeline(config, monitor: monitor) { () throws(SinkError) in try createSink(sink) }
        let endpoint = try endpoint(monitor)
        defer { withExtendedLifetime(endpoint) {} }
        // A terminal that is gone takes its foreground daemon along; elsewhere SIGHUP is a wish to read settings again.
        let isForeground = isatty(STDIN_FILENO) == 1
        let services: [any Service] = [
            WatchService(monitor: monitor, notifier: notifier, logger: logger),
            ReloadService(
                reload: reload,
                settings: settings,
                live: config.live,
                notifier: notifier,
                monitor: monitor,
                logger: logger,
                isWanted: !isForeground
            ),
        ]
        let main = PipelineService(
            pipeline: pipeline,
            live: config.live,
            notifier: notifier,
            logger: logger
        )
        // Ended last first: whoever watches goes on while the pipeline drains. The group's own lines say nothing that ours
        // do not.
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: services.map { .init(service: $0) } + [
                    .init(service: main, successTerminationBehavior: .gracefullyShutdownGroup)
                ],
                gracefulShutdownSignals: [.sigterm, .sigint] + (isForeground ? [.sighup] : []),
                logger: Logger(label: "service-group") { _ in SwiftLogNoOpLogHandler() }
            )
        )
        try await group.run()
    }

    private func pipelineConfig() throws -> PipelineConfig {
        guard let type = SinkRegistry.type(named: settings.sink.type) else {
            throw PipelineFailure(.configuration, "SINK_TYPE \(settings.sink.type) is not known")
        }
        return PipelineConfig(settings, capabilities: type.capabilities, logger: logger)
    }

    /// The HTTP endpoint; nil where it is off, or where nobody chose the address and it is taken.
    private func endpoint(_ monitor: PipelineMonitor) throws -> HTTPEndpoint? {
        guard let address = settings.operation.http else { return nil }
        let pages = StatusPages(monitor, registry: registry, version: Version.text)
        do throws(HTTPEndpointError) {
            let endpoint = try HTTPEndpoint(address) { pages.answer($0) }
            logger.info("serving status", metadata: ["address": "\(address)"])
            return endpoint
        } catch {
            guard !settings.operation.isHTTPChosen else { throw PipelineFailure(.configuration, error.description) }
            logger.warning("status not served", metadata: ["cause": "\(error)"])
            return nil
        }
    }
}

extension PipelineConfig {
    /// The pipeline's part of the daemon's settings.
    init(_ settings: DaemonSettings, capabilities: SinkCapabilities, logger: Logger) {
        self.init(source: settings.source, sink: settings.sink, capabilities: capabilities, logger: logger)
        hangTimeout = settings.operation.hangTimeout
        readyMaxLag = settings.operation.readyMaxLag
    }
}

/// The pipeline as a service: a graceful shutdown becomes its stop signal.
private struct PipelineService: Service {
    let pipeline: Pipeline
    let live: LiveSettings
    let notifier: ServiceNotifier
    let logger: Logger

    func run() async throws {
        let stop = StopSignal(health: pipeline.monitor.sourceHealth)
        try await withGracefulShutdownHandler {
            try await pipeline.run(stop: stop)
        } onGracefulShutdown: {
            let timeout = live.sink.shutdownTimeout + PipelineService.grace
            logger.info("stopping")
            notifier.stopping()
            notifier.extend(timeout + PipelineService.grace)
            pipeline.monitor.stopping()
            leaveEventually(after: timeout)
            stop.stop()
        }
    }

    private static let grace = Duration.seconds(15)

    /// A call into a target that hangs for good must not keep the process: what is not durable is repeated after the start.
    private func leaveEventually(after timeout: Duration) {
        signal(SIGALRM) { _ in _exit(0) }
        alarm(UInt32(clamping: timeout.components.seconds))
    }
}

/// Feeds the watchdog, tells systemd, and draws the copy's progress on a terminal.
private struct WatchService: Service {
    let monitor: PipelineMonitor
    let notifier: ServiceNotifier
    let logger: Logger

    func run() async throws {
        let bar = ProgressBar(monitor)
        await cancelWhenGracefulShutdown {
            var signs = LifeSigns(monitor, notifier: notifier, logger: logger)
            var isStarting = true
            while !Task.isCancelled {
                signs.look()
                if isStarting, monitor.isProven {
                    isStarting = false
                    linux_forget_startup_pages()
                }
                bar?.draw()
                try? await Task.sleep(for: bar == nil ? signs.interval : min(signs.interval, ProgressBar.interval))
            }
        }
        bar?.clear()
    }
}

/// Reads settings again on SIGHUP.
private struct ReloadService: Service {
    let reload: Reload
    let settings: DaemonSettings
    let live: LiveSettings
    let notifier: ServiceNotifier
    let monitor: PipelineMonitor
    let logger: Logger
    let isWanted: Bool

    func run() async throws {
        guard isWanted else { return try await gracefulShutdown() }
        await cancelWhenGracefulShutdown {
            var current = settings
            for await _ in await UnixSignalsSequence(trapping: .sighup) {
                notifier.reloading()
                current = reload.run(current, live, logger)
                // READY again ends the reload, for a service that was up; one that was not is still starting.
                let status = StatusText.line(monitor.status())
                if monitor.isProven { notifier.ready(status) } else { notifier.status(status) }
            }
        }
    }
}
