import CdcCore
import TestSupport
import Testing

@testable import Sinks

private let items = TableSchema("items", [ColumnDef("id", .int32), ColumnDef("name", .text), ColumnDef("note", .text)])

@Suite("SQLite sink: operations")
struct SQLiteWriteTests {
    @Test("an insert adds a row, an update replaces it, a delete removes it")
    func basicOperations() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        try await file.write { $0.insert("1", "a", "x").insert("2", "b", nil).insert("3", "", "") }
        #expect(try file.rows("SELECT * FROM items") == ["1|a|x", "2|b|NULL", "3||"])
        try await file.write(lsn: 0x2000) { $0.update("2", "B", "y").delete(key: ["1", nil, nil]) }
        #expect(try file.rows("SELECT * FROM items") == ["2|B|y", "3||"])
    }

    @Test("operations on one key in one batch come to what the last one says")
    func folded() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        try await file.write {
            $0.insert("1", "a", "x").update("1", "b", "x").delete(key: ["1", nil, nil]).insert("1", "c", nil)
            $0.insert("2", "a", "x").delete(key: ["2", nil, nil])
            $0.insert("3", "a", "x").update("3", "z", "y")
        }
        #expect(try file.rows("SELECT * FROM items") == ["1|c|NULL", "3|z|y"])
    }

    @Test("an insert whose key is there replaces the row: a repeated batch changes nothing")
    func repeated() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        for lsn: UInt64 in [0x1000, 0x2000] {
            try await file.write(lsn: lsn) { $0.insert("1", "a", "x").insert("2", "b", "y") }
        }
        #expect(try file.rows("SELECT * FROM items") == ["1|a|x", "2|b|y"])
    }

    @Test("a column that an update did not touch keeps its value, whatever the mixture of masks in the batch")
    func unchangedColumns() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        try await file.write { builder in
            for id in 1...4 { builder.insert(.text("\(id)"), "old", "long") }
        }
        try await file.write(lsn: 0x2000) {
            $0.update("1", "new", .unchanged).update("2", .unchanged, "short").update("3", .unchanged, .unchanged)
            $0.update("4", nil, "full").update("1", .unchanged, "second")
        }
        #expect(
            try file.rows("SELECT * FROM items")
                == ["1|new|second", "2|old|short", "3|old|long", "4|NULL|full"]
        )
    }

    @Test("an unchanged column takes its value from the insert in the same batch")
    func unchangedAfterInsert() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        try await file.write { $0.insert("1", "a", "long").update("1", "b", .unchanged) }
        #expect(try file.rows("SELECT * FROM items") == ["1|b|long"])
    }

    @Test(
        "a partial update that finds no row is a permanent error without the row's values, and nothing of the unit stays"
    )
    func partialUpdateOfNothing() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        let error = await file.refusal { $0.insert("1", "a", "x").update("9", "secret", .unchanged) }
        #expect(error?.kind == .permanent)
        #expect(error?.table == items.ref)
        #expect(error?.lsn == LSN(rawValue: 0x2000))
        #expect(error?.cause == "the row to change is not in table \"items\" at the sink")
        #expect(error?.description.contains("secret") == false)
        #expect(try file.rows("SELECT count(*) FROM items") == ["0"])
    }

    @Test(
        "a partial update that changes no column but finds its row is no error, with more masks than statements are kept"
    )
    func manyMasks() async throws {
        let columns = [ColumnDef("id", .int32)] + (0..<80).map { ColumnDef("c\($0)", .text) }
        let wide = TableSchema("wide", columns)
        let file = try SQLiteFixture()
        try await file.start(wide)
        try await file.write { $0.insert(["1"] + Array(repeating: "old", count: 80)) }
        try await file.write(lsn: 0x2000) { builder in
            for column in 0..<80 {
                var cells: [TestCell] = ["1"] + Array(repeating: .unchanged, count: 80)
                cells[column + 1] = .text("new\(column)")
                builder.update(cells).update(["1"] + Array(repeating: .unchanged, count: 80))
            }
        }
        // Folding would make one update of them: the next batch has one key each time.
        for column in 0..<80 {
            var cells: [TestCell] = ["1"] + Array(repeating: .unchanged, count: 80)
            cells[column + 1] = .text("again\(column)")
            try await file.write(lsn: 0x3000 + UInt64(column)) { $0.update(cells) }
        }
        #expect(try file.rows("SELECT c0, c63, c64, c79 FROM wide") == ["again0|again63|again64|again79"])
    }

    @Test("a key change moves the row and keeps its unchanged columns")
    func keyChange() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        try await file.write { $0.insert("1", "a", "long") }
        try await file.write(lsn: 0x2000) {
            $0.update("5", "b", .unchanged, key: ["1", nil, nil]).update("5", "c", .unchanged)
        }
        #expect(try file.rows("SELECT * FROM items") == ["5|c|long"])
    }

    @Test("two rows swap their keys through a third key inside a transaction")
    func keySwap() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        try await file.write { $0.insert("1", "one", "long one").insert("2", "two", "long two") }
        try await file.write(lsn: 0x2000) {
            $0.update("-1", "one", .unchanged, key: ["1", nil, nil])
            $0.update("1", "two", .unchanged, key: ["2", nil, nil])
            $0.update("2", "one", .unchanged, key: ["-1", nil, nil])
        }
        #expect(try file.rows("SELECT * FROM items") == ["1|two|long two", "2|one|long one"])
    }

    @Test(
        "a key change of a row that is not there is an error where columns are missing, and writes the row where none is"
    )
    func keyChangeOfNothing() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        let error = await file.refusal { $0.update("5", "b", .unchanged, key: ["1", nil, nil]) }
        #expect(error?.kind == .permanent)
        #expect(error?.operation == "change key")
        try await file.write { $0.update("5", "b", "c", key: ["1", nil, nil]) }
        #expect(try file.rows("SELECT * FROM items") == ["5|b|c"])
    }

    @Test("a key change onto a key that is taken is an error, never a lost row")
    func keyChangeOntoRow() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        try await file.write { $0.insert("1", "a", "x").insert("2", "b", "y") }
        let error = await file.refusal { $0.update("2", "a", "x", key: ["1", nil, nil]) }
        #expect(error?.kind == .permanent)
        #expect(error?.cause.contains("SQLITE_CONSTRAINT") == true)
        #expect(try file.rows("SELECT * FROM items") == ["1|a|x", "2|b|y"])
    }

    @Test("an old key that comes along without a change of it is an ordinary update")
    func oldKeyWithoutChange() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        try await file.write { $0.insert("1", "a", "long") }
        try await file.write(lsn: 0x2000) { $0.update(.unchanged, "b", .unchanged, key: ["1", nil, nil]) }
        #expect(try file.rows("SELECT * FROM items") == ["1|b|long"])
    }

    @Test("composite keys, in the key's order, find their rows")
    func compositeKey() async throws {
        let table = TableSchema(
            "lines",
            [ColumnDef("n", .int32), ColumnDef("value", .text), ColumnDef("doc", .text)],
            key: [2, 0]
        )
        let file = try SQLiteFixture()
        try await file.start(table)
        try await file.write { $0.insert("1", "a", "x").insert("1", "b", "y").insert("2", "c", "x") }
        try await file.write(lsn: 0x2000) {
            $0.update("1", "A", "x").delete(key: ["1", nil, "y"]).update("3", .unchanged, "x", key: ["2", nil, "x"])
        }
        #expect(try file.rows("SELECT * FROM lines ORDER BY n") == ["1|A|x", "3|c|x"])
        #expect(try file.rows("SELECT name FROM pragma_table_info('lines') WHERE pk > 0 ORDER BY pk") == ["doc", "n"])
    }

    @Test("text keys are compared by bytes: é and e with a combining accent are two rows")
    func textKeys() async throws {
        let table = TableSchema("words", [ColumnDef("word", .text), ColumnDef("n", .int32)])
        let file = try SQLiteFixture()
        try await file.start(table)
        try await file.write {
            $0.insert("\u{E9}", "1").insert("e\u{301}", "2").insert("", "3").insert("A", "4").insert("a", "5")
        }
        try await file.write(lsn: 0x2000) { $0.delete(key: ["\u{E9}", nil]).update("a", "6").update("", "7") }
        #expect(try file.rows("SELECT n FROM words ORDER BY n") == ["2", "4", "6", "7"])
    }

    @Test("floating point, numeric and bytea keys keep the bytes that the stream names them by")
    func exactKeys() async throws {
        let columns = [
            ColumnDef("f", .float64), ColumnDef("d", .decimal(precision: nil, scale: nil)), ColumnDef("b", .bytes),
        ]
        let table = TableSchema("exact", columns, key: [0, 1, 2])
        let file = try SQLiteFixture()
        try await file.start(table)
        try await file.write {
            $0.insert("0", "1.1", "\\x00").insert("-0", "1.1", "\\x00").insert("0", "1.10", "\\x00")
            $0.insert("NaN", "NaN", "\\x").insert("0", "1.1", "\\x0000")
        }
        try await file.write(lsn: 0x2000) {
            $0.delete(key: ["-0", "1.1", "\\x00"]).delete(key: ["NaN", "NaN", "\\x"])
        }
        #expect(
            try file.rows("SELECT f, d, b FROM exact ORDER BY d, b") == [
                "0|1.1|x'00'", "0|1.1|x'0000'", "0|1.10|x'00'",
            ]
        )
    }

    @Test("boolean keys and keys alone in their table work")
    func smallTables() async throws {
        let flags = TableSchema("flags", [ColumnDef("on", .boolean)])
        let file = try SQLiteFixture()
        try await file.start(flags)
        try await file.write { $0.insert("t").insert("f") }
        try await file.write(lsn: 0x2000) { $0.insert("t").update("f").update("t", old: ["t"]).delete(key: ["f"]) }
        #expect(try file.rows("SELECT * FROM flags") == ["1"])
    }

    @Test("a truncate removes what came before it in the batch and nothing that came after")
    func truncate() async throws {
        let other = TableSchema("other", items.columns)
        let file = try SQLiteFixture()
        try await file.start(items, other)
        try await file.write { $0.insert("1", "a", "x").insert("1", "other", "x", table: 1) }
        try await file.write(lsn: 0x2000) {
            $0.insert("2", "b", "x").truncate().insert("3", "c", "x").update("3", "d", .unchanged)
        }
        #expect(try file.rows("SELECT * FROM items") == ["3|d|x"])
        #expect(try file.rows("SELECT * FROM other") == ["1|other|x"])
    }

    @Test("one batch over several tables writes each row to its own")
    func severalTables() async throws {
        let other = TableSchema("other", [ColumnDef("k", .text), ColumnDef("v", .int64)])
        let file = try SQLiteFixture()
        try await file.start(items, other)
        try await file.write {
            $0.insert("1", "a", nil).insert("k1", "10", table: 1).insert("2", "b", nil).insert("k2", "20", table: 1)
            $0.update("k1", "11", table: 1).delete(key: ["1", nil, nil])
        }
        #expect(try file.rows("SELECT * FROM items") == ["2|b|NULL"])
        #expect(try file.rows("SELECT * FROM other ORDER BY k") == ["k1|11", "k2|20"])
    }

    @Test("names with quotes, keywords, spaces and other scripts are taken as they are")
    func oddNames() async throws {
        let table = TableSchema(
            "select \"x\"; --",
            [ColumnDef("order", .int32), ColumnDef("a \"b\"", .text), ColumnDef("größe", .text)]
        )
        let file = try SQLiteFixture()
        try await file.start(table)
        try await file.write { $0.insert("1", "a", "b") }
        try await file.write(lsn: 0x2000) {
            $0.update("1", .unchanged, "c").update("2", "d", .unchanged, key: ["1", nil, nil])
        }
        #expect(try file.rows("SELECT \"order\", \"a \"\"b\"\"\", größe FROM \"select \"\"x\"\"; --\"") == ["2|d|c"])
    }
}
