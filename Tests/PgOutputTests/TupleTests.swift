import CdcCore
import PgOutput
import Testing

@Suite("TupleDecoder")
struct TupleTests {
    private let orders = Samples.oid(Samples.orders)
    private let prices = Samples.oid(Samples.prices)
    private let documents = Samples.oid(Samples.documents)
    private let events = Samples.oid(Samples.events)

    // MARK: Cells

    @Test("text, binary, NULL and empty values arrive byte by byte, each in its form")
    func cells() throws {
        var feed = MessageFeed()
        try feed.take(Wire.insert(documents, [.binary([0, 0, 1, 0]), .text(""), .binary([0, 255, 10]), .null]))
        let batch = feed.batch
        let change = batch.change(0)
        #expect(change.kind == .insert)
        #expect(batch.newCells(change).map(\.kind) == [.binary, .text, .binary, .null])
        #expect(batch.newBytes(change) == [[0, 0, 1, 0], [], [0, 255, 10], nil])
        #expect(
            batch.newValues(0) == [.integer(256), .text(""), .bytes([0, 255, 10]), .null]
        )
    }

    @Test("bytea's text form and binary form are the same value")
    func bytea() throws {
        var feed = MessageFeed()
        try feed.take(Wire.insert(documents, [.text("1"), .null, .text("\\x00ff0a"), .text("t")]))
        try feed.take(Wire.insert(documents, [.text("1"), .null, .binary([0, 255, 10]), .binary([1])]))
        #expect(feed.batch.newValues(0)[2] == .bytes([0, 255, 10]))
        #expect(feed.batch.newValues(0) == feed.batch.newValues(1))
    }

    @Test("an old row and a new one lie side by side")
    func oldAndNew() throws {
        var feed = MessageFeed()
        try feed.take(Wire.update(events, full: [.text("a"), .null], new: [.text("b"), .text("cc")]))
        let change = feed.batch.change(0)
        #expect(change.oldTuple == .full)
        #expect(feed.batch.oldBytes(change) == [Array("a".utf8), nil])
        #expect(feed.batch.newBytes(change) == [Array("b".utf8), Array("cc".utf8)])
        #expect(!change.isPartial)
    }

    @Test("a delete carries the key only, or the whole row")
    func delete() throws {
        var feed = MessageFeed()
        try feed.take(Wire.delete(orders, key: [.text("7"), .null, .null]))
        try feed.take(Wire.delete(documents, full: [.text("7"), .text("t"), .null, .text("f")]))
        #expect(feed.batch.change(0).oldTuple == .key)
        #expect(feed.batch.oldBytes(feed.batch.change(0)) == [Array("7".utf8), nil, nil])
        guard case .delete(_, let key, _) = feed.batch.record(0), case .delete(_, let row, _) = feed.batch.record(1)
        else {
            throw Unexpected(feed.batch.records)
        }
        #expect(key == [ColumnValue(name: "id", value: .integer(7))])
        #expect(row.map(\.value) == [.integer(7), .text("t"), .null, .boolean(false)])
    }

    @Test("many rows in one batch keep their own bytes")
    func manyRows() throws {
        var feed = MessageFeed()
        for number in 0..<2000 {
            try feed.take(
                Wire.insert(
                    orders,
                    [.text("\(number)"), .text("name \(number)"), number % 3 == 0 ? .null : .text("n")]
                )
            )
        }
        for number in 0..<2000 {
            let expected: [Value] = [
                .integer(Int64(number)), .text("name \(number)"), number % 3 == 0 ? .null : .text("n"),
            ]
            #expect(feed.batch.newValues(number) == expected)
        }
    }

    // MARK: ColumnMap

    @Test("a map with every column in its place is none")
    func identityMap() {
        #expect(ColumnMap(places: [0, 1, 2], tableColumns: 3).places == nil)
        #expect(ColumnMap(places: [0, 2, 1], tableColumns: 3).places == [0, 2, 1])
        #expect(ColumnMap(places: [0, 1], tableColumns: 3).places == [0, 1])
        #expect(ColumnMap(places: [0, 1, ColumnMap.leftOut], tableColumns: 2).places == [0, 1, ColumnMap.leftOut])
    }

    @Test("columns in another order come to their places")
    func reordered() throws {
        var feed = MessageFeed()
        feed.route(orders, to: Samples.orders, ColumnMap(places: [2, 0, 1], tableColumns: 3))
        try feed.take(Wire.insert(orders, [.text("note"), .text("1"), .text("name")]))
        try feed.take(Wire.update(orders, key: [.null, .text("1"), .null], new: [.unchanged, .text("2"), .null]))
        #expect(feed.batch.newValues(0) == [.integer(1), .text("name"), .text("note")])
        #expect(feed.batch.newValues(1) == [.integer(2), .null, .unchanged])
        #expect(feed.batch.oldBytes(feed.batch.change(1))[0] == Array("1".utf8))
        #expect(feed.batch.change(1).changesKey)
    }

    @Test("a column that the source does not send yet is NULL in an insert and unchanged in an update")
    func missingColumn() throws {
        var feed = MessageFeed()
        feed.route(orders, to: Samples.orders, ColumnMap(places: [0, 1], tableColumns: 3))
        try feed.take(Wire.insert(orders, [.text("1"), .text("a")]))
        try feed.take(Wire.update(orders, new: [.text("1"), .text("b")]))
        try feed.take(Wire.delete(orders, key: [.text("1"), .null]))
        #expect(feed.batch.newValues(0) == [.integer(1), .text("a"), .null])
        #expect(feed.batch.newValues(1) == [.integer(1), .text("b"), .unchanged])
        #expect(feed.batch.change(1).isPartial)
        #expect(feed.batch.oldBytes(feed.batch.change(2)) == [Array("1".utf8), nil, nil])
    }

    @Test("under REPLICA IDENTITY FULL, too, a column that the source does not send yet stays unchanged")
    func missingColumnUnderFull() throws {
        var feed = MessageFeed()
        feed.route(documents, to: Samples.documents, ColumnMap(places: [0, 1, 2], tableColumns: 4))
        let old: [Wire.Column] = [.text("1"), .text("a"), .null]
        try feed.take(Wire.update(documents, full: old, new: [.text("1"), .text("b"), .null]))
        #expect(feed.batch.newValues(0)[3] == .unchanged)
    }

    @Test("the values of a column that the table has no more are left out, and checked nevertheless")
    func leftOutColumn() throws {
        var feed = MessageFeed()
        feed.route(orders, to: Samples.orders, ColumnMap(places: [0, ColumnMap.leftOut, 1, 2], tableColumns: 3))
        try feed.take(Wire.insert(orders, [.text("1"), .text("gone"), .text("a"), .text("b")]))
        try feed.take(Wire.update(orders, new: [.text("1"), .unchanged, .null, .unchanged]))
        #expect(feed.batch.newValues(0) == [.integer(1), .text("a"), .text("b")])
        #expect(feed.batch.newValues(1) == [.integer(1), .null, .unchanged])
        let before = feed.fill
        var damaged = Wire.insert(orders, [.text("1"), .text("gone"), .text("a"), .text("b")])
        damaged.replaceSubrange(15..<19, with: Wire.bytes(UInt32.max))
        #expect(throws: WireError("absurd length", at: 15)) { try feed.take(damaged) }
        #expect(feed.fill == before)
    }

    // MARK: TOAST

    @Test("an unchanged column stays unchanged without an old row")
    func unchangedStays() throws {
        var feed = MessageFeed()
        try feed.take(Wire.update(orders, new: [.text("1"), .unchanged, .null]))
        #expect(feed.batch.newValues(0) == [.integer(1), .unchanged, .null])
        #expect(feed.batch.change(0).isPartial)
        #expect(!feed.batch.change(0).changesKey)
    }

    @Test("an unchanged column takes its value from a whole old row")
    func unchangedFromFullRow() throws {
        var feed = MessageFeed()
        try feed.take(
            Wire.update(
                documents,
                full: [.text("1"), .text("old"), .text("\\x01"), .null],
                new: [.text("1"), .text("new"), .unchanged, .unchanged]
            )
        )
        #expect(feed.batch.newValues(0) == [.integer(1), .text("new"), .bytes([1]), .null])
        #expect(!feed.batch.change(0).isPartial)
        #expect(!feed.batch.change(0).changesKey)
    }

    @Test("an unchanged key column takes its value from a key tuple, other columns stay unchanged")
    func unchangedFromKey() throws {
        var feed = MessageFeed()
        try feed.take(
            Wire.update(prices, key: [.text("EUR"), .null, .text("5")], new: [.unchanged, .unchanged, .text("5")])
        )
        #expect(feed.batch.newValues(0) == [.text("EUR"), .unchanged, .integer(5)])
        #expect(feed.batch.change(0).isPartial)
    }

    @Test("a whole old row without a key fills unchanged columns, too")
    func unchangedWithoutKey() throws {
        var feed = MessageFeed()
        try feed.take(Wire.update(events, full: [.text("now"), .text("long")], new: [.text("later"), .unchanged]))
        #expect(feed.batch.newValues(0) == [.text("later"), .text("long")])
        #expect(!feed.batch.change(0).changesKey)
    }

    // MARK: Keys

    @Test("a key tuple is no proof of a key change: a toasted key sends one on every update")
    func toastedKey() throws {
        var feed = MessageFeed()
        try feed.take(Wire.update(orders, key: [.text("1"), .null, .null], new: [.unchanged, .text("x"), .null]))
        try feed.take(Wire.update(orders, key: [.text("1"), .null, .null], new: [.text("1"), .text("x"), .null]))
        #expect(!feed.batch.change(0).changesKey)
        #expect(!feed.batch.change(1).changesKey)
        #expect(feed.batch.newValues(0)[0] == .integer(1))
    }

    @Test("a key tuple with another key is a key change")
    func keyChange() throws {
        var feed = MessageFeed()
        try feed.take(Wire.update(orders, key: [.text("1"), .null, .null], new: [.text("2"), .text("x"), .null]))
        #expect(feed.batch.change(0).changesKey)
        #expect(feed.batch.oldBytes(feed.batch.change(0))[0] == Array("1".utf8))
    }

    @Test("a whole old row tells a key change, too, and only the key counts")
    func fullRowKeyChange() throws {
        var feed = MessageFeed()
        let old: [Wire.Column] = [.text("1"), .text("a"), .null, .text("t")]
        try feed.take(Wire.update(documents, full: old, new: [.text("2"), .text("a"), .null, .text("t")]))
        try feed.take(Wire.update(documents, full: old, new: [.text("1"), .text("b"), .text("\\x"), .text("f")]))
        #expect(feed.batch.change(0).changesKey)
        #expect(!feed.batch.change(1).changesKey)
    }

    @Test("each column of a composite key counts")
    func compositeKey() throws {
        var feed = MessageFeed()
        let old: [Wire.Column] = [.text("EUR"), .null, .text("5")]
        try feed.take(Wire.update(prices, key: old, new: [.text("EUR"), .text("2"), .text("5")]))
        try feed.take(Wire.update(prices, key: old, new: [.text("USD"), .text("2"), .text("5")]))
        try feed.take(Wire.update(prices, key: old, new: [.text("EUR"), .text("2"), .text("6")]))
        try feed.take(Wire.update(prices, key: old, new: [.unchanged, .text("2"), .text("6")]))
        #expect((0..<4).map { feed.batch.change($0).changesKey } == [false, true, true, true])
        #expect(feed.batch.newValues(3)[0] == .text("EUR"))
    }

    @Test("keys are equal as bytes, not as Unicode")
    func keysAreBytes() throws {
        var feed = MessageFeed()
        try feed.take(
            Wire.update(
                prices,
                key: [.text("e\u{301}"), .null, .text("5")],
                new: [.text("\u{E9}"), .null, .text("5")]
            )
        )
        #expect(feed.batch.change(0).changesKey)
    }

    @Test("an update that does not tell its key is an error and leaves the batch as it was")
    func updateWithoutKey() throws {
        var feed = MessageFeed()
        let before = feed.fill
        #expect(throws: WireError("update without the value of its key", at: 6)) {
            try feed.take(Wire.update(orders, new: [.unchanged, .text("x"), .null]))
        }
        #expect(throws: WireError.self) {
            try feed.take(Wire.update(prices, new: [.text("EUR"), .null, .unchanged]))
        }
        #expect(feed.fill == before)
    }
}

// MARK: Reading batches

extension CdcBatch {
    func newCells(_ change: Change) -> [Cell] {
        tables[Int(change.table)].columns.indices.map { newCell(change, $0) }
    }

    /// The new row's bytes; nil where there are none.
    func newBytes(_ change: Change) -> [[UInt8]?] {
        newCells(change).map { $0.hasBytes ? Array(bytes(of: $0)) : nil }
    }

    /// The old row's bytes; nil where there are none.
    func oldBytes(_ change: Change) -> [[UInt8]?] {
        tables[Int(change.table)].columns.indices.map { oldCell(change, $0) }.map {
            $0.hasBytes ? Array(bytes(of: $0)) : nil
        }
    }

    /// The new row as values.
    func newValues(_ index: Int) -> [Value] {
        let change = change(index)
        return zip(newCells(change), tables[Int(change.table)].columns).map { value($0, type: $1.type) }
    }
}
