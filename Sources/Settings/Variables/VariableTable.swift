import CdcCore

/// The one table of variables. A new setting is a line here, a field of `SourceConfig` or `SinkConfig`, and a line in
/// the loader; messages and `env.example` follow.
extension Variable {
    /// Every variable, in the order in which `env.example` lists them.
    public static let all: [Variable] = source + sink + daemon + log

    static let source: [Variable] = [
        sourceURL, sourcePassword, sourceSlotName, sourcePublicationName, sourceTables, sourceSnapshot,
        sourceOrigin, sourceHeartbeatInterval, sourceWALAlarm,
    ]

    static let sink: [Variable] = [
        sinkType, sinkURL, sinkPort, sinkDatabase, sinkSchema, sinkUser, sinkPassword, sinkTLSCA, sinkTLSCertificate,
        sinkTLSKey,
        sinkPipeline, sinkTableName, sinkPostgresTruncate, sinkClickhouseCluster, sinkClickhouseCompression,
        sinkStarRocksTransactions, sinkStarRocksHostMap, sinkStarRocksCompression, sinkStarRocksReplicationNumber,
        sinkStarRocksMySQLTLS,
        sinkBatchSize, sinkBatchBytes, sinkFlushInterval, sinkMemoryLimit, sinkMaxRetries,
        sinkRetryInitial, sinkRetryMax, sinkShutdownTimeout, sinkDeleteMode, sinkAuditColumns,
        sinkOnUnrepresentable, sinkOnError, sinkDeadLetterURL, sinkStandby,
    ]

    static let daemon: [Variable] = [http, readyMaxLag, hangTimeout]

    static let log: [Variable] = [logLevel, logFormat]

    // MARK: Source

    static let sourceURL = Variable(
        "SOURCE_URL",
        .sourceURL,
        default: .required,
        example: "postgres://replicator@db.example.com:5432/shop",
        isSecret: true,
        meaning: "The PostgreSQL database to read, as libpq takes it; its role needs the REPLICATION attribute. "
            + "replication=database is accepted and not needed."
    )
    static let sourcePassword = Variable(
        "SOURCE_PASSWORD",
        .password,
        default: .none,
        example: "secret",
        isSecret: true,
        meaning: "The password, where SOURCE_URL has none. libpq's own ways (~/.pgpass, PGPASSFILE) work too."
    )
    static let sourceSlotName = Variable(
        "SOURCE_SLOT_NAME",
        .slotName,
        default: .value("dbmazz_slot"),
        example: "dbmazz_orders",
        meaning: "The permanent replication slot. It is created at the first start and never dropped by dbmazz-sink."
    )
    static let sourcePublicationName = Variable(
        "SOURCE_PUBLICATION_NAME",
        .text(maxBytes: 63),
        default: .value("dbmazz_pub"),
        example: "dbmazz_orders",
        meaning: "The publication. It is created if it does not exist."
    )
    static let sourceTables = Variable(
        "SOURCE_TABLES",
        .tablePatterns,
        default: .computed("every table of the publication; every table there is, if the publication has to be made"),
        example: "public.orders,sales.*",
        meaning: "Which tables to take. Names are compared as written, case matters; a name with a comma, a dot or a "
            + "space goes in double quotes, as in \"My Schema\".\"a,b\"."
    )
    static let sourceSnapshot = Variable(
        "SOURCE_SNAPSHOT",
        .choice(SnapshotMode.allCases.map(\.rawValue)),
        default: .value("initial"),
        example: "initial",
        meaning: "initial copies the tables that the sink does not have yet, then streams; never streams changes from "
            + "now on; only copies from a temporary slot and ends."
    )
    static let sourceOrigin = Variable(
        "SOURCE_ORIGIN",
        .choice(OriginFilter.allCases.map(\.rawValue)),
        default: .value("any"),
        example: "none",
        meaning: "any takes all changes; none only those made at the source itself, not those that a replication "
            + "brought there, which keeps two-way set-ups from going in circles. none needs PostgreSQL 16 or later, and "
            + "says nothing of the initial copy, which takes every row."
    )
    static let sourceHeartbeatInterval = Variable(
        "SOURCE_HEARTBEAT_INTERVAL_MS",
        .wholeNumber(100...86_400_000, unit: .milliseconds, special: Special(text: "0", meaning: "none")),
        default: .value("10000"),
        example: "10000",
        meaning: "How often a small message is written to the source's WAL, so that the slot of an idle database moves "
            + "on."
    )

