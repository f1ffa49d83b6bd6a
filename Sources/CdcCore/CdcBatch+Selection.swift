/// Which of a batch's changes are to be written.
///
/// A change that the target refuses for good is deselected: whoever walks a table's chain does not meet it, and whoever
/// walks the places in arrival order asks ``isSelected(_:)``. Rows and cells stay where they are, and so do places.
extension CdcBatch {
    /// Whether a change is to be written.
    @inlinable
    public func isSelected(_ index: Int) -> Bool { deselected == 0 || isChosen(index) }

    @usableFromInline
    func isChosen(_ index: Int) -> Bool { isKept(index) && (window?.contains(index) ?? true) }

    /// Whether a change is selected apart from ``narrow(to:)``.
    public func isKept(_ index: Int) -> Bool { selection.isEmpty || selection[index] }

    /// The changes to be written, by their places in arrival order.
    public var selectedChanges: some Sequence<Int> {
        (window ?? 0..<changeCount).lazy.filter { self.isSelected($0) }
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
        selection = hidden > 0 ? kept : []
        widen()
    }

    /// Shows every change again.
    public func selectAll() {
        forgetSelection()
        widen()
    }

    /// Hides all changes outside of a range for now; costs what the range costs, not the batch.
    public func narrow(to range: Range<Int>) {
        window = range
        relink(range)
    }

    /// Ends ``narrow(to:)``.
    public func widen() {
        window = nil
        relink(0..<changeCount)
    }

    func forgetSelection() {
        deselected = 0
        window = nil
        if !selection.isEmpty { selection = [] }
    }

    private func relink(_ range: Range<Int>) {
        chains.reset()
        var linked = 0
        for index in range where isKept(index) {
            changeBuffer[index].nextOfTable = .max
            link(index, table: changeBuffer[index].table)
            linked += 1
        }
        deselected = changeCount - linked
    }
}
