internal import CdcCore

/// An order in which neighbouring keys come together, for tables whose keys arrive at random.
///
/// Each row then meets the pages of the key's index while they are still in the cache: a million rows with random keys cost
/// half the writes. The order need not be exact, so it looks at eight bytes of each key only.
struct KeyOrder {
    private struct Entry {
        let prefix: UInt64
        let place: UInt32
    }

    /// Places in the fold index's items.
    private(set) var places: [UInt32] = []
    private var entries: [Entry] = []

    /// Few rows do not meet on pages.
    private static let fewestRows = 256

    /// Orders the items; false if they are to stay as they are.
    ///
    /// Operations on one key stay in their order; only operations that touch two keys or all are in the way.
    mutating func build(_ fold: FoldIndex, of batch: CdcBatch, column: Int) -> Bool {
        guard fold.items.count >= KeyOrder.fewestRows else { return false }
        var common: UnsafeRawBufferPointer?
        var commonLength = 0
        for item in fold.items {
            guard item.outcome != .changeKey && item.outcome != .truncate else { return false }
            let bytes = batch.bytes(of: fold.cell(item, column, in: batch))
            if let common {
                commonLength = min(commonLength, bytes.count)
                var length = 0
                while length < commonLength, bytes[length] == common[length] { length += 1 }
                commonLength = length
            } else {
                common = bytes
                commonLength = bytes.count
            }
        }
        sort(fold, of: batch, column: column, skipping: commonLength)
        return true
    }

    private mutating func sort(_ fold: FoldIndex, of batch: CdcBatch, column: Int, skipping common: Int) {
        entries.removeAll(keepingCapacity: true)
        for place in fold.items.indices {
            let bytes = batch.bytes(of: fold.cell(fold.items[place], column, in: batch))
            var prefix: UInt64 = 0
            for index in common..<common + 8 { prefix = prefix << 8 | (index < bytes.count ? UInt64(bytes[index]) : 0) }
            entries.append(Entry(prefix: prefix, place: UInt32(place)))
        }
        entries.sort { ($0.prefix, $0.place) < ($1.prefix, $1.place) }
        places.removeAll(keepingCapacity: true)
        for entry in entries { places.append(entry.place) }
    }
}
