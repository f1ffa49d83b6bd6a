import CdcCore
import PgOutput
import Testing

@Suite("CopyBinaryDecoder")
struct CopyBinaryTests {
    private static let header = Wire.copyHeader()
    private static let row = Wire.copyRow([[0, 0, 0, 7], Array("seven".utf8), nil])

    private static func columns(_ count: Int, asText: Set<Int> = []) -> [ColumnDef] {
        (0..<count).map {
            let type = PostgresType(oid: 25, name: "text", hasBinaryOutput: !asText.contains($0))
            return ColumnDef(name: "c\($0)", type: .text, postgresType: type)
        }
    }

    /// A copy of a table with so many columns, and what it has become.
    private struct Copy {
        let batch: CdcBatch
        var decoder: CopyBinaryDecoder

        init(_ columns: [ColumnDef] = CopyBinaryTests.columns(3)) {
            let schema = TableSchema(
                ref: TableRef(schema: "public", name: "t"),
                sinkName: "t",
                columns: columns,
                key: [],
                identity: .full
            )
            batch = CdcBatch(tables: [schema])
            batch.begin(TransactionInfo(xid: 0, commitLSN: .zero, commitTime: 0))
            decoder = CopyBinaryDecoder(columns)
        }

        @discardableResult
        mutating func take(_ message: [UInt8]) throws(WireError) -> Bool {
            try decoder.append(message.span.bytes, into: batch, table: 0)
        }

        var rows: [[[UInt8]?]] { (0..<batch.changeCount).map { batch.newBytes(batch.change($0)) } }
        var fill: [Int] { [batch.changeCount, batch.tupleBytes, batch.byteCount] }
    }

    @Test("a row is an insert with ordinal 0, its cells are binary, NULL and empty are two things")
    func insert() throws {
        var copy = Copy()
        #expect(try copy.take(Self.header + Wire.copyRow([[0, 0, 0, 5], nil, []])))
        let change = copy.batch.change(0)
        #expect(change.kind == .insert)
        #expect(change.ordinal == 0)
        #expect((0..<3).map { copy.batch.newCell(change, $0).kind } == [.binary, .null, .binary])
        #expect(copy.rows == [[[0, 0, 0, 5], nil, []]])
        try copy.take(Wire.copyTrailer)
        try copy.decoder.finish()
    }

    @Test("columns whose type has no binary output are text")
    func textColumns() throws {
        var copy = Copy(Self.columns(3, asText: [1]))
        try copy.take(Self.header + Self.row)
        #expect((0..<3).map { copy.batch.newCell(copy.batch.change(0), $0).kind } == [.binary, .text, .null])
    }

    @Test("NULL may stand in any column", arguments: 0..<8)
    func nullPlaces(mask: Int) throws {
        let values: [[UInt8]?] = (0..<3).map { mask >> $0 & 1 == 1 ? nil : Array("v\($0)".utf8) }
        var copy = Copy()
        try copy.take(Self.header + Wire.copyRow(values))
        #expect(copy.rows == [values])
    }

    @Test("the header may stand alone, before a row or before the trailer, and may have an extension")
    func headers() throws {
        for header in [Self.header, Wire.copyHeader(flags: 0xFFFF, extension: [9, 8, 7])] {
            var alone = Copy()
            #expect(try !alone.take(header))
            #expect(try alone.take(Self.row))
            #expect(try alone.take(Self.row))
            #expect(try !alone.take(Wire.copyTrailer))
            try alone.decoder.finish()
            #expect(alone.rows.count == 2)

            var together = Copy()
            #expect(try together.take(header + Self.row))
            #expect(try !together.take(Wire.copyTrailer))
            #expect(together.rows == [alone.rows[0]])

            var empty = Copy()
            #expect(try !empty.take(header + Wire.copyTrailer))
            try empty.decoder.finish()
            #expect(empty.batch.isEmpty)
        }
    }

    @Test("a table without columns has rows without values")
    func noColumns() throws {
        var copy = Copy([])
        #expect(try copy.take(Self.header + Wire.copyRow([])))
        #expect(copy.rows == [[]])
    }

    @Test("a copy is complete with its trailer, and has nothing behind it")
    func trailer() throws {
        var copy = Copy()
        #expect(throws: WireError.self) { try copy.decoder.finish() }
        try copy.take(Self.header)
        #expect(throws: WireError.self) { try copy.decoder.finish() }
        try copy.take(Self.row)
        #expect(throws: WireError.self) { try copy.decoder.finish() }
        try copy.take(Wire.copyTrailer)
        for message in [Self.row, Wire.copyTrailer, Self.header, Self.header + Self.row, []] {
            #expect(throws: WireError.self) { try copy.take(message) }
        }
        #expect(copy.rows.count == 1)
    }

