/// Everything that can be said of a running pipeline at one moment: what `/status` shows.
///
/// Sizes are bytes, times are milliseconds since 1970 or seconds where the name says so, positions are written as
/// PostgreSQL writes them.
public struct PipelineStatus: Sendable, Codable {
    /// A lane's health.
    public struct Lane: Sendable, Codable {
        /// `source` or `sink`.
        public var name: String
        /// Whether it is alive by its own rule.
        public var alive: Bool
        /// What it last said that it does.
        public var activity: String
    }

    /// Where the pipeline is in the source's WAL.
    public struct Positions: Sendable, Codable {
        /// The end of the source's WAL, as last heard.
        public var source: String
        /// How far the source has sent.
        public var received: String
        /// How far the sink is durable.
        public var flushed: String
        /// What the source was told.
        public var confirmed: String
    }

    /// The slot at the source.
    public struct Slot: Sendable, Codable {
        /// Its name.
        public var name: String
        /// `reserved`, `extended`, `unreserved` or `lost`; nil before the first look.
        public var walStatus: String?
        /// WAL that the source keeps for it.
        public var retainedBytes: Int?
        /// WAL that may still be written before it is in danger.
        public var safeBytes: Int?
        /// `max_slot_wal_keep_size`.
        public var limitBytes: Int?
        /// Transactions that decoding wrote to the source's disk.
        public var spilledTransactions: Int?
        /// Bytes written that way.
        public var spilledBytes: Int?
        /// `none`, `warning` or `critical`.
        public var alarm: String
        /// Why, and what to do.
        public var alarmText: String?
    }

    /// The copy that runs, or ran last.
    public struct Copy: Sendable, Codable {
        /// Tables to copy.
        public var tables: Int
        /// Tables that are complete.
        public var tablesDone: Int
        /// The table at hand.
        public var table: String?
        /// Rows written so far.
        public var rows: Int
        /// Rows to be expected by the source's statistics; nil where it has none.
        public var rowsExpected: Int?
    }

    /// What went through, since the daemon's start.
    public struct Totals: Sendable, Codable {
        /// Changes and copied rows that are durable.
        public var rows = 0
        /// Bytes of their values.
        public var bytes = 0
        /// Source transactions that are durable.
        public var transactions = 0
        /// Batches written.
        public var batches = 0
        /// Writes that were repeated.
        public var sinkRetries = 0
        /// Where the sink had to leave its fastest way.
        public var sinkFallbacks = Fallbacks()
        /// Sessions with the source that were begun again after a failure.
        public var sourceReconnects = 0
        /// Changes that the sink refused and that became dead letters.
        public var deadLetters = 0
        /// Values that were changed because the sink cannot hold them.
        public var valuesSubstituted = 0
    }

    /// How often the sink had to leave its fastest way: correct all the same, but slower.
    public struct Fallbacks: Sendable, Codable {
        /// Batches of inserts that met a row which was there already, and were merged.
        public var merge = 0
        /// Batches that were replayed change by change, because sets of them broke a constraint.
        public var replay = 0
    }

    /// What went through per second, over the last ten seconds.
    public struct Rates: Sendable, Codable {
        /// Rows.
        public var rowsPerSecond = 0.0
        /// Bytes.
        public var bytesPerSecond = 0.0
        /// Transactions.
        public var transactionsPerSecond = 0.0
    }

    /// One table's share of the totals.
    public struct Table: Sendable, Codable {
        /// `schema.table` at the source.
        public var table: String
        /// Inserts, copied rows not included.
        public var inserts = 0
        /// Updates.
        public var updates = 0
        /// Deletes.
        public var deletes = 0
        /// Truncates.
        public var truncates = 0
        /// Rows of a copy.
        public var copied = 0
        /// Bytes of values.
        public var bytes = 0
    }

    /// Something that went wrong.
    public struct Trouble: Sendable, Codable {
        /// When, in milliseconds since 1970.
        public var timeMs: Int
        /// `source` or `sink`.
        public var side: String
        /// What, why, and what to do.
        public var error: String
    }

    /// The daemon's version, where a daemon says it.
    public var version: String?
    /// The name under which the sink remembers the pipeline; empty until the source is known.
    public var pipeline: String
    /// Host, port and database of the source; empty until it was reached.
    public var source: String
    /// `SINK_TYPE`, and what it writes to once that is known.
    public var sink: String
    /// When the daemon started.
    public var startedMs: Int
    /// When this was made.
    public var timeMs: Int
    /// What the pipeline is at.
    public var phase: PipelinePhase
    /// More about it: whom it waits for, or why.
    public var detail: String?
    /// Since when.
    public var phaseSinceMs: Int
    /// Whether every lane is alive.
    public var healthy: Bool
    /// Whether it streams and its lag is below `DBMAZZ_READY_MAX_LAG`.
    public var ready: Bool
    /// The lanes.
    public var lanes: [Lane]
    /// Positions.
    public var positions: Positions
    /// WAL between what is durable at the sink and the end of the source's.
    public var lagBytes: Int
    /// How old the sink's state is, in seconds; 0 while it has everything.
    public var lagSeconds: Double
    /// The slot.
    public var slot: Slot
    /// The copy; nil if none was needed.
    public var copy: Copy?
    /// What all batches together may take.
    public var memoryBudgetBytes: Int
    /// What they take.
    public var memoryUsedBytes: Int
    /// Totals.
    public var totals: Totals
    /// Rates.
    public var rates: Rates
    /// Tables with changes, by name.
    public var tables: [Table]
    /// What went wrong last, newest first.
    public var troubles: [Trouble]
}
