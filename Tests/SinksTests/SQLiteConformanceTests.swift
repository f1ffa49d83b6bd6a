import CdcCore
import SinkConformance
import Sinks
import TestSupport
import Testing

@Suite("SQLite sink: conformance")
struct SQLiteConformanceTests {
    @Test("the contract of Sink", arguments: Conformance.checks)
    func conformance(_ check: Conformance.Check) async throws {
        try await check.run(try SQLiteTarget())
    }
}

/// A SQLite file in a directory of its own, seen through connections of its own.
private final class SQLiteTarget: ConformanceTarget {
    let sinkType: any Sink.Type = SQLiteSink.self
    let meaningfulVariables: Set<String> = []
    private let directory: String
    private let path: String
    private var lock: SQLiteFile?

    init() throws {
        directory = try makeTemporaryDirectory("sqlite-conformance")
        path = directory + "/sink.db"
    }

    deinit { removeTree(directory) }

    func config() throws -> SinkConfig {
        SinkConfig(type: SQLiteSink.name, url: path, capabilities: SQLiteSink.capabilities)
    }

    let refusedValues = [
        RefusedValue(.text, oid: 25, "text", [0x61, 0xFF, 0x62]),
        RefusedValue(.text, oid: 25, "text", [0xED, 0xA0, 0x80]),
        RefusedValue(.int32, oid: 23, "integer", Array("4711x".utf8)),
        RefusedValue(.int64, oid: 20, "bigint", Array("9223372036854775808".utf8)),
        RefusedValue(.boolean, oid: 16, "boolean", Array("true".utf8)),
        RefusedValue(.float64, oid: 701, "double precision", Array("1.5x9".utf8)),
        RefusedValue(.bytes, oid: 17, "bytea", Array("\\x0g0g".utf8)),
    ]

    func rows(of table: TableSchema) throws -> [[String?]] {
        let file = try SQLiteFile(path)
        let isMarked = try file.value(
            "SELECT count(*) FROM pragma_table_info(?) WHERE name='dbmazz_is_deleted'",
            [.string(table.sinkName)]
        )
        return try select(table, file, more: "", isMarked == .integer(1) ? " WHERE dbmazz_is_deleted=0" : "").map {
            row in
            table.columns.indices.map { Self.text(row[$0], table.columns[$0].type) }
        }
    }

    func auditedRows(of table: TableSchema) throws -> [AuditedRow] {
        let more = ", dbmazz_op_type, dbmazz_is_deleted, dbmazz_cdc_version"
        return try select(table, try SQLiteFile(path), more: more, "").map { row in
            let count = table.columns.count
            return AuditedRow(
                values: table.columns.indices.map { Self.text(row[$0], table.columns[$0].type) },
                operation: row[count] == .integer(2) ? 2 : row[count] == .integer(1) ? 1 : 0,
                isDeleted: row[count + 1] == .integer(1),
                version: Self.text(row[count + 2], .text) ?? ""
            )
        }
    }

    private func select(_ table: TableSchema, _ file: SQLiteFile, more: String, _ condition: String) throws
        -> [[SQLiteValue]]
    {
        func quoted(_ name: String) -> String {
            "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
        }
        let columns = table.columns.map { quoted($0.name) }.joined(separator: ", ")
        return try file.query("SELECT \(columns)\(more) FROM \(quoted(table.sinkName))\(condition)")
    }

    /// What PostgreSQL prints for what the file holds.
    private static func text(_ value: SQLiteValue, _ type: DataType) -> String? {
        switch value {
        case .null: nil
        case .integer(let number): type == .boolean ? (number == 1 ? "t" : "f") : "\(number)"
        case .real(let number): "\(number)"
        case .text(let bytes): String(decoding: bytes, as: UTF8.self)
        case .blob(let bytes): "\\x" + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
    }

    func fingerprint() throws -> String {
        guard readFile(path) != nil else { return "no file" }
        let file = try SQLiteFile(path)
        var parts = ["\(try file.query("SELECT name, sql FROM sqlite_schema ORDER BY name"))"]
        for table in ["dbmazz_position", "dbmazz_table"] where try file.hasTable(table) {
            parts.append("\(try file.query("SELECT * FROM \(table) ORDER BY 1, 2, 3"))")
        }
        return parts.joined(separator: "\n")
    }

    /// A lock: a file cannot be away in any other way that passes.
    func interrupt(_ how: Interruption) throws {
        let file = try SQLiteFile(path, create: true)
        try file.lockExclusively()
        lock = file
    }

    func resume() throws {
        try lock?.unlock()
        lock = nil
    }
}
