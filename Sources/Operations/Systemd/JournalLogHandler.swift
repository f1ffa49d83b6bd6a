import CSystemd
import Dispatch
import Glibc
public import Logging
public import Settings
import Synchronization

/// Writes events to systemd's journal with a field for each fact, so that `journalctl DBMAZZ_TABLE=public.orders` finds
/// them.
///
/// Fields: `MESSAGE` (the event and its facts for people), `PRIORITY`, `SYSLOG_IDENTIFIER`, `DBMAZZ_EVENT`, `DBMAZZ_…` for each
/// fact, and `MESSAGE_ID` for events that an operator alerts on (``messageIDs``).
public struct JournalLogHandler: LogHandler {
    /// Fields of every event.
    public var metadata: Logger.Metadata = [:]
    /// Gives fields from the task's context.
    public var metadataProvider: Logger.MetadataProvider?

    private let sharedLevel: LogLevelBox
    private var ownLevel: Logger.Level?

    /// Makes a handler with a level that is shared.
    public init(level: LogLevelBox, metadataProvider: Logger.MetadataProvider?) {
        sharedLevel = level
        self.metadataProvider = metadataProvider
    }

    /// Whether standard error is the journal: `$JOURNAL_STREAM` names its device and inode.
    public static var isStandardError: Bool {
        guard let stream = getenv("JOURNAL_STREAM").map({ String(cString: $0) }) else { return false }
        var status = stat()
        guard fstat(STDERR_FILENO, &status) == 0 else { return false }
        return stream == "\(status.st_dev):\(status.st_ino)"
    }

    /// The identities of events that an operator alerts on: `journalctl MESSAGE_ID=…`.
    public static let messageIDs: [String: String] = [
        "ended": "849d23d1e3254e7aaf452109f3ea4199",
        "WAL alarm": "932312465a344f5f8b9b40c1299c6f00",
        "WAL alarm over": "309cc5051d154d43bc58791d0aada94c",
        "sink waits": "34b8c6a750b44d7d86801193220c0306",
        "sink works again": "dcc072b4d19e48ccaf5332e5c3e49071",
        "waiting for source": "5eee03d0921941cf9f4753fd084dcfa2",
        "lane hangs": "d2afa7ce65634081871e334c87925fff",
        "standing by": "489e2e65e9f24c22af948af4ef47c510",
        "taking over": "d55d7cbe2b7f4056b8a8d075ec7526d1",
        "streaming": "174a46b147d04112bd8adceb4de7c541",
    ]

    /// The shared level, unless this logger was given its own.
    public var logLevel: Logger.Level {
        get { ownLevel ?? sharedLevel.level }
        set { ownLevel = newValue }
    }

    /// A field of every event.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes the event.
    public func log(event: LogEvent) {
        let facts = LogFacts.merged(metadata, metadataProvider, event)
        JournalQueue.shared.send(JournalLogHandler.fields(event.message.description, event.level, facts))
    }

    /// Waits until everything that was logged is with journald, at most for a second.
    public static func drain() { JournalQueue.shared.drain() }

    /// The event as journald takes it: `NAME=value` each.
    static func fields(_ message: String, _ level: Logger.Level, _ facts: Logger.Metadata) -> [String] {
        var fields = [
            "MESSAGE=\(TextLogLine.body(message, facts))", "PRIORITY=\(priority(level))",
            "SYSLOG_IDENTIFIER=dbmazz-sink",
            "DBMAZZ_EVENT=\(message)",
        ]
        if let id = messageIDs[message] { fields.append("MESSAGE_ID=\(id)") }
        for (key, value) in facts.sorted(by: { $0.key < $1.key }) {
            fields.append("DBMAZZ_\(fieldName(key))=\(TextLogLine.text(of: value))")
        }
        return fields
    }

    /// Journald takes capitals, digits and underscores.
    private static func fieldName(_ key: String) -> String {
        String(key.uppercased().map { ("A"..."Z").contains($0) || ("0"..."9").contains($0) ? $0 : "_" })
    }

    /// syslog's numbers, see sd-daemon(3).
    private static func priority(_ level: Logger.Level) -> Int {
        switch level {
        case .trace, .debug: 7
        case .info: 6
        case .notice: 5
        case .warning: 4
        case .error: 3
        case .critical: 2
        }
    }
}

/// Sends to the journal from a queue of its own: journald's socket blocks when journald hangs, and a log must never hold up
/// the stream.
final class JournalQueue: Sendable {
    static let shared = JournalQueue()

    /// Events that may wait; beyond that they are dropped and counted.
    private static let limit = 1000
    private let queue = DispatchQueue(label: "journal")
    private let waiting = Atomic<Int>(0)
    private let dropped = Atomic<Int>(0)

    func send(_ fields: [String]) {
        guard waiting.load(ordering: .relaxed) < JournalQueue.limit else {
            dropped.add(1, ordering: .relaxed)
            return
        }
        waiting.add(1, ordering: .relaxed)
        queue.async { [self] in
            JournalQueue.write(fields)
            waiting.subtract(1, ordering: .relaxed)
            let lost = dropped.exchange(0, ordering: .relaxed)
            if lost > 0 {
                JournalQueue.write(JournalLogHandler.fields("log lines lost", .warning, ["lines": "\(lost)"]))
            }
        }
    }

    /// Waits until everything is sent, at most for a second.
    func drain() {
        let done = DispatchSemaphore(value: 0)
        queue.async { done.signal() }
        _ = done.wait(timeout: .now() + .seconds(1))
    }

    private static func write(_ fields: [String]) {
        var bytes: [UInt8] = []
        var lengths: [Int] = []
        for field in fields {
            lengths.append(field.utf8.count)
            bytes.append(contentsOf: field.utf8)
        }
        bytes.withUnsafeMutableBytes { buffer in
            var offset = 0
            let vectors = lengths.map { length in
                defer { offset += length }
                return iovec(iov_base: buffer.baseAddress.map { $0 + offset }, iov_len: length)
            }
            _ = vectors.withUnsafeBufferPointer { sd_journal_sendv($0.baseAddress, Int32($0.count)) }
        }
    }
}
