internal import CdcCore

/// Rows of tables without a key.
extension ClickHouseTableWriter {
    /// A row's identity is where it was inserted; which of several equal rows a delete takes makes no difference.
    func writeKeyless(_ items: Range<Int>, _ context: Context, _ fold: FoldIndex) throws(SinkError) {
        let batch = context.batch
        var hashes: [UInt128] = []
        for index in items {
            let change = batch.change(Int(fold.items[index].change))
            if change.kind == .insert || isApplied(batch.version(of: change), context) { continue }
            hashes.append(hash(change, old: true, context))
        }
        var bag = try ClickHouseBag(hashes, of: layout, from: client, deadline: context.deadline)
        for index in items {
            let item = fold.items[index]
            let change = batch.change(Int(item.change))
            var version = batch.version(of: change)
            if isApplied(version, context) { continue }
            if change.kind != .insert {
                let place = row.count
                let hash = appendCells(change, old: true, item, context)
                guard let id = bag.remove(hash) else {
                    row.truncate(to: place)
                    refuse(item, SinkError.missingRow(of: layout.schema, version))
                    continue
                }
                row.append(id)
                row.append(hash)
                finishRow(.delete, true, version)
            }
            if change.kind != .delete {
                if batch.isCopy { version.ordinal = copied + UInt64(index) + 1 }
                let hash = appendCells(change, old: false, item, context)
                row.append(version.number)
                row.append(hash)
                bag.add(hash, version.number)
                finishRow(change.kind, false, batch.version(of: change))
            }
            if row.count >= 64 << 10 { moveToBody() }
        }
    }

    private func hash(_ change: Change, old: Bool, _ context: Context) -> UInt128 {
        let begin = row.count
        let hash = appendCells(change, old: old, nil, context)
        row.truncate(to: begin)
        return hash
    }

    private func appendCells(_ change: Change, old: Bool, _ item: FoldIndex.Item?, _ context: Context) -> UInt128 {
        let begin = row.count
        for column in layout.columns.indices {
            let cell = old ? context.batch.oldCell(change, column) : context.batch.newCell(change, column)
            if let item {
                append(cell, column, item, context)
            } else {
                let text = cell.hasBytes ? context.batch.bytes(of: cell) : nil
                _ = encoder.append(text, as: layout.columns[column].encoding, to: &row)
            }
        }
        let bytes = UnsafeRawBufferPointer(rebasing: row.bytes[begin...])
        return UInt128(bytes.hashed(into: 1)) << 64 | UInt128(bytes.hashed(into: 2))
    }
}
