/// The changes of one unit, in arrival order: what travels from the decoder to a sink.
///
/// A batch is an arena, not a tree of objects: the bytes of every tuple are copied once into one buffer, each column is an
/// offset and a length into it (``Cell``), each operation 32 bytes that point at its cells (``Change``). The order of
/// operations is kept; folding by key is an index over it (``FoldIndex``).
///
/// Every row has exactly as many cells as its table has columns, in the table's order, whatever order and subset the
/// source's RELATION had.
///
/// `@unchecked Sendable`: a batch has one user at a time. The pipeline fills it, hands it to the sink's lane through a
/// mutex, and does not touch it until the lane hands it back the same way.
public final class CdcBatch: @unchecked Sendable {
    /// The tables that changes index into; the same for every batch of a pipeline session.
    public let tables: [TableSchema]

    // Exclusive access is not checked at run time here, where the check would cost a third of the reader's time: these
    // are reached only through the methods below, none of which calls out while it changes one of them.
    @usableFromInline @exclusivity(unchecked) var arena = GrowingBuffer<UInt8>()
    @usableFromInline @exclusivity(unchecked) var cells = GrowingBuffer<Cell>()
    @usableFromInline @exclusivity(unchecked) var changeBuffer = GrowingBuffer<Change>()
    @usableFromInline @exclusivity(unchecked) var transactionBuffer = GrowingBuffer<TransactionInfo>()
    @usableFromInline @exclusivity(unchecked) var chains: TableChains
    /// Which changes are to be written, by their place; empty for all.
    var selection: [Bool] = []
    /// The only part of them that is looked at for now; nil for all.
    var window: Range<Int>?
    /// How many are not.
    @usableFromInline @exclusivity(unchecked) var deselected = 0
    private var committed = Mark(changes: 0, cells: 0, bytes: 0, transactions: 0)
    private let keptCapacity: Int

    /// Whether the first change of this batch begins a unit: anything still open at the sink is void.
    public var beginsUnit = true
    /// Whether the unit ends with this batch: the sink commits.
    public var commitsUnit = true
    /// The position that the sink's commit of this unit earns; nil for a part of a unit and for rows of the initial copy.
    public var position: SourcePosition?
    /// When the first change arrived; the flush interval counts from here.
    public var firstArrival: ContinuousClock.Instant?

    /// Makes an empty batch.
    ///
    /// - Parameters:
    ///   - tables: the tables that changes may index.
    ///   - keptCapacity: how many bytes of arena survive ``reset()``; more goes back to the system.
    public init(tables: [TableSchema], keptCapacity: Int = 8 << 20) {
        self.tables = tables
        self.keptCapacity = keptCapacity
        chains = TableChains(tableCount: tables.count)
    }

    deinit {
        arena.release()
        cells.release()
        changeBuffer.release()
        transactionBuffer.release()
    }

    private struct Mark {
        var changes: Int
        var cells: Int
        var bytes: Int
        var transactions: Int
    }

    // MARK: Reading

    /// How many operations the batch holds, deselected ones too.
    @inlinable public var changeCount: Int { changeBuffer.count }
    /// How many operations are to be written: all, unless some were deselected.
    @inlinable public var selectedCount: Int { changeBuffer.count - deselected }
    /// How many source transactions the batch holds, the last perhaps incomplete.
    public var transactionCount: Int { transactionBuffer.count }
    /// Whether there are no operations to be written.
    @inlinable public var isEmpty: Bool { selectedCount == 0 }
    /// Whether these are rows of the initial copy, which belong to no transaction.
    public var isCopy: Bool { transactionBuffer.count > 0 && transactionBuffer[0].xid == 0 }
    /// Bytes of tuples in the arena.
    public var tupleBytes: Int { arena.count }
    /// Memory that the content takes, indexes included.
    @inlinable public var byteCount: Int {
        arena.count + cells.count * MemoryLayout<Cell>.stride + changeBuffer.count * MemoryLayout<Change>.stride
            + transactionBuffer.count * MemoryLayout<TransactionInfo>.stride
    }

    /// One operation by its place in arrival order.
    @inlinable
    public func change(_ index: Int) -> Change { changeBuffer[index] }

    /// One transaction by its index.
    public func transaction(_ index: Int) -> TransactionInfo { transactionBuffer[index] }

    /// The tables that have changes here, by index, in order of their first change.
    public var touchedTables: [UInt32] { chains.touched }

    /// The first operation of a table, or `UInt32.max`; go on with ``Change/nextOfTable``.
    public func firstChange(ofTable table: UInt32) -> UInt32 { chains.first(table) }

    /// A column of the new row.
    @inlinable
    @inline(__always)
    public func newCell(_ change: Change, _ column: Int) -> Cell { cells[Int(change.newCells) + column] }

    /// A column of the old row; NULL for columns outside the key when only a key came.
    @inlinable
    @inline(__always)
    public func oldCell(_ change: Change, _ column: Int) -> Cell { cells[Int(change.oldCells) + column] }

