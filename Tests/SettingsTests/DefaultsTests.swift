import CdcCore
import Logging
import Sinks
import Testing

@testable import Settings

@Suite("Defaults and right values") struct DefaultsTests {
    @Test("SOURCE_URL alone is enough, and gives the defaults that the core names too")
    func defaults() throws {
        let settings = try load([:])
        let source = SourceConfig(url: Secret("postgres://replicator@db:5432/shop"))
        #expect(settings.source.url == source.url)
        #expect(settings.source.password == nil)
        #expect(settings.source.slotName == source.slotName)
        #expect(settings.source.publicationName == source.publicationName)
        #expect(settings.source.tables.isEmpty)
        #expect(settings.source.snapshot == source.snapshot)
        #expect(settings.source.origin == .any)
        #expect(settings.source.heartbeatInterval == source.heartbeatInterval)
        #expect(source.walAlarmBytes == settings.source.walAlarmBytes)
        #expect(settings.operation.http?.description == "127.0.0.1:9187")
        #expect(!settings.operation.isHTTPChosen)
        #expect(settings.operation.readyMaxLag == DaemonSettings.Operation().readyMaxLag)
        #expect(settings.operation.hangTimeout == DaemonSettings.Operation().hangTimeout)
        #expect(settings.logLevel == .info)
        #expect(settings.logFormat == .json)
        #expect(settings.notices.isEmpty)
    }

    @Test("the sink's defaults are those that its capabilities name", arguments: TestSinks.all.indices)
    func sinkDefaults(index: Int) throws {
        let choice = TestSinks.all[index]
        let sink = try load(["SINK_TYPE": choice.name, "SINK_MEMORY_LIMIT_MB": "128"]).sink
        let expected = SinkConfig(type: choice.name, capabilities: choice.capabilities)
        #expect(sink.type == choice.name)
        #expect(sink.batchSize == expected.batchSize)
        #expect(sink.batchBytes == expected.batchBytes)
        #expect(sink.flushInterval == expected.flushInterval)
        #expect(sink.auditColumns == expected.auditColumns)
    }

    @Test("what no sink changes has the core's defaults")
    func commonSinkDefaults() throws {
        let sink = try load([:]).sink
        let expected = SinkConfig(type: "sqlite", capabilities: TestSinks.plain.capabilities)
        #expect(sink.type == "sqlite")
        #expect(sink.memoryLimit == expected.memoryLimit)
        #expect(sink.retry == expected.retry)
        #expect(sink.shutdownTimeout == expected.shutdownTimeout)
        #expect(sink.deleteMode == .hard)
        #expect(sink.onUnrepresentable == .error)
        #expect(sink.stateDirectory == ".")
        let optional = [sink.url, sink.database, sink.schema, sink.user, sink.pipeline, sink.tableName]
        #expect(optional.allSatisfy { $0 == nil })
        #expect(sink.port == nil)
        #expect(sink.postgresTruncate == nil)
        #expect(sink.password == nil)
    }

    @Test(
        "every sink of this build starts with nothing but its name, a server's sink with its address besides",
        arguments: SinkRegistry.all.map { $0.name }
    )
    func registeredSinks(name: String) throws {
        var environment = ["SOURCE_URL": "host=db", "SINK_TYPE": name]
        if name == "postgres" { environment["SINK_URL"] = "postgres://target/shop" }
        if name == "clickhouse" { environment["SINK_URL"] = "http://target:8123" }
        if name == "starrocks" {
            environment["SINK_URL"] = "http://target:8030"
            environment["SINK_DATABASE"] = "shop"
        }
        #expect(try DaemonSettings.load(environment: environment).sink.type == name)
    }

