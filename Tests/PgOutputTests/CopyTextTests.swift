import CdcCore
import PgOutput
import Testing

@Suite("CopyTextDecoder")
struct CopyTextTests {
    /// The values of lines of a copy of a table of three text columns; nil for NULL.
    private func decode(_ lines: [UInt8]..., columns: Int = 3) throws(WireError) -> [[[UInt8]?]] {
        let batch = CdcBatch(tables: [CopyTextTests.table(columns)])
        batch.begin(TransactionInfo(xid: 0, commitLSN: .zero, commitTime: 0))
        var decoder = CopyTextDecoder()
        for line in lines { try decoder.append(line.span.bytes, into: batch, table: 0) }
        return (0..<batch.changeCount).map { batch.newBytes(batch.change($0)) }
    }

    private func decode(_ line: String, columns: Int = 3) throws(WireError) -> [String?] {
        try decode(Array(line.utf8), columns: columns)[0].map { $0.map { String(decoding: $0, as: UTF8.self) } }
    }

    private static func table(_ columns: Int) -> TableSchema {
        TableSchema(
            ref: TableRef(schema: "public", name: "t"),
            sinkName: "t",
            columns: (0..<columns).map {
                ColumnDef(name: "c\($0)", type: .text, postgresType: PostgresType(oid: 25, name: "text"))
            },
            key: [],
            identity: .full
        )
    }

    @Test("a row is an insert with ordinal 0")
    func insert() throws {
        var feed = MessageFeed()
        try feed.takeLine(Wire.copyLine([Array("5".utf8), nil, []]), table: Samples.orders)
        #expect(feed.batch.change(0).kind == .insert)
        #expect(feed.batch.change(0).ordinal == 0)
        #expect(feed.batch.newValues(0) == [.integer(5), .null, .text("")])
    }

    @Test("every escape stands for its byte")
    func escapes() throws {
        #expect(
            try decode("\\b\\t\\n\\v\\f\\r\\\\\tx\ty\n") == ["\u{8}\t\n\u{B}\u{C}\r\\", "x", "y"]
        )
    }

    @Test("NULL, the text \\N, and an empty string are three things")
    func nulls() throws {
        #expect(try decode("\\N\t\\\\N\t\n") == [nil, "\\N", ""])
    }

    @Test("NULL may stand in any column", arguments: 0..<8)
    func nullPlaces(mask: Int) throws {
        let values: [[UInt8]?] = (0..<3).map { mask >> $0 & 1 == 1 ? nil : Array("v\($0)".utf8) }
        #expect(try decode(Wire.copyLine(values)) == [values])
    }

    @Test("tabs and line ends inside values are escaped, between them not")
    func separators() throws {
        #expect(try decode("a\\tb\tc\\nd\t\\t\n") == ["a\tb", "c\nd", "\t"])
    }

    @Test("all columns may be empty")
    func empty() throws {
        #expect(try decode("\t\t\n") == ["", "", ""])
        #expect(try decode("\n", columns: 1) == [""])
    }

    @Test("a table without columns has empty lines")
    func noColumns() throws {
        #expect(try decode("\n", columns: 0) == [])
        #expect(throws: WireError.self) { try decode("x\n", columns: 0) }
    }

    @Test("bytes that are no UTF-8 pass through")
    func rawBytes() throws {
        let line = [0xFF, 0x00, 0x09, 0xC3, 0x09, 0x80, 0x0A] as [UInt8]
        #expect(try decode(line) == [[[0xFF, 0x00], [0xC3], [0x80]]])
    }

    @Test("one decoder reads line after line")
    func manyLines() throws {
        let rows = try decode(
            Array("\\N\ta\\\\\tb\n".utf8),
            Array("1\t\\N\t\n".utf8),
            Array("\\t\t2\t\\N\n".utf8)
        )
        #expect(
            rows == [
                [nil, Array("a\\".utf8), Array("b".utf8)], [Array("1".utf8), nil, []],
                [Array("\t".utf8), Array("2".utf8), nil],
            ]
        )
    }

    @Test(
        "damaged lines are errors and leave the batch as it was",
        arguments: [
            "", "a\tb\tc", "a\tb\n", "a\n", "\n", "a\tb\tc\td\n", "\t\t\t\n", "a\tb\tc\\\n", "\\\n", "a\tb\t\\x41\n",
            "a\tb\t\\101\n", "a\tb\t\\.\n", "a\t\\ \tc\n", "a\tb\t\\", "a\tb\\",
        ]
    )
    func damaged(line: String) throws {
        var feed = MessageFeed()
        try feed.takeLine(Samples.copyLines[0], table: Samples.orders)
        let before = feed.fill
        #expect(throws: WireError.self) { try feed.takeLine(Array(line.utf8), table: Samples.orders) }
        #expect(feed.fill == before)
        try feed.takeLine(Samples.copyLines[1], table: Samples.orders)
        #expect(feed.complaint() == nil)
    }

    @Test("a NULL mark beside other bytes of its value is an error", arguments: ["a\\N", "\\Na", "\\N\\N", "\\N\\t"])
    func nullInsideValue(value: String) throws {
        for line in ["\(value)\tb\tc\n", "a\t\(value)\tc\n", "a\tb\t\(value)\n"] {
            #expect(throws: WireError.self, "\(line.debugDescription)") { try decode(line) }
        }
    }

    @Test("every cut of a line is an error or a line of fewer columns, never a wrong row", arguments: Samples.copyLines)
    func truncated(line: [UInt8]) throws {
        var feed = MessageFeed()
        let before = feed.fill
        for length in 0..<line.count {
            #expect(throws: WireError.self, "\(length) bytes") {
                try feed.takeLine(Array(line.prefix(length)), table: Samples.orders)
            }
            #expect(feed.fill == before)
        }
    }

    @Test("random values come back byte by byte as PostgreSQL's COPY writes them", arguments: [1, 2, 3, 4] as [UInt64])
    func randomValues(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        for _ in 0..<2000 {
            let columns = Int.random(in: 1...6, using: &random)
            let rows = (0..<3).map { _ in (0..<columns).map { _ in CopyTextTests.value(&random) } }
            let decoded = try decode(
                Wire.copyLine(rows[0]),
                Wire.copyLine(rows[1]),
                Wire.copyLine(rows[2]),
                columns: columns
            )
            #expect(decoded == rows, "seed \(seed)")
            guard decoded == rows else { return }
        }
    }

    /// NULL, or bytes among which those that are escaped are frequent.
    private static func value(_ random: inout SplitMix64) -> [UInt8]? {
        guard Int.random(in: 0..<6, using: &random) > 0 else { return nil }
        let special = Array("\\N\t\n\r\u{8}\u{B}\u{C}tnbrfv.".utf8)
        return (0..<Int.random(in: 0...12, using: &random)).map { _ in
            Bool.random(using: &random)
                ? special[Int.random(in: 0..<special.count, using: &random)] : UInt8.random(in: 0...255, using: &random)
        }
    }
}
