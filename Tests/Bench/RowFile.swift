import CdcCore
import Glibc

/// A file of `COPY … TO` in text form, filled into batches as the decoder does it.
///
/// The bench's rows have nothing to escape; a file that has is refused.
struct RowFile {
    private let bytes: [UInt8]
    private var place = 0
    private var transactions: UInt64 = 0

    /// Rows of a transaction.
    private static let rowsPerTransaction = 1000

    init?(_ path: String) {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        fseek(file, 0, SEEK_END)
        let size = ftell(file)
        rewind(file)
        bytes = [UInt8](unsafeUninitializedCapacity: size) { room, count in
            count = fread(room.baseAddress, 1, size, file)
        }
    }

    /// Begins with the first row again.
    mutating func rewindRows() { (place, transactions) = (0, 0) }

    /// Fills an emptied batch up to a limit in bytes; false if there are no more rows.
    mutating func fill(_ batch: CdcBatch, limit: Int) -> Bool {
        batch.reset()
        while place < bytes.count, batch.byteCount < limit {
            transactions += 1
            let position = LSN(rawValue: 0x1_0000_0000 + transactions << 18)
            batch.begin(
                TransactionInfo(xid: UInt32(truncatingIfNeeded: transactions), commitLSN: position, commitTime: 0)
            )
            var ordinal: UInt64 = 0
            while place < bytes.count, ordinal < RowFile.rowsPerTransaction {
                ordinal += 1
                addRow(batch, ordinal)
            }
            batch.commit(SourcePosition(commitLSN: position, endLSN: LSN(rawValue: position.rawValue + 0x30)))
        }
        return !batch.isEmpty
    }

    private mutating func addRow(_ batch: CdcBatch, _ ordinal: UInt64) {
        let columns = batch.tables[0].columns.count
        let first = batch.addCells(columns, filledWith: .null)
        for column in 0..<columns {
            let end = column + 1 < columns ? UInt8(ascii: "\t") : UInt8(ascii: "\n")
            let begin = place
            while bytes[place] != end { place += 1 }
            let length = place - begin
            place += 1
            if length == 2, bytes[begin] == UInt8(ascii: "\\"), bytes[begin + 1] == UInt8(ascii: "N") { continue }
            precondition(!bytes[begin..<place].contains(UInt8(ascii: "\\")), "a value with an escape in it")
            let offset = batch.copy(bytes.span.extracting(begin..<begin + length).bytes)
            batch.setCell(Int(first) + column, offset: offset, length: length, isBinary: false)
        }
        batch.appendInsert(table: 0, newCells: first, ordinal: ordinal)
    }
}
