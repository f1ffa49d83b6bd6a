import CdcCore
import TestSupport
import Testing

@testable import Sinks

private let items = TableSchema("items", [ColumnDef("id", .int32), ColumnDef("name", .text), ColumnDef("note", .text)])

@Suite("SQLite sink: operations")
struct SQLiteWriteTests {
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
}
