internal import CdcCore

/// The tables of most checks.
enum Tables {
    static let items = TableSchema(
        "items",
        [ColumnDef("id", .int32), ColumnDef("name", .text), ColumnDef("note", .text)]
    )
    static let orders = TableSchema("orders", [ColumnDef("k", .text), ColumnDef("n", .int64)])
    static let log = TableSchema(
        "log",
        [ColumnDef("n", .int32), ColumnDef("f", .float64), ColumnDef("t", .text)],
        key: [],
        identity: .full
    )
}

extension Conformance {
    /// Capabilities, settings, and what comes before `setup`.
    static let startChecks: [Check] = [
        Check("start: capabilities do not contradict each other") { target in
            let type = target.sinkType
            let capabilities = type.capabilities
            try require(
                !type.name.isEmpty && type.name.utf8.allSatisfy { (0x61...0x7A).contains($0) },
                "the name \"\(type.name)\" is not all small letters"
            )
            try require(capabilities.maxBatchSize > 0, "maxBatchSize is not positive")
            try require(capabilities.maxBatchBytes > 0, "maxBatchBytes is not positive")
            try require(capabilities.optimalFlushInterval >= .zero, "optimalFlushInterval is negative")
            let smallest = capabilities.minBatchSize ?? 1
            try require(
                smallest > 0 && smallest <= capabilities.maxBatchSize,
                "minBatchSize is not in 1...maxBatchSize"
            )
            try require(
                capabilities.supportsUpsert && capabilities.supportsDelete,
                "these checks are for sinks that keep rows, by key"
            )
            try require(
                capabilities.storesPosition || !capabilities.supportsTransactions,
                "supportsTransactions says that rows and position commit together, storesPosition that there is none"
            )
            try require(!target.refusedValues.isEmpty, "the target names no value that it refuses")
        },

        Check("start: the sink's settings are accepted, and touch nothing") { target in
            let before = try target.fingerprint()
            let sink = try target.sinkType.init(try target.config())
            try require(!sink.target.isEmpty, "the sink does not say what it writes to")
            try require(!sink.target.contains("hunter2"), "target shows a secret")
            try requireEqual(try target.fingerprint(), before, "the target after init")
            await sink.close()
        },

        Check("start: variables that mean nothing to the sink are refused, each by its name") { target in
            for (name, set) in Conformance.variables {
                var config = try target.config()
                set(&config)
                let isRefused: Bool
                do {
                    _ = try target.sinkType.init(config)
                    isRefused = false
                } catch let error as SinkError {
                    try requireEqual(error.kind, .configuration, "kind of the refusal of \(name)")
                    try require(error.description.contains(name), "the refusal does not name \(name): \(error)")
                    try require(!error.description.contains("hunter2"), "the refusal of \(name) shows its value")
                    isRefused = true
                }
                try requireEqual(!isRefused, target.meaningfulVariables.contains(name), "\(name) is accepted")
            }
        },

        Check("start: everything that is wrong with the settings is told at once") { target in
            let unused = Conformance.variables.filter { !target.meaningfulVariables.contains($0.key) }
            try require(unused.count > 1, "all variables mean something")
            var config = try target.config()
            for (_, set) in unused { set(&config) }
            let error = try await refusal("a set of meaningless settings") { _ = try target.sinkType.init(config) }
            for (name, _) in unused {
                try require(error.description.contains(name), "the refusal does not name \(name): \(error)")
            }
        },

        Check("start: a SINK_URL of another world is refused without showing it") { target in
            var config = try target.config()
            config.url = "gopher://root:hunter2@nowhere.invalid/x"
            let error = try await refusal("the URL") {
                let sink = try target.sinkType.init(config)
                try await sink.validateConnection()
            }
            try requireEqual(error.kind, .configuration, "kind of \(error)")
            try require(error.description.contains("SINK_URL"), "SINK_URL is not named: \(error)")
            try require(!error.description.contains("hunter2"), "the password is shown")
        },

        Check("start: soft deletes without audit columns are refused, or soft deletes at all") { target in
            var config = try target.config()
            config.deleteMode = .soft
            config.auditColumns = false
            let error = try await refusal("SINK_DELETE_MODE=soft without audit columns") {
                _ = try target.sinkType.init(config)
            }
            try requireEqual(error.kind, .configuration, "kind of \(error)")
        },

        Check("start: validateConnection, loadState of an unknown pipeline and plan change nothing") { target in
            let before = try target.fingerprint()
            let stage = try Stage(target)
            try await stage.sink.validateConnection()
            try requireEqual(try target.fingerprint(), before, "the target after validateConnection")
            let state = try await stage.sink.loadState(of: "nobody")
            try require(state == nil, "an unknown pipeline has a state")
            try requireEqual(try target.fingerprint(), before, "the target after loadState")
            let tables = [Tables.items, Tables.orders].map(stage.suited)
            let plans = try await stage.sink.plan(tables, for: stage.pipeline)
            try requireEqual(try target.fingerprint(), before, "the target after plan")
            try requireEqual(plans.map(\.table), tables.map(\.ref), "tables of the plan")
            for (plan, table) in zip(plans, tables) {
                try require(plan.problems.isEmpty, "plan has problems: \(plan.problems)")
                try require(!plan.statements.isEmpty, "plan has no statements for \(table.ref)")
                try require(
                    plan.statements.contains { $0.contains(table.sinkName) },
                    "no statement names \(table.sinkName): \(plan.statements)"
                )
                for column in table.columns {
                    try require(
                        plan.columns.contains { $0.name == column.name && !$0.type.isEmpty },
                        "the plan has no column \(column.name) of \(table.ref)"
                    )
                }
            }
            await stage.close()
        },

        Check("start: a target that is away is waited for, and validated when it is back") { target in
            let stage = try Stage(target)
            try target.interrupt(.refused)
            do {
                try await stage.sink.validateConnection()
            } catch let error as SinkError {
                try requireEqual(error.kind, .retriable, "kind of \(error)")
            }
            try target.resume()
            try await stage.start(Tables.items)
            try await stage.verify()
            await stage.close()
        },
    ]