    /// A cell by its index, for indexes over the batch.
    @inlinable
    @inline(__always)
    func cell(at index: Int) -> Cell { cells[index] }

    /// The row's version: commit LSN and ordinal.
    public func version(of change: Change) -> RowVersion {
        RowVersion(commitLSN: transactionBuffer[Int(change.transaction)].commitLSN, ordinal: change.ordinal)
    }

    /// The bytes of a cell of this batch, lent: valid until the batch changes.
    ///
    /// Empty for NULL and unchanged.
    @inlinable
    @inline(__always)
    public func bytes(of cell: Cell) -> UnsafeRawBufferPointer {
        guard cell.hasBytes, let base = arena.base else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        precondition(Int(cell.offset) + cell.length <= arena.count, "cell of another batch")
        return UnsafeRawBufferPointer(start: base + Int(cell.offset), count: cell.length)
    }

    /// Whether two cells hold the same bytes in the same form.
    ///
    /// NULL equals NULL.
    @inlinable
    @inline(__always)
    public func equal(_ left: Cell, _ right: Cell) -> Bool {
        guard left.kind == right.kind, left.length == right.length else { return false }
        guard left.length > 0 else { return true }
        return bytes(of: left).elementsEqualBytes(bytes(of: right))
    }

    // MARK: Filling

    /// Begins a source transaction; the changes that follow belong to it.
    public func begin(_ transaction: TransactionInfo) {
        transactionBuffer.append(transaction)
    }

    /// Ends the transaction begun last; ``discardUncommitted()`` keeps everything up to here.
    ///
    /// - Parameter position: the commit; becomes what the batch earns.
    public func commit(_ position: SourcePosition) {
        let last = transactionBuffer.count - 1
        var info = transactionBuffer[last]
        info.endLSN = position.endLSN
        transactionBuffer[last] = info
        self.position = position
        markCommitted()
    }

    /// Moves the position on past a transaction that changed nothing here.
    public func advance(to position: SourcePosition) {
        self.position = position
    }

    /// Says that everything so far is complete: for rows of the initial copy, which have no commit.
    public func markCommitted() {
        committed = Mark(
            changes: changeBuffer.count,
            cells: cells.count,
            bytes: arena.count,
            transactions: transactionBuffer.count
        )
    }

    /// Copies a message's tuples into the arena; returns the offset of the first byte.
    @inlinable
    @inline(__always)
    public func copy(_ bytes: RawSpan) -> UInt32 {
        UInt32(truncatingIfNeeded: arena.append(bytes))
    }

    /// Adds a row's cells, all alike; returns the index of the first.
    @inlinable
    @inline(__always)
    public func addCells(_ count: Int, filledWith cell: Cell) -> UInt32 {
        UInt32(truncatingIfNeeded: cells.append(repeating: cell, count: count))
    }

    /// Sets one cell to a value in the arena.
    ///
    /// - Parameters:
    ///   - index: from ``addCells(_:filledWith:)``, plus the column.
    ///   - offset: of the value's first byte in the arena.
    ///   - length: in bytes, at most ``Cell/maximumLength``.
    ///   - isBinary: whether the bytes are the type's binary output.
    @inlinable
    @inline(__always)
    public func setCell(_ index: Int, offset: UInt32, length: Int, isBinary: Bool) {
        precondition(length <= Cell.maximumLength && Int(offset) + length <= arena.count, "value outside the arena")
        cells[index] = Cell(offset: offset, length: UInt32(length), isBinary: isBinary)
    }

    /// Sets one cell to NULL or unchanged.
    @inlinable
    @inline(__always)
    public func setCell(_ index: Int, _ cell: Cell) {
        cells[index] = cell
    }

    /// Adds an insert of the row whose cells begin at `newCells`.
    @inlinable
    @inline(__always)
    public func appendInsert(table: UInt32, newCells: UInt32, ordinal: UInt64) {
        append(.insert, table: table, newCells: newCells, ordinal: ordinal)
    }

    /// Adds an update.
    ///
    /// Where an old row came along, unchanged columns take their value from it: the key's columns always, all columns
    /// under REPLICA IDENTITY FULL. Then the keys are compared, because an old key is no proof that it changed.
    ///
    /// - Parameters:
    ///   - table: index into ``tables``.
    ///   - old: which old row there is.
    ///   - oldCells: the first of its cells.
    ///   - newCells: the first of the new row's cells.
    ///   - described: the columns that both rows really carry; nil for all. The others stay unchanged.
    ///   - ordinal: the change's place in its transaction.
    /// - Returns: false if a key column is unchanged and no old row tells its value.
    public func appendUpdate(
        table: UInt32,
        old: OldTuple,
        oldCells: UInt32,
        newCells: UInt32,
        described: [Int]? = nil,
        ordinal: UInt64
    ) -> Bool {
        let schema = tables[Int(table)]
        let new = Int(newCells)
        var changesKey = false
        if old != .none {
            if old == .full { inherit(described ?? Array(schema.columns.indices), from: Int(oldCells), to: new) }
            inherit(schema.key, from: Int(oldCells), to: new)
            changesKey = schema.key.contains { !equal(cells[Int(oldCells) + $0], cells[new + $0]) }
        }
        guard !schema.key.contains(where: { cells[new + $0].isUnchanged }) else { return false }
        var isPartial = false
        for column in 0..<schema.columns.count where cells[new + column].isUnchanged { isPartial = true }
        append(
            .update,
            table: table,
            newCells: newCells,
            old: old,
            oldCells: oldCells,
            changesKey: changesKey,
            isPartial: isPartial,
            ordinal: ordinal
        )
        return true
    }

