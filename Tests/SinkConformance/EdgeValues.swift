internal import CdcCore

/// Values at the edges of their types, as PostgreSQL prints them.
struct EdgeValues {
    let name: String
    let column: ColumnDef
    let values: [String]

    init(_ name: String, _ column: ColumnDef, _ values: [String]) {
        self.name = name
        self.column = column
        self.values = values
    }

    private init(_ name: String, _ type: DataType, _ values: [String]) {
        self.init(name, ColumnDef("v", type), values)
    }

    static func hex(_ bytes: some Sequence<UInt8>) -> String {
        "\\x" + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    static let texts = [
        "", " ", "NULL", "null", "\\N", "\\", "\\\\", "a\nb\r\n\tc", "'", "\"", "`", "''; DROP TABLE t; --",
        "%s ? $1 :x {}",
        "\u{1}\u{7F}", "\u{E9}e\u{301}", "\u{1F468}\u{200D}\u{1F469}\u{200D}\u{1F467} \u{FFFF}\u{10FFFF}",
        "\u{FEFF}bom",
        "0x00", "true", "1e5", "ends with blanks   ", "{\"a\":1}", "a,b;c|d\u{1F}\u{1E}",
    ]

    /// What every sink must hold.
    static let held: [EdgeValues] = [
        EdgeValues("boolean", .boolean, ["t", "f"]),
        EdgeValues("int16", .int16, ["0", "-1", "-32768", "32767"]),
        EdgeValues("int32", .int32, ["0", "-1", "-2147483648", "2147483647"]),
        EdgeValues("int64", .int64, ["0", "-1", "-9223372036854775808", "9223372036854775807", "9007199254740993"]),
        EdgeValues("uint32", .uint32, ["0", "2147483648", "4294967295"]),
        EdgeValues("uint64", .uint64, ["0", "9223372036854775808", "18446744073709551615"]),
        EdgeValues("float32", .float32, ["0", "-0", "0.1", "1e-45", "3.4028235e+38", "NaN", "Infinity", "-Infinity"]),
        EdgeValues(
            "float64",
            .float64,
            [
                "0", "-0", "0.1", "5e-324", "1.7976931348623157e+308", "1.2345678901234568e+17", "NaN", "Infinity",
                "-Infinity",
            ]
        ),
        EdgeValues(
            "decimal10",
            .decimal(precision: 10, scale: 2),
            ["0.00", "-0.01", "99999999.99", "-99999999.99", "1.10"]
        ),
        EdgeValues(
            "decimal38",
            .decimal(precision: 38, scale: 10),
            ["9999999999999999999999999999.9999999999", "-0.0000000001", "12345678901234567890.0000000000"]
        ),
        EdgeValues("integral", .decimal(precision: 18, scale: 0), ["0", "999999999999999999", "-999999999999999999"]),
        EdgeValues("string", .string, texts),
        EdgeValues("text", .text, texts + [String(repeating: "0123456789 \u{E4}\u{F6}\u{FC}\n", count: 60_000)]),
        EdgeValues("json", .json, ["{\"a\":1, \"a\" : 2}", "null", "\"\\u00e9 \\\\ \\\"\"", "[1e400, \"\u{1F600}\"]"]),
        EdgeValues("jsonb", .jsonb, ["{\"a\": 1, \"b\": [true, null]}", "\"\\\\ \\\" \\n\"", "1.10", "[]"]),
        EdgeValues(
            "uuid",
            .uuid,
            [
                "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
                "01234567-89ab-cdef-fedc-ba9876543210",
            ]
        ),
        EdgeValues("date", .date, ["1970-01-01", "1969-12-31", "2000-02-29", "1900-01-01", "2199-12-31"]),
        EdgeValues("time", .time, ["00:00:00", "23:59:59.999999", "12:34:56.000001"]),
        EdgeValues(
            "timestamp",
            .timestamp,
            [
                "1970-01-01 00:00:00", "1969-12-31 23:59:59.999999", "2024-02-29 12:34:56.000001",
                "1900-01-01 00:00:00",
                "2199-12-31 23:59:59.999999",
            ]
        ),
        EdgeValues(
            "timestampTz",
            .timestampTz,
            ["1970-01-01 00:00:00+00", "2024-03-31 01:30:00.000001+00", "2199-12-31 23:59:59.999999+00"]
        ),
        EdgeValues(
            "bytes",
            .bytes,
            ["\\x", "\\x00", hex(0...255), hex([0x27, 0x5C, 0x0A, 0, 0xFF]), hex(texts[13].utf8)]
        ),
        EdgeValues("array", ColumnDef("v", oid: 1007, "integer[]"), ["{}", "{1,NULL,-3}", "{{1,2},{3,4}}"]),
        EdgeValues("texts", ColumnDef("v", oid: 1009, "text[]"), ["{\"\",NULL,\"NULL\",\"a,b\",\"\\\\\\\"\"}"]),
        EdgeValues(
            "interval",
            ColumnDef("v", oid: 1186, "interval"),
            ["00:00:00", "1 year 2 mons -3 days +04:05:06.000007"]
        ),
        EdgeValues("inet", ColumnDef("v", oid: 869, "inet"), ["10.0.0.1/8", "::1"]),
        EdgeValues("range", ColumnDef("v", oid: 3904, "int4range"), ["[2,6)", "empty", "(,)"]),
    ]

    /// What a target may lack: it comes back as it was, or is refused, and never becomes something else.
    static let heldOrRefused: [EdgeValues] = [
        EdgeValues(
            "decimal",
            .decimal(precision: nil, scale: nil),
            [
                "1.10", "NaN", "Infinity", "-Infinity", String(repeating: "9", count: 131_072) + ".5",
                "12345678901234567890123456789012345678901234567890.12345678901234567890",
                "0.0000000000000000000000000000001",
            ]
        ),
        EdgeValues(
            "decimal76",
            .decimal(precision: 76, scale: 38),
            ["1" + String(repeating: "2", count: 37) + "." + String(repeating: "3", count: 38)]
        ),
        EdgeValues("rounded", .decimal(precision: 3, scale: -2), ["12300", "NaN"]),
        EdgeValues(
            "date",
            .date,
            ["infinity", "-infinity", "0001-01-01", "4713-01-01 BC", "9999-12-31", "5874897-12-31"]
        ),
        EdgeValues("time", .time, ["24:00:00"]),
        EdgeValues(
            "timestamp",
            .timestamp,
            ["infinity", "-infinity", "0001-01-01 00:00:00", "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999"]
        ),
        EdgeValues(
            "timestampTz",
            .timestampTz,
            ["infinity", "-infinity", "0001-01-01 00:00:00+00", "9999-12-31 23:59:59.999999+00"]
        ),
    ]
}
