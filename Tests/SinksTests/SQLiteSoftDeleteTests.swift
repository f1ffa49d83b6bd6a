import CdcCore
import TestSupport
import Testing

@testable import Sinks

private let items = TableSchema("items", [ColumnDef("id", .int32), ColumnDef("v", .text), ColumnDef("long", .text)])

@Suite("SQLite sink: audit columns and soft deletes")
struct SQLiteSoftDeleteTests {
    private static func soft(_ config: inout SinkConfig) {
        config.auditColumns = true
        config.deleteMode = .soft
    }

    private let audited =
        "SELECT id, v, long, dbmazz_op_type, dbmazz_is_deleted, dbmazz_cdc_version FROM items ORDER BY id"

    @Test("audit columns hold the operation, the version and the time of writing")
    func audit() async throws {
        let file = try SQLiteFixture { $0.auditColumns = true }
        try await file.start(items)
        try await file.write(lsn: 0xAB) { $0.insert("1", "a", "l").insert("2", "b", "l").insert("3", "c", "l") }
        try await file.write(lsn: 0x1_0000_00CD) {
            $0.update("1", "A", .unchanged).update("9", "B", "l", key: ["2", nil, nil]).delete(key: ["3", nil, nil])
        }
        #expect(
            try file.rows(audited) == [
                "1|A|l|1|0|00000001000000cd0000000000000001",
                "9|B|l|1|0|00000001000000cd0000000000000002",
            ]
        )
        let times = try file.rows("SELECT DISTINCT dbmazz_synced_at FROM items")
        #expect(times.count == 1)
        #expect(try file.rows("SELECT abs(julianday('now') - julianday('\(times[0])')) < 0.01") == ["1"])
        #expect(times[0].utf8.count == 24 && times[0].hasSuffix("Z"))
    }

    @Test("without a key, one copy that is not yet deleted is marked")
    func keyless() async throws {
        let log = TableSchema("log", [ColumnDef("n", .int32)], key: [], identity: .full)
        let file = try SQLiteFixture(Self.soft)
        try await file.start(log)
        try await file.write(lsn: 0x10) { $0.insert("1").insert("1").insert("1") }
        try await file.write(lsn: 0x20) { $0.delete(old: ["1"]).delete(old: ["1"]) }
        #expect(try file.rows("SELECT sum(dbmazz_is_deleted), count(*) FROM log") == ["2|3"])
        try await file.write(lsn: 0x30) { $0.update("2", old: ["1"]) }
        #expect(try file.rows("SELECT n, dbmazz_is_deleted FROM log ORDER BY n, 2") == ["1|1", "1|1", "2|0"])
        #expect(await file.refusal(lsn: 0x40) { $0.delete(old: ["1"]) }?.operation == "delete by values")
    }
}
