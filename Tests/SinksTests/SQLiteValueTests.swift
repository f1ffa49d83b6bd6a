import CdcCore
import TestSupport
import Testing

@testable import Sinks

@Suite("SQLite sink: values")
struct SQLiteValueTests {
    /// Writes texts of one type into a column that is no key, and reads what another connection sees.
    private func roundTrip(_ type: DataType, _ texts: [String]) async throws -> [SQLiteValue] {
        let file = try SQLiteFixture()
        try await file.start(TableSchema("t", [ColumnDef("id", .int32), ColumnDef("v", type)]))
        try await file.write { builder in
            for (id, text) in texts.enumerated() { builder.insert(.text("\(id)"), .text(text)) }
        }
        return try file.query("SELECT v FROM t ORDER BY id").map { $0[0] }
    }

    @Test("integers keep their whole range")
    func integers() async throws {
        let texts = ["0", "-1", "9223372036854775807", "-9223372036854775808", "4294967295", "-32768"]
        for type: DataType in [.int16, .int32, .int64, .uint32] {
            #expect(try await roundTrip(type, texts) == texts.map { SQLiteValue.integer(Int64($0) ?? 0) })
        }
    }

    @Test("booleans are 1 and 0")
    func booleans() async throws {
        #expect(try await roundTrip(.boolean, ["t", "f"]) == [.integer(1), .integer(0)])
    }

    @Test("floating point values keep their bits, the infinities too; NaN and -0 are texts")
    func floats() async throws {
        let texts = [
            "0", "1", "0.1", "1e-45", "5e-324", "-2.2250738585072014e-308", "1.7976931348623157e+308",
            "3.4028235e+38", "Infinity", "-Infinity", "123456789012345680", "100000000000000000000",
        ]
        let values = try await roundTrip(.float64, texts + ["NaN", "-0"])
        let bits = values.map { value -> UInt64? in
            guard case .real(let number) = value else { return nil }
            return number.bitPattern
        }
        #expect(bits == texts.map { Double($0)?.bitPattern } + [nil, nil])
        #expect(values.suffix(2) == [.string("NaN"), .string("-0")])
    }

    @Test("what SQLite has no type for stays PostgreSQL's text, byte for byte")
    func texts() async throws {
        let texts = [
            "1.10", "NaN", "-Infinity", "12e5", "0001", " 1", "", "NULL", "1e400", "-$1,234,567.89", "12300",
            "18446744073709551615", "24:00:00", "4713-01-01 BC", "infinity", "294276-12-31 23:59:59.999999+00",
            "12e50000-0000-0000-0000-000000000000", "{\"a\":1, \"a\" : 2}", "{\"a,b\",\"NULL\",NULL,\"\"}",
            "[0:1]={7,NULL}",
            "(1,\"x,\"\"y\"\"\",)", "[2,6)", "10101", "::1/64", "ab   ", "a\nb\t\\N\r", "\u{1}\u{7F}",
            "\u{E9}e\u{301}😀\u{FFFF}",
        ]
        let types: [DataType] = [
            .decimal(precision: 10, scale: 2), .string, .text, .json, .jsonb, .uuid, .date, .time, .timestamp,
            .timestampTz,
            .other, .uint64,
        ]
        for type in types {
            #expect(try await roundTrip(type, texts) == texts.map { SQLiteValue.string($0) })
        }
    }

    @Test("a numeric of 131072 digits and a text of ten megabytes come back whole")
    func long() async throws {
        let numeric = String(repeating: "9", count: 131_072) + ".5"
        #expect(try await roundTrip(.decimal(precision: nil, scale: nil), [numeric]) == [.string(numeric)])
        let text = String(repeating: "0123456789 äöü ", count: 600_000)
        #expect(try await roundTrip(.text, [text]) == [.string(text)])
    }