    /// The variables that only some sinks have, with a value for each.
    static let variables: [String: @Sendable (inout SinkConfig) -> Void] = [
        "SINK_PORT": { $0.port = 1 },
        "SINK_DATABASE": { $0.database = "hunter2" },
        "SINK_SCHEMA": { $0.schema = "hunter2" },
        "SINK_USER": { $0.user = "hunter2" },
        "SINK_PASSWORD": { $0.password = Secret("hunter2") },
        "SINK_TLS_CA": { $0.tlsCA = "/nowhere/hunter2" },
        "SINK_TLS_CERT": { $0.tlsCertificate = "/nowhere/hunter2" },
        "SINK_TLS_KEY": { $0.tlsKey = "/nowhere/hunter2" },
        "SINK_CLICKHOUSE_CLUSTER": { $0.clickhouseCluster = "hunter2" },
        "SINK_CLICKHOUSE_COMPRESSION": { $0.clickhouseCompression = .zstd },
        "SINK_STARROCKS_TRANSACTIONS": { $0.starRocks.transactions = true },
        "SINK_STARROCKS_HOST_MAP": { $0.starRocks.hostMap = "hunter2:1=hunter2:2" },
        "SINK_STARROCKS_COMPRESSION": { $0.starRocks.compression = .zstd },
        "SINK_STARROCKS_REPLICATION_NUM": { $0.starRocks.replicationNumber = 1 },
        "SINK_STARROCKS_MYSQL_TLS": { $0.starRocks.mysqlTLS = true },
        "SINK_POSTGRES_TRUNCATE": { $0.postgresTruncate = .truncate },
    ]
}
