import CdcCore
import Testing

@testable import Sinks

@Suite("StarRocks: values to CSV") struct StarRocksEncoderTests {
    private func encoded(
        _ text: String?,
        _ kind: StarRocksEncoding.Kind,
        isNullable: Bool = true,
        policy: UnrepresentablePolicy = .error,
        isShifted: Bool = false
    ) -> String {
        var buffer = RowBuffer()
        var encoder = StarRocksEncoder(policy: policy)
        encoder.isShifted = isShifted
        let encoding = StarRocksEncoding(kind: kind, isNullable: isNullable)
        let outcome: StarRocksEncoder.Outcome
        if var text {
            outcome = text.withUTF8 { encoder.append(UnsafeRawBufferPointer($0), as: encoding, to: &buffer) }
        } else {
            outcome = encoder.append(nil, as: encoding, to: &buffer)
        }
        let written = String(decoding: buffer.bytes, as: UTF8.self)
        switch outcome {
        case .written: return written
        case .substituted: return "instead: \(written)"
        case .refused(let problem): return "refused: \(problem)\(written)"
        case .looksLikeNull: return "looks like NULL\(written)"
        }
    }

    @Test("values are sent as PostgreSQL prints them, where the server reads that")
    func plain() {
        #expect(encoded("a\u{1}\"b", .text) == "a\u{1}\"b")
        #expect(encoded("", .text) == "")
        #expect(encoded("-9223372036854775808", .integer) == "-9223372036854775808")
        #expect(encoded("t", .boolean) == "1")
        #expect(encoded("f", .boolean) == "0")
        #expect(encoded("yes", .boolean) == "refused: malformed")
        #expect(encoded("1e-45", .float) == "1e-45")
        #expect(encoded("-0.10", .decimal) == "-0.10")
        #expect(encoded("-$1,234,567.89", .money) == "-1234567.89")
        #expect(encoded("2024-02-29", .date) == "2024-02-29")
        #expect(encoded("2024-02-29 12:00:00.000001+00", .timestamp) == "2024-02-29 12:00:00.000001")
        #expect(encoded("2024-02-29 12:00:00", .timestamp) == "2024-02-29 12:00:00")
        #expect(encoded("\\x00ff", .bytes) == "00ff")
        #expect(encoded("\\x", .bytes) == "")
        #expect(encoded("00ff", .bytes) == "refused: malformed")
    }

    @Test("NULL is a bare \\N, and the text \\N is told from it")
    func nulls() {
        #expect(encoded(nil, .text) == "\\N")
        #expect(encoded(nil, .text, isNullable: false) == "refused: nullValue")
        #expect(encoded("\\N", .text) == "looks like NULL")
        #expect(encoded("\\N", .text, isShifted: true) == "=\\N")
        #expect(encoded("\\Nx", .text) == "\\Nx")
        #expect(encoded(nil, .text, isShifted: true) == "\\N")
        #expect(encoded("12", .integer, isShifted: true) == "12")
    }

    @Test("what the server would change silently is refused, or changed as the policy says")
    func policies() {
        #expect(encoded("NaN", .decimal) == "refused: notANumber")
        #expect(encoded("-Infinity", .float) == "refused: outOfRange")
        #expect(encoded("NaN", .float, policy: .null) == "instead: \\N")
        #expect(encoded("NaN", .float, isNullable: false, policy: .null) == "refused: notANumber")
        #expect(encoded("infinity", .date) == "refused: outOfRange")
        #expect(encoded("4713-01-01 BC", .date, policy: .clamp) == "instead: 0001-01-01")
        #expect(encoded("-infinity", .timestamp, policy: .clamp) == "instead: 0001-01-01 00:00:00")
        #expect(encoded("infinity", .timestamp, policy: .clamp) == "instead: 9999-12-31 23:59:59.999999")
        #expect(encoded("294276-12-31 23:59:59+00", .timestamp, policy: .null) == "instead: \\N")
        #expect(encoded("0044-03-15 12:00:00+00 BC", .timestamp) == "refused: outOfRange")
    }