    @Test("every value arrives where it belongs")
    func everyValue() throws {
        let settings = try load([
            "SOURCE_URL": "host=db dbname=shop replication=database", "SOURCE_PASSWORD": " p w ",
            "SOURCE_SLOT_NAME": "s1", "SOURCE_PUBLICATION_NAME": "Pub é", "SOURCE_TABLES": "public.*, Sales.Orders",
            "SOURCE_SNAPSHOT": "Only", "SOURCE_HEARTBEAT_INTERVAL_MS": "0", "SOURCE_ORIGIN": "NONE",
            "SINK_POSTGRES_TRUNCATE": "truncate", "SINK_TLS_CA": "/ca", "SINK_TLS_CERT": "/cert",
            "SINK_TLS_KEY": "/key",
            "SINK_CLICKHOUSE_CLUSTER": "c", "SINK_CLICKHOUSE_COMPRESSION": "ZSTD", "SINK_ON_ERROR": "dead-letter",
            "SINK_STARROCKS_TRANSACTIONS": "on", "SINK_STARROCKS_HOST_MAP": "a:1=b:2",
            "SINK_STARROCKS_MYSQL_TLS": "off",
            "SINK_STARROCKS_COMPRESSION": "gzip", "SINK_STARROCKS_REPLICATION_NUM": "1",
            "SINK_DEAD_LETTER_URL": "/letters",
            "SINK_TYPE": "BULK", "SINK_URL": "http://t", "SINK_PORT": "8030", "SINK_DATABASE": "d", "SINK_SCHEMA": "s",
            "SINK_USER": "u", "SINK_PASSWORD": "pw", "SINK_PIPELINE": "line", "SINK_TABLE_NAME": "x_{schema}_{table}",
            "SINK_BATCH_SIZE": "2000", "SINK_BATCH_BYTES": "65536", "SINK_FLUSH_INTERVAL_MS": "0",
            "SINK_MEMORY_LIMIT_MB": "4", "SINK_MAX_RETRIES": "0", "SINK_RETRY_INITIAL_MS": "7",
            "SINK_RETRY_MAX_MS": "8", "SINK_SHUTDOWN_TIMEOUT_MS": "9", "SINK_DELETE_MODE": "soft",
            "SINK_AUDIT_COLUMNS": "yes", "SINK_ON_UNREPRESENTABLE": "clamp", "LOG_LEVEL": "WARN", "LOG_FORMAT": "text",
            "STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "SOURCE_WAL_ALARM_MB": "3", "SINK_STANDBY": "refuse",
            "DBMAZZ_HTTP": "[::1]:80", "DBMAZZ_READY_MAX_LAG": "5", "DBMAZZ_HANG_TIMEOUT_MS": "600",
        ])
        #expect(settings.source.walAlarmBytes == 3 << 20)
        #expect(settings.sink.standby == .refuse)
        #expect(settings.operation.http == HTTPAddress(host: "::1", port: 80))
        #expect(settings.operation.isHTTPChosen)
        #expect(settings.operation.readyMaxLag == 5)
        #expect(settings.operation.hangTimeout == .milliseconds(600))
        let source = settings.source
        #expect(source.url.value == "host=db dbname=shop replication=database")
        #expect(source.password?.value == " p w ")
        #expect([source.slotName, source.publicationName] == ["s1", "Pub é"])
        #expect(source.tables.map(\.description) == ["public.*", "Sales.Orders"])
        #expect(source.snapshot == .only)
        #expect(source.origin == .none)
        #expect(source.heartbeatInterval == nil)
        let sink = settings.sink
        #expect([sink.type, sink.url, sink.database, sink.schema, sink.user] == ["bulk", "http://t", "d", "s", "u"])
        #expect([sink.password?.value, sink.pipeline, sink.tableName] == ["pw", "line", "x_{schema}_{table}"])
        #expect([sink.port, sink.batchSize, sink.batchBytes, sink.memoryLimit] == [8030, 2000, 65536, 4 << 20])
        #expect(sink.flushInterval == .zero)
        #expect(sink.retry == RetryPolicy(maxRetries: 0, initial: .milliseconds(7), maximum: .milliseconds(8)))
        #expect(sink.shutdownTimeout == .milliseconds(9))
        #expect(sink.deleteMode == .soft)
        #expect(sink.postgresTruncate == .truncate)
        #expect([sink.tlsCA, sink.tlsCertificate, sink.tlsKey] == ["/ca", "/cert", "/key"])
        #expect(sink.clickhouseCluster == "c")
        #expect(sink.clickhouseCompression == .zstd)
        var starRocks = StarRocksSettings()
        starRocks.transactions = true
        starRocks.hostMap = "a:1=b:2"
        starRocks.mysqlTLS = false
        starRocks.compression = .gzip
        starRocks.replicationNumber = 1
        #expect(sink.starRocks == starRocks)
        #expect(sink.onUnrepresentable == .clamp)
        #expect(sink.onError == .deadLetter)
        #expect(sink.deadLetterURL == "/letters")
        #expect(sink.auditColumns)
        #expect(sink.stateDirectory == "/var/lib/a")
        #expect(settings.logLevel == .warning)
        #expect(settings.logFormat == .text)
    }

