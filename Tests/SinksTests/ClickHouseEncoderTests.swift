import CdcCore
import Testing

@testable import Sinks

@Suite("What the clickhouse sink makes of values")
struct ClickHouseEncoderTests {
    private static let wide = ClickHouseEncoder.days(ofServer: ClickHouseVersion(26, 7))

    /// The bytes of a value; nil where it is refused.
    private func bytes(
        _ text: String?,
        _ encoding: ClickHouseEncoding,
        _ policy: UnrepresentablePolicy = .error,
        days: ClosedRange<Int64> = wide
    ) -> [UInt8]? {
        var buffer = RowBuffer()
        let encoder = ClickHouseEncoder(policy: policy, days: days)
        let given = text.map { Array($0.utf8) }
        let result: ClickHouseEncoder.Outcome =
            if let given {
                given.withUnsafeBytes { encoder.append($0, as: encoding, to: &buffer) }
            } else {
                encoder.append(nil, as: encoding, to: &buffer)
            }
        if case .refused = result {
            #expect(buffer.count == 0)
            return nil
        }
        return Array(buffer.bytes)
    }

    private func little<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
        withUnsafeBytes(of: number.littleEndian) { Array($0) }
    }

    private func decimal(_ precision: Int, _ scale: Int) -> ClickHouseEncoding {
        ClickHouseEncoding(kind: .decimal, precision: precision, scale: scale)
    }

    @Test("decimals are scaled integers of 4 to 32 bytes")
    func decimals() {
        #expect(bytes("1.10", decimal(9, 2)) == little(110 as Int32))
        #expect(bytes("-0.01", decimal(9, 2)) == little(-1 as Int32))
        #expect(bytes("1", decimal(9, 2)) == little(100 as Int32))
        #expect(bytes("0", decimal(9, 9)) == little(0 as Int32))
        #expect(bytes("-999999999999999999", decimal(18, 0)) == little(-999_999_999_999_999_999 as Int64))
        #expect(bytes("99999999999999999999999999999999999999", decimal(38, 0)).map { $0.count } == 16)
        #expect(bytes("$1,234,567.89", decimal(20, 2)) == little(123_456_789 as Int128))
        #expect(bytes("-$0.05", decimal(20, 2)) == little(-5 as Int128))
        #expect(bytes("12300", decimal(5, 0)) == little(12300 as Int32))
    }

    @Test("76 digits fill 256 bits, in two's complement")
    func widest() {
        let nines = String(repeating: "9", count: 76)
        var positive = Array(repeating: 0 as UInt8, count: 32)
        for digit in nines.utf8 {
            var carry = Int(digit - 48)
            for place in positive.indices {
                carry += Int(positive[place]) * 10
                positive[place] = UInt8(carry & 255)
                carry >>= 8
            }
        }
        #expect(bytes(nines, decimal(76, 0)) == positive)
        var carry = 1
        let negative = positive.map { byte -> UInt8 in
            carry += Int(~byte)
            defer { carry >>= 8 }
            return UInt8(carry & 255)
        }
        #expect(bytes("-" + nines, decimal(76, 0)) == negative)
    }

    @Test("what a decimal cannot hold is refused, never cut", arguments: ["NaN", "100", "1.005", "Infinity", "", "x"])
    func refusedDecimals(text: String) {
        #expect(bytes(text, decimal(4, 2)) == nil)
        let nullable = ClickHouseEncoding(kind: .decimal, precision: 4, scale: 2, isNullable: true)
        let isReadable = text == "NaN" || text == "100" || text == "1.005" || text == "Infinity"
        #expect(bytes(text, nullable, .null) == (isReadable ? [1] : nil))
        #expect(bytes(text, nullable, .clamp) == nil)
    }

    @Test("integers are checked against their type")
    func integers() {
        let small = ClickHouseEncoding(kind: .int16)
        #expect(bytes("-32768", small) == little(Int16.min))
        #expect(bytes("40000", small) == nil)
        #expect(bytes("18446744073709551615", ClickHouseEncoding(kind: .uint64)) == little(UInt64.max))
        #expect(bytes("18446744073709551616", ClickHouseEncoding(kind: .uint64)) == nil)
        #expect(bytes("-1", ClickHouseEncoding(kind: .uint64)) == nil)
        #expect(bytes("4294967295", ClickHouseEncoding(kind: .uint32)) == little(UInt32.max))
        #expect(bytes("1x", ClickHouseEncoding(kind: .int32)) == nil)
    }

    @Test("dates and moments count from 1970")
    func moments() {
        let date = ClickHouseEncoding(kind: .date)
        let moment = ClickHouseEncoding(kind: .timestamp)
        #expect(bytes("1970-01-01", date) == little(0 as Int32))
        #expect(bytes("2000-02-29", date) == little(11_016 as Int32))
        #expect(bytes("0001-01-01", date) == little(-719_162 as Int32))
        #expect(bytes("9999-12-31", date) == little(2_932_896 as Int32))
        #expect(bytes("10000-01-01", date) == nil)
        #expect(bytes("0044-03-15 BC", date) == nil)
        #expect(bytes("1970-01-01 00:00:00.000001+00", moment) == little(1 as Int64))
        #expect(bytes("1969-12-31 23:59:59.5", moment) == little(-500_000 as Int64))
        #expect(bytes("294276-12-31 23:59:59.999999", moment) == nil)
        #expect(bytes("2024-01-01 00:00:00+05", moment) == nil)
        let narrow = ClickHouseEncoder.days(ofServer: ClickHouseVersion(25, 3))
        #expect(bytes("1899-12-31", date, days: narrow) == nil)
        #expect(bytes("2299-12-31", date, days: narrow) == little(120_529 as Int32))
        #expect(bytes("2300-01-01", date, days: narrow) == nil)
    }

    @Test("clamp takes the nearest date or moment")
    func clamp() {
        let date = ClickHouseEncoding(kind: .date, isNullable: true)
        let moment = ClickHouseEncoding(kind: .timestamp)
        #expect(bytes("infinity", date, .clamp) == [0] + little(2_932_896 as Int32))
        #expect(bytes("-infinity", date, .clamp) == [0] + little(-719_162 as Int32))
        #expect(bytes("4713-01-01 BC", date, .clamp) == [0] + little(-719_162 as Int32))
        #expect(bytes("infinity", moment, .clamp) == little(253_402_300_799_999_999 as Int64))
        #expect(bytes("294276-12-31 23:59:59.999999", moment, .clamp) == little(253_402_300_799_999_999 as Int64))
        #expect(bytes("infinity", date, .null) == [1])
        #expect(bytes("infinity", moment, .null) == nil)
    }

    @Test("strings have their length before them; NULL is a byte where the column has one")
    func strings() {
        let text = ClickHouseEncoding(kind: .string, isNullable: true)
        #expect(bytes("", text) == [0, 0])
        #expect(bytes(nil, text) == [1])
        #expect(bytes(nil, ClickHouseEncoding(kind: .string)) == nil)
        #expect(bytes(String(repeating: "a", count: 300), text)?.prefix(4) == [0, 0xAC, 2, 97])
        #expect(bytes("\\x00ff", ClickHouseEncoding(kind: .bytes)) == [2, 0, 255])
        #expect(bytes("\\x0", ClickHouseEncoding(kind: .bytes)) == nil)
    }

    @Test("a UUID is two numbers")
    func uuids() {
        let uuid = ClickHouseEncoding(kind: .uuid)
        #expect(
            bytes("00112233-4455-6677-8899-aabbccddeeff", uuid)
                == [
                    0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00, 0xFF, 0xEE, 0xDD, 0xCC, 0xBB, 0xAA, 0x99, 0x88,
                ]
        )
        #expect(bytes("00112233-4455-6677-8899-aabbccddeef", uuid) == nil)
    }

    @Test("floats are read exactly, in their own width")
    func floats() {
        let double = ClickHouseEncoding(kind: .float64)
        #expect(bytes("-0", double) == little((-0.0).bitPattern))
        #expect(bytes("5e-324", double) == little(Double.leastNonzeroMagnitude.bitPattern))
        #expect(bytes("-Infinity", double) == little((-Double.infinity).bitPattern))
        #expect(bytes("0.1", ClickHouseEncoding(kind: .float32)) == little((0.1 as Float).bitPattern))
        #expect(bytes("1e400x", double) == nil)
    }

    @Test("one-dimensional arrays, element by element")
    func arrays() {
        let numbers = ClickHouseEncoding(kind: .array, element: .int16)
        let texts = ClickHouseEncoding(kind: .array, element: .string)
        #expect(bytes("{}", numbers) == [0])
        #expect(bytes("{1,NULL,-1}", numbers) == [3, 0, 1, 0, 1, 0, 255, 255])
        #expect(
            bytes(#"{a,"b,c",NULL,"NULL","","q\"\\"}"#, texts).map { String(decoding: $0, as: UTF8.self) }
                == "\u{6}\0\u{1}a\0\u{3}b,c\u{1}\0\u{4}NULL\0\0\0\u{3}q\"\\"
        )
        for text in ["{{1,2},{3,4}}", "[0:1]={7,8}", "{40000}", "{", "1"] {
            #expect(bytes(text, numbers) == nil, "\(text)")
        }
        #expect(bytes(nil, numbers) == nil)
        #expect(bytes(nil, numbers, .clamp) == [0])
    }

    private func type(
        _ type: DataType,
        _ kind: PostgresType.Kind = .base,
        nullable: Bool = true,
        _ policy:
            UnrepresentablePolicy = .error,
        isKey: Bool = false,
        oid: UInt32 = 0
    ) -> String {
        let column = ColumnDef(
            name: "c",
            type: type,
            postgresType: PostgresType(oid: oid, name: "x", kind: kind),
            isNullable: nullable
        )
        return ClickHouseTypes(policy: policy).column(column, isKey: isKey).type
    }

    @Test("types by policy, nullability and key")
    func types() {
        let number = DataType.decimal(precision: 20, scale: 5)
        #expect(type(number) == "Nullable(Decimal(20, 5))")
        #expect(type(number, nullable: false, .null) == "Nullable(Decimal(20, 5))")
        #expect(type(number, .base, nullable: false, .text) == "String")
        #expect(type(.decimal(precision: 3, scale: 5), nullable: false) == "Decimal(5, 5)")
        #expect(type(.decimal(precision: 3, scale: -2), nullable: false) == "Decimal(5, 0)")
        #expect(type(.decimal(precision: 77, scale: 0), nullable: false) == "String")
        #expect(type(.decimal(precision: nil, scale: nil)) == "Nullable(String)")
        #expect(type(.other, .enumeration(["a"])) == "LowCardinality(Nullable(String))")
        #expect(type(.other, .enumeration(["a"]), nullable: false, isKey: true) == "String")
        let array = PostgresType.Kind.array(PostgresType(oid: 23, name: "integer"))
        #expect(type(.other, array, nullable: false) == "Array(Nullable(Int32))")
        #expect(type(.other, array) == "Nullable(String)")
        #expect(type(.other, array, .clamp) == "Array(Nullable(Int32))")
        #expect(type(.other, array, nullable: false, .text) == "String")
        #expect(type(.float64, nullable: false, isKey: true) == "String")
        #expect(type(.other, nullable: false, oid: 790) == "Decimal(20, 2)")
    }

    @Test("names and texts are quoted with backslashes")
    func quoting() {
        #expect("a`b\\c".clickhouseIdentifier == "`a\\`b\\\\c`")
        #expect("it's".clickhouseLiteral == "'it\\'s'")
    }

    @Test("a cluster makes replicated tables on all its servers")
    func cluster() {
        let schema = TableSchema("t", [ColumnDef("id", .int64)])
        let layout = ClickHouseLayout(
            schema: schema,
            columns: [ClickHouseTypes(policy: .error).column(schema.columns[0], isKey: true)],
            database: "d"
        )
        let statement = layout.createStatement(deleteMode: .hard, cluster: "c`1")
        #expect(statement.contains("`d`.`t` ON CLUSTER `c\\`1`"))
        #expect(statement.contains("ReplicatedReplacingMergeTree(dbmazz_cdc_version, dbmazz_is_deleted)"))
        #expect(!statement.contains("fsync_after_insert"))
        #expect(
            layout.createStatement(deleteMode: .soft, cluster: nil).contains(
                " ReplacingMergeTree(dbmazz_cdc_version)\n"
            )
        )
    }
}