    @Test("separators are found in rows wherever they stand, and counted")
    func separators() {
        func count(_ text: String, _ choice: Int, rows: Int, columns: Int) -> Bool {
            Array(text.utf8).withUnsafeBytes {
                StarRocksSeparators.all[choice].count(in: $0, areThoseOf: rows, columns: columns)
            }
        }
        #expect(count("a\u{1}b\u{2}", 0, rows: 1, columns: 2))
        #expect(!count("a\u{1}b\u{1}\u{2}", 0, rows: 1, columns: 2))
        #expect(!count("a\u{1}b\u{2}\u{2}", 0, rows: 1, columns: 2))
        let long = String(repeating: "0123456789abcdef", count: 300)
        let row = "\(long)\u{1}\(long)\u{1}\u{2}"
        #expect(count(String(repeating: row, count: 40), 0, rows: 40, columns: 3))
        #expect(count("\u{1}\u{2}\u{1}\u{3}\u{4}b\u{2}\u{5}\u{6}", 1, rows: 1, columns: 2))
        #expect(StarRocksSeparators.all[1].columnHeader == "\\x010304")
        for separators in StarRocksSeparators.all {
            let bytes = separators.column + separators.row
            #expect(Set(bytes).count == bytes.count)
        }
    }

    @Test("a row's number is written in decimal, to the last of 39 digits")
    func numbers() throws {
        var numbers: [UInt128] = [
            0, 9, 10, 10_000_000_000_000_000_000, 9_999_999_999_999_999_999, UInt128(UInt64.max),
            UInt128(UInt64.max) + 1,
            170_141_183_460_469_231_731_687_303_715_884_105_727, .max,
            100_000_000_000_000_000_000_000_000_000_000_000_000,
        ]
        for shift in 0..<128 {
            let power = UInt128(1) << UInt128(shift)
            numbers += [power - 1, power, power + power / 3]
        }
        var ten: UInt128 = 1
        for _ in 0..<38 {
            ten *= 10
            numbers += [ten - 1, ten, ten + 1, ten * 2 / 3]
        }
        for number in numbers {
            var buffer = RowBuffer()
            buffer.append(decimal: number)
            #expect(String(decoding: buffer.bytes, as: UTF8.self) == String(number))
        }
    }

    @Test("an error log is told without what the rows hold")
    func redaction() {
        let log = "Error: Value 'hunter2' is out of range. The type of 'v' is INT. Row: [1,hunter2]\n"
        #expect(
            StarRocksError.redacted(log, columns: ["v"]) == "Error: Value '***' is out of range. The type of 'v' is INT"
        )
    }

    @Test("a load that was announced is read as it was written")
    func loads() throws {
        let load = StarRocksState.Load(
            table: TableRef(schema: "a:b,c", name: "\u{E4}%"),
            label: "dbmazz_1_2_0",
            from: 5,
            to: .max >> 1,
            uncertain: 7,
            claimed: ["end", "0"]
        )
        #expect(StarRocksState.Load(text: load.text[...]) == load)
        #expect(StarRocksState.Load(text: "a:b") == nil)
    }

    @Test(
        "types that an existing table may have",
        arguments: [
            (DataType.text, "varchar(5)", true, true), (.text, "int", false, false),
            (.int32, "bigint(20)", true, false),
            (.int64, "int(11)", false, false), (.decimal(precision: 10, scale: 2), "decimal(8, 2)", true, true),
            (.decimal(precision: 10, scale: 2), "decimal(10, 1)", false, false), (.boolean, "tinyint(1)", true, false),
            (.uint64, "bigint(20) unsigned", true, false), (.bytes, "varchar(10)", false, true),
            (.jsonb, "json", true, false), (.float32, "double", true, false), (.int32, "varchar(20)", true, true),
        ]
    )
    func found(type: DataType, there: String, isUsable: Bool, isNarrow: Bool) {
        let types = StarRocksTypes(policy: .error)
        let column = ColumnDef(name: "v", type: type, postgresType: PostgresType(oid: 0, name: "t"))
        #expect((types.column(column, isKey: false, found: there) != nil) == isUsable)
        #expect(types.isNarrower(column, isKey: false, found: there) == isNarrow)
    }

    @Test(
        "keys that may be longer than StarRocks takes are told apart from those that never are",
        arguments: [
            ([DataType.int64], true), ([.text], false), ([.uuid, .uuid, .uuid], true),
            ([.uuid, .uuid, .uuid, .uuid], false),
            ([.decimal(precision: 38, scale: 2)], true), ([.decimal(precision: nil, scale: nil)], false),
            ([.bytes], false),
            ([.timestampTz, .int32, .boolean], true),
        ]
    )
    func keys(types: [DataType], fits: Bool) {
        let columns = types.map { ColumnDef(name: "k", type: $0, postgresType: PostgresType(oid: 0, name: "t")) }
        #expect(StarRocksTypes(policy: .error).fitsKey(columns) == fits)
        let short = ColumnDef(name: "k", type: .string, postgresType: PostgresType(oid: 1043, modifier: 24, name: "t"))
        #expect(StarRocksTypes(policy: .error).fitsKey([short]))
    }
}
