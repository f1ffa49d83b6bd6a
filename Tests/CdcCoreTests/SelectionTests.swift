import Testing

@testable import CdcCore

private let tables = [
    TableSchema("t", [ColumnDef("id", .int32), ColumnDef("a", .text)]),
    TableSchema("u", [ColumnDef("id", .int32), ColumnDef("a", .text)], key: []),
]

/// The items of both tables in words, as folding sees them.
private func folded(_ batch: CdcBatch) -> [String] {
    batch.touchedTables.flatMap { table in
        var index = FoldIndex()
        index.build(batch, table: table)
        return index.items.map { item in
            let cells = item.outcome == .truncate ? [] : (0..<2).map { index.cell(item, $0, in: batch) }
            let words = cells.map { String(decoding: batch.bytes(of: $0), as: UTF8.self) }
            return "\(table) \(item.outcome) \(item.changes) \(words.joined(separator: ","))"
        }
    }
}

@Suite("A batch's selection")
struct SelectionTests {
    private func filled() -> BatchBuilder {
        let builder = BatchBuilder(tables).begin(lsn: 1)
        builder.insert("1", "a").insert("1", "x", table: 1).update("1", "b").insert("2", "c")
        builder.insert("2", "y", table: 1).update("1", "d").delete(key: ["2", nil])
        return builder
    }

    @Test("hides changes from chains, counts, records and folding, and shows them again")
    func hides() {
        let batch = filled().batch
        let all = folded(batch)
        batch.select { $0 != 2 && $0 != 5 && $0 != 1 }
        #expect(folded(batch) == ["0 upsert 1 1,a", "0 delete 2 2,", "1 upsert 1 2,y"])
        #expect([batch.changeCount, batch.selectedCount, Array(batch.selectedChanges).count] == [7, 4, 4])
        #expect(!batch.isEmpty && !batch.isSelected(2) && batch.isSelected(3))
        #expect(BatchTally(batch).tables.map(\.inserts) == [2, 1])
        #expect(batch.records.count == 5)
        batch.narrow(to: 3..<6)
        #expect(folded(batch) == ["0 upsert 1 2,c", "1 upsert 1 2,y"])
        #expect(batch.selectedCount == 2 && Array(batch.selectedChanges) == [3, 4] && !batch.isSelected(6))
        batch.narrow(to: 0..<0)
        #expect(batch.isEmpty && !batch.isSelected(0) && batch.isKept(0) && !batch.isKept(5))
        batch.widen()
        #expect(Array(batch.selectedChanges) == [0, 3, 4, 6])
        batch.selectAll()
        #expect(folded(batch) == all)
        #expect(batch.selectedCount == 7)
    }

    @Test("of nothing leaves an empty batch that touches no table; a reset forgets it")
    func nothing() {
        let builder = filled()
        builder.batch.select { _ in false }
        #expect(builder.batch.isEmpty && builder.batch.touchedTables.isEmpty && builder.batch.changeCount == 7)
        builder.reset().begin(lsn: 2).insert("1", "a")
        #expect(folded(builder.batch) == ["0 upsert 1 1,a"])
        #expect(builder.batch.isSelected(0))
    }

    @Test("gives what a batch of the selected changes alone gives, over random workloads", arguments: 0..<20)
    func likeABatchOfItsOwn(seed: UInt64) {
        var random = SeededWords(seed)
        let whole = BatchBuilder(tables).begin(lsn: 1)
        let part = BatchBuilder(tables).begin(lsn: 1)
        var kept: [Bool] = []
        for _ in 0..<200 {
            let key = TestCell.text(String(random.next() % 8))
            let value = TestCell.text(String(random.next() % 100))
            let table = random.next() % 4 == 0 ? UInt32(1) : 0
            let isKept = random.next() % 3 > 0
            let kind = random.next() % 8
            kept.append(isKept)
            for builder in isKept ? [whole, part] : [whole] {
                switch kind {
                case 0 where table == 0: builder.delete(key: [key, nil])
                case 1...3 where table == 0: builder.update([key, value])
                case 4 where table == 0: builder.update([key, value], key: [.text("9"), nil])
                case 5 where random.isRare(kind): builder.truncate(table: table)
                default: builder.insert([key, value], table: table)
                }
            }
        }
        whole.batch.select { kept[$0] }
        let expected = folded(part.batch)
        #expect(folded(whole.batch).sorted() == expected.sorted())
        #expect(whole.batch.selectedCount == part.batch.changeCount)
    }
}

/// Numbers that a seed gives again.
private struct SeededWords {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state >> 33
    }

    func isRare(_ kind: UInt64) -> Bool { state % 16 == 0 }
}
