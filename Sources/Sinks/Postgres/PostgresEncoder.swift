internal import CdcCore

/// What one field of a row is on the wire: everything that encoding needs, without a reference.
struct PostgresWire: BitwiseCopyable {
    /// Where the value comes from.
    enum Origin: UInt8, BitwiseCopyable {
        case new
        case old
        case operation
        case isDeleted
        case syncedAt
        case version
    }

    var origin: Origin
    /// The column's place at the source.
    var source: Int32
    /// Whether the value has to come in binary form.
    var isBinary: Bool
    /// The element type to put into an array of a type that is not built in; 0 for none.
    var elementOID: UInt32
    /// The type as the element of an array.
    var oid: UInt32
}

extension PostgresWire {
    /// A field of a layout.
    init(_ field: PostgresField, _ layout: PostgresLayout, _ carrier: PostgresCarrier) {
        switch field {
        case .new(let place): (origin, source) = (.new, Int32(layout.columns[place].source))
        case .old(let place): (origin, source) = (.old, Int32(layout.columns[place].source))
        case .audit(.operation): (origin, source) = (.operation, 0)
        case .audit(.isDeleted): (origin, source) = (.isDeleted, 0)
        case .audit(.syncedAt): (origin, source) = (.syncedAt, 0)
        case .audit(.version): (origin, source) = (.version, 0)
        }
        isBinary = carrier.isBinary
        elementOID = carrier.elementOID ?? 0
        oid = carrier.oid
    }
}

/// Puts values into PostgreSQL's binary forms.
///
/// See https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4 for COPY, and `array_recv` in PostgreSQL's
/// `arrayfuncs.c` for arrays.
struct PostgresEncoder: ~Copyable {
    /// What has been encoded and not been sent.
    var buffer = PostgresBuffer(keptCapacity: 1 << 20)
    /// Set when a value came in a form that its column does not have in this session.
    private(set) var hasWrongForm = false
    /// When the batch is written: microseconds since 2000-01-01 UTC.
    private var syncedAt: Int64 = 0

    /// Begins a batch.
    mutating func begin(at syncedAt: Int64) {
        self.syncedAt = syncedAt
        hasWrongForm = false
        buffer.reset()
    }

    /// Appends a value with its length in front.
    ///
    /// - Parameters:
    ///   - wire: which one.
    ///   - change: the row's last change.
    ///   - new: the cell of the new row, for `.new`.
    ///   - batch: what the cells belong to.
    @inline(__always)
    mutating func append(_ wire: PostgresWire, _ change: Change, new: @autoclosure () -> Cell, _ batch: CdcBatch) {
        switch wire.origin {
        case .new: append(new(), wire, batch)
        case .old: append(batch.oldCell(change, Int(wire.source)), wire, batch)
        case .operation, .isDeleted, .syncedAt, .version: appendAudit(wire, change, batch)
        }
    }

    @inline(__always)
    private mutating func append(_ cell: Cell, _ wire: PostgresWire, _ batch: CdcBatch) {
        guard cell.hasBytes else {
            // Statements leave unchanged columns out: one that is here was promised and did not come.
            if cell.isUnchanged { hasWrongForm = true }
            buffer.appendNull()
            return
        }
        if (cell.kind == .binary) != wire.isBinary { hasWrongForm = true }
        let start = buffer.count
        buffer.append(value: batch.bytes(of: cell))
        // An array's head: int32 dimensions, int32 flags, then the element's type, which has another number here.
        if wire.elementOID != 0, cell.length >= 12 { buffer.overwrite(wire.elementOID, at: start + 4 + 8) }
    }

    private mutating func appendAudit(_ wire: PostgresWire, _ change: Change, _ batch: CdcBatch) {
        switch wire.origin {
        case .new, .old: break
        case .operation:
            buffer.append(2 as Int32)
            buffer.append(change.operationCode)
        case .isDeleted:
            buffer.append(1 as Int32)
            buffer.append(change.isDeletion ? 1 as UInt8 : 0)
        case .syncedAt:
            buffer.append(8 as Int32)
            buffer.append(syncedAt)
        case .version:
            buffer.append(32 as Int32)
            appendVersion(change, batch)
        }
    }

