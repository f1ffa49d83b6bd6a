internal import CdcCore

extension CdcBatch {
    /// Whether its changes come in the stream's order.
    ///
    /// Rows of a copy and replayed dead letters do not; the latter have no position, and are a unit of their own.
    var isStreamed: Bool { !isCopy && (position != nil || !beginsUnit || !commitsUnit) }

    /// Whether a table has nothing but inserts here.
    func hasOnlyInserts(_ table: UInt32) -> Bool {
        var index = firstChange(ofTable: table)
        while index != .max {
            let change = change(Int(index))
            guard change.kind == .insert else { return false }
            index = change.nextOfTable
        }
        return true
    }

    /// Whether a table has so many changes here, or more.
    func hasChanges(_ table: UInt32, atLeast count: Int) -> Bool {
        var index = firstChange(ofTable: table)
        var left = count
        while left > 0, index != .max {
            index = change(Int(index)).nextOfTable
            left -= 1
        }
        return left == 0
    }
}