    @Test("an empty value counts as not set, as does one of white space", arguments: ["", "  ", "\r\n"])
    func emptyIsUnset(value: String) throws {
        let names = Variable.all.filter { $0.name != "SOURCE_URL" && !$0.name.hasSuffix("PASSWORD") }.map(\.name)
        let settings = try load(Dictionary(uniqueKeysWithValues: names.map { ($0, value) }))
        #expect(settings.sink.batchSize == 10_000)
        #expect(settings.resolved.filter { $0.name != "SOURCE_URL" }.allSatisfy { $0.origin == .default })
    }

    @Test("soft deletes need audit columns, so they are on unless forbidden")
    func softImpliesAudit() throws {
        let settings = try load(["SINK_DELETE_MODE": "soft"])
        #expect(settings.sink.auditColumns)
        #expect(settings.resolved.first { $0.name == "SINK_AUDIT_COLUMNS" }?.value == "true")
    }

    @Test("a default that does not fit another setting gives way to it")
    func defaultsGiveWay() throws {
        let small = try load(["SINK_TYPE": "bulk", "SINK_MEMORY_LIMIT_MB": "8"])
        #expect(small.sink.batchBytes == 4 << 20)
        #expect(small.resolved.first { $0.name == "SINK_BATCH_BYTES" }?.value == "4194304")
        #expect(try load(["SINK_RETRY_MAX_MS": "50"]).sink.retry.initial == .milliseconds(50))
    }

    @Test("what is odd and works is a notice")
    func notices() throws {
        let small = try load(["SINK_TYPE": "bulk", "SINK_BATCH_SIZE": "10"])
        #expect(small.notices == ["SINK_BATCH_SIZE=10 is small: bulk works best from 1000 up"])
        for url in ["postgres://u:p@db/shop", "postgres://db/shop?password=p", "host=db password=p"] {
            let settings = try load(["SOURCE_URL": url, "SOURCE_PASSWORD": "q"])
            #expect(settings.notices == ["SOURCE_PASSWORD has no effect: SOURCE_URL has a password"])
        }
        #expect(try load(["SOURCE_URL": "postgres://u@db/a:b", "SOURCE_PASSWORD": "q"]).notices.isEmpty)
    }

    @Test("every variable is resolved, in the table's order, and secrets are hidden")
    func resolved() throws {
        let settings = try load(["SINK_URL": "/data/x.db", "SOURCE_PASSWORD": "hunter2"])
        #expect(settings.resolved.map(\.name) == Variable.all.map(\.name))
        #expect(!settings.resolved.contains { $0.value?.contains("hunter2") == true })
        let url = settings.resolved.first { $0.name == "SINK_URL" }
        #expect(url == ResolvedVariable(name: "SINK_URL", value: "***", isSecret: true, origin: .environment))
        let size = settings.resolved.first { $0.name == "SINK_BATCH_SIZE" }
        #expect(size == ResolvedVariable(name: "SINK_BATCH_SIZE", value: "10000", isSecret: false, origin: .default))
        #expect(!"\(settings)".contains("hunter2"))
    }
}
