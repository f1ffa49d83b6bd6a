/// When batches are due, and what the session does besides.
struct StreamOptions: Sendable {
    /// Rows after which a batch is due.
    var batchRows: Int
    /// Bytes after which a batch is due.
    var batchBytes: Int
    /// Bytes after which even an incomplete transaction goes to the sink in parts.
    var partBytes: Int
    /// The longest that a row may wait.
    var flushInterval: Duration
    /// How long a stop may drain.
    var shutdownTimeout: Duration
    /// Whether only a position that the sink has stored is acknowledged.
    var storesPosition: Bool
    /// How often the server must hear from us.
    var statusInterval: Duration

    /// A changed acknowledgement goes out within this time.
    static let statusDelay = Duration.milliseconds(100)
    /// While nothing changes, the stored position follows the WAL's end this often.
    static let idleStoreInterval = Duration.seconds(10)
    /// With the slot in danger, a sink that takes nothing for so long costs the connection.
    static let stallInDanger = Duration.seconds(10)
}

/// How long to wait for more when the kernel has nothing, so that a row does not cost a wake-up, here and at the source.
///
/// Short while little comes, so that a single change is not kept waiting; longer while each wait gathers many.
struct Gathering {
    private(set) var nanoseconds = Gathering.shortest
    private var messages = 0

    private static let shortest: Int64 = 100_000
    private static let longest: Int64 = 3_000_000
    /// A wait that gathers so many messages was too short: at a thousand small transactions a second none does.
    private static let many = 8

    /// Notes messages that were there without waiting.
    mutating func add(_ count: Int) { messages += count }

    /// How long to wait now.
    ///
    /// - Parameter count: messages read since the last note or wait.
    /// - Returns: nanoseconds.
    mutating func pause(after count: Int) -> Int64 {
        let gathered = messages + count
        messages = 0
        nanoseconds =
            gathered >= Gathering.many
            ? min(2 * nanoseconds, Gathering.longest) : max(nanoseconds / 2, Gathering.shortest)
        return nanoseconds
    }
}
