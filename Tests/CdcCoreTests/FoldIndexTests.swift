import Testing

@testable import CdcCore

private let table = TableSchema("t", [ColumnDef("id", .int32), ColumnDef("a", .text), ColumnDef("b", .text)])

/// Items in words: outcome, changes folded, and the row.
private func folded(_ builder: BatchBuilder, folding: Bool = true) -> [String] {
    var index = FoldIndex()
    index.build(builder.batch, table: 0, folding: folding)
    return index.items.map { item in
        let cells =
            item.outcome == .truncate
            ? []
            : builder.batch.tables[0].columns.indices.map { column in
                shown(index.cell(item, column, in: builder.batch), builder.batch)
            }
        return "\(item.outcome) \(item.changes)\(item.isPartial ? " partial" : "") \(cells.joined(separator: ","))"
    }
}

private func shown(_ cell: Cell, _ batch: CdcBatch) -> String {
    switch cell.kind {
    case .null: "NULL"
    case .unchanged: "…"
    case .text, .binary: String(decoding: batch.bytes(of: cell), as: UTF8.self)
    }
}

@Suite("FoldIndex")
struct FoldIndexTests {
    @Test("each key gives one item, in the order in which the keys came first")
    func order() {
        let builder = BatchBuilder(table).begin(lsn: 1)
        builder.insert("1", "a", "b").insert("2", "a", "b").update("1", "A", "B").insert("3", "", nil)
        builder.delete(key: ["2", nil, nil])
        #expect(folded(builder) == ["upsert 2 1,A,B", "delete 2 2,NULL,NULL", "upsert 1 3,,NULL"])
    }

    @Test("an unchanged column takes the value of the image before; without one it stays unchanged")
    func unchanged() {
        let builder = BatchBuilder(table).begin(lsn: 1)
        builder.insert("1", "a", "long").update("1", "b", .unchanged).update("1", .unchanged, .unchanged)
        builder.update("2", "a", .unchanged).update("2", .unchanged, "b")
        builder.update("3", .unchanged, .unchanged).update("3", nil, .unchanged)
        #expect(folded(builder) == ["upsert 3 1,b,long", "update 2 2,a,b", "update 2 partial 3,NULL,…"])
    }

    @Test("an insert after a delete takes nothing from before the delete")
    func deletedBetween() {
        let builder = BatchBuilder(table).begin(lsn: 1)
        builder.update("1", "a", "old").delete(key: ["1", nil, nil]).insert("1", "b", nil)
        #expect(folded(builder) == ["upsert 3 1,b,NULL"])
    }

    @Test("a key change and a truncate are barriers: the same key before and after gives two items")
    func barriers() {
        let builder = BatchBuilder(table).begin(lsn: 1)
        builder.insert("1", "a", "b").update("2", "a", .unchanged, key: ["1", nil, nil]).insert("1", "c", "d")
        builder.update("1", "e", .unchanged).truncate().insert("1", "f", "g")
        #expect(
            folded(builder) == [
                "upsert 1 1,a,b", "changeKey 1 partial 2,a,…", "upsert 2 1,e,d", "truncate 1 ", "upsert 1 1,f,g",
            ]
        )
    }

    @Test(
        "keys are equal as bytes: é is not e with a combining accent, and parts of a composite key do not run together"
    )
    func bytes() {
        let keys = TableSchema("t", [ColumnDef("a", .text), ColumnDef("b", .text)], key: [0, 1])
        let builder = BatchBuilder(keys).begin(lsn: 1)
        builder.insert("\u{E9}", "").insert("e\u{301}", "").insert("ab", "c").insert("a", "bc").insert("", "").insert(
            nil,
            ""
        )
        #expect(folded(builder).count == 6)
    }

    @Test("without a key, or where it is asked for, every change is an item of its own")
    func unfolded() {
        let keyless = TableSchema("t", table.columns, key: [], identity: .full)
        let builder = BatchBuilder(keyless).begin(lsn: 1)
        builder.insert("1", "a", "b").insert("1", "a", "b").delete(old: ["1", "a", "b"])
        #expect(folded(builder) == ["upsert 1 1,a,b", "upsert 1 1,a,b", "delete 1 1,a,b"])

        let keyed = BatchBuilder(table).begin(lsn: 1)
        keyed.insert("1", "a", "b").update("1", "c", .unchanged).delete(key: ["1", nil, nil])
        #expect(folded(keyed, folding: false) == ["upsert 1 1,a,b", "update 1 partial 1,c,…", "delete 1 1,NULL,NULL"])
    }

    @Test("the item's change is the last one folded into it")
    func lastChange() {
        let builder = BatchBuilder(table).begin(lsn: 0x10)
        builder.insert("1", "a", "b").commit().begin(lsn: 0x20).update("1", "c", "d")
        var index = FoldIndex()
        index.build(builder.batch, table: 0)
        let change = builder.batch.change(Int(index.items[0].change))
        #expect(builder.batch.version(of: change) == RowVersion(commitLSN: LSN(rawValue: 0x20), ordinal: 1))
    }

    @Test("many keys: the table of slots grows, and the index can be used again for a small batch")
    func many() {
        var index = FoldIndex()
        let builder = BatchBuilder(table).begin(lsn: 1)
        for round in 0..<3 {
            for id in 0..<5000 { builder.update(.text("\(id)"), .text("\(round)"), .unchanged) }
        }
        index.build(builder.batch, table: 0)
        #expect(index.items.count == 5000)
        #expect(index.items.allSatisfy { $0.changes == 3 && $0.isPartial })
        builder.reset().begin(lsn: 2).insert("1", nil, nil).insert("1", "a", nil)
        index.build(builder.batch, table: 0)
        #expect(index.items.count == 1)
    }

    @Test("changes of other tables are not touched")
    func otherTables() {
        let builder = BatchBuilder([table, TableSchema("u", table.columns)]).begin(lsn: 1)
        builder.insert("1", "a", "b").insert("1", "x", "y", table: 1).update("1", "c", .unchanged)
        #expect(folded(builder) == ["upsert 2 1,c,b"])
    }

    /// Random changes, applied to the model as they stand and to the rows of a sink as `apply` does it.
    private static func expectSameRows(_ kind: Int, _ apply: (inout FoldedRows, CdcBatch) -> Void) {
        let schema = RandomTables.all[kind]
        for seed in 0..<500 {
            var workload = RandomTables.workload(schema, seed: UInt64(seed))
            var model = FoldedRows(schema)
            let builder = BatchBuilder(schema)
            for unit in 0..<4 {
                builder.reset().begin(lsn: UInt64(unit + 1))
                for _ in 0..<workload.number(1...40) { workload.step(builder, table: 0) }
                builder.commit()
                apply(&model, builder.batch)
                #expect(model.sorted == workload.rows.map { "\($0)" }.sorted(), "seed \(seed), unit \(unit)")
            }
        }
    }

    @Test("applying the items gives the rows that applying the changes one by one gives", arguments: 0..<4)
    func equalsReplay(kind: Int) {
        Self.expectSameRows(kind) { $0.apply($1) }
    }

    @Test("a delete that is kept apart ends the run: the key's next operation gives an item of its own")
    func keptDeletes() {
        let builder = BatchBuilder(table).begin(lsn: 1)
        builder.insert("1", "a", "b").insert("2", "x", "y").delete(key: ["1", nil, nil]).insert("1", "c", "d")
        builder.update("1", "e", .unchanged).update("2", "z", .unchanged)
        var index = FoldIndex()
        index.build(builder.batch, table: 0, keepingDeletes: true)
        #expect(index.items.map(\.outcome) == [.upsert, .upsert, .delete, .upsert, .update])
        #expect(index.items.map(\.isNew) == [true, true, false, true, false])
        #expect(index.runEnds == [2, 3])
    }

    @Test(
        "applied as sets, deletes first and new rows last, the items of a run give the rows that the changes one by one give",
        arguments: 0..<3,
        [false, true]
    )
    func setsEqualReplay(kind: Int, keepingDeletes: Bool) {
        Self.expectSameRows(kind) { $0.applySets($1, keepingDeletes: keepingDeletes) }
    }
}

