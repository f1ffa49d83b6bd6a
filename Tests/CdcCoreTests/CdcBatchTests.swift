import Testing

@testable import CdcCore

private let table = TableSchema("t", [ColumnDef("id", .int32), ColumnDef("a", .text), ColumnDef("b", .text)])
private let full = TableSchema("f", table.columns, identity: .full)

/// A row as text: NULL, `…` for unchanged, else the bytes.
private func shown(_ batch: CdcBatch, _ change: Change, old: Bool = false) -> [String] {
    batch.tables[Int(change.table)].columns.indices.map { column in
        let cell = old ? batch.oldCell(change, column) : batch.newCell(change, column)
        return switch cell.kind {
        case .null: "NULL"
        case .unchanged: "…"
        case .text, .binary: String(decoding: batch.bytes(of: cell), as: UTF8.self)
        }
    }
}

private func changesOf(_ table: UInt32, in batch: CdcBatch) -> [UInt32] {
    var found: [UInt32] = []
    var index = batch.firstChange(ofTable: table)
    while index != .max {
        found.append(index)
        index = batch.change(Int(index)).nextOfTable
    }
    return found
}

@Suite("CdcBatch")
struct CdcBatchTests {
    @Test("changes keep their order, their bytes and their place in the transaction")
    func arrival() {
        let builder = BatchBuilder(table).begin(xid: 9, lsn: 0x100)
        builder.insert("1", "", nil).update("1", "é", .unchanged).delete(key: ["1", nil, nil]).truncate().commit()
        let batch = builder.batch
        #expect((0..<4).map { batch.change($0).kind } == [.insert, .update, .delete, .truncate])
        #expect((0..<4).map { batch.change($0).ordinal } == [1, 2, 3, 4])
        #expect(shown(batch, batch.change(0)) == ["1", "", "NULL"])
        #expect(shown(batch, batch.change(1)) == ["1", "é", "…"])
        #expect(shown(batch, batch.change(2), old: true) == ["1", "NULL", "NULL"])
        #expect(batch.position == builder.position)
        #expect(batch.transaction(0).xid == 9)
        #expect(batch.transaction(0).endLSN == LSN(rawValue: 0x130))
        #expect(batch.version(of: batch.change(2)) == RowVersion(commitLSN: LSN(rawValue: 0x100), ordinal: 3))
    }

    @Test("each table's changes are chained in their order, whatever stands between them")
    func chains() {
        let builder = BatchBuilder([table, full, table]).begin(lsn: 1)
        builder.insert("1", nil, nil, table: 2).insert("2", nil, nil).insert("3", nil, nil, table: 2)
        builder.truncate(table: 2).insert("4", nil, nil)
        #expect(builder.batch.touchedTables == [2, 0])
        #expect(changesOf(0, in: builder.batch) == [1, 4])
        #expect(changesOf(1, in: builder.batch) == [])
        #expect(changesOf(2, in: builder.batch) == [0, 2, 3])
    }

    @Test("under REPLICA IDENTITY FULL every unchanged column takes its value from the old row")
    func inheritsAll() {
        let builder = BatchBuilder(full).begin(lsn: 1)
        builder.update("1", .unchanged, "x", old: ["1", "long", "y"])
        let change = builder.batch.change(0)
        #expect(shown(builder.batch, change) == ["1", "long", "x"])
        #expect(!change.isPartial)
        #expect(!change.changesKey)
    }

    @Test("an old key gives its columns alone; the row stays partial, and an equal key is no key change")
    func inheritsKey() {
        let builder = BatchBuilder(table).begin(lsn: 1)
        builder.update(.unchanged, "a", .unchanged, key: ["1", nil, nil]).update("2", "a", "b", key: ["1", nil, nil])
        #expect(shown(builder.batch, builder.batch.change(0)) == ["1", "a", "…"])
        #expect(builder.batch.change(0).isPartial)
        #expect(!builder.batch.change(0).changesKey)
        #expect(builder.batch.change(1).changesKey)
        #expect(!builder.batch.change(1).isPartial)
    }

    @Test("a key whose bytes differ has changed, even where Unicode calls the texts equal")
    func keyBytes() {
        let words = TableSchema("w", [ColumnDef("word", .text)])
        let builder = BatchBuilder(words).begin(lsn: 1).update("e\u{301}", key: ["\u{E9}"])
        #expect(builder.batch.change(0).changesKey)
    }

