internal import CdcCore

/// Rows of a table without a key: their identity is where they were inserted.
///
/// Which of several equal rows a delete takes makes no difference, so the content's hash finds them.
extension StarRocksTableWriter {
    /// A row to be, or one to go.
    private struct Entry {
        var item: Int
        var id: UInt128
        var hash: UInt128
        var isOld: Bool
    }

    /// Writes a slice as one load.
    func writeKeyless(_ label: String, _ context: Context, _ fold: FoldIndex) throws(SinkError) {
        let batch = context.batch
        // A copied row that is replayed has no number any more, and is not to take another row's.
        let isLetter = !isCopying
        var wanted: [UInt128] = []
        for item in fold.items {
            let change = batch.change(Int(item.change))
            if change.kind == .update || change.kind == .delete { wanted.append(hash(change, old: true, context)) }
            if context.mode == .copy, isLetter { wanted.append(hash(change, old: false, context)) }
        }
        var bag = try StarRocksBag(wanted, of: layout, from: database)
        var entries: [Entry] = []
        var places: [UInt128: Int] = [:]
        var isVoid: Set<Int> = []
        for (index, item) in fold.items.enumerated() {
            let change = batch.change(Int(item.change))
            let version = batch.version(of: change)
            // A slice has these only where it is rehearsed.
            if change.kind == .truncate || context.mode == .stream && version.number <= applied { continue }
            if change.kind != .insert {
                let hash = hash(change, old: true, context)
                guard let id = bag.remove(hash) else {
                    refuse(Int(item.change), .missingRow(of: layout.schema, version))
                    continue
                }
                // A row that came and went within the slice is only of use where deleted ones are kept.
                if let place = places[id] { isVoid.insert(place) }
                if places[id] == nil || deleteMode == .soft {
                    entries.append(Entry(item: index, id: id, hash: hash, isOld: true))
                }
            }
            if change.kind != .delete {
                let hash = hash(change, old: false, context)
                var id = version.number
                if context.mode == .copy, !isLetter {
                    id = Self.copiedID(version, copied + UInt64(index) + 1)
                } else if context.mode == .copy {
                    let first = Self.copiedID(version, 1 << 63 | UInt64(truncatingIfNeeded: hash) >> 2)
                    id = bag.greatest(hash, in: first..<first + (1 << 32)).map { $0 + 1 } ?? first
                }
                places[id] = entries.count
                bag.add(hash, id)
                entries.append(Entry(item: index, id: id, hash: hash, isOld: false))
            }
        }
        try throwRefused()
        let kept = entries.indices.filter { !isVoid.contains($0) }
        let hasOperation = deleteMode == .hard && kept.contains { entries[$0].isOld }
        guard let last = kept.last else { return }
        let lsn = batch.version(of: batch.change(Int(fold.items[entries[last].item].change))).commitLSN
        let load = try encode(
            present: Array(layout.columns.indices),
            hasOperation: hasOperation,
            isPartial: false,
            label: "\(label)_end",
            lsn: lsn,
            context
        ) { rows in
            for place in kept { append(entries[place], to: &rows, context.batch, fold) }
            return kept.count
        }
        if let load { try send(load, lsn, context) }
        if context.mode == .copy, !context.isRehearsal { copied += UInt64(fold.items.count) }
    }

    /// The identity of a copied row: before all that begins at the consistent point, since a transaction may commit right there.
    private static func copiedID(_ version: RowVersion, _ number: UInt64) -> UInt128 {
        RowVersion(commitLSN: LSN(rawValue: max(version.commitLSN.rawValue, 1) - 1), ordinal: number).number
    }

    private func append(_ entry: Entry, to rows: inout StarRocksRowEncoder, _ batch: CdcBatch, _ fold: FoldIndex) {
        let place = Int(fold.items[entry.item].change)
        let change = batch.change(place)
        for column in 0..<layout.columns.count {
            let cell = entry.isOld ? batch.oldCell(change, column) : batch.newCell(change, column)
            rows.append(cell.hasBytes ? batch.bytes(of: cell) : nil, column, place)
            rows.separate()
        }
        rows.append(decimal: entry.id)
        rows.separate()
        rows.append(decimal: entry.hash)
        let kind: UInt8 = entry.isOld ? 2 : change.kind == .insert ? 0 : 1
        rows.finishRow(kind, isDeleted: entry.isOld, batch.version(of: change), isGone: entry.isOld)
    }

    /// Of a row's cells: 127 bits, so that a LARGEINT holds it.
    private func hash(_ change: Change, old: Bool, _ context: Context) -> UInt128 {
        var (one, other): (UInt64, UInt64) = (1, 2)
        for column in layout.columns.indices {
            let cell = old ? context.batch.oldCell(change, column) : context.batch.newCell(change, column)
            let bytes = context.batch.bytes(of: cell)
            let kind: UInt64 = cell.hasBytes ? 3 : 7
            one = bytes.hashed(into: one ^ kind)
            other = bytes.hashed(into: other &+ kind)
        }
        return (UInt128(one) << 64 | UInt128(other)) >> 1
    }
}