    @Test("bytea becomes its bytes: none, all 256, and more than a block of scratch memory")
    func bytea() async throws {
        func hex(_ bytes: [UInt8]) -> String {
            "\\x" + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
        let values: [[UInt8]] = [[], [0], Array(0...255), Array(repeating: 0xA5, count: 200_000)]
        #expect(try await roundTrip(.bytes, values.map(hex)) == values.map { SQLiteValue.blob($0) })
    }

    @Test("several bytea columns of one row, large and small, do not overwrite each other")
    func severalBlobs() async throws {
        let table = TableSchema("b", [ColumnDef("id", .bytes), ColumnDef("x", .bytes), ColumnDef("y", .bytes)])
        let file = try SQLiteFixture()
        try await file.start(table)
        let large = String(repeating: "ab", count: 70_000)
        try await file.write {
            $0.insert("\\x01", .text("\\x" + large), "\\x02").insert("\\x02", "\\x", .text("\\x" + large))
        }
        try await file.write(lsn: 0x2000) { $0.update("\\x03", "\\x0a", .unchanged, key: ["\\x02", nil, nil]) }
        #expect(
            try file.rows(
                "SELECT hex(id), length(x), hex(substr(x, 1, 2)), length(y), hex(substr(y, 1, 2)) FROM b ORDER BY id"
            )
                == ["01|70000|ABAB|1|02", "03|1|0A|70000|ABAB"]
        )
    }

    @Test("binary values of simple types are taken, others refused")
    func binary() async throws {
        let columns = [
            ColumnDef("id", .int64), ColumnDef("b", .boolean), ColumnDef("f", .float64), ColumnDef("n", .float64),
            ColumnDef("x", .bytes), ColumnDef("s", .int16), ColumnDef("z", .float64),
        ]
        let file = try SQLiteFixture()
        try await file.start(TableSchema("t", columns))
        let row: [TestCell] = [
            .binary([0, 0, 0, 0, 0, 0, 1, 0]), .binary([1]), .binary([0xBF, 0xF8, 0, 0, 0, 0, 0, 0]),
            .binary([0x7F, 0xF8, 0, 0, 0, 0, 0, 0]), .binary([0, 255]), .binary([0xFF, 0xFE]),
            .binary([0x80, 0, 0, 0, 0, 0, 0, 0]),
        ]
        try await file.write { $0.insert(row) }
        #expect(try file.rows("SELECT * FROM t") == ["256|1|-1.5|NaN|x'00ff'|-2|-0"])
        let error = await file.refusal { $0.insert([.binary([1])] + row.dropFirst()) }
        #expect(error?.kind == .permanent)
    }

    @Test(
        "what does not read as its column's type is an error that names table and column, not the value",
        arguments: [
            (DataType.int32, "12x"), (.int32, ""), (.int32, "-"), (.int64, "9223372036854775808"),
            (.int64, "-9223372036854775809"), (.int64, "99999999999999999999"), (.int32, "+1"), (.boolean, "true"),
            (.float64, "1.5x"), (.float64, ""), (.float64, "nan(7)"), (.bytes, "\\x0"), (.bytes, "\\x0g"),
            (.bytes, "00"),
        ]
    )
    func unreadable(type: DataType, text: String) async throws {
        let file = try SQLiteFixture()
        try await file.start(TableSchema("t", [ColumnDef("id", .int32), ColumnDef("v", type)]))
        let error = await file.refusal { $0.insert("1", .text(text)) }
        #expect(error?.kind == .permanent)
        #expect(error?.table == TableRef(schema: "public", name: "t"))
        #expect(error?.cause.hasPrefix("column \"v\" (") == true)
        #expect(text.utf8.count < 3 || error?.description.contains(text) == false)
        #expect(try file.rows("SELECT * FROM t").isEmpty)
    }

    @Test(
        "bytes that are not UTF-8 stop at the value policy, wherever in the text they stand",
        arguments: [
            [0xFF], [0x61, 0x80], [0xC3], [0xED, 0xA0, 0x80], [0xC0, 0x80],
            Array("12345678".utf8) + [0xE2, 0x82], Array(repeating: 0x61, count: 100) + [0xF5],
        ] as [[UInt8]]
    )
    func invalidText(bytes: [UInt8]) async throws {
        let file = try SQLiteFixture()
        try await file.start(TableSchema("t", [ColumnDef("id", .int32), ColumnDef("v", .text)]))
        let error = await file.refusal { $0.insert("1", .bytes(bytes)) }
        #expect(error?.kind == .permanent)
        #expect(error?.operation == "bind value")
        #expect(error?.cause == "column \"v\" (text) holds bytes that are not UTF-8")
        #expect(error?.remedy.contains("SINK_ON_UNREPRESENTABLE") == true)
    }

    @Test("a key that is NULL is refused: SQLite would make up a number")
    func nullKey() async throws {
        let file = try SQLiteFixture()
        try await file.start(TableSchema("t", [ColumnDef("id", .int32), ColumnDef("v", .text)]))
        let error = await file.refusal { $0.insert(nil, "a") }
        #expect(error?.cause == "key column \"id\" (integer) is NULL")
    }
}