    private func inherit(_ columns: [Int], from old: Int, to new: Int) {
        for column in columns where column >= 0 && cells[new + column].isUnchanged {
            cells[new + column] = cells[old + column]
        }
    }

    /// Adds a delete of the row whose old cells begin at `oldCells`.
    @inlinable
    @inline(__always)
    public func appendDelete(table: UInt32, old: OldTuple, oldCells: UInt32, ordinal: UInt64) {
        append(.delete, table: table, old: old, oldCells: oldCells, ordinal: ordinal)
    }

    /// Adds a truncate of one table; TRUNCATE's message already names every cascaded table.
    public func appendTruncate(table: UInt32, ordinal: UInt64) {
        append(.truncate, table: table, ordinal: ordinal)
    }

    @inlinable
    @inline(__always)
    func append(
        _ kind: ChangeKind,
        table: UInt32,
        newCells: UInt32 = .max,
        old: OldTuple = .none,
        oldCells: UInt32 = .max,
        changesKey: Bool = false,
        isPartial: Bool = false,
        ordinal: UInt64
    ) {
        let index = changeBuffer.count
        changeBuffer.append(
            Change(
                kind: kind,
                oldTuple: old,
                changesKey: changesKey,
                isPartial: isPartial,
                table: table,
                newCells: newCells,
                oldCells: oldCells,
                transaction: UInt32(truncatingIfNeeded: transactionBuffer.count - 1),
                nextOfTable: .max,
                ordinal: ordinal
            )
        )
        link(index, table: table)
    }

    @inlinable
    @inline(__always)
    func link(_ index: Int, table: UInt32) {
        if let previous = chains.append(UInt32(truncatingIfNeeded: index), table: table) {
            changeBuffer[Int(previous)].nextOfTable = UInt32(truncatingIfNeeded: index)
        }
    }

    /// A place to come back to when a message turns out damaged half way.
    public struct Savepoint {
        @usableFromInline let cells: Int
        @usableFromInline let bytes: Int

        @inlinable
        init(cells: Int, bytes: Int) {
            self.cells = cells
            self.bytes = bytes
        }
    }

    /// Remembers how much is filled, before a row is appended.
    @inlinable
    @inline(__always)
    public func savepoint() -> Savepoint { Savepoint(cells: cells.count, bytes: arena.count) }

    /// Drops the bytes and cells added since, for a row whose operation was not appended.
    public func roll(backTo savepoint: Savepoint) {
        cells.truncate(to: savepoint.cells)
        arena.truncate(to: savepoint.bytes)
    }

    /// Drops the changes behind the last commit: an incomplete transaction that will be read again.
    public func discardUncommitted() {
        changeBuffer.truncate(to: committed.changes)
        cells.truncate(to: committed.cells)
        arena.truncate(to: committed.bytes)
        transactionBuffer.truncate(to: committed.transactions)
        selectAll()
    }

    /// Empties the batch for its next use.
    public func reset() {
        arena.reset(keepingAtMost: keptCapacity)
        cells.reset(keepingAtMost: keptCapacity / MemoryLayout<Cell>.stride)
        changeBuffer.reset(keepingAtMost: keptCapacity / MemoryLayout<Change>.stride)
        transactionBuffer.reset(keepingAtMost: keptCapacity / MemoryLayout<TransactionInfo>.stride)
        chains.reset()
        forgetSelection()
        committed = Mark(changes: 0, cells: 0, bytes: 0, transactions: 0)
        beginsUnit = true
        commitsUnit = true
        position = nil
        firstArrival = nil
    }
}

/// First and last change of each table; costs nothing for tables without changes.
@frozen
@usableFromInline
struct TableChains {
    @usableFromInline var touched: [UInt32] = []
    @usableFromInline var heads: [UInt32]
    @usableFromInline var tails: [UInt32]

    init(tableCount: Int) {
        heads = Array(repeating: .max, count: tableCount)
        tails = heads
    }

    func first(_ table: UInt32) -> UInt32 { heads[Int(table)] }

    /// Makes `change` the table's last; returns the one before it.
    @inlinable
    @inline(__always)
    mutating func append(_ change: UInt32, table: UInt32) -> UInt32? {
        let previous = tails[Int(table)]
        tails[Int(table)] = change
        guard previous == .max else { return previous }
        heads[Int(table)] = change
        touched.append(table)
        return nil
    }

    mutating func reset() {
        for table in touched {
            heads[Int(table)] = .max
            tails[Int(table)] = .max
        }
        touched.removeAll(keepingCapacity: true)
    }
}
