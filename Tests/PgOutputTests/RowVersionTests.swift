import CdcCore
import PgOutput
import Testing

/// The version traps of the design, where rows get their versions: at the decoder and the batch.
@Suite("Row versions")
struct RowVersionTests {
    private let orders = Samples.oid(Samples.orders)

    /// A change with the place of its WAL record, and what its version became.
    private struct Versioned {
        var changeLSN: LSN
        var version: RowVersion
    }

    /// Decodes a transaction's frames; changes have their record's place in the frame.
    private func stream(commitLSN: UInt64, _ changes: [(lsn: UInt64, payload: [UInt8])]) throws -> [Versioned] {
        var feed = MessageFeed()
        feed.batch.reset()
        let end = commitLSN + 0x30
        try feed.takeFrame(Wire.data(start: commitLSN, walEnd: end, payload: Wire.begin(commitLSN: commitLSN)))
        for change in changes {
            try feed.takeFrame(Wire.data(start: change.lsn, walEnd: end, payload: change.payload))
        }
        let commit = Wire.commit(commitLSN: commitLSN, endLSN: end)
        try feed.takeFrame(Wire.data(start: end, walEnd: end, payload: commit))
        return zip(changes, 0..<feed.batch.changeCount).map {
            Versioned(changeLSN: LSN(rawValue: $0.lsn), version: feed.batch.version(of: feed.batch.change($1)))
        }
    }

    /// A row of the initial copy.
    private func copied(at point: UInt64) throws -> RowVersion {
        let batch = CdcBatch(tables: Samples.tables)
        batch.begin(TransactionInfo(xid: 0, commitLSN: LSN(rawValue: point), commitTime: 0))
        var decoder = CopyTextDecoder()
        let line = Samples.copyLines[0]
        try decoder.append(line.span.bytes, into: batch, table: Samples.orders)
        return batch.version(of: batch.change(0))
    }

    @Test("a change from before the consistent point, committed after it, beats the copied row")
    func openAtConsistentPoint() throws {
        let copy = try copied(at: 0x1000)
        let streamed = try stream(
            commitLSN: 0x2000,
            [(0x0F00, Wire.update(orders, new: [.text("1"), .text("streamed"), .null]))]
        )
        #expect(copy == RowVersion(commitLSN: LSN(rawValue: 0x1000), ordinal: 0))
        #expect(streamed[0].version > copy)
        // The trap: the change itself lies before the consistent point.
        #expect(streamed[0].changeLSN < copy.commitLSN)
    }

    @Test("a change that committed at the consistent point itself beats no copied row by less than its ordinal")
    func sameCommit() throws {
        let streamed = try stream(commitLSN: 0x1000, [(0x0F00, Wire.insert(orders, [.text("1"), .null, .null]))])
        #expect(streamed[0].version > (try copied(at: 0x1000)))
        #expect(streamed[0].version < (try copied(at: 0x1001)))
    }

    @Test("an insert that waited for a delete beats it, although it wrote its WAL first")
    func insertBeforeUniqueCheck() throws {
        let insert = try stream(
            commitLSN: 0x4000,
            [(0x2000, Wire.insert(orders, [.text("1"), .text("second"), .null]))]
        )
        let delete = try stream(commitLSN: 0x3000, [(0x2500, Wire.delete(orders, key: [.text("1"), .null, .null]))])
        #expect(insert[0].version > delete[0].version)
        // The trap: in the WAL the insert comes first.
        #expect(insert[0].changeLSN < delete[0].changeLSN)
    }

    @Test("changes of one transaction are told apart by their ordinal, from 1")
    func sameTransaction() throws {
        let changes = try stream(
            commitLSN: 0x5000,
            [
                (0x4000, Wire.insert(orders, [.text("1"), .null, .null])),
                (0x4100, Wire.delete(orders, key: [.text("1"), .null, .null])),
                (0x4200, Wire.insert(orders, [.text("1"), .text("again"), .null])),
            ]
        )
        // The trap: the commit LSN is the same.
        #expect(Set(changes.map(\.version.commitLSN)) == [LSN(rawValue: 0x5000)])
        #expect(changes.map(\.version.ordinal) == [1, 2, 3])
        #expect(changes.map(\.version.hexadecimal) == changes.map(\.version.hexadecimal).sorted())
        #expect(changes.map(\.version.number) == changes.map(\.version.number).sorted())
    }

    @Test("a transaction has the same versions wherever it is cut into batches", arguments: 0...4)
    func cutElsewhere(cut: Int) throws {
        let rows = (1...4).map { Wire.insert(orders, [.text("\($0)"), .null, .null]) }
        let info = TransactionInfo(xid: 1, commitLSN: LSN(rawValue: 0x6000), commitTime: 0)
        let parts = [CdcBatch(tables: Samples.tables), CdcBatch(tables: Samples.tables)]
        let map = ColumnMap(places: [0, 1, 2], tableColumns: 3)
        for part in parts { part.begin(info) }
        for (number, row) in rows.enumerated() {
            try TupleDecoder.insert(
                row.span.bytes,
                newOffset: 6,
                into: parts[number < cut ? 0 : 1],
                table: Samples.orders,
                map: map,
                ordinal: UInt64(number + 1)
            )
        }
        let versions = parts.flatMap { part in (0..<part.changeCount).map { part.version(of: part.change($0)) } }
        #expect(versions == (1...4).map { RowVersion(commitLSN: info.commitLSN, ordinal: $0) })
    }
}