/// A sink of a few lines: rows changed by fold items alone.
private struct FoldedRows {
    private let schema: TableSchema
    private var rows: [[TestCell]] = []
    private var index = FoldIndex()

    init(_ schema: TableSchema) { self.schema = schema }

    var sorted: [String] { rows.map { "\($0)" }.sorted() }

    mutating func apply(_ batch: CdcBatch) {
        index.build(batch, table: 0)
        for item in index.items { apply(item, batch) }
    }

    /// As a sink with sets does: what makes room goes first.
    mutating func applySets(_ batch: CdcBatch, keepingDeletes: Bool) {
        index.build(batch, table: 0, keepingDeletes: keepingDeletes)
        var run: [FoldIndex.Item] = []
        func rank(_ item: FoldIndex.Item) -> Int {
            switch item.outcome {
            case .delete: 0
            case .update: 1
            case .upsert: item.isNew ? 3 : 2
            case .changeKey, .truncate: 4
            }
        }
        func flush(_ rows: inout FoldedRows) {
            for item in run.reversed().sorted(by: { rank($0) < rank($1) }) {
                if item.outcome == .upsert, item.isNew {
                    let new = rows.schema.columns.indices.map { rows.cell(rows.index.cell(item, $0, in: batch), batch) }
                    #expect(rows.place(new) == nil, "a new row is there already")
                }
                rows.apply(item, batch)
            }
            run.removeAll()
        }
        for (place, item) in index.items.enumerated() {
            if index.runEnds.contains(place) { flush(&self) }
            guard rank(item) == 4 else {
                run.append(item)
                continue
            }
            flush(&self)
            apply(item, batch)
        }
        flush(&self)
    }

    private mutating func apply(_ item: FoldIndex.Item, _ batch: CdcBatch) {
        if item.outcome == .truncate {
            rows.removeAll()
            return
        }
        let new = schema.columns.indices.map { cell(index.cell(item, $0, in: batch), batch) }
        let change = batch.change(Int(item.change))
        func old() -> [TestCell] { schema.columns.indices.map { cell(batch.oldCell(change, $0), batch) } }
        switch item.outcome {
        case .truncate: break
        case .upsert:
            if schema.hasKey, let place = place(new) { rows[place] = new } else { rows.append(new) }
        case .update: replace(schema.hasKey ? new : old(), by: new)
        case .changeKey: replace(old(), by: new)
        // A row that came and went inside the batch is not here.
        case .delete: if let place = place(schema.hasKey ? new : old()) { rows.remove(at: place) }
        }
    }

    private func place(_ row: [TestCell]) -> Int? {
        rows.firstIndex { other in
            schema.hasKey ? schema.key.allSatisfy { other[$0] == row[$0] } : other == row
        }
    }

    private mutating func replace(_ old: [TestCell], by new: [TestCell]) {
        guard let place = place(old) else {
            Issue.record("an item changes a row that is not there")
            return
        }
        for column in new.indices where new[column] != .unchanged { rows[place][column] = new[column] }
    }

    private func cell(_ cell: Cell, _ batch: CdcBatch) -> TestCell {
        switch cell.kind {
        case .null: .null
        case .unchanged: .unchanged
        case .text: .bytes(Array(batch.bytes(of: cell)))
        case .binary: .binary(Array(batch.bytes(of: cell)))
        }
    }
}
