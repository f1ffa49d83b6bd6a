/// The changes of one table of a batch, folded per key: an index over the batch, which stays as it is.
///
/// Items stand in an order that may be applied one after the other. Between two barriers (a key change, a truncate) every
/// key occurs once, so the items there may also be applied as sets. Folding is aware of TOAST: an unchanged column takes its
/// value from the previous image of the same key in the batch; if there is none it stays unchanged.
///
/// Tables without a key are not folded: each change is an item of its own.
public struct FoldIndex: Sendable {
    /// What is to be done for a key.
    public enum Outcome: UInt8, BitwiseCopyable, Sendable {
        /// The row is to be as given, whether or not one is there: the batch has it from its insert on.
        case upsert
        /// A row that exists is to be as given; unchanged columns stay.
        case update
        /// The row is to go.
        case delete
        /// A barrier: the row under the old key moves to the new one and takes the columns given.
        case changeKey
        /// A barrier: all rows go.
        case truncate
    }

    /// One thing to do.
    public struct Item: BitwiseCopyable, Sendable {
        /// What.
        public fileprivate(set) var outcome: Outcome
        /// How many of the batch's changes it stands for.
        public fileprivate(set) var changes: UInt32
        /// The last change folded into it: gives the version, and the old row of an unfolded change.
        public fileprivate(set) var change: UInt32
        /// Index of the first cell of the row in the batch, or in the index's own cells.
        @usableFromInline var firstCell: UInt32
        @usableFromInline var isMerged: Bool
        /// Whether some column is unchanged.
        public fileprivate(set) var isPartial: Bool
        /// Whether the first of its changes is an insert: no row has the key before it.
        public fileprivate(set) var isNew: Bool
    }

    /// What is to be done, in order.
    public private(set) var items: [Item] = []

    @usableFromInline var mergedCells: [Cell] = []
    private var slots: [UInt32] = []
    private var segmentBegin = 0
    /// Where in ``items`` runs end, besides at barriers: every key occurs once between two of them.
    ///
    /// Only ``build(_:table:folding:keepingDeletes:)`` that keeps deletes makes such ends.
    public private(set) var runEnds: [Int] = []
    private var keepsDeletes = false

    /// Makes an empty index; ``build(_:table:folding:keepingDeletes:)`` fills it.
    ///
    /// One index is used again for batch after batch.
    public init() {}

    /// A column of an item's row: the new row, or for a delete the old one.
    @inlinable
    @inline(__always)
    public func cell(_ item: Item, _ column: Int, in batch: CdcBatch) -> Cell {
        let index = Int(item.firstCell) + column
        return item.isMerged ? mergedCells[index] : batch.cell(at: index)
    }

    /// Folds the table's changes.
    ///
    /// - Parameters:
    ///   - batch: the batch.
    ///   - table: index into the batch's tables.
    ///   - folding: false gives every change an item of its own, in arrival order.
    ///   - keepingDeletes: true keeps a delete apart from what comes before and after it, for targets that mark deleted rows.
    public mutating func build(
        _ batch: CdcBatch,
        table: UInt32,
        folding: Bool = true,
        keepingDeletes: Bool = false
    ) {
        items.removeAll(keepingCapacity: true)
        runEnds.removeAll(keepingCapacity: true)
        keepsDeletes = keepingDeletes
        mergedCells.removeAll(keepingCapacity: true)
        clearSlots()
        beginSegment()
        let schema = batch.tables[Int(table)]
        var index = batch.firstChange(ofTable: table)
        while index != .max {
            let change = batch.change(Int(index))
            if !folding || !schema.hasKey || change.changesKey || change.kind == .truncate {
                items.append(single(change, index: index))
                beginSegment()
            } else {
                fold(change, index: index, batch: batch, schema: schema)
            }
            index = change.nextOfTable
        }
    }

