internal import CdcCore
internal import PostgresSource

extension DeadLetter {
    /// Why a letter does not fit its table as it is now.
    struct Misfit: Error {
        var cause: String
    }

    /// The change as a batch of its own, which moves no position.
    func batch(for schema: TableSchema) throws(Misfit) -> CdcBatch {
        let places = try places(in: schema)
        let batch = CdcBatch(tables: [schema])
        batch.begin(TransactionInfo(xid: xid, commitLSN: version.commitLSN, commitTime: commitTime))
        let ordinal = version.ordinal
        // A column that the table did not have then: nothing is known of it.
        let newCells = new.map { add($0, places, missing: kind == .update ? .unchanged : .null, to: batch) }
        let oldCells = old.map { add($0, places, missing: .null, to: batch) }
        switch kind {
        case .insert:
            guard let newCells else { throw Misfit(cause: "it has no new row") }
            batch.appendInsert(table: 0, newCells: newCells, ordinal: ordinal)
        case .update:
            guard let newCells,
                batch.appendUpdate(
                    table: 0,
                    old: oldCells == nil ? .none : oldTuple,
                    oldCells: oldCells ?? .max,
                    newCells: newCells,
                    ordinal: ordinal
                )
            else { throw Misfit(cause: "it does not say which row it changes") }
        case .delete:
            guard let oldCells else { throw Misfit(cause: "it does not say which row it removes") }
            batch.appendDelete(table: 0, old: oldTuple, oldCells: oldCells, ordinal: ordinal)
        case .truncate: throw Misfit(cause: "it is a TRUNCATE")
        }
        batch.markCommitted()
        return batch
    }

    /// Where the table's columns are in the letter; nil for those that it has not.
    private func places(in schema: TableSchema) throws(Misfit) -> [Int?] {
        var places: [Int?] = []
        for (index, column) in schema.columns.enumerated() {
            let place = columns.firstIndex { $0.name.hasSameBytes(as: column.name) }
            if place == nil, schema.key.contains(index) {
                throw Misfit(cause: "it has no column \"\(column.name)\", which is in the key now")
            }
            // Binary forms mean nothing to another type; text may.
            if let place, columns[place].oid != column.postgresType.oid, isBinary(place) {
                throw Misfit(
                    cause: "column \"\(column.name)\" was \(columns[place].type) and is \(column.postgresType.name) now"
                )
            }
            places.append(place)
        }
        return places
    }

    private func isBinary(_ place: Int) -> Bool {
        [old, new].contains { row in if case .binary = row?[place] { true } else { false } }
    }

    /// Whether a value came as text although its type has a binary form: a session in which everything came as text.
    func isText(_ schema: TableSchema) -> Bool {
        schema.columns.contains { column in
            guard column.postgresType.hasBinaryOutput,
                let place = columns.firstIndex(where: { $0.name.hasSameBytes(as: column.name) })
            else { return false }
            return [old, new].contains { row in if case .text = row?[place] { true } else { false } }
        }
    }

    private func add(_ row: [Cell], _ places: [Int?], missing: CdcCore.Cell, to batch: CdcBatch) -> UInt32 {
        let first = batch.addCells(places.count, filledWith: missing)
        for (column, place) in places.enumerated() {
            guard let place else { continue }
            let index = Int(first) + column
            switch row[place] {
            case .null: batch.setCell(index, .null)
            case .unchanged: batch.setCell(index, .unchanged)
            case .text(let bytes):
                batch.setCell(index, offset: batch.copy(bytes.span.bytes), length: bytes.count, isBinary: false)
            case .binary(let bytes):
                batch.setCell(index, offset: batch.copy(bytes.span.bytes), length: bytes.count, isBinary: true)
            }
        }
        return first
    }
}
