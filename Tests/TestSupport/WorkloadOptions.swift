/// What a generated workload should be like.
public struct WorkloadOptions: Sendable {
    /// The same seed gives every client the same sequence of choices (how clients interleave is up to the machine).
    public var seed: UInt64
    /// Concurrent connections that write.
    public var clients = 4
    /// In percent of the transactions, those that are rolled back on purpose.
    public var rollbackPercent = 12
    /// In percent of the steps, those that run inside a savepoint of their own; half of these are rolled back.
    public var savepointPercent = 20
    /// One in this many transactions truncates tables; 0 for never.
    public var truncateEvery = 120
    /// One in this many transactions of a client is large; 0 for never.
    public var largeEvery = 0
    /// Rows of a large transaction.
    public var largeRows = 2_000...20_000
    /// Whether there is a partitioned table.
    public var partitioned = true
    /// Rows per table, roughly, before the start: the content of the initial copy.
    public var seedRows = 20
    /// Waits this long between two transactions of a client.
    public var thinkTime: Duration = .zero
    /// Whether dates and timestamps stay between 1900 and 2299, which ClickHouse's types can hold.
    public var hasCommonDates = false
    /// Whether there is a table whose key has floats and texts of one number, which ClickHouse refuses.
    public var hasOddKeys = true
    /// Whether there is a table whose key has more than 128 bytes, which StarRocks refuses.
    public var hasLongKeys = true
    /// The database in which the workload's tables are.
    public var database = "postgres"

    /// The defaults with this seed.
    public init(seed: UInt64) { self.seed = seed }
}
