import CSystemd
import Glibc

/// Tells systemd what the daemon is at, by the protocol of sd_notify(3); does nothing where nobody listens.
public struct ServiceNotifier: Sendable {
    /// How often the watchdog wants to hear from us; nil where there is none.
    public let watchdogInterval: Duration?

    /// Reads `$NOTIFY_SOCKET` and `$WATCHDOG_USEC`.
    public init() {
        var microseconds: UInt64 = 0
        watchdogInterval = sd_watchdog_enabled(0, &microseconds) > 0 ? .microseconds(Int64(microseconds)) : nil
    }

    /// Whether a service manager listens.
    public var isListenedTo: Bool { getenv("NOTIFY_SOCKET") != nil }

    /// The service is up.
    public func ready(_ status: String) { send("READY=1\nSTATUS=\(status)") }

    /// What the service is at, on one line.
    public func status(_ text: String) { send("STATUS=\(text)") }

    /// Starting or stopping takes longer: at least this long from now.
    public func extend(_ duration: Duration) {
        send("EXTEND_TIMEOUT_USEC=\(duration.components.seconds * 1_000_000)")
    }

    /// The service is alive.
    public func feedWatchdog() { send("WATCHDOG=1") }

    /// Settings are being read again; ``ready(_:)`` follows.
    public func reloading() {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        send("RELOADING=1\nMONOTONIC_USEC=\(time.tv_sec * 1_000_000 + time.tv_nsec / 1000)")
    }

    /// The service ends.
    public func stopping() { send("STOPPING=1\nSTATUS=stopping") }

    private func send(_ text: String) {
        sd_notify(0, text.replacing("\r", with: " "))
    }
}
