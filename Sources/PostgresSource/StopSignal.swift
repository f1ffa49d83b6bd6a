internal import CLinux
internal import Glibc
internal import Synchronization

/// Wakes a thread that waits in poll(2): an eventfd, signalled when the daemon is to stop or another lane has news.
///
/// Once ``stop()`` was called, ``isStopping`` stays true; every wait of the source looks at it.
public final class StopSignal: Sendable {
    private let stopping = Atomic<Bool>(false)
    /// The descriptor to poll for input.
    public let descriptor: Int32

    /// Makes a signal.
    public init() {
        descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
        precondition(descriptor >= 0, "eventfd: no file descriptor left")
    }

    deinit {
        close(descriptor)
    }

    /// Whether the daemon is to stop.
    public var isStopping: Bool { stopping.load(ordering: .acquiring) }

    /// Asks for the stop and wakes the waiter.
    public func stop() {
        stopping.store(true, ordering: .releasing)
        wake()
    }

    /// Wakes the waiter.
    public func wake() {
        linux_eventfd_signal(descriptor)
    }

    /// Forgets wake-ups that were seen.
    ///
    /// A stop is not forgotten.
    public func clear() {
        linux_eventfd_clear(descriptor)
    }

    /// Waits for the time to pass; ends early when the daemon is to stop.
    public func sleep(for duration: Duration) {
        let end = ContinuousClock.now + duration
        while !isStopping, ContinuousClock.now < end {
            _ = linux_wait(-1, 0, descriptor, -1, (end - ContinuousClock.now).nanoseconds)
            clear()
        }
    }
}

extension Duration {
    /// The whole duration in nanoseconds, not below zero.
    public var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        return max(0, seconds.multipliedReportingOverflow(by: 1_000_000_000).partialValue + attoseconds / 1_000_000_000)
    }
}