    // MARK: Damage

    @Test(
        "every cut of a message is an error, or the header alone, and leaves the batch as it was",
        arguments: Samples.binaryCopy
    )
    func truncated(message: [UInt8]) throws {
        let isFirst = message.first == UInt8(ascii: "P")
        for length in 0..<message.count {
            var copy = Copy()
            if !isFirst { try copy.take(Self.header) }
            let before = copy.fill
            if isFirst, length == Self.header.count, message.prefix(length) == Self.header[...] {
                #expect(try !copy.take(Array(message.prefix(length))))
            } else {
                #expect(throws: WireError.self, "\(length) bytes") { try copy.take(Array(message.prefix(length))) }
            }
            #expect(copy.fill == before)
        }
    }

    @Test("after an error the decoder goes on where it was")
    func goesOn() throws {
        var copy = Copy()
        #expect(throws: WireError.self) { try copy.take(Self.header + Self.row.dropLast()) }
        #expect(copy.batch.tupleBytes == 0)
        try copy.take(Self.header + Self.row)
        let before = copy.fill
        #expect(throws: WireError.self) { try copy.take(Self.row.dropLast()) }
        #expect(copy.fill == before)
        try copy.take(Self.row)
        #expect(copy.rows[0] == copy.rows[1])
    }

    @Test("every byte of the signature counts", arguments: 0..<11)
    func signature(place: Int) {
        var message = Self.header + Self.row
        message[place] ^= 0x20
        var copy = Copy()
        #expect(throws: WireError.self) { try copy.take(message) }
        #expect(copy.batch.isEmpty)
    }

    @Test("flags that a reader has to understand are refused", arguments: 16..<32 as Range<UInt32>)
    func flags(bit: UInt32) {
        var copy = Copy()
        #expect(throws: WireError.self) { try copy.take(Wire.copyHeader(flags: 1 << bit) + Self.row) }
    }

    private static let damagedRows: [[UInt8]] = [
        // Another number of columns than the table has.
        Wire.copyRow([]), Wire.copyRow([nil, nil]), Wire.copyRow([nil, nil, nil, nil]),
        // -2 columns, the trailer with something behind it, a second header, bytes behind the row, two rows.
        [0xFF, 0xFE], Wire.copyTrailer + [0], Wire.copyTrailer + row, header + row, row + [0], row + row,
        // Lengths below -1 and beyond the message.
        Wire.bytes(3 as UInt16) + Wire.bytes(-2 as Int32) + Wire.bytes(-1 as Int32) + Wire.bytes(-1 as Int32),
        Wire.bytes(3 as UInt16) + Wire.bytes(Int32.min) + Wire.bytes(-1 as Int32) + Wire.bytes(-1 as Int32),
        Wire.bytes(3 as UInt16) + Wire.bytes(Int32.max) + Wire.bytes(-1 as Int32) + Wire.bytes(-1 as Int32),
        Wire.bytes(3 as UInt16) + Wire.bytes(-1 as Int32) + Wire.bytes(-1 as Int32) + Wire.bytes(1 as Int32),
    ]

    @Test("damaged rows are errors and leave the batch as it was", arguments: damagedRows)
    func damaged(message: [UInt8]) throws {
        var copy = Copy()
        try copy.take(Self.header + Self.row)
        let before = copy.fill
        #expect(throws: WireError.self) { try copy.take(message) }
        #expect(copy.fill == before)
        try copy.take(Self.row)
        #expect(copy.rows[0] == copy.rows[1])
    }

    @Test(
        "an extension longer than the message is an error",
        arguments: [1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF] as [UInt32]
    )
    func extensionLength(length: UInt32) {
        var copy = Copy()
        let message = Self.header.dropLast(4) + Wire.bytes(length)
        #expect(throws: WireError.self) { try copy.take(Array(message)) }
    }

    @Test("random values come back byte by byte", arguments: [1, 2, 3] as [UInt64])
    func randomValues(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        for _ in 0..<1000 {
            let columns = Int.random(in: 1...6, using: &random)
            let rows = (0..<3).map { _ in (0..<columns).map { _ in CopyBinaryTests.value(&random) } }
            var copy = Copy(Self.columns(columns))
            try copy.take(Self.header + Wire.copyRow(rows[0]))
            try copy.take(Wire.copyRow(rows[1]))
            try copy.take(Wire.copyRow(rows[2]))
            try copy.take(Wire.copyTrailer)
            #expect(copy.rows == rows, "seed \(seed)")
            guard copy.rows == rows else { return }
        }
    }

    private static func value(_ random: inout SplitMix64) -> [UInt8]? {
        guard Int.random(in: 0..<6, using: &random) > 0 else { return nil }
        return (0..<Int.random(in: 0...12, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
    }
}
