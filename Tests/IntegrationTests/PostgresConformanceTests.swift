import CdcCore
import SinkConformance
import Sinks
import Synchronization
import TestSupport
import Testing

extension Integration {
    @Suite("Contract of Sink at a PostgreSQL target") struct PostgresConformanceTests {
        @Test("conformance", arguments: Conformance.checks)
        func conformance(_ check: Conformance.Check) async throws {
            let target = try PostgresTarget()
            defer { target.remove() }
            try await check.run(target)
        }
    }
}

/// A database of its own on the suite's server, behind a proxy that can be made bad.
private final class PostgresTarget: ConformanceTarget {
    let sinkType: any Sink.Type = PostgresSink.self
    let meaningfulVariables: Set<String> = [
        "SINK_PORT", "SINK_DATABASE", "SINK_SCHEMA", "SINK_USER", "SINK_PASSWORD", "SINK_POSTGRES_TRUNCATE",
    ]
    private let server: PostgresServer
    private let proxy: TcpProxy
    private let database: String
    private var connection: PgClient?

    /// One server for all checks; commits without fsync, because nothing here takes the machine's power away.
    private static let shared = Mutex<PostgresServer?>(nil)
    private static let count = Atomic<Int>(0)

    init() throws {
        server = try Self.shared.withLock { shared in
            if let shared { return shared }
            let server = try PostgresServer.started(fsync: false)
            shared = server
            return server
        }
        database = "check\(Self.count.add(1, ordering: .relaxed).newValue)"
        // From version 15 on the default writes the whole template to the WAL.
        let strategy = server.majorVersion >= 15 ? " STRATEGY file_copy" : ""
        try server.connect().execute("CREATE DATABASE \(database)\(strategy)")
        proxy = try TcpProxy(target: server.port)
    }

    /// What looks at the target: not through the proxy.
    private func client() throws -> PgClient {
        if let connection { return connection }
        let opened = try server.connect(database: database)
        connection = opened
        return opened
    }

    func remove() {
        connection = nil
        proxy.stop()
        try? server.connect().execute("DROP DATABASE \(database) WITH (FORCE)")
    }

    func config() throws -> SinkConfig {
        let url = server.url(database: database, port: proxy.port)
        return SinkConfig(type: PostgresSink.name, url: url, capabilities: PostgresSink.capabilities)
    }

    let refusedValues = [
        RefusedValue(.text, oid: 25, "text", [0x61, 0xFF, 0x62], isBinary: true),
        RefusedValue(.text, oid: 25, "text", [0x61, 0, 0x62], isBinary: true),
        RefusedValue(.json, oid: 114, "json", Array("{hunter2".utf8), isBinary: true),
        RefusedValue(.jsonb, oid: 3802, "jsonb", [1] + Array("[hunter2]".utf8), isBinary: true),
    ]

    var traits: ConformanceTraits {
        var traits = ConformanceTraits()
        traits.randomUnits = 25
        return traits
    }

    func rows(of table: TableSchema) throws -> [[String?]] {
        let client = try client()
        let isMarked = try client.value(
            "SELECT 1 FROM pg_attribute WHERE attrelid = $1::regclass AND attname = 'dbmazz_is_deleted'",
            [name(table)]
        )
        return try client.query(
            "SELECT \(columns(table)) FROM \(name(table))\(isMarked == nil ? "" : " WHERE NOT dbmazz_is_deleted")"
        )
    }

    func auditedRows(of table: TableSchema) throws -> [AuditedRow] {
        let more = "dbmazz_op_type, dbmazz_is_deleted, dbmazz_cdc_version"
        let client = try client()
        return try client.query("SELECT \(columns(table)), \(more) FROM \(name(table))").map { row in
            AuditedRow(
                values: Array(row.dropLast(3)),
                operation: row[row.count - 3].flatMap { Int($0) } ?? -1,
                isDeleted: row[row.count - 2] == "t",
                version: row[row.count - 1] ?? ""
            )
        }
    }

    private func quoted(_ name: String) -> String {
        "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
    }

    private func name(_ table: TableSchema) -> String { "\(quoted(table.ref.schema)).\(quoted(table.sinkName))" }

    private func columns(_ table: TableSchema) -> String {
        table.columns.map { quoted($0.name) }.joined(separator: ", ")
    }

    func fingerprint() throws -> String {
        let client = try client()
        var rows = try client.query(
            """
            SELECT n.nspname, c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_namespace n
            LEFT JOIN pg_class c ON c.relnamespace = n.oid LEFT JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1, 2, a.attnum
            """
        )
        for table in ["dbmazz.position", "dbmazz.source_table"]
        where try client.value("SELECT to_regclass($1)", [table]) != nil {
            rows += try client.query("SELECT t::text FROM \(table) t ORDER BY 1")
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