    @Test("an update whose key is unchanged and unknown is not taken")
    func unknownKey() {
        let batch = CdcBatch(tables: [table])
        batch.begin(TransactionInfo(xid: 1, commitLSN: LSN(rawValue: 1), commitTime: 0))
        let cells = batch.addCells(3, filledWith: .unchanged)
        #expect(!batch.appendUpdate(table: 0, old: .none, oldCells: .max, newCells: cells, ordinal: 1))
        #expect(batch.isEmpty)
    }

    @Test("dropping what is not committed keeps the commits before it, in every table's chain")
    func discard() {
        let builder = BatchBuilder([table, full]).begin(lsn: 1).insert("1", "kept", nil).commit()
        let bytes = builder.batch.tupleBytes
        builder.begin(lsn: 2).insert("2", "dropped", nil).insert("3", "dropped", nil, table: 1)
        builder.batch.discardUncommitted()
        #expect(builder.batch.changeCount == 1)
        #expect(builder.batch.transactionCount == 1)
        #expect(builder.batch.tupleBytes == bytes)
        #expect(builder.batch.touchedTables == [0])
        #expect(changesOf(0, in: builder.batch) == [0])
        #expect(changesOf(1, in: builder.batch) == [])
        builder.begin(lsn: 3).insert("4", "new", nil)
        #expect(changesOf(0, in: builder.batch) == [0, 1])
        #expect(shown(builder.batch, builder.batch.change(1)) == ["4", "new", "NULL"])
    }

    @Test("a savepoint takes back the cells and bytes of a row that was not appended")
    func savepoint() {
        let builder = BatchBuilder(table).begin(lsn: 1).insert("1", "a", nil)
        let bytes = builder.batch.byteCount
        let savepoint = builder.batch.savepoint()
        _ = builder.batch.addCells(3, filledWith: .null)
        _ = builder.batch.copy([1, 2, 3].span.bytes)
        #expect(builder.batch.byteCount > bytes)
        builder.batch.roll(backTo: savepoint)
        #expect(builder.batch.byteCount == bytes)
        #expect(shown(builder.batch, builder.batch.change(0)) == ["1", "a", "NULL"])
    }

    @Test("after a reset nothing is left, neither rows nor position nor the unit's flags")
    func reset() {
        let builder = BatchBuilder(table).begin(lsn: 1).insert("1", "a", nil).commit()
        builder.batch.beginsUnit = false
        builder.batch.commitsUnit = false
        builder.batch.firstArrival = .now
        builder.batch.reset()
        let batch = builder.batch
        #expect(batch.isEmpty && batch.tupleBytes == 0 && batch.byteCount == 0 && batch.transactionCount == 0)
        #expect(batch.touchedTables.isEmpty && batch.firstChange(ofTable: 0) == .max)
        #expect(batch.position == nil && batch.firstArrival == nil && batch.beginsUnit && batch.commitsUnit)
    }

    @Test("a batch grows over many blocks and keeps every byte")
    func growth() {
        let builder = BatchBuilder(table).begin(lsn: 1)
        for id in 0..<20_000 { builder.insert(.text("\(id)"), .text(String(repeating: "x", count: id % 50)), nil) }
        for id in [0, 1, 777, 19_999] {
            #expect(
                shown(builder.batch, builder.batch.change(id)) == [
                    "\(id)", String(repeating: "x", count: id % 50), "NULL",
                ]
            )
        }
        #expect(builder.batch.byteCount > builder.batch.tupleBytes)
    }

    @Test("NULL, unchanged and no bytes are three different cells; binary is not text")
    func cells() {
        let builder = BatchBuilder(table).begin(lsn: 1).insert("", nil, .binary([]))
        let batch = builder.batch
        let cells = (0..<3).map { batch.newCell(batch.change(0), $0) }
        #expect(cells.map(\.kind) == [.text, .null, .binary])
        #expect(cells.map(\.hasBytes) == [true, false, true])
        #expect(!batch.equal(cells[0], cells[1]) && !batch.equal(cells[0], cells[2]))
        #expect(!batch.equal(.null, .unchanged) && batch.equal(.null, .null))
        #expect(Cell.unchanged.isUnchanged && !Cell.unchanged.hasBytes && !Cell.unchanged.isNull)
        let longest = Cell(offset: .max, length: UInt32(Cell.maximumLength), isBinary: true)
        #expect(longest.length == 1_073_741_823 && longest.kind == .binary && longest.offset == .max)
    }
}