    private mutating func appendVersion(_ change: Change, _ batch: CdcBatch) {
        let version = batch.version(of: change)
        buffer.append(hexadecimal: version.commitLSN.rawValue)
        buffer.append(hexadecimal: version.ordinal)
    }

    // MARK: COPY

    /// The header of COPY's binary format: signature, no flags, no extension.
    mutating func beginCopy() {
        for byte in "PGCOPY\n".utf8 { buffer.append(byte) }
        for byte in [0xFF, 0x0D, 0x0A, 0x00] as [UInt8] { buffer.append(byte) }
        buffer.append(0 as Int32)
        buffer.append(0 as Int32)
    }

    /// The trailer of COPY's binary format.
    mutating func endCopy() { buffer.append(-1 as Int16) }

    /// Appends a row for COPY.
    @inline(__always)
    mutating func appendRow(
        _ form: PostgresLayout.DirectCopy,
        _ wires: UnsafeBufferPointer<PostgresWire>,
        _ change: Change,
        _ batch: CdcBatch,
        new: (Int) -> Cell
    ) {
        switch form {
        case .binary: appendBinaryRow(wires, change, batch, new: new)
        case .text: appendTextRow(wires, change, batch, new: new)
        }
    }

    @inline(__always)
    private mutating func appendBinaryRow(
        _ wires: UnsafeBufferPointer<PostgresWire>,
        _ change: Change,
        _ batch: CdcBatch,
        new: (Int) -> Cell
    ) {
        buffer.append(Int16(truncatingIfNeeded: wires.count))
        for wire in wires { append(wire, change, new: new(Int(wire.source)), batch) }
    }

    private mutating func appendTextRow(
        _ wires: UnsafeBufferPointer<PostgresWire>,
        _ change: Change,
        _ batch: CdcBatch,
        new: (Int) -> Cell
    ) {
        for (place, wire) in wires.enumerated() {
            if place > 0 { buffer.append(UInt8(ascii: "\t")) }
            guard wire.origin == .new else {
                appendText(wire, change, batch)
                continue
            }
            let cell = new(Int(wire.source))
            if cell.hasBytes {
                if cell.kind == .binary { hasWrongForm = true }
                buffer.append(escaped: batch.bytes(of: cell))
            } else {
                if cell.isUnchanged { hasWrongForm = true }
                buffer.append(UInt8(ascii: "\\"))
                buffer.append(UInt8(ascii: "N"))
            }
        }
        buffer.append(UInt8(ascii: "\n"))
    }

    private mutating func appendText(_ wire: PostgresWire, _ change: Change, _ batch: CdcBatch) {
        switch wire.origin {
        case .new, .old: break
        case .operation: buffer.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: change.operationCode))
        case .isDeleted: buffer.append(change.isDeletion ? UInt8(ascii: "t") : UInt8(ascii: "f"))
        case .syncedAt:
            let milliseconds = syncedAt / 1000 + Timestamp.postgresEpoch
            for byte in Timestamp.iso(milliseconds: milliseconds).utf8 { buffer.append(byte) }
        case .version: appendVersion(change, batch)
        }
    }

    // MARK: Arrays

    /// Begins a one-dimensional array; its elements follow.
    mutating func beginArray(of elementOID: UInt32, count: Int) {
        buffer.append(1 as Int32)
        buffer.append(1 as Int32)  // may have NULLs
        buffer.append(elementOID)
        buffer.append(Int32(truncatingIfNeeded: count))
        buffer.append(1 as Int32)
    }
}

extension Change {
    /// `dbmazz_op_type`: 0 insert, 1 update, 2 delete.
    fileprivate var operationCode: Int16 {
        switch kind {
        case .insert: 0
        case .update: 1
        case .delete, .truncate: 2
        }
    }

    /// `dbmazz_is_deleted`.
    fileprivate var isDeletion: Bool { kind == .delete || kind == .truncate }
}
