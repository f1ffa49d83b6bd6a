import CdcCore
import SinkConformance
import Sinks
import Synchronization
import TestSupport
import Testing

extension Integration {
    @Suite("Contract of Sink at a ClickHouse target") struct ClickHouseConformanceTests {
        @Test("conformance", arguments: Conformance.checks)
        func conformance(_ check: Conformance.Check) async throws {
            let target = try ClickHouseTarget()
            defer { target.remove() }
            try await check.run(target)
        }
    }
}

/// A database of its own on the suite's server, behind a proxy that can be made bad.
private final class ClickHouseTarget: ConformanceTarget {
    let sinkType: any Sink.Type = ClickHouseSink.self
    let meaningfulVariables: Set<String> = [
        "SINK_PORT", "SINK_DATABASE", "SINK_USER", "SINK_PASSWORD", "SINK_TLS_CA", "SINK_TLS_CERT",
        "SINK_CLICKHOUSE_CLUSTER", "SINK_CLICKHOUSE_COMPRESSION",
    ]
    private let server: ClickHouseServer
    private let proxy: TcpProxy
    private let database: String

    private static let shared = Mutex<ClickHouseServer?>(nil)
    private static let count = Atomic<Int>(0)

    init() throws {
        server = try Self.shared.withLock { shared in
            if let shared { return shared }
            let server = try ClickHouseServer.started()
            shared = server
            return server
        }
        database = "check\(Self.count.add(1, ordering: .relaxed).newValue)"
        try server.query("CREATE DATABASE \(database)")
        proxy = try TcpProxy(target: server.port)
    }

    private var client: ClickHouseClient { server.client(database: database) }

    func remove() {
        proxy.stop()
        _ = try? server.query("DROP DATABASE \(database)")
    }

    func config() throws -> SinkConfig {
        var config = SinkConfig(
            type: ClickHouseSink.name,
            url: "http://127.0.0.1:\(proxy.port)",
            capabilities: ClickHouseSink.capabilities
        )
        config.database = database
        return config
    }

    let refusedValues = [
        RefusedValue(.date, oid: 1082, "date", Array("infinity".utf8)),
        RefusedValue(.timestampTz, oid: 1184, "timestamp with time zone", Array("0044-03-15 12:00:00+00 BC".utf8)),
        RefusedValue(.decimal(precision: 10, scale: 2), oid: 1700, "numeric(10,2)", Array("NaN".utf8)),
        RefusedValue(.int32, oid: 23, "integer", Array("2147483648".utf8)),
        RefusedValue(.uuid, oid: 2950, "uuid", Array("hunter2".utf8)),
    ]

    var traits: ConformanceTraits {
        var traits = ConformanceTraits()
        traits.randomUnits = 6
        return traits
    }

    private func columns(_ table: TableSchema) -> [(name: String, typeOID: UInt32)] {
        table.columns.map { ($0.name, $0.postgresType.oid) }
    }

    func rows(of table: TableSchema) throws -> [[String?]] {
        try client.postgresRows(of: table.sinkName, columns: columns(table))
    }

    func auditedRows(of table: TableSchema) throws -> [AuditedRow] {
        let more = ["dbmazz_op_type", "dbmazz_is_deleted", "lower(hex(dbmazz_cdc_version))"]
        let rows = try client.postgresRows(
            of: table.sinkName,
            columns: columns(table),
            more: more,
            onlyLive: false
        )
        return rows.map { row in
            let version = row[row.count - 1] ?? ""
            return AuditedRow(
                values: Array(row.dropLast(3)),
                operation: row[row.count - 3].flatMap { Int($0) } ?? -1,
                isDeleted: row[row.count - 2] == "1",
                version: String(repeating: "0", count: max(0, 32 - version.count)) + version
            )
        }
    }

    func fingerprint() throws -> String {
        var rows = try server.query(
            "SELECT table, name, type FROM system.columns WHERE database = '\(database)' ORDER BY table, position"
        )
        for table in ["dbmazz_position", "dbmazz_table"] where rows.contains(where: { $0[0] == table }) {
            rows += try client.query("SELECT * FROM \(table) FINAL ORDER BY ALL")
        }
        return "\(rows)"
    }

    func interrupt(_ how: Interruption) throws {
        switch how {
        case .refused: proxy.refuse()
        case .silent: proxy.stall()
        }
    }

    func resume() throws { proxy.resume() }
}
