public import CdcCore
internal import Synchronization

/// Settings of the sink that may change while the pipeline runs: limits, waits and time-outs.
///
/// The lanes look at ``generation`` once a turn and read the settings again when it has changed.
public final class LiveSettings: Sendable {
    private let current: Mutex<SinkConfig>
    private let changes = Atomic<Int>(0)

    /// Begins with the settings of the start.
    public init(_ sink: SinkConfig) {
        current = Mutex(sink)
    }

    /// How often the settings were changed.
    var generation: Int { changes.load(ordering: .acquiring) }

    /// The settings that count now.
    public var sink: SinkConfig { current.withLock { $0 } }

    /// Takes over the limits of other settings; everything else stays as it was at the start.
    public func update(limitsOf other: SinkConfig) {
        current.withLock { sink in
            sink.batchSize = other.batchSize
            sink.batchBytes = other.batchBytes
            sink.flushInterval = other.flushInterval
            sink.memoryLimit = other.memoryLimit
            sink.retry = other.retry
            sink.shutdownTimeout = other.shutdownTimeout
        }
        changes.add(1, ordering: .acquiringAndReleasing)
    }
}
