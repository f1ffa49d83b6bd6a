/// A password: prints as `***`, so that it cannot reach a log or an error by accident.
public struct Secret: Hashable, Sendable, CustomStringConvertible, CustomDebugStringConvertible {
    /// The secret itself.
    public let value: String

    /// Wraps a secret.
    public init(_ value: String) {
        self.value = value
    }

    /// Three stars.
    public var description: String { "***" }
    /// Three stars.
    public var debugDescription: String { "***" }
}

/// What a delete does at the sink.
public enum DeleteMode: String, Sendable, CaseIterable {
    /// The row goes.
    case hard
    /// The row stays, marked by `dbmazz_is_deleted`.
    case soft
}

/// What happens to a value that the sink's column cannot hold exactly.
public enum UnrepresentablePolicy: String, Sendable, CaseIterable {
    /// The row is refused: the daemon stops, or the row becomes a dead letter (`SINK_ON_ERROR`).
    case error
    /// NULL takes its place, where the column may be NULL.
    case null
    /// The nearest value that the column can hold takes its place.
    case clamp
    /// Columns whose type has such values are made as text, which holds every value.
    case text
}

/// What happens to a change that the sink refuses for good.
public enum ErrorPolicy: String, Sendable, CaseIterable {
    /// The daemon ends; nothing behind the change is acknowledged.
    case stop
    /// The change is kept as a dead letter, and the others go on.
    case deadLetter = "dead-letter"
}

/// How bodies of requests are compressed.
public enum CompressionMethod: String, Sendable, CaseIterable {
    case none
    case lz4
    case zstd
    case gzip
}

/// How the postgres sink empties a table that the source has truncated.
public enum TruncateMode: String, Sendable, CaseIterable {
    /// By DELETE: readers with an older snapshot go on seeing the rows.
    case delete
    /// By TRUNCATE: fast, needs the privilege, and readers with an older snapshot see an empty table.
    case truncate
}

/// What a daemon does whose pipeline is run by another one.
public enum StandbyMode: String, Sendable, CaseIterable {
    /// It waits and takes over when the other is gone.
    case wait
    /// It ends.
    case refuse
}

/// Settings that the starrocks sink alone has; nil where they were not set.
public struct StarRocksSettings: Hashable, Sendable {
    /// `SINK_STARROCKS_TRANSACTIONS`: whether a batch is one transaction over all its tables.
    public var transactions: Bool?
    /// `SINK_STARROCKS_HOST_MAP`: where back ends are reached, by the addresses that the front end names.
    public var hostMap: String?
    /// `SINK_STARROCKS_COMPRESSION`.
    public var compression: CompressionMethod?
    /// `SINK_STARROCKS_REPLICATION_NUM`: how many replicas new tables get.
    public var replicationNumber: Int?
    /// `SINK_STARROCKS_MYSQL_TLS`: whether the MySQL port is spoken to in TLS.
    public var mysqlTLS: Bool?

    /// Makes settings of which none was set.
    public init() {}
}

/// Settings of the sink: the `SINK_*` variables.
public struct SinkConfig: Sendable {
    /// `SINK_TYPE`.
    public var type: String
    /// `SINK_URL`; nil where it was not set.
    public var url: String?
    /// `SINK_PORT`.
    public var port: Int?
    /// `SINK_DATABASE`.
    public var database: String?
    /// `SINK_SCHEMA`.
    public var schema: String?
    /// `SINK_USER`.
    public var user: String?
    /// `SINK_PASSWORD`.
    public var password: Secret?
    /// `SINK_PIPELINE`; nil means system identifier and slot name.
    public var pipeline: String?
    /// `SINK_TABLE_NAME`; nil means `{table}` for schema public and `{schema}_{table}` for others.
    public var tableName: String?
    /// `SINK_BATCH_SIZE`: rows after which a batch is due.
    public var batchSize: Int
    /// `SINK_BATCH_BYTES`: bytes after which a batch is due.
    public var batchBytes: Int
    /// `SINK_FLUSH_INTERVAL_MS`: the longest that a row may wait.
    public var flushInterval: Duration
    /// `SINK_MEMORY_LIMIT_MB`, in bytes: what all batches together may take.
    public var memoryLimit: Int
    /// `SINK_MAX_RETRIES`, `SINK_RETRY_INITIAL_MS`, `SINK_RETRY_MAX_MS`.
    public var retry: RetryPolicy
    /// `SINK_SHUTDOWN_TIMEOUT_MS`: how long a stop may drain.
    public var shutdownTimeout: Duration
    /// `SINK_DELETE_MODE`.
    public var deleteMode: DeleteMode
    /// `SINK_AUDIT_COLUMNS`.
    public var auditColumns: Bool
    /// `SINK_ON_UNREPRESENTABLE`.
    public var onUnrepresentable: UnrepresentablePolicy
    /// `SINK_STANDBY`.
    public var standby: StandbyMode
    /// `SINK_TLS_CA`: a file of certificates to trust instead of the system's.
    public var tlsCA: String?
    /// `SINK_TLS_CERT`: a file with the certificate that the daemon shows to the target.
    public var tlsCertificate: String?
    /// `SINK_TLS_KEY`: the file with that certificate's key.
    public var tlsKey: String?
    /// `SINK_ON_ERROR`.
    public var onError: ErrorPolicy
    /// `SINK_DEAD_LETTER_URL`: a directory, or `table` for a table in the target; nil where it was not set.
    public var deadLetterURL: String?
    /// `SINK_CLICKHOUSE_CLUSTER`; nil where it was not set.
    public var clickhouseCluster: String?
    /// `SINK_CLICKHOUSE_COMPRESSION`; nil where it was not set.
    public var clickhouseCompression: CompressionMethod?
    /// What `SINK_STARROCKS_*` says.
    public var starRocks = StarRocksSettings()
    /// Set by the pipeline when calls into the target are to end soon: a sink that waits should look.
    public let cancellation = Cancellation()
    /// `SINK_POSTGRES_TRUNCATE`; nil where it was not set.
    public var postgresTruncate: TruncateMode?
    /// Where files go whose place was not given: `$STATE_DIRECTORY`, else the working directory.
    public var stateDirectory: String

    /// Makes a configuration with the defaults that suit a sink of the given capabilities.
    public init(type: String, url: String? = nil, capabilities: SinkCapabilities, stateDirectory: String = ".") {
        self.type = type
        self.url = url
        self.stateDirectory = stateDirectory
        batchSize = capabilities.maxBatchSize
        batchBytes = capabilities.maxBatchBytes
        flushInterval = capabilities.optimalFlushInterval
        memoryLimit = 32 << 20
        retry = RetryPolicy()
        shutdownTimeout = .seconds(30)
        deleteMode = .hard
        auditColumns = capabilities.addsAuditColumns
        onUnrepresentable = .error
        onError = .stop
        standby = .wait
    }
}
