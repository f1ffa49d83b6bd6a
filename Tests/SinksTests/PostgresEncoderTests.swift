import CdcCore
import Testing

@testable import Sinks

@Suite("What the postgres sink puts on the wire")
struct PostgresEncoderTests {
    private static let schema = TableSchema(
        "t",
        [ColumnDef("id", .int32), ColumnDef("v", .text), ColumnDef("tags", .other)]
    )

    private func wire(_ source: Int32, isBinary: Bool, element: UInt32 = 0) -> PostgresWire {
        PostgresWire(origin: .new, source: source, isBinary: isBinary, elementOID: element, oid: 25)
    }

    private func bytes(_ encoder: borrowing PostgresEncoder) -> [UInt8] { Array(encoder.buffer.bytes) }

    private func row(
        _ cells: [TestCell],
        _ wires: [PostgresWire],
        isText: Bool = false
    ) -> (bytes: [UInt8], hasWrongForm: Bool) {
        let builder = BatchBuilder(PostgresEncoderTests.schema).begin(lsn: 0x10).insert(cells)
        let batch = builder.batch
        let change = batch.change(0)
        var encoder = PostgresEncoder()
        encoder.begin(at: 0)
        wires.withUnsafeBufferPointer { wires in
            encoder.appendRow(isText ? .text : .binary, wires, change, batch) { batch.newCell(change, $0) }
        }
        return (bytes(encoder), encoder.hasWrongForm)
    }

    @Test("a row of COPY BINARY: the number of fields, then each with its length, -1 for NULL")
    func binaryRow() {
        let found = row([.binary([0, 0, 0, 7]), .null, .binary([])], (0..<3).map { wire($0, isBinary: true) })
        #expect(found.bytes == [0, 3, 0, 0, 0, 4, 0, 0, 0, 7, 255, 255, 255, 255, 0, 0, 0, 0])
        #expect(!found.hasWrongForm)
    }

    @Test("an array gets the number that its element type has at the target")
    func elementType() {
        let array: [UInt8] = [0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 65]
        let found = row([.binary([1]), .null, .binary(array)], [wire(2, isBinary: true, element: 0x0A0B_0C0D)])
        #expect(Array(found.bytes[6..<14]) == [0, 0, 0, 1, 0, 0, 0, 0])
        #expect(Array(found.bytes[14..<18]) == [0x0A, 0x0B, 0x0C, 0x0D])
        #expect(Array(found.bytes[18...]) == Array(array[12...]))
    }

    @Test("a row of COPY's text format escapes what separates")
    func textRow() {
        let found = row(["1", "a\tb\\c\nd\re", .null], (0..<3).map { wire($0, isBinary: false) }, isText: true)
        #expect(String(decoding: found.bytes, as: UTF8.self) == "1\ta\\tb\\\\c\\nd\\re\t\\N\n")
    }

    @Test("a value that comes in another form than was asked for is noticed")
    func wrongForm() {
        #expect(row(["1", "a", "b"], [wire(0, isBinary: true)]).hasWrongForm)
        #expect(row([.binary([1]), "a", "b"], [wire(0, isBinary: false)]).hasWrongForm)
        #expect(row([.binary([1]), "a", "b"], [wire(0, isBinary: false)], isText: true).hasWrongForm)
    }

    @Test("the audit columns of a row: operation, mark, time and version")
    func audit() {
        let builder = BatchBuilder(PostgresEncoderTests.schema).begin(lsn: 0xAB).delete(key: ["1", nil, nil])
        let change = builder.batch.change(0)
        var encoder = PostgresEncoder()
        encoder.begin(at: 0x0102)
        for origin in [PostgresWire.Origin.operation, .isDeleted, .syncedAt, .version] {
            let wire = PostgresWire(origin: origin, source: 0, isBinary: true, elementOID: 0, oid: 25)
            encoder.append(wire, change, new: .null, builder.batch)
        }
        let expected: [UInt8] = [0, 0, 0, 2, 0, 2, 0, 0, 0, 1, 1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 32]
        #expect(bytes(encoder) == expected + Array("00000000000000ab0000000000000001".utf8))
    }

    @Test("parameters with lengths of their own: pointers behind them, nil for NULL")
    func parameters() {
        var buffer = PostgresBuffer(keptCapacity: 64)
        buffer.append(value: UnsafeRawBufferPointer(start: nil, count: 0))
        let second = buffer.count
        buffer.appendNull()
        let third = buffer.count
        [UInt8]("abc".utf8).withUnsafeBytes { buffer.append(value: $0) }
        var values: [UnsafePointer<CChar>?] = []
        var lengths: [Int32] = []
        buffer.parameters(startingAt: [0, second, third], hasLengths: true, &values, &lengths)
        #expect(values.map { $0 == nil } == [false, true, false])
        #expect(lengths == [0, 0, 3])
        #expect(values[2].map { UInt8(bitPattern: $0[2]) } == UInt8(ascii: "c"))
    }
}
