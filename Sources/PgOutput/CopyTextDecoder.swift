public import CdcCore

/// Rows of the initial copy: COPY's text format into a batch.
///
/// One CopyData message is one line: columns between tabs, `\N` for NULL, and a backslash before b, f, n, r, t, v or itself.
/// The values behind it are the types' text output, exactly what pgoutput sends as 't', so a copied row cannot differ from
/// a streamed one. See https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.2
public struct CopyTextDecoder: ~Copyable {
    private var plain: [UInt8] = []
    private var ends: [Int] = []

    /// Makes a decoder; it keeps a buffer for rows with escapes.
    public init() {}

    /// Appends a row as an insert with ordinal 0.
    ///
    /// - Throws: ``WireError`` with the byte offset; the batch is then as it was.
    public mutating func append(_ line: RawSpan, into batch: CdcBatch, table: UInt32) throws(WireError) {
        guard line.byteCount > 0, line.byte(line.byteCount - 1) == UInt8(ascii: "\n") else {
            throw WireError("copied row without a line end", at: line.byteCount)
        }
        try unescape(line)
        let columns = batch.tables[Int(table)].columns.count
        // A table whose every column is left out by a column list cannot be; one without columns sends empty lines.
        guard ends.count == columns || (columns == 0 && plain.isEmpty) else {
            throw WireError("copied row with \(ends.count) columns instead of \(columns)", at: line.byteCount)
        }
        let base = Int(batch.copy(plain.span.bytes))
        let first = batch.addCells(columns, filledWith: .null)
        var start = 0
        for column in 0..<columns {
            // A NULL has an end before its start.
            if ends[column] >= 0 {
                batch.setCell(
                    Int(first) + column,
                    offset: UInt32(truncatingIfNeeded: base + start),
                    length: ends[column] - start,
                    isBinary: false
                )
                start = ends[column]
            }
        }
        batch.appendInsert(table: table, newCells: first, ordinal: 0)
    }

    /// Fills `plain` with the values one behind the other, and `ends` with where each ends, -1 for NULL.
    private mutating func unescape(_ line: RawSpan) throws(WireError) {
        plain.removeAll(keepingCapacity: true)
        ends.removeAll(keepingCapacity: true)
        plain.reserveCapacity(line.byteCount)
        let last = line.byteCount - 1
        var offset = 0
        var start = 0
        var isNull = false
        while offset < last {
            let run = plainRun(line, from: offset, to: last)
            if run > offset {
                line.extracting(offset..<run).withUnsafeBytes { plain.append(contentsOf: $0) }
                offset = run
                continue
            }
            let byte = line.byte(offset)
            offset += 1
            if byte == UInt8(ascii: "\t") {
                try endValue(isNull: isNull, from: start, at: offset)
                start = plain.count
                isNull = false
            } else {
                guard offset < last else { throw WireError("escape at the end of a copied row", at: offset) }
                if line.byte(offset) == UInt8(ascii: "N") {
                    guard !isNull, plain.count == start else { throw CopyTextDecoder.misplacedNull(at: offset) }
                    isNull = true
                } else {
                    plain.append(try escaped(line, offset))
                }
                offset += 1
            }
        }
        try endValue(isNull: isNull, from: start, at: offset)
    }

    /// Notes where a value ends; `\N` is NULL only where it stands alone.
    @inline(__always)
    private mutating func endValue(isNull: Bool, from start: Int, at offset: Int) throws(WireError) {
        guard !isNull || plain.count == start else { throw CopyTextDecoder.misplacedNull(at: offset) }
        ends.append(isNull ? -1 : plain.count)
    }

    private static func misplacedNull(at offset: Int) -> WireError {
        WireError("NULL beside other bytes of a value in a copied row", at: offset)
    }

    /// Where the bytes that stand for themselves end.
    @inline(__always)
    private func plainRun(_ line: RawSpan, from start: Int, to last: Int) -> Int {
        var offset = start
        while offset < last {
            let byte = line.byte(offset)
            if byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\\") { break }
            offset += 1
        }
        return offset
    }

    private func escaped(_ line: RawSpan, _ offset: Int) throws(WireError) -> UInt8 {
        switch line.byte(offset) {
        case UInt8(ascii: "b"): return 8
        case UInt8(ascii: "t"): return 9
        case UInt8(ascii: "n"): return 10
        case UInt8(ascii: "v"): return 11
        case UInt8(ascii: "f"): return 12
        case UInt8(ascii: "r"): return 13
        case UInt8(ascii: "\\"): return UInt8(ascii: "\\")
        default: throw WireError("unknown escape in a copied row", at: offset)
        }
    }
}
