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

    @Test("equal rows stay apart; a delete removes one copy, an update changes one")
    func duplicates() async throws {
        let file = try SQLiteFixture()
        try await file.start(log)
        try await file.write { builder in
            for _ in 1...3 { builder.insert("1", "1.5", "a") }
            builder.insert("2", nil, nil).insert("2", nil, nil)
        }
        try await file.write(lsn: 0x2000) {
            $0.delete(old: ["1", "1.5", "a"]).update("1", "1.5", "b", old: ["1", "1.5", "a"])
            $0.delete(old: ["2", nil, nil])
        }
        #expect(
            try file.rows("SELECT n, f, text FROM log ORDER BY n, text") == ["1|1.5|a", "1|1.5|b", "2|NULL|NULL"]
        )
    }

    @Test("changes of one row one after the other are not folded away")
    func chain() async throws {
        let file = try SQLiteFixture()
        try await file.start(log)
        try await file.write {
            $0.insert("1", nil, "a").update("1", nil, "b", old: ["1", nil, "a"])
            $0.update("2", nil, .unchanged, old: ["1", nil, "b"]).insert("1", nil, "a").delete(old: ["2", nil, "b"])
        }
        #expect(try file.rows("SELECT n, f, text FROM log") == ["1|NULL|a"])
    }

    @Test("-0 and 0, NaN and NULL are told apart by their values")
    func exactValues() async throws {
        let file = try SQLiteFixture()
        try await file.start(log)
        try await file.write {
            $0.insert("1", "0", nil).insert("1", "-0", nil).insert("1", "0", nil).insert("1", "NaN", nil).insert(
                "1",
                nil,
                nil
            )
        }
        try await file.write(lsn: 0x2000) {
            $0.update("2", "-0", nil, old: ["1", "-0", nil]).update("3", "NaN", nil, old: ["1", "NaN", nil])
            $0.delete(old: ["1", "0", nil]).delete(old: ["1", "0", nil])
        }
        #expect(try file.rows("SELECT n, f, text FROM log ORDER BY n") == ["1|NULL|NULL", "2|-0|NULL", "3|NaN|NULL"])
    }

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
