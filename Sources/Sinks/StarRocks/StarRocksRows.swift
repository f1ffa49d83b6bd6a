internal import CdcCore

/// A few rows of the sink's own tables, as a body.
struct StarRocksRows {
    private(set) var body: [UInt8] = []
    private(set) var count = 0
    let separators: StarRocksSeparators

    /// Writes rows of text; nil is NULL.
    ///
    /// - Throws: where a text has the separators in it: no name that anybody gave has them.
    init(_ rows: [[String?]], operation: String) throws(SinkError) {
        for separators in StarRocksSeparators.all {
            var bytes: [UInt8] = []
            for row in rows {
                for (index, cell) in row.enumerated() {
                    if index > 0 { bytes += separators.column }
                    bytes += cell.map { Array($0.utf8) } ?? Array("\\N".utf8)
                }
                bytes += separators.row
            }
            let columns = rows.first?.count ?? 0
            let isClear = bytes.withUnsafeBytes {
                separators.count(in: $0, areThoseOf: rows.count, columns: columns)
            }
            guard isClear else { continue }
            (body, count, self.separators) = (bytes, rows.count, separators)
            return
        }
        throw SinkError(
            .permanent,
            operation: operation,
            cause: "a text has every separator that the sink knows",
            remedy: "report this as an error of dbmazz-sink"
        )
    }
}
