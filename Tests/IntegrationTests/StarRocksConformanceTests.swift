import CdcCore
import SinkConformance
import Sinks
import Synchronization
import TestSupport
import Testing

extension Integration {
    @Suite("Contract of Sink at a StarRocks target") struct StarRocksConformanceTests {
        @Test("conformance", arguments: Conformance.checks)
        func conformance(_ check: Conformance.Check) async throws {
            let target = try StarRocksTarget()
            defer { target.remove() }
            try await check.run(target)
            var violations = try target.violations()
            // Of two daemons both want the position's next label, and the target lets one of them have it.
            if check.description.contains("one daemon at a time") {
                violations.removeAll { $0.hasPrefix("labelReuse: dbmazz_") }
            }
            #expect(violations == [])
        }
    }
}

/// A database of its own on the suite's emulator, behind proxies that can be made bad.
private final class StarRocksTarget: ConformanceTarget {
    let sinkType: any Sink.Type = StarRocksSink.self
    let meaningfulVariables: Set<String> = [
        "SINK_PORT", "SINK_DATABASE", "SINK_USER", "SINK_PASSWORD", "SINK_TLS_CA", "SINK_TLS_CERT",
        "SINK_STARROCKS_TRANSACTIONS", "SINK_STARROCKS_HOST_MAP", "SINK_STARROCKS_COMPRESSION",
        "SINK_STARROCKS_REPLICATION_NUM", "SINK_STARROCKS_MYSQL_TLS",
    ]
    private let server: StarRocksServer
    /// To the front end, the back end and the MySQL port.
    private let proxies: [TcpProxy]
    private let database: String

    private static let shared = Mutex<StarRocksServer?>(nil)
    private static let count = Atomic<Int>(0)

    init() throws {
        server = try Self.shared.withLock { shared in
            if let shared { return shared }
            let server = try StarRocksServer.started()
            shared = server
            return server
        }
        database = "check\(Self.count.add(1, ordering: .relaxed).newValue)"
        try server.reset()
        try server.query("CREATE DATABASE \(database)")
        proxies = try [server.httpPort, server.backEndPort, server.mysqlPort].map { try TcpProxy(target: $0) }
    }

    func remove() {
        for proxy in proxies { proxy.stop() }
        _ = try? server.query("DROP DATABASE \(database)")
    }

    func violations() throws -> [String] { try server.violations() }

    func config() throws -> SinkConfig {
        var config = SinkConfig(
            type: StarRocksSink.name,
            url: "http://127.0.0.1:\(proxies[0].port)",
            capabilities: StarRocksSink.capabilities
        )
        config.port = proxies[2].port
        config.database = database
        config.starRocks.hostMap = "127.0.0.1:\(server.backEndPort)=127.0.0.1:\(proxies[1].port)"
        return config
    }

    let refusedValues = [
        RefusedValue(.date, oid: 1082, "date", Array("infinity".utf8)),
        RefusedValue(.timestampTz, oid: 1184, "timestamp with time zone", Array("0044-03-15 12:00:00+00 BC".utf8)),
        RefusedValue(.decimal(precision: 10, scale: 2), oid: 1700, "numeric(10,2)", Array("NaN".utf8)),
        RefusedValue(.int32, oid: 23, "integer", Array("2147483648".utf8)),
        RefusedValue(.float64, oid: 701, "double precision", Array("Infinity".utf8)),
    ]

    var traits: ConformanceTraits {
        var traits = ConformanceTraits()
        traits.randomUnits = 10
        traits.refusedNames = ["tab\tline\nend"]
        traits.refusedTableNames = ["/* no comment"]
        traits.holdsNotANumber = false
        traits.longestText = 1_048_576
        return traits
    }

    private func columns(_ table: TableSchema) -> [(name: String, typeOID: UInt32)] {
        table.columns.map { ($0.name, $0.postgresType.oid) }
    }

    func rows(of table: TableSchema) throws -> [[String?]] {
        try server.postgresRows(of: table.sinkName, database: database, columns: columns(table))
    }

    func auditedRows(of table: TableSchema) throws -> [AuditedRow] {
        let rows = try server.postgresRows(
            of: table.sinkName,
            database: database,
            columns: columns(table),
            more: ["dbmazz_op_type", "dbmazz_is_deleted", "dbmazz_cdc_version"],
            onlyLive: false
        )
        return rows.map { row in
            let version = row[row.count - 1].flatMap { UInt128($0) }.map { String($0, radix: 16) } ?? ""
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
            "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE FROM information_schema.columns "
                + "WHERE TABLE_SCHEMA = '\(database)' ORDER BY TABLE_NAME, ORDINAL_POSITION"
        )
        for (table, key) in [("dbmazz_position", "revision"), ("dbmazz_table", "id")]
        where rows.contains(where: { $0[0] == table }) {
            rows += try server.query("SELECT * FROM \(database).\(table) ORDER BY \(key)")
        }
        return "\(rows)"
    }

    func interrupt(_ how: Interruption) throws {
        for proxy in proxies {
            switch how {
            case .refused: proxy.refuse()
            case .silent: proxy.stall()
            }
        }
    }

    func resume() throws { for proxy in proxies { proxy.resume() } }
}