    static let sourceWALAlarm = Variable(
        "SOURCE_WAL_ALARM_MB",
        .wholeNumber(1...1_073_741_824, unit: .mebibytes, special: Special(text: "0", meaning: "never")),
        default: .value("10240"),
        example: "20480",
        meaning: "An alarm is raised when the slot makes the source keep more WAL than this, in MiB. A source with "
            + "max_slot_wal_keep_size also raises one when less than half of that is left."
    )

    // MARK: Sink

    static let sinkType = Variable(
        "SINK_TYPE",
        .sink,
        default: .value("sqlite"),
        example: "sqlite",
        meaning: "Where the changes go."
    )
    static let sinkURL = Variable(
        "SINK_URL",
        .text(maxBytes: 4096),
        default: .computed(
            "sqlite: dbmazz-sink.db in $STATE_DIRECTORY, else in the working directory; postgres: none, it must be set"
        ),
        example: "sqlite:///var/lib/dbmazz-sink/shop.db",
        isSecret: true,
        meaning: "The target. For sqlite a path or sqlite:///absolute/path.db; for postgres a libpq URI "
            + "(postgres://USER@HOST:PORT/DATABASE) or conninfo, TLS as libpq has it."
    )
    static let sinkPort = Variable(
        "SINK_PORT",
        .wholeNumber(1...65535, unit: .count),
        default: .none,
        example: "5432",
        meaning: "The port of a target that is a server (postgres), where SINK_URL has none."
    )
    static let sinkDatabase = Variable(
        "SINK_DATABASE",
        .text(maxBytes: 255),
        default: .none,
        example: "shop",
        meaning: "The database of a target that is a server (postgres), where SINK_URL has none."
    )
    static let sinkSchema = Variable(
        "SINK_SCHEMA",
        .text(maxBytes: 255),
        default: .computed("the schemas of the source"),
        example: "replica",
        meaning: "The schema into which all tables go, for targets that have schemas (postgres)."
    )
    static let sinkUser = Variable(
        "SINK_USER",
        .text(maxBytes: 255),
        default: .none,
        example: "loader",
        meaning: "The user of a target that is a server (postgres), where SINK_URL has none."
    )
    static let sinkPassword = Variable(
        "SINK_PASSWORD",
        .password,
        default: .none,
        example: "secret",
        isSecret: true,
        meaning: "The password of a target that is a server (postgres), where SINK_URL has none."
    )
    static let sinkTLSCA = Variable(
        "SINK_TLS_CA",
        .text(maxBytes: 4096),
        default: .computed("the system's certificates"),
        example: "/etc/dbmazz-sink/ca.pem",
        meaning: "A file of certificates (PEM) that an HTTPS target's own must be signed by. It is always verified."
    )
    static let sinkTLSCertificate = Variable(
        "SINK_TLS_CERT",
        .text(maxBytes: 4096),
        default: .none,
        example: "/etc/dbmazz-sink/client.pem",
        meaning: "A file with the certificate (PEM) by which an HTTPS target knows the daemon."
    )
    static let sinkTLSKey = Variable(
        "SINK_TLS_KEY",
        .text(maxBytes: 4096),
        default: .none,
        example: "/etc/dbmazz-sink/client.key",
        meaning: "The file with the key (PEM, without a passphrase) of SINK_TLS_CERT."
    )
    static let sinkPipeline = Variable(
        "SINK_PIPELINE",
        .text(maxBytes: 128),
        default: .computed("the source's system identifier and slot name"),
        example: "shop_orders",
        meaning: "The name under which the target remembers how far it is. Two daemons on one target need two names."
    )
    static let sinkTableName = Variable(
        "SINK_TABLE_NAME",
        .tableNameTemplate,
        default: .computed(
            "{table} for schema public, {schema}_{table} for others; postgres without SINK_SCHEMA: {table} in the source's schema"
        ),
        example: "{schema}_{table}",
        meaning: "The name of a table at the target. Two source tables that would get one name are refused."
    )
    static let sinkPostgresTruncate = Variable(
        "SINK_POSTGRES_TRUNCATE",
        .choice(TruncateMode.allCases.map(\.rawValue)),
        default: .computed("delete"),
        example: "truncate",
        meaning: "How a PostgreSQL target empties a table that the source has truncated. delete lets readers with an "
            + "older snapshot go on seeing the rows; truncate is fast, needs the privilege, and they see an empty table."
    )
    static let sinkClickhouseCluster = Variable(
        "SINK_CLICKHOUSE_CLUSTER",
        .text(maxBytes: 256),
        default: .none,
        example: "analytics",
        meaning: "The cluster of a ClickHouse target: tables are made on all its servers, replicated, and a write "
            + "counts when a majority has it."
    )
    static let sinkClickhouseCompression = Variable(
        "SINK_CLICKHOUSE_COMPRESSION",
        .choice(CompressionMethod.allCases.map(\.rawValue)),
        default: .computed("lz4"),
        example: "zstd",
        meaning: "How rows travel to a ClickHouse target. zstd takes less of a slow network than lz4, and more CPU."
    )
    static let sinkStarRocksTransactions = Variable(
        "SINK_STARROCKS_TRANSACTIONS",
        .choice(["on", "off"]),
        default: .computed("off"),
        example: "on",
        meaning:
            "Whether a StarRocks target gets each batch and its position in one transaction over all tables, which "
            + "needs StarRocks 4.0."
    )
    static let sinkStarRocksHostMap = Variable(
        "SINK_STARROCKS_HOST_MAP",
        .text(maxBytes: 4096),
        default: .none,
        example: "be1:8040=10.0.0.1:8040,be2:8040=10.0.0.2:8040",
        meaning: "Where the back ends of a StarRocks target are reached, where the addresses that the front end names "
            + "are not."
    )
    static let sinkStarRocksCompression = Variable(
        "SINK_STARROCKS_COMPRESSION",
        .choice(CompressionMethod.allCases.map(\.rawValue)),
        default: .computed("zstd"),
        example: "lz4",
        meaning: "How rows travel to a StarRocks target. lz4 takes less CPU than zstd, and sends twice as many bytes."
    )
    static let sinkStarRocksReplicationNumber = Variable(
        "SINK_STARROCKS_REPLICATION_NUM",
        .wholeNumber(1...100, unit: .count),
        default: .computed("the server's own"),
        example: "1",
        meaning: "How many replicas new tables of a StarRocks target get; a cluster of one back end needs 1."
    )
    static let sinkStarRocksMySQLTLS = Variable(
        "SINK_STARROCKS_MYSQL_TLS",
        .choice(["on", "off"]),
        default: .computed("on where SINK_URL is https"),
        example: "on",
        meaning: "Whether the MySQL port of a StarRocks target (SINK_PORT) is spoken to in TLS."
    )
    static let sinkBatchSize = Variable(
        "SINK_BATCH_SIZE",
        .wholeNumber(1...1_000_000, unit: .count),
        default: .sink(.batchSize),
        example: "10000",
        meaning: "Rows after which a batch is written."
    )
    static let sinkBatchBytes = Variable(
        "SINK_BATCH_BYTES",
        .wholeNumber(65536...1_073_741_824, unit: .bytes),
        default: .sink(.batchBytes),
        example: "8388608",
        meaning: "Bytes after which a batch is written. At most half of SINK_MEMORY_LIMIT_MB, because one batch fills "
            + "while another is written."
    )
    static let sinkFlushInterval = Variable(
        "SINK_FLUSH_INTERVAL_MS",
        .wholeNumber(
            1...3_600_000,
            unit: .milliseconds,
            special: Special(text: "0", meaning: "as soon as the sink is free")
        ),
        default: .sink(.flushInterval),
        example: "1000",
        meaning: "The longest that a committed row waits for others before it is written."
    )
    static let sinkMemoryLimit = Variable(
        "SINK_MEMORY_LIMIT_MB",
        .wholeNumber(4...65536, unit: .mebibytes),
        default: .value("32"),
        example: "64",
        meaning: "What all batches together may take, in MiB. When it is full, reading from the source waits."
    )
    static let sinkMaxRetries = Variable(
        "SINK_MAX_RETRIES",
        .wholeNumber(0...1_000_000, unit: .count, special: Special(text: "unlimited", meaning: "never give up")),
        default: .value("unlimited"),
        example: "20",
        meaning: "How often a failed write is repeated before the daemon ends with its exit code for a transient "
            + "error. For a source that is away it waits without limit."
    )
    static let sinkRetryInitial = Variable(
        "SINK_RETRY_INITIAL_MS",
        .wholeNumber(1...3_600_000, unit: .milliseconds),
        default: .value("100"),
        example: "100",
        meaning: "The longest wait before the first repetition. It doubles each time; the actual wait is random below "
            + "it."
    )
    static let sinkRetryMax = Variable(
        "SINK_RETRY_MAX_MS",
        .wholeNumber(1...86_400_000, unit: .milliseconds),
        default: .value("30000"),
        example: "30000",
        meaning: "The longest wait before any repetition."
    )
    static let sinkShutdownTimeout = Variable(
        "SINK_SHUTDOWN_TIMEOUT_MS",
        .wholeNumber(0...3_600_000, unit: .milliseconds),
        default: .value("30000"),
        example: "30000",
        meaning: "How long a stop may go on writing what was already read. What is not durable by then is repeated "
            + "after the next start."
    )
    static let sinkDeleteMode = Variable(
        "SINK_DELETE_MODE",
        .choice(DeleteMode.allCases.map(\.rawValue)),
        default: .value("hard"),
        example: "soft",
        meaning: "hard removes a deleted row; soft keeps it and sets dbmazz_is_deleted."
    )
    static let sinkAuditColumns = Variable(
        "SINK_AUDIT_COLUMNS",
        .choice(
            ["true", "false"],
            aliases: ["yes": "true", "on": "true", "1": "true", "no": "false", "off": "false", "0": "false"]
        ),
        default: .sink(.auditColumns),
        example: "true",
        meaning: "Whether tables get the columns dbmazz_op_type, dbmazz_is_deleted, dbmazz_synced_at and "
            + "dbmazz_cdc_version. Always true with SINK_DELETE_MODE=soft."
    )
    static let sinkOnUnrepresentable = Variable(
        "SINK_ON_UNREPRESENTABLE",
        .choice(UnrepresentablePolicy.allCases.map(\.rawValue)),
        default: .value("error"),
        example: "error",
        meaning: "What happens to a value that the target cannot hold exactly. error refuses the row (SINK_ON_ERROR); "
            + "null and clamp write NULL or the nearest value, and count it; text makes columns that could meet such "
            + "values as text."
    )
    static let sinkOnError = Variable(
        "SINK_ON_ERROR",
        .choice(ErrorPolicy.allCases.map(\.rawValue)),
        default: .value("stop"),
        example: "dead-letter",
        meaning:
            "What happens to a change that the target refuses for good. stop ends the daemon; dead-letter keeps it "
            + "in SINK_DEAD_LETTER_URL and goes on without it, so that source transactions do not stay whole."
    )
    static let sinkDeadLetterURL = Variable(
        "SINK_DEAD_LETTER_URL",
        .text(maxBytes: 4096),
        default: .computed("dead-letters in the state directory"),
        example: "/var/lib/dbmazz-sink/dead-letters",
        meaning: "Where dead letters go: a directory, or table for the table dbmazz_dead_letter in the target."
    )

