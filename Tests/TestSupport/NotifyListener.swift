import Glibc
import Synchronization

/// The service manager's end of sd_notify(3): a datagram socket that is read all the time, with the time of each message.
public final class NotifyListener: Sendable {
    /// One datagram.
    public struct Message: Sendable {
        /// When it was read.
        public let at: ContinuousClock.Instant
        /// `NAME=value` lines.
        public let text: String

        /// Whether one of its lines begins so.
        public func has(_ prefix: String) -> Bool { text.split(separator: "\n").contains { $0.hasPrefix(prefix) } }
    }

    /// What `$NOTIFY_SOCKET` has to be.
    public let path: String
    private let directory: String
    private let descriptor: Int32
    private let received = Mutex<[Message]>([])
    private let isOver = Mutex(false)

    /// Opens the socket and reads it on a thread of its own.
    public init() throws {
        directory = try makeTemporaryDirectory("dbmazz-notify")
        path = directory + "/notify"
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard bound == 0 else { throw HarnessError("bind \(path): errno \(errno)") }
        var pause = timeval(tv_sec: 0, tv_usec: 50_000)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &pause, socklen_t(MemoryLayout<timeval>.size))
        _ = WorkerThread { [self] in read() }
    }

    private func read() {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while !isOver.withLock({ $0 }) {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            guard count > 0 else { continue }
            let message = Message(at: .now, text: String(decoding: buffer[..<count], as: UTF8.self))
            received.withLock { $0.append(message) }
        }
        Glibc.close(descriptor)
    }

    /// Everything so far, in order.
    public var messages: [Message] { received.withLock { $0 } }

    /// Waits for a message with a line that begins so; nil when the time is over.
    public func wait(for prefix: String, within timeout: Duration = .seconds(30)) -> Message? {
        var found: Message?
        _ = eventually(within: timeout) {
            found = messages.first { $0.has(prefix) }
            return found != nil
        }
        return found
    }

    /// How many feedings of the watchdog arrived since.
    public func feedings(since instant: ContinuousClock.Instant) -> Int {
        messages.filter { $0.at > instant && $0.has("WATCHDOG=1") }.count
    }

    /// The longest time between two feedings of the watchdog, or since the last one.
    public func longestGap(since instant: ContinuousClock.Instant) -> Duration {
        var last = instant
        var longest = Duration.zero
        for message in messages where message.at > instant && message.has("WATCHDOG=1") {
            longest = max(longest, message.at - last)
            last = message.at
        }
        return max(longest, .now - last)
    }

    /// Ends the reading and removes the socket.
    public func stop() {
        isOver.withLock { $0 = true }
        removeTree(directory)
    }
}
