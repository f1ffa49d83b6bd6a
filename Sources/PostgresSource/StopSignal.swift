internal import CLinux
public import CdcCore
internal import Glibc
internal import Synchronization

/// Wakes a thread that waits in poll(2): an eventfd, signalled when the daemon is to stop or another lane has news.
///
/// Once ``stop()`` was called, ``isStopping`` stays true; every wait of the source looks at it.
public final class StopSignal: Sendable {
    private let stopping = Atomic<Bool>(false)
    private let descriptor: Int32
    /// The health of the lane that waits here: every wait is a sign of its life.
    public let health: LaneHealth

    /// What ``wait(for:isForOutput:or:atMost:)`` found.
    public struct Ready: OptionSet, Sendable {
        /// A bit for each of the three.
        public let rawValue: Int32
        /// Wraps bits.
        public init(rawValue: Int32) { self.rawValue = rawValue }
        /// The first descriptor.
        public static let first = Ready(rawValue: 1)
        /// The signal itself.
        public static let signal = Ready(rawValue: 2)
        /// The second descriptor.
        public static let second = Ready(rawValue: 4)
    }

    /// Makes a signal.
    ///
    /// - Parameter health: of the lane that waits for it.
    public init(health: LaneHealth = LaneHealth(name: "source")) {
        self.health = health
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

    /// Waits until a descriptor is ready, somebody wakes the waiter, or the time has passed.
    ///
    /// Says before that the lane lives and how long it may be silent. Wake-ups that were seen are forgotten; a stop is not.
    ///
    /// - Parameters:
    ///   - first: a descriptor, or -1.
    ///   - isForOutput: whether `first` is waited for because it takes output, not because it has input.
    ///   - second: another, waited for input, or -1.
    ///   - limit: how long at most.
    /// - Returns: what is ready; nothing if the time has passed.
    @discardableResult
    public func wait(
        for first: Int32 = -1,
        isForOutput: Bool = false,
        or second: Int32 = -1,
        atMost limit: Duration
    ) -> Ready {
        health.moving(for: limit)
        return poll(first, isForOutput ? POLLOUT : POLLIN, second, limit)
    }

    /// Waits until somebody wakes the waiter: nothing is expected of the lane meanwhile.
    public func waitIdle() {
        health.idle()
        _ = poll(-1, 0, -1, nil)
    }

    /// Lets the kernel gather input for a moment, without a sign of life.
    @inline(__always)
    public func pause(nanoseconds: Int64) {
        if linux_wait(-1, 0, descriptor, -1, nanoseconds) != 0 { linux_eventfd_clear(descriptor) }
    }

    private func poll(_ first: Int32, _ events: Int32, _ second: Int32, _ limit: Duration?) -> Ready {
        let ready = Ready(
            rawValue: linux_wait(first, Int16(truncatingIfNeeded: events), descriptor, second, limit?.nanoseconds ?? -1)
        )
        if ready.contains(.signal) { linux_eventfd_clear(descriptor) }
        return ready
    }

    /// Waits before a repetition; ends early when the daemon is to stop.
    public func backOff(for duration: Duration) {
        let end = ContinuousClock.now + duration
        while !isStopping, ContinuousClock.now < end {
            let left = end - .now
            health.backingOff(for: left)
            _ = poll(-1, 0, -1, left)
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