    static let sinkStandby = Variable(
        "SINK_STANDBY",
        .choice(StandbyMode.allCases.map(\.rawValue)),
        default: .value("wait"),
        example: "wait",
        meaning:
            "What a daemon does whose pipeline another daemon runs: wait stands by and takes over when the other is "
            + "gone, refuse ends."
    )

    // MARK: Daemon

    static let http = Variable(
        "DBMAZZ_HTTP",
        .listenAddress,
        default: .value("127.0.0.1:9187"),
        example: "127.0.0.1:9187",
        meaning: "Where /healthz, /readyz, /metrics, /status and the status page are served; everybody who reaches the "
            + "address may read them. If the default's port is taken, the daemon warns and runs without."
    )
    static let readyMaxLag = Variable(
        "DBMAZZ_READY_MAX_LAG",
        .wholeNumber(0...Int.max, unit: .bytes),
        default: .value("67108864"),
        example: "16777216",
        meaning:
            "With more WAL than this, in bytes, between target and source /readyz says that the daemon is not ready."
    )
    static let hangTimeout = Variable(
        "DBMAZZ_HANG_TIMEOUT_MS",
        .wholeNumber(100...86_400_000, unit: .milliseconds),
        default: .value("60000"),
        example: "120000",
        meaning: "How long a part of the daemon may be late, and a call into the target may take, before it counts as "
            + "hung: then /healthz fails and systemd's watchdog is fed no more. A large commit gets a second more for each MiB."
    )

    // MARK: Log

    static let logLevel = Variable(
        "LOG_LEVEL",
        .choice(
            ["trace", "debug", "info", "notice", "warning", "error", "critical"],
            aliases: ["warn": "warning", "err": "error", "crit": "critical", "fatal": "critical"]
        ),
        default: .value("info"),
        example: "debug",
        meaning: "The least important events that are logged."
    )
    static let logFormat = Variable(
        "LOG_FORMAT",
        .choice(LogFormat.allCases.map(\.rawValue)),
        default: .value("json"),
        example: "text",
        meaning: "json writes one JSON object a line to standard error, text writes lines for people."
    )
}
