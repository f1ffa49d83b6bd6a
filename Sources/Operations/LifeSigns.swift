public import Logging
public import Pipeline

/// Looks after a running pipeline about once a second: feeds systemd's watchdog while every lane is alive, shows in
/// `STATUS=` what it is at, and says when a lane hangs.
public struct LifeSigns: Sendable {
    private let monitor: PipelineMonitor
    private let notifier: ServiceNotifier
    private let logger: Logger
    private var isReady = false
    private var wasHealthy = true
    private var shown = ""
    private var fed: ContinuousClock.Instant?
    private var extended: ContinuousClock.Instant?

    /// While it is not ready the service gets this much more time, again and again.
    private static let moreTime = Duration.seconds(60)
    private static let extensionInterval = Duration.seconds(10)

    /// Makes the signs of a pipeline.
    public init(_ monitor: PipelineMonitor, notifier: ServiceNotifier, logger: Logger) {
        self.monitor = monitor
        self.notifier = notifier
        self.logger = logger
    }

    /// How often to look: often enough that a feeding at half of the watchdog's interval is not late.
    public var interval: Duration {
        min(.seconds(1), notifier.watchdogInterval.map { $0 / 8 } ?? .seconds(1))
    }

    /// Looks once.
    public mutating func look(_ now: ContinuousClock.Instant = .now) {
        monitor.tick()
        let isHealthy = monitor.isHealthy
        if isHealthy {
            feed(now)
            keepStarting(now)
        }
        if isHealthy != wasHealthy { tell(isHealthy) }
        wasHealthy = isHealthy
        guard notifier.isListenedTo else { return }
        let text = StatusText.line(monitor.status())
        if !isReady, monitor.isProven {
            isReady = true
            notifier.ready(text)
        } else if text != shown {
            notifier.status(text)
        }
        shown = text
    }

    private mutating func feed(_ now: ContinuousClock.Instant) {
        guard let interval = notifier.watchdogInterval,
            fed.map({ now - $0 >= interval / 2 - self.interval / 2 }) ?? true
        else { return }
        fed = now
        notifier.feedWatchdog()
    }

    private mutating func keepStarting(_ now: ContinuousClock.Instant) {
        guard !isReady, extended.map({ now - $0 >= LifeSigns.extensionInterval }) ?? true else { return }
        extended = now
        notifier.extend(LifeSigns.moreTime)
    }

    private func tell(_ isHealthy: Bool) {
        let lanes = monitor.status().lanes
        let facts: Logger.Metadata = [
            "lanes": "\(lanes.map(StatusText.lane).joined(separator: "; "))"
        ]
        if isHealthy {
            logger.info("lane moves again", metadata: facts)
        } else {
            logger.error(
                "lane hangs",
                metadata: facts.merging([
                    "remedy":
                        "the watchdog is fed no more and /healthz fails; see whether source or target hang (DBMAZZ_HANG_TIMEOUT_MS)"
                ]) { $1 }
            )
        }
    }
}
