/// Which of a batch's changes are to be written.
///
/// A change that the target refuses for good is deselected: whoever walks a table's chain does not meet it, and whoever
/// walks the places in arrival order asks ``isSelected(_:)``. Rows and cells stay where they are, and so do places.
extension CdcBatch {
    /// Whether a change is to be written.
    public func isSelected(_ index: Int) -> Bool { deselected == 0 || selection[index] }

    /// The changes to be written, by their places in arrival order.
    public var selectedChanges: some Sequence<Int> {
        (0..<changeCount).lazy.filter { self.isSelected($0) }
    }

    /// Keeps the changes for which `isKept` says so, by their places, and hides all others.
    public func select(_ isKept: (Int) -> Bool) {
        let count = changeCount
        var kept = Array(repeating: true, count: count)
        var hidden = 0
        for index in 0..<count where !isKept(index) {
            kept[index] = false
            hidden += 1
        }
        guard hidden > 0 else { return selectAll() }
        selection = kept
        deselected = hidden
        relink()
    }

    /// Shows every change again.
    public func selectAll() {
        forgetSelection()
        relink()
    }

    func forgetSelection() {
        deselected = 0
        if !selection.isEmpty { selection = [] }
    }

    private func relink() {
        chains.reset()
        for index in 0..<changeBuffer.count {
            changeBuffer[index].nextOfTable = .max
            if isSelected(index) { link(index, table: changeBuffer[index].table) }
        }
    }
}
