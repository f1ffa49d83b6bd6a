public import CdcCore

/// Rows of the initial copy: COPY's binary format into a batch.
///
/// ```
/// "PGCOPY\n", 0xFF, "\r\n", 0                       signature
/// Int32 flags, Int32 length, Byte* extension         rest of the header
/// Int16 n, n × (Int32 length | -1, Byte* value)      row
/// Int16 -1                                           trailer
/// ```
/// One CopyData message holds at most one row or the trailer; the header stands before it or alone in the first one. The
/// values are the types' binary output, exactly what pgoutput sends as 'b'.
/// See https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4
public struct CopyBinaryDecoder {
    /// What a message may be next.
    private enum Expected {
        case header
        case row
        case nothing
    }

    private static let signature: [UInt8] = Array("PGCOPY\n".utf8) + [0xFF, 0x0D, 0x0A, 0]

    private var expected = Expected.header
    private let columns: Int
    /// For each column whether it comes as text; nil where none does.
    private let textColumns: [Bool]?

    /// Makes a decoder for one COPY.
    ///
    /// - Parameter columns: the table's; those whose type has no binary output were cast to text by the statement.
    public init(_ columns: [ColumnDef]) {
        self.columns = columns.count
        let areText = columns.map { !$0.postgresType.hasBinaryOutput }
        textColumns = areText.contains(true) ? areText : nil
    }

    /// Takes a message; a row is appended as an insert with ordinal 0.
    ///
    /// - Returns: whether there was a row in it.
    /// - Throws: ``WireError`` with the byte offset; batch and decoder are then as they were.
    @inline(__always)
    public mutating func append(_ message: RawSpan, into batch: CdcBatch, table: UInt32) throws(WireError) -> Bool {
        var cursor = WireCursor()
        if expected != .row {
            try CopyBinaryDecoder.header(&cursor, message, expected)
            guard cursor.offset < message.byteCount else {
                expected = .row
                return false
            }
        }
        let count: Int16 = try cursor.integer(message)
        guard count != -1 else {
            try cursor.end(message)
            expected = .nothing
            return false
        }
        guard Int(count) == columns else {
            throw WireError("copied row with \(count) columns instead of \(columns)", at: cursor.offset - 2)
        }
        try row(&cursor, message, batch, table)
        expected = .row
        return true
    }

    /// Checks that the copy is complete.
    ///
    /// - Throws: ``WireError`` if the trailer has not come.
    public func finish() throws(WireError) {
        guard expected == .nothing else { throw WireError("copy without its trailer", at: 0) }
    }

    private static func header(
        _ cursor: inout WireCursor,
        _ message: RawSpan,
        _ expected: Expected
    ) throws(WireError) {
        guard expected == .header else { throw WireError("data behind the trailer of a copy", at: 0) }
        for byte in signature where try cursor.uint8(message) != byte {
            throw WireError("no signature of a binary copy", at: cursor.offset - 1)
        }
        // The upper half is for what a reader must understand; there is nothing yet, and OIDs (bit 16) are gone.
        let flags: UInt32 = try cursor.integer(message)
        guard flags >> 16 == 0 else { throw WireError("unknown flags of a binary copy", at: cursor.offset - 4) }
        let length: Int32 = try cursor.integer(message)
        try cursor.skip(Int(length), message)
    }

    @inline(__always)
    private func row(
        _ cursor: inout WireCursor,
        _ message: RawSpan,
        _ batch: CdcBatch,
        _ table: UInt32
    ) throws(WireError) {
        let savepoint = batch.savepoint()
        do throws(WireError) {
            let start = cursor.offset
            let origin = Int(batch.copy(message.extracting(start..<message.byteCount))) - start
            let first = batch.addCells(columns, filledWith: .null)
            for column in 0..<columns {
                let length: Int32 = try cursor.integer(message)
                guard length != -1 else { continue }
                guard length >= 0, Int(length) <= Cell.maximumLength else {
                    throw WireError("absurd length", at: cursor.offset - 4)
                }
                let value = cursor.offset
                try cursor.skip(Int(length), message)
                batch.setCell(
                    Int(first) + column,
                    offset: UInt32(truncatingIfNeeded: origin + value),
                    length: Int(length),
                    isBinary: textColumns.map { !$0[column] } ?? true
                )
            }
            try cursor.end(message)
            batch.appendInsert(table: table, newCells: first, ordinal: 0)
        } catch {
            batch.roll(backTo: savepoint)
            throw error
        }
    }
}
