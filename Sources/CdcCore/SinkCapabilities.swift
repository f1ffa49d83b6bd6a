/// How rows get into a target.
public enum LoadingModel: Hashable, Sendable {
    /// Row by row or in statements over a connection.
    case streaming
    /// As files or bodies of a format, loaded as a whole.
    case stagedBatch(format: String)
    /// As messages.
    case messageQueue
}

/// In which form a sink wants column values.
public enum TupleFormat: Sendable {
    /// PostgreSQL's text output.
    case text
    /// PostgreSQL's binary output, where the type has one.
    case binary
}

/// What a sink can do and what suits it; defaults of settings come from here.
public struct SinkCapabilities: Sendable {
    /// Whether a row that is written twice under one key stays one row.
    public var supportsUpsert: Bool
    /// Whether rows can be removed.
    public var supportsDelete: Bool
    /// Whether the sink follows a source's ALTER TABLE by itself.
    public var supportsSchemaEvolution: Bool
    /// Whether rows and position commit together: exactly once, and source transactions stay whole.
    public var supportsTransactions: Bool
    /// How rows get in.
    public var loadingModel: LoadingModel
    /// Fewer rows a batch than this cost more than they are worth; nil where it makes no difference.
    public var minBatchSize: Int?
    /// Rows after which a batch is due: the default of `SINK_BATCH_SIZE`.
    public var maxBatchSize: Int
    /// Bytes after which a batch is due: the default of `SINK_BATCH_BYTES`.
    public var maxBatchBytes: Int
    /// The longest that a row may wait: the default of `SINK_FLUSH_INTERVAL_MS`.
    ///
    /// Zero means as soon as the sink is free.
    public var optimalFlushInterval: Duration
    /// Whether the position is kept in the target.
    ///
    /// If not, the slot's own position counts.
    public var storesPosition: Bool
    /// Whether audit columns are added unless `SINK_AUDIT_COLUMNS` says otherwise.
    public var addsAuditColumns: Bool
    /// In which form column values should come.
    public var tupleFormat: TupleFormat
    /// Whether a table keeps its schema at the sink, unless `SINK_SCHEMA` names one for all.
    ///
    /// Then `{table}` alone is the default of `SINK_TABLE_NAME`.
    public var keepsSchemas: Bool

    /// Makes a description.
    public init(
        supportsUpsert: Bool,
        supportsDelete: Bool,
        supportsSchemaEvolution: Bool = false,
        supportsTransactions: Bool,
        loadingModel: LoadingModel,
        minBatchSize: Int? = nil,
        maxBatchSize: Int,
        maxBatchBytes: Int,
        optimalFlushInterval: Duration,
        storesPosition: Bool,
        addsAuditColumns: Bool = false,
        tupleFormat: TupleFormat = .text,
        keepsSchemas: Bool = false
    ) {
        self.supportsUpsert = supportsUpsert
        self.supportsDelete = supportsDelete
        self.supportsSchemaEvolution = supportsSchemaEvolution
        self.supportsTransactions = supportsTransactions
        self.loadingModel = loadingModel
        self.minBatchSize = minBatchSize
        self.maxBatchSize = maxBatchSize
        self.maxBatchBytes = maxBatchBytes
        self.optimalFlushInterval = optimalFlushInterval
        self.storesPosition = storesPosition
        self.addsAuditColumns = addsAuditColumns
        self.tupleFormat = tupleFormat
        self.keepsSchemas = keepsSchemas
    }
}