    private func single(_ change: Change, index: UInt32) -> Item {
        let outcome: Outcome =
            switch change.kind {
            case .insert: .upsert
            case .update: change.changesKey ? .changeKey : .update
            case .delete: .delete
            case .truncate: .truncate
            }
        let cells = change.kind == .delete ? change.oldCells : change.newCells
        return Item(
            outcome: outcome,
            changes: 1,
            change: index,
            firstCell: cells,
            isMerged: false,
            isPartial: change.isPartial,
            isNew: change.kind == .insert
        )
    }

    /// A large table of slots is not kept: clearing it would cost every small batch that follows.
    private mutating func clearSlots() {
        if slots.count > 4096 || slots.isEmpty {
            slots = Array(repeating: .max, count: 64)
        } else {
            for slot in slots.indices { slots[slot] = .max }
        }
    }

    /// Whether no item of this segment sits in the slot: those of earlier segments do not count.
    @inline(__always)
    private func isFree(_ slot: Int) -> Bool {
        slots[slot] == .max || Int(slots[slot]) < segmentBegin
    }

    private mutating func beginSegment() {
        segmentBegin = items.count
    }

    private mutating func fold(_ change: Change, index: UInt32, batch: CdcBatch, schema: TableSchema) {
        if (items.count - segmentBegin + 1) * 2 > slots.count { growSlots(batch: batch, schema: schema) }
        let next = single(change, index: index)
        let slot = find(next, batch: batch, schema: schema)
        guard !isFree(slot) else {
            slots[slot] = UInt32(items.count)
            items.append(next)
            return
        }
        let place = Int(slots[slot])
        guard !keepsDeletes || (next.outcome != .delete && items[place].outcome != .delete) else {
            runEnds.append(items.count)
            beginSegment()
            // The slots of the run before count as free: the key's own may be an earlier one now.
            slots[find(next, batch: batch, schema: schema)] = UInt32(items.count)
            items.append(next)
            return
        }
        items[place] = merge(items[place], next, batch: batch, columns: schema.columns.count)
    }

    /// What two operations on one key come to.
    private mutating func merge(_ earlier: Item, _ later: Item, batch: CdcBatch, columns: Int) -> Item {
        var result = later
        result.changes = earlier.changes + later.changes
        result.isNew = earlier.isNew
        guard later.outcome == .update, earlier.outcome != .delete else { return result }
        if later.isPartial {
            let first = mergedCells.count
            var isPartial = false
            for column in 0..<columns {
                let new = cell(later, column, in: batch)
                let kept = new.isUnchanged ? cell(earlier, column, in: batch) : new
                if kept.isUnchanged { isPartial = true }
                mergedCells.append(kept)
            }
            result.firstCell = UInt32(first)
            result.isMerged = true
            result.isPartial = isPartial
        }
        if earlier.outcome == .upsert { result.outcome = .upsert }
        return result
    }

    private func find(_ item: Item, batch: CdcBatch, schema: TableSchema) -> Int {
        let mask = slots.count - 1
        var hash: UInt64 = 0
        for column in schema.key { hash = batch.bytes(of: cell(item, column, in: batch)).hashed(into: hash) }
        var slot = Int(truncatingIfNeeded: hash) & mask
        while !isFree(slot), !sameKey(items[Int(slots[slot])], item, batch: batch, key: schema.key) {
            slot = (slot + 1) & mask
        }
        return slot
    }

    private func sameKey(_ left: Item, _ right: Item, batch: CdcBatch, key: [Int]) -> Bool {
        for column in key where !batch.equal(cell(left, column, in: batch), cell(right, column, in: batch)) {
            return false
        }
        return true
    }

    private mutating func growSlots(batch: CdcBatch, schema: TableSchema) {
        slots = Array(repeating: .max, count: slots.count * 2)
        for place in segmentBegin..<items.count {
            let slot = find(items[place], batch: batch, schema: schema)
            slots[slot] = UInt32(place)
        }
    }
}
