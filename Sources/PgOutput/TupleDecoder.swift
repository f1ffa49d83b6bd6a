public import CdcCore

/// How the columns of a RELATION lie in the pipeline's table.
public struct ColumnMap: Sendable, Equatable {
    /// How many columns a tuple has.
    public let count: Int
    /// How many columns the table has.
    public let tableColumns: Int
    /// For each column of the tuple its place in the table, or ``leftOut``; nil if the places are the same.
    public let places: [Int]?

    /// The place of a column whose values are not carried.
    public static let leftOut = -1

    /// Makes a map.
    ///
    /// - Parameters:
    ///   - places: for each column of the tuple its place in the table, or ``leftOut``.
    ///   - tableColumns: how many columns the table has.
    public init(places: [Int], tableColumns: Int) {
        precondition(places.allSatisfy { $0 >= ColumnMap.leftOut && $0 < tableColumns }, "column outside the table")
        count = places.count
        self.tableColumns = tableColumns
        self.places = places == Array(0..<tableColumns) ? nil : places
    }
}

/// TupleData into a batch: framing is checked, bytes are copied once, cells note where the values lie.
public enum TupleDecoder {
    /// Appends an insert.
    ///
    /// - Throws: ``WireError`` with the byte offset; the batch is then as it was.
    @inline(__always)
    public static func insert(
        _ message: RawSpan,
        newOffset: Int,
        into batch: CdcBatch,
        table: UInt32,
        map: ColumnMap,
        ordinal: UInt64
    ) throws(WireError) {
        let savepoint = batch.savepoint()
        do throws(WireError) {
            let copied = CopiedMessage(message, from: newOffset, in: batch)
            var cursor = WireCursor(at: newOffset)
            let new = try cells(&cursor, message, copied, batch, map, missing: .null, mayBeUnchanged: false)
            try cursor.end(message)
            batch.appendInsert(table: table, newCells: new, ordinal: ordinal)
        } catch {
            batch.roll(backTo: savepoint)
            throw error
        }
    }

    /// Appends an update.
    ///
    /// - Throws: ``WireError`` with the byte offset; the batch is then as it was.
    public static func update(
        _ message: RawSpan,
        old: OldTuple,
        oldOffset: Int,
        newOffset: Int,
        into batch: CdcBatch,
        table: UInt32,
        map: ColumnMap,
        ordinal: UInt64
    ) throws(WireError) {
        let savepoint = batch.savepoint()
        do throws(WireError) {
            let start = old == .none ? newOffset : oldOffset
            let copied = CopiedMessage(message, from: start, in: batch)
            var cursor = WireCursor(at: start)
            var oldCells = UInt32.max
            if old != .none {
                oldCells = try cells(&cursor, message, copied, batch, map, missing: .null, mayBeUnchanged: false)
                cursor = WireCursor(at: newOffset)
            }
            let new = try cells(&cursor, message, copied, batch, map, missing: .unchanged, mayBeUnchanged: true)
            try cursor.end(message)
            let complete = batch.appendUpdate(
                table: table,
                old: old,
                oldCells: oldCells,
                newCells: new,
                described: map.places,
                ordinal: ordinal
            )
            guard complete else { throw WireError("update without the value of its key", at: newOffset) }
        } catch {
            batch.roll(backTo: savepoint)
            throw error
        }
    }

    /// Appends a delete.
    ///
    /// - Throws: ``WireError`` with the byte offset; the batch is then as it was.
    public static func delete(
        _ message: RawSpan,
        old: OldTuple,
        oldOffset: Int,
        into batch: CdcBatch,
        table: UInt32,
        map: ColumnMap,
        ordinal: UInt64
    ) throws(WireError) {
        let savepoint = batch.savepoint()
        do throws(WireError) {
            let copied = CopiedMessage(message, from: oldOffset, in: batch)
            var cursor = WireCursor(at: oldOffset)
            let cells = try cells(&cursor, message, copied, batch, map, missing: .null, mayBeUnchanged: false)
            try cursor.end(message)
            batch.appendDelete(table: table, old: old, oldCells: cells, ordinal: ordinal)
        } catch {
            batch.roll(backTo: savepoint)
            throw error
        }
    }

    /// Walks over a tuple.
    static func skip(_ cursor: inout WireCursor, _ message: RawSpan) throws(WireError) {
        let count: UInt16 = try cursor.integer(message)
        for _ in 0..<count {
            if let value = try value(&cursor, message) { try cursor.skip(value.length, message) }
        }
    }

    /// Reads a column's tag and length; nil for NULL and unchanged.
    @inline(__always)
    private static func value(
        _ cursor: inout WireCursor,
        _ message: RawSpan
    ) throws(WireError) -> (length: Int, isBinary: Bool)? {
        let tag = try cursor.uint8(message)
        switch tag {
        case UInt8(ascii: "t"), UInt8(ascii: "b"):
            let length: UInt32 = try cursor.integer(message)
            guard length <= UInt32(Cell.maximumLength) else { throw WireError("absurd length", at: cursor.offset - 4) }
            return (Int(length), tag == UInt8(ascii: "b"))
        case UInt8(ascii: "n"), UInt8(ascii: "u"): return nil
        default: throw WireError("unknown column tag", at: cursor.offset - 1)
        }
    }

    /// A message's tail, copied into the arena.
    private struct CopiedMessage {
        /// Where byte 0 of the message would lie in the arena.
        let origin: Int

        @inline(__always)
        init(_ message: RawSpan, from start: Int, in batch: CdcBatch) {
            let tail = message.extracting(min(start, message.byteCount)..<message.byteCount)
            origin = Int(batch.copy(tail)) - start
        }
    }

    @inline(__always)
    private static func cells(
        _ cursor: inout WireCursor,
        _ message: RawSpan,
        _ copied: CopiedMessage,
        _ batch: CdcBatch,
        _ map: ColumnMap,
        missing: Cell,
        mayBeUnchanged: Bool
    ) throws(WireError) -> UInt32 {
        let count: UInt16 = try cursor.integer(message)
        guard Int(count) == map.count else { throw WireError("wrong number of columns", at: cursor.offset - 2) }
        let first = batch.addCells(map.tableColumns, filledWith: missing)
        for column in 0..<Int(count) {
            let target = map.places.map { $0[column] } ?? column
            guard target >= 0 else {
                if let value = try value(&cursor, message) { try cursor.skip(value.length, message) }
                continue
            }
            let place = Int(first) + target
            if let value = try value(&cursor, message) {
                let start = cursor.offset
                try cursor.skip(value.length, message)
                batch.setCell(
                    place,
                    offset: UInt32(truncatingIfNeeded: copied.origin + start),
                    length: value.length,
                    isBinary: value.isBinary
                )
            } else if message.byte(cursor.offset - 1) == UInt8(ascii: "n") {
                batch.setCell(place, .null)
            } else {
                guard mayBeUnchanged else {
                    throw WireError("unchanged column outside an update", at: cursor.offset - 1)
                }
                batch.setCell(place, .unchanged)
            }
        }
        return first
    }
}

extension RawSpan {
    /// One byte; traps outside the span.
    @inline(__always)
    func byte(_ offset: Int) -> UInt8 {
        precondition(offset >= 0 && offset < byteCount)
        return unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }
}
