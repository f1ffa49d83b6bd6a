internal import CdcCore

/// The rows of a table that changes may not reach, because earlier ones are dead letters.
struct HeldRows {
    private struct Span {
        var first: RowVersion
        var last: RowVersion
    }

    private var rows: [[UInt8]: Span] = [:]
    private var forms: UInt8 = 0
    /// Of the table's letters, those of rows without a key too.
    private(set) var first = RowVersion(commitLSN: LSN(rawValue: .max), ordinal: .max)
    private var last = RowVersion(commitLSN: .zero, ordinal: 0)

    mutating func hold(_ keys: [KeyImage], _ version: RowVersion) {
        first = min(first, version)
        last = max(last, version)
        for key in keys {
            forms |= key.forms
            let span = rows[key.bytes]
            rows[key.bytes] = Span(
                first: min(span?.first ?? version, version),
                last: max(span?.last ?? version, version)
            )
        }
    }

    /// Whether a change reaches a row that is held.
    func contains(_ change: Change, of batch: CdcBatch, _ table: TableSchema, _ version: RowVersion) -> Bool {
        guard !rows.isEmpty else { return false }
        return KeyImage.all(of: change, in: batch, table).contains { image in
            // Text and binary of one type cannot be compared: then every row may be the one.
            if forms | image.forms == 3 { return first < version }
            return rows[image.bytes].map { $0.first < version } ?? false
        }
    }

    /// Lets go of what came before the table was emptied; true if nothing is left.
    mutating func empty(at version: RowVersion) -> Bool {
        guard last >= version else { return true }
        rows = rows.filter { $0.value.last >= version }.mapValues { Span(first: max($0.first, version), last: $0.last) }
        first = version
        return false
    }
}
