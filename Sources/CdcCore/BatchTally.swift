/// Counts of a batch's changes by table and kind, and the bytes of their values: what metrics say.
public struct BatchTally: Sendable {
    /// The counts of one table.
    public struct Table: Sendable, Equatable {
        /// Index into the batch's tables.
        public var index: Int
        /// New rows; rows of a copy too.
        public var inserts = 0
        /// Changed rows.
        public var updates = 0
        /// Removed rows.
        public var deletes = 0
        /// How often the table was emptied.
        public var truncates = 0
        /// Bytes of column values, old rows included.
        public var bytes = 0

        init(index: Int) { self.index = index }

        mutating func add(_ change: Change) {
            switch change.kind {
            case .insert: inserts += 1
            case .update: updates += 1
            case .delete: deletes += 1
            case .truncate: truncates += 1
            }
        }
    }

    /// The tables that have changes.
    public private(set) var tables: [Table] = []

    /// Counts a batch: one pass over operations and cells that are in the processor's cache.
    public init(_ batch: CdcBatch) {
        for index in batch.touchedTables {
            var table = Table(index: Int(index))
            let columns = batch.tables[Int(index)].columns.count
            var next = batch.firstChange(ofTable: index)
            while next != .max {
                let change = batch.change(Int(next))
                table.add(change)
                if change.kind == .insert || change.kind == .update {
                    for column in 0..<columns { table.bytes += batch.newCell(change, column).length }
                }
                if change.oldTuple != .none {
                    for column in 0..<columns { table.bytes += batch.oldCell(change, column).length }
                }
                next = change.nextOfTable
            }
            tables.append(table)
        }
    }
}
