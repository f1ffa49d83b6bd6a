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
    /// How long to wait for more when the kernel has nothing: saves a wake-up per row.
    static let coalesceNanoseconds: Int64 = 100_000
}
