internal import CdcCore
internal import HTTPClient

/// Rows on their way into a body: cells, what stands between them, and the sink's own columns.
///
/// Lent to whoever writes a body's rows, so that a cell costs neither a reference nor a check of exclusive access: everything
/// that is asked per cell is a number or a pointer in here.
struct StarRocksRowEncoder: ~Copyable {
    /// Why a change cannot be written.
    enum Refusal {
        /// A column cannot hold its value.
        case value(column: Int, StarRocksEncoder.Problem)
        /// The row that it changes is not at the target.
        case missingRow
    }

    private let encodings: [StarRocksEncoding]
    private let body: BodyWriter
    private var encoder: StarRocksEncoder
    private var row = RowBuffer()
    /// A separator, when the rows are written, a separator: in every row the same.
    private var stamp = RowBuffer()
    private(set) var separators = StarRocksSeparators.all[0]
    private var columnSeparator = ShortBytes([])
    private var rowSeparator = ShortBytes([])
    private var hasOperation = false
    private var cellsARow = 0
    private var rowsInBuffer = 0
    /// Whether the separators are in none of the values so far.
    private(set) var isClear = true
    /// Whether a text reads as NULL: the body is to be written again, shifted.
    private(set) var looksLikeNull = false
    /// Values that were changed in this body, by column.
    private(set) var substitutions: [Int: Int] = [:]
    /// Changes that cannot be written, in the order of the rows.
    private(set) var refusals: [(change: Int, reason: Refusal)] = []

    /// Rows are moved to the body in pieces of this size, which a core's cache holds.
    private static let pieceSize = 64 << 10

    init(_ layout: StarRocksLayout, policy: UnrepresentablePolicy, body: BodyWriter) {
        encodings = layout.columns.map(\.encoding)
        encoder = StarRocksEncoder(policy: policy)
        self.body = body
    }

    /// Whether every text has a letter before it.
    var isShifted: Bool { encoder.isShifted }

    // MARK: Bodies

    /// Begins a body.
    ///
    /// - Parameters:
    ///   - separators: what stands between cells and behind rows.
    ///   - isShifted: whether every text has a letter before it.
    ///   - cells: of a row, the sink's own included.
    ///   - hasOperation: whether the last of them says if the row is to go.
    ///   - now: when the rows are written.
    mutating func begin(
        _ separators: StarRocksSeparators,
        isShifted: Bool,
        cells: Int,
        hasOperation: Bool,
        now: String
    ) {
        self.separators = separators
        columnSeparator = ShortBytes(separators.column)
        rowSeparator = ShortBytes(separators.row)
        encoder.isShifted = isShifted
        self.hasOperation = hasOperation
        cellsARow = cells
        rowsInBuffer = 0
        isClear = true
        looksLikeNull = false
        substitutions.removeAll(keepingCapacity: true)
        refusals.removeAll()
        row.reset()
        stamp.reset()
        stamp.append(columnSeparator)
        var now = now
        now.withUTF8 { stamp.append(UnsafeRawBufferPointer($0)) }
        stamp.append(columnSeparator)
        body.reset()
    }

    /// Moves what is left to the body.
    mutating func finish() { moveToBody() }

    private mutating func moveToBody() {
        if isClear {
            isClear = separators.count(in: row.bytes, areThoseOf: rowsInBuffer, columns: cellsARow)
        }
        // A body that will be written again need not be compressed.
        if isClear, !looksLikeNull { body.append(row.bytes) }
        row.reset()
        rowsInBuffer = 0
    }

    // MARK: Rows

    /// Begins the next cell of a row.
    @inline(__always)
    mutating func separate() { row.append(columnSeparator) }

    /// Appends a cell; refuses the change where the column cannot hold it.
    ///
    /// - Parameters:
    ///   - text: PostgreSQL's; nil for NULL.
    ///   - column: of the table.
    ///   - change: whose row it is.
    @inline(__always)
    mutating func append(_ text: UnsafeRawBufferPointer?, _ column: Int, _ change: Int) {
        switch encoder.append(text, as: encodings[column], to: &row) {
        case .written: break
        case .substituted: substitutions[column, default: 0] += 1
        case .looksLikeNull: looksLikeNull = true
        case .refused(let problem): refuse(change, .value(column: column, problem))
        }
    }

    /// Appends a cell of a row that is not as it came, which is seldom.
    @inline(never)
    mutating func appendSeldom(_ text: UnsafeRawBufferPointer?, _ column: Int, _ change: Int) {
        append(text, column, change)
    }

    /// Appends a value as the target has it; nil is NULL.
    mutating func appendStored(_ value: [UInt8]?, _ column: Int) {
        guard let value else { return appendNull() }
        value.withUnsafeBytes { bytes in
            guard encodings[column].kind == .text else { return row.append(bytes) }
            if case .looksLikeNull = encoder.append(bytes, as: encodings[column], to: &row) { looksLikeNull = true }
        }
    }

    mutating func appendNull() { encoder.appendNull(to: &row) }

    mutating func append(decimal number: UInt128) { row.append(decimal: number) }

    /// Ends a row: the audit columns, and whether it is to go.
    @inline(__always)
    mutating func finishRow(_ operation: UInt8, isDeleted: Bool, _ version: RowVersion, isGone: Bool) {
        separate()
        row.append(UInt8(ascii: "0") + operation)
        separate()
        row.append(isDeleted ? UInt8(ascii: "1") : UInt8(ascii: "0"))
        row.append(stamp.bytes)
        row.append(decimal: version.number)
        if hasOperation {
            separate()
            row.append(isGone ? UInt8(ascii: "1") : UInt8(ascii: "0"))
        }
        row.append(rowSeparator)
        rowsInBuffer += 1
        if row.count >= StarRocksRowEncoder.pieceSize { moveToBody() }
    }

    /// Says that a change cannot be written; of several reasons the first counts.
    @inline(never)
    mutating func refuse(_ change: Int, _ reason: Refusal) {
        guard refusals.last?.change != change else { return }
        refusals.append((change, reason))
    }
}
