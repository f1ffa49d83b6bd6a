internal import CdcCore

/// Puts changes into a batch as a source would send them, and applies them to the rows that have to come out.
final class Script {
    let builder: BatchBuilder
    private let stage: Stage

    init(_ builder: BatchBuilder, _ stage: Stage) {
        self.builder = builder
        self.stage = stage
    }

    private func schema(_ table: Int) -> TableSchema { stage.tables[table] }

    private func key(_ row: [TestCell], _ table: Int) -> [TestCell] { schema(table).key.map { row[$0] } }

    private func keyTuple(_ row: [TestCell], _ table: Int) -> [TestCell] {
        row.indices.map { schema(table).key.contains($0) ? row[$0] : .null }
    }

    /// Where the row is: by its key, or in a table without one by all its values.
    private func place(of row: [TestCell], _ table: Int) -> Int? {
        guard schema(table).hasKey else { return stage.rows[table].firstIndex(of: row) }
        return stage.rows[table].firstIndex { key($0, table) == key(row, table) }
    }

    @discardableResult
    func insert(_ row: TestCell..., into table: Int = 0) -> Script { insert(row, into: table) }

    /// An insert; of a key that is there, which only a repetition can be, it takes the row's place.
    @discardableResult
    func insert(_ row: [TestCell], into table: Int = 0) -> Script {
        if schema(table).hasKey, let place = place(of: row, table) {
            stage.rows[table][place] = row
        } else {
            stage.rows[table].append(row)
        }
        builder.insert(row, table: UInt32(table))
        return self
    }

    @discardableResult
    func update(_ row: TestCell..., of old: [TestCell]? = nil, in table: Int = 0) -> Script {
        update(row, of: old, in: table)
    }

    /// An update; `old` names the row where its key changes, or where the table has none.
    @discardableResult
    func update(_ row: [TestCell], of old: [TestCell]? = nil, in table: Int = 0) -> Script {
        guard let place = place(of: old ?? row, table) else { preconditionFailure("the source has no such row") }
        let before = stage.rows[table][place]
        stage.rows[table][place] = row.indices.map { row[$0] == .unchanged ? before[$0] : row[$0] }
        if schema(table).identity == .full {
            builder.update(row, old: before, table: UInt32(table))
        } else {
            builder.update(row, key: old.map { keyTuple($0, table) }, table: UInt32(table))
        }
        return self
    }

    @discardableResult
    func delete(_ row: TestCell..., from table: Int = 0) -> Script { delete(row, from: table) }

    /// A delete of the row that has this key, or in a table without one these values.
    @discardableResult
    func delete(_ row: [TestCell], from table: Int = 0) -> Script {
        guard let place = place(of: row, table) else { preconditionFailure("the source has no such row") }
        let before = stage.rows[table].remove(at: place)
        if schema(table).identity == .full {
            builder.delete(old: before, table: UInt32(table))
        } else {
            builder.delete(key: keyTuple(before, table), table: UInt32(table))
        }
        return self
    }

    @discardableResult
    func truncate(_ table: Int = 0) -> Script {
        stage.rows[table] = []
        builder.truncate(table: UInt32(table))
        return self
    }
}
