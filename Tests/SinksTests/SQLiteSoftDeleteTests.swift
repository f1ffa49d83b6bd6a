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

    @Test("a row of the initial copy has ordinal 0, so that it sorts before every change of its commit")
    func copied() async throws {
        let file = try SQLiteFixture { $0.auditColumns = true }
        let builder = try await file.start(items)
        builder.begin(lsn: 0xAB).insert(["1", "a", "l"], ordinal: 0)
        try await file.write(builder)
        #expect(try file.rows("SELECT dbmazz_cdc_version FROM items") == ["00000000000000ab0000000000000000"])
    }

    @Test("a deleted row stays, marked, with its values; an insert of its key brings it back")
    func deleted() async throws {
        let file = try SQLiteFixture(Self.soft)
        try await file.start(items)
        try await file.write(lsn: 0x10) { $0.insert("1", "a", "l").insert("2", "b", "l") }
        try await file.write(lsn: 0x20) {
            $0.delete(key: ["1", nil, nil]).delete(key: ["2", nil, nil]).insert("2", "c", nil)
        }
        #expect(
            try file.rows(audited) == [
                "1|a|l|2|1|00000000000000200000000000000001", "2|c|NULL|0|0|00000000000000200000000000000003",
            ]
        )
        try await file.write(lsn: 0x30) { $0.insert("1", "d", "m") }
        #expect(try file.rows(audited).first == "1|d|m|0|0|00000000000000300000000000000001")
    }

    @Test("a row that is inserted and deleted in one batch is as marked as in two batches")
    func insertedAndDeleted() async throws {
        let file = try SQLiteFixture(Self.soft)
        try await file.start(items)
        try await file.write(lsn: 0x10) {
            $0.insert("1", "a", "l").update("1", "b", .unchanged).delete(key: ["1", nil, nil])
        }
        #expect(try file.rows(audited) == ["1|b|l|2|1|00000000000000100000000000000003"])
    }

    @Test("a key change takes the place of a deleted row")
    func keyChangeOntoDeleted() async throws {
        let file = try SQLiteFixture(Self.soft)
        try await file.start(items)
        try await file.write(lsn: 0x10) { $0.insert("1", "a", "l").insert("2", "b", "l").delete(key: ["2", nil, nil]) }
        try await file.write(lsn: 0x20) { $0.update("2", "A", .unchanged, key: ["1", nil, nil]) }
        #expect(try file.rows(audited) == ["2|A|l|1|0|00000000000000200000000000000001"])
    }

    @Test("a truncate marks the rows that are there, not those that were deleted before or come after")
    func truncated() async throws {
        let file = try SQLiteFixture(Self.soft)
        try await file.start(items)
        try await file.write(lsn: 0x10) { $0.insert("1", "a", "l").insert("2", "b", "l").delete(key: ["1", nil, nil]) }
        try await file.write(lsn: 0x20) { $0.truncate().insert("3", "c", "l") }
        #expect(
            try file.rows("SELECT id, dbmazz_is_deleted, dbmazz_cdc_version FROM items ORDER BY id") == [
                "1|1|00000000000000100000000000000003", "2|1|00000000000000200000000000000001",
                "3|0|00000000000000200000000000000002",
            ]
        )
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