@Suite("Records: a view over a batch")
struct RecordsTests {
    @Test("records stand between the begin and commit of their transactions; an incomplete one has no commit")
    func order() {
        let builder = BatchBuilder(table).begin(xid: 1, lsn: 0x10).insert("1", nil, nil).truncate().commit()
        builder.begin(xid: 2, lsn: 0x20).delete(key: ["1", nil, nil])
        let names = builder.batch.records.map { record in
            switch record {
            case .begin(let xid): "begin \(xid)"
            case .commit(let xid, let position): "commit \(xid) \(position.endLSN)"
            case .insert(_, _, let version): "insert \(version.ordinal)"
            case .update: "update"
            case .delete(_, let columns, _): "delete \(columns.map(\.name))"
            case .truncate(let table, _): "truncate \(table)"
            case .schemaChange, .heartbeat: "other"
            }
        }
        #expect(
            names == ["begin 1", "insert 1", "truncate public.t", "commit 1 0/40", "begin 2", "delete [\"id\"]"]
        )
    }

    @Test("values are typed where that is exact, else text or bytes")
    func values() {
        let columns: [(DataType, TestCell, Value)] = [
            (.boolean, "t", .boolean(true)), (.boolean, "x", .text("x")),
            (.int64, "-9223372036854775808", .integer(.min)),
            (.int32, "abc", .text("abc")), (.uint32, "4294967295", .integer(4_294_967_295)),
            (.float64, "-0", .float(-0.0)),
            (.float32, "1e-45", .float(Double(Float(1e-45)))), (.bytes, "\\x00ff", .bytes([0, 255])),
            (.bytes, "\\x0", .text("\\x0")),
            (.decimal(precision: nil, scale: nil), "1.10", .text("1.10")), (.text, .bytes([0xFF]), .raw([0xFF])),
            (.text, nil, .null), (.text, .unchanged, .unchanged), (.int16, .binary([0xFF, 0xFE]), .integer(-2)),
            (.int32, .binary([0, 0, 1, 0]), .integer(256)),
            (.uint32, .binary([255, 255, 255, 255]), .integer(4_294_967_295)),
            (.int64, .binary([0, 0, 0, 0, 0, 0, 0, 7]), .integer(7)), (.int64, .binary([7]), .raw([7])),
            (.float64, .binary([0x3F, 0xF0, 0, 0, 0, 0, 0, 0]), .float(1)),
            (.float32, .binary([0x3F, 0x80, 0, 0]), .float(1)),
            (.boolean, .binary([1]), .boolean(true)), (.uuid, .binary([1, 2]), .raw([1, 2])),
            (.text, .binary(Array("é".utf8)), .text("é")), (.bytes, .binary([9]), .bytes([9])),
        ]
        let schema = TableSchema(
            "v",
            [ColumnDef("id", .int32)] + columns.enumerated().map { ColumnDef("c\($0)", $1.0) }
        )
        let builder = BatchBuilder(schema).begin(lsn: 1).update([.text("1")] + columns.map(\.1))
        guard case .update(_, nil, let row, _) = builder.batch.record(0) else {
            Issue.record("no update without an old row")
            return
        }
        for (column, expected) in zip(row.dropFirst(), columns) {
            #expect(column.value == expected.2, "\(expected.0) \(expected.1)")
        }
        let negativeZero = row[6].value
        guard case .float(let zero) = negativeZero else {
            Issue.record("-0 is no float")
            return
        }
        #expect(zero.sign == .minus)
    }

    @Test("an update shows the whole old row, or its key, as it came")
    func oldRows() {
        let builder = BatchBuilder([table, full]).begin(lsn: 1)
        builder.update("2", "a", "b", key: ["1", nil, nil]).update("1", "a", "b", old: ["1", "x", nil], table: 1)
        guard case .update(_, let key?, _, _) = builder.batch.record(0),
            case .update(_, let old?, let new, _) = builder.batch.record(1)
        else {
            Issue.record("no updates with old rows")
            return
        }
        #expect(key == [ColumnValue(name: "id", value: .integer(1))])
        #expect(old.map(\.value) == [.integer(1), .text("x"), .null])
        #expect(new.map(\.value) == [.integer(1), .text("a"), .text("b")])
    }
}
