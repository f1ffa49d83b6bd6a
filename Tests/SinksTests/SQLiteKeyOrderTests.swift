import CdcCore
import TestSupport
import Testing

@testable import Sinks

@Suite("SQLite sink: rows with scattered keys")
struct SQLiteKeyOrderTests {
    private let table = TableSchema(
        "scattered",
        [ColumnDef("k", .text), ColumnDef("a", .text), ColumnDef("b", .text)],
        key: [0]
    )

    @Test("a large batch in key order leaves what arrival order would, folded or not", arguments: [false, true])
    func sameRows(soft: Bool) async throws {
        let file = try SQLiteFixture {
            $0.auditColumns = soft
            $0.deleteMode = soft ? .soft : .hard
        }
        try await file.start(table)
        var random = SeededRandom(seed: 7)
        var expected: [String: (a: String, b: String)] = [:]
        for lsn: UInt64 in 1...4 {
            let builder = BatchBuilder(table).begin(lsn: lsn * 0x100)
            for step in 0..<1500 {
                // A common beginning, keys that are prefixes of others, and an empty one.
                let number = Int.random(in: 0..<700, using: &random)
                let key = number == 0 ? "" : "customer-" + String(repeating: "é", count: number % 3) + "\(number)"
                if expected[key] == nil {
                    builder.insert(.text(key), .text("a\(step)"), .text("b\(lsn)"))
                    expected[key] = ("a\(step)", "b\(lsn)")
                } else if step % 3 == 0 {
                    builder.delete(key: [.text(key), nil, nil])
                    expected[key] = nil
                } else {
                    builder.update(.text(key), .text("a\(step)"), .unchanged)
                    expected[key]?.a = "a\(step)"
                }
            }
            try await file.write(builder.commit())
            let live = soft ? " WHERE dbmazz_is_deleted=0" : ""
            let found = try file.rows("SELECT k, a, b FROM scattered\(live)")
            #expect(found.sorted() == expected.map { "\($0.key)|\($0.value.a)|\($0.value.b)" }.sorted())
        }
    }

    @Test(
        "neighbouring keys come together behind what all have in common; equal keys stay in order; barriers forbid it"
    )
    func order() {
        let builder = BatchBuilder(table).begin(lsn: 1)
        for number in (0..<400).reversed() { builder.insert(.text("same-beginning-\(1000 + number)"), nil, nil) }
        builder.update("same-beginning-1000", "x", nil)
        var fold = FoldIndex()
        fold.build(builder.batch, table: 0, folding: false)
        var order = KeyOrder()
        let isOrdered = order.build(fold, of: builder.batch, column: 0)
        #expect(isOrdered)
        #expect(Array(order.places.prefix(4)) == [399, 400, 398, 397])
        #expect(order.places.sorted() == Array(0...400))

        builder.truncate()
        fold.build(builder.batch, table: 0, folding: false)
        let isOrderedAcrossBarrier = order.build(fold, of: builder.batch, column: 0)
        #expect(!isOrderedAcrossBarrier)
    }
}
