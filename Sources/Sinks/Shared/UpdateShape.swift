/// Which columns an update leaves alone, and whether it moves the row to another key.
struct UpdateShape: Hashable {
    /// One bit a column: set where the column is unchanged.
    private(set) var unchanged: [UInt64]
    var changesKey: Bool

    /// The shape of an update of every column.
    init(columnCount: Int) {
        unchanged = Array(repeating: 0, count: (columnCount + 63) / 64)
        changesKey = false
    }

    mutating func clear() {
        for word in unchanged.indices { unchanged[word] = 0 }
        changesKey = false
    }

    mutating func markUnchanged(_ column: Int) {
        unchanged[column / 64] |= 1 << UInt64(column % 64)
    }

    func isUnchanged(_ column: Int) -> Bool {
        unchanged[column / 64] & 1 << UInt64(column % 64) != 0
    }
}
