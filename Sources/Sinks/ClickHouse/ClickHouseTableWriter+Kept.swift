internal import CdcCore

/// What changes do not carry: unchanged TOAST values, and all but the key of rows that are deleted softly.
extension ClickHouseTableWriter {
    private static let sliceSizes = 1...4096
    private static let sliceBytes = 4 << 20

    /// Where the values are that an item does not carry.
    struct Lookup {
        /// The item before, by index; -1 for the target's row, -2 for none.
        let before: [Int]
        /// The key of the target's row.
        let keys: [Int: [UInt8]]
        let first: Int
        let stored: ClickHouseStoredRows
    }

    /// Finds what incomplete items need; nil where all are complete.
    func lookup(_ items: Range<Int>, _ context: Context, _ fold: FoldIndex) throws(SinkError) -> Lookup? {
        let isSoft = deleteMode == .soft
        func isIncomplete(_ item: FoldIndex.Item) -> Bool {
            item.isPartial || (isSoft && item.outcome == .delete)
        }
        guard items.contains(where: { isIncomplete(fold.items[$0]) }) else { return nil }
        var before = Array(repeating: -2, count: items.count)
        var keys: [Int: [UInt8]] = [:]
        var latest: [[UInt8]: Int] = [:]
        for index in items {
            let item = fold.items[index]
            let change = context.batch.change(Int(item.change))
            // What the table has already is in its rows.
            if isApplied(context.batch.version(of: change), context) { continue }
            let new = key(in: context.batch) { fold.cell(item, $0, in: context.batch) }
            let old =
                item.outcome == .changeKey
                ? key(in: context.batch) { context.batch.oldCell(change, $0) } : new
            if isIncomplete(item) {
                if let earlier = latest[old] {
                    before[index - items.lowerBound] = earlier
                } else {
                    before[index - items.lowerBound] = -1
                    keys[index] = old
                }
            }
            if item.outcome == .changeKey { latest[old] = -2 }
            latest[new] = item.outcome == .delete && !isSoft ? -2 : index
        }
        let stored: ClickHouseStoredRows
        do throws(SinkError) {
            stored = try ClickHouseStoredRows(
                Array(Set(keys.values)),
                of: layout,
                from: client,
                deadline: context.deadline
            )
        } catch {
            // It may have been too much at once.
            sliceSize = max(sliceSize / 2, ClickHouseTableWriter.sliceSizes.lowerBound)
            throw error
        }
        fitSlices(to: stored.byteCount, of: keys.count)
        return Lookup(before: before, keys: keys, first: items.lowerBound, stored: stored)
    }

    private func fitSlices(to bytes: Int, of rows: Int) {
        let sizes = ClickHouseTableWriter.sliceSizes
        if bytes > ClickHouseTableWriter.sliceBytes {
            sliceSize = max(sliceSize / 2, sizes.lowerBound)
        } else if bytes < ClickHouseTableWriter.sliceBytes / 4, rows >= sliceSize / 2 {
            sliceSize = min(sliceSize * 2, sizes.upperBound)
        }
    }

    private func key(in batch: CdcBatch, _ cell: (Int) -> Cell) -> [UInt8] {
        var buffer = RowBuffer()
        for column in layout.schema.key {
            let cell = cell(column)
            _ = encoder.append(
                cell.hasBytes ? batch.bytes(of: cell) : nil,
                as: layout.columns[column].encoding,
                to: &buffer
            )
        }
        return Array(buffer.bytes)
    }

    /// Appends a value that an item does not carry; false if nobody has it, and then nothing that counts.
    func appendKept(
        _ column: Int,
        of index: Int,
        _ lookup: Lookup?,
        _ context: Context,
        _ fold: FoldIndex,
        _ refusing: FoldIndex.Item
    ) -> Bool {
        guard let lookup else { return nothing(column) }
        var place = index
        while true {
            let next = lookup.before[place - lookup.first]
            if next == -1, let key = lookup.keys[place], let stored = lookup.stored.row(key),
                !stored.isDeleted || deleteMode == .soft
            {
                lookup.stored.append(stored.values[column], to: &row)
                return true
            }
            guard next >= 0 else { return nothing(column) }
            place = next
            let item = fold.items[place]
            let cell = fold.cell(item, column, in: context.batch)
            // A soft delete carries its key alone, and keeps what the row had.
            if item.outcome == .delete, context.batch.change(Int(item.change)).oldTuple != .full { continue }
            if cell.isUnchanged { continue }
            append(cell, column, refusing, context)
            return true
        }
    }

    private func nothing(_ column: Int) -> Bool {
        encoder.appendNothing(as: layout.columns[column].encoding, to: &row)
        return false
    }
}
