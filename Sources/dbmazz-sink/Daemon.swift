import ArgumentParser
import CdcCore
import Glibc
import Logging
import Pipeline
import PostgresSource
import ServiceLifecycle
import Settings
import Sinks
import UnixSignals

/// The running daemon: a pipeline that stops on SIGTERM and SIGINT.
struct Daemon {
    private let settings: DaemonSettings
    private let logger = Logger(label: "dbmazz-sink")

    init(_ settings: DaemonSettings) {
        self.settings = settings
    }

    /// Runs to the end and exits with its code.
    func run() async throws {
        for notice in settings.notices { logger.warning("\(notice)") }
        logger.info(
            "starting",
            metadata: [
                "version": "\(Version.text)", "sink": "\(settings.sink.type)", "slot": "\(settings.source.slotName)",
                "publication": "\(settings.source.publicationName)", "pid": "\(getpid())",
            ]
        )
        let service = PipelineService(settings: settings, logger: logger)
        // The group's own lines say nothing that ours do not.
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [.init(service: service, successTerminationBehavior: .gracefullyShutdownGroup)],
                gracefulShutdownSignals: [.sigterm, .sigint],
                logger: Logger(label: "service-group") { _ in SwiftLogNoOpLogHandler() }
            )
        )
        do {
            try await group.run()
        } catch let failure as PipelineFailure {
            logger.error(
                "ended",
                metadata: ["exit_code": .stringConvertible(failure.code.rawValue), "error": "\(failure)"]
            )
            throw ArgumentParser.ExitCode(failure.code.rawValue)
        }
        logger.info("stopped")
    }
}

/// The pipeline as a service: a graceful shutdown becomes its stop signal.
private struct PipelineService: Service {
    let settings: DaemonSettings
    let logger: Logger

    func run() async throws {
        let sink = settings.sink
        guard let type = SinkRegistry.type(named: sink.type) else {
            throw PipelineFailure(.configuration, "SINK_TYPE \(sink.type) is not known")
        }
        let config = PipelineConfig(
            source: settings.source,
            sink: sink,
            capabilities: type.capabilities,
            logger: logger
        )
        let pipeline = Pipeline(config) { () throws(SinkError) in try createSink(sink) }
        let stop = StopSignal()
        try await withGracefulShutdownHandler {
            try await pipeline.run(stop: stop)
        } onGracefulShutdown: {
            logger.info("stopping")
            leaveEventually(after: sink.shutdownTimeout)
            stop.stop()
        }
    }

    /// A call into a target that hangs for good must not keep the process: what is not durable is repeated after the start.
    private func leaveEventually(after timeout: Duration) {
        signal(SIGALRM) { _ in _exit(0) }
        alarm(UInt32(clamping: timeout.components.seconds + 15))
    }
}
