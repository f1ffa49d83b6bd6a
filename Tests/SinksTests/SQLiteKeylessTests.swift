import CdcCore
import TestSupport
import Testing

@testable import Sinks

@Suite("SQLite sink: tables without a key")
struct SQLiteKeylessTests {
    private let log = TableSchema(
        "log",
        [ColumnDef("n", .int32), ColumnDef("f", .float64), ColumnDef("text", .text)],
        key: [],
        identity: .full
    )

    @Test("a delete that finds no row is a permanent error")
    func missing() async throws {
        let file = try SQLiteFixture()
        try await file.start(log)
        let error = await file.refusal { $0.insert("1", nil, "a").delete(old: ["1", nil, "secret"]) }
        #expect(error?.kind == .permanent)
        #expect(error?.operation == "delete by values")
        #expect(error?.description.contains("secret") == false)
        #expect(try file.rows("SELECT * FROM log").isEmpty)
    }

    @Test("ten thousand deletes of ten thousand rows use the index over the narrow columns")
    func manyDeletes() async throws {
        let file = try SQLiteFixture()
        try await file.start(log)
        try await file.write { builder in
            for n in 0..<10_000 { builder.insert(.text("\(n)"), "1.5", "a") }
        }
        let plan = try file.rows("EXPLAIN QUERY PLAN SELECT rowid FROM log WHERE n IS 1 AND f IS 2 AND text IS 'a'")
        #expect(plan.contains { $0.contains("dbmazz_old_row_log (n=? AND f=?)") })
        try await file.write(lsn: 0x2000) { builder in
            for n in (0..<10_000).reversed() { builder.delete(old: [.text("\(n)"), "1.5", "a"]) }
        }
        #expect(try file.rows("SELECT count(*) FROM log") == ["0"])
    }

    @Test("a column named rowid does not hide SQLite's row number")
    func rowidColumn() async throws {
        let table = TableSchema("r", [ColumnDef("rowid", .text), ColumnDef("OID", .int32)], key: [], identity: .full)
        let file = try SQLiteFixture()
        try await file.start(table)
        try await file.write { $0.insert("a", "1").insert("a", "1").insert("b", "2") }
        try await file.write(lsn: 0x2000) { $0.delete(old: ["a", "1"]).update("b", "3", old: ["b", "2"]) }
        #expect(try file.query("SELECT \"rowid\", \"OID\" FROM r").count == 2)
    }

    @Test("a table of 1600 columns is searched by all of them")
    func widest() async throws {
        let columns = (0..<1600).map { ColumnDef("c\($0)", .int32) }
        let table = TableSchema("widest", columns, key: [], identity: .full)
        let file = try SQLiteFixture()
        try await file.start(table)
        let row: [TestCell] = (0..<1600).map { .text("\($0)") }
        try await file.write { $0.insert(row).insert(row) }
        try await file.write(lsn: 0x2000) { $0.delete(old: row) }
        #expect(try file.rows("SELECT count(*) FROM widest") == ["1"])
    }
}
