import CdcCore
import Glibc

/// Rows as one JSON array of objects: what a daemon sends that loads JSON, written as plainly as it can be.
///
/// There is no tree of values, no map and no String: bytes of PostgreSQL's text go into one buffer, as those of the sink's CSV
/// do. What serde_json makes of a `Value` per row costs more.
struct JSONRows: ~Copyable {
    private var buffer = ByteBuffer()
    /// `"name":` of every column, with a comma before all but the first, one behind the other.
    private let keys: [UInt8]
    /// Where each of them ends.
    private let ends: [Int]
    private let isText: [Bool]
    private let isBoolean: [Bool]

    init(_ table: TableSchema) {
        var (keys, ends): ([UInt8], [Int]) = ([], [])
        for column in table.columns {
            keys += Array("\(keys.isEmpty ? "" : ",")\"\(column.name)\":".utf8)
            ends.append(keys.count)
        }
        (self.keys, self.ends) = (keys, ends)
        isText = table.columns.map { column in
            switch column.type {
            case .int16, .int32, .int64, .float32, .float64, .decimal, .boolean: false
            default: true
            }
        }
        isBoolean = table.columns.map { $0.type == .boolean }
    }

    /// Writes a batch of inserts; calls `take` with piece after piece.
    mutating func write(_ batch: CdcBatch, now: StaticString, take: (UnsafeRawBufferPointer) -> Void) {
        buffer.append(UInt8(ascii: "["))
        for place in 0..<batch.changeCount {
            if place > 0 { buffer.append(UInt8(ascii: ",")) }
            let change = batch.change(place)
            buffer.append(UInt8(ascii: "{"))
            var begin = 0
            for column in 0..<ends.count {
                keys.withUnsafeBytes { buffer.append(UnsafeRawBufferPointer(rebasing: $0[begin..<ends[column]])) }
                begin = ends[column]
                append(batch, batch.newCell(change, column), column)
            }
            // The sink's columns of its own; a version of 64 bits, half as long as ours.
            buffer.append(",\"dbmazz_op_type\":0,\"dbmazz_is_deleted\":false,\"dbmazz_synced_at\":\"")
            buffer.append(now)
            buffer.append("\",\"dbmazz_cdc_version\":")
            buffer.append(decimal: batch.transaction(Int(change.transaction)).commitLSN.rawValue)
            buffer.append(UInt8(ascii: "}"))
            if buffer.count >= 64 << 10 { flush(take) }
        }
        buffer.append(UInt8(ascii: "]"))
        flush(take)
    }

    private mutating func flush(_ take: (UnsafeRawBufferPointer) -> Void) {
        take(buffer.bytes)
        buffer.reset()
    }

    @inline(__always)
    private mutating func append(_ batch: CdcBatch, _ cell: Cell, _ column: Int) {
        guard cell.hasBytes else { return buffer.append("null") }
        let text = batch.bytes(of: cell)
        if isText[column] {
            append(string: text)
        } else if isBoolean[column] {
            buffer.append(text.first == UInt8(ascii: "t") ? "true" : "false")
        } else {
            buffer.append(text)
        }
    }

    /// Escapes what JSON wants escaped; runs of other bytes are copied as one.
    @inline(__always)
    private mutating func append(string text: UnsafeRawBufferPointer) {
        buffer.append(UInt8(ascii: "\""))
        var begin = 0
        for index in 0..<text.count {
            let byte = text[index]
            guard byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") else { continue }
            buffer.append(UnsafeRawBufferPointer(rebasing: text[begin..<index]))
            append(escaped: byte)
            begin = index + 1
        }
        buffer.append(UnsafeRawBufferPointer(rebasing: text[begin...]))
        buffer.append(UInt8(ascii: "\""))
    }

    private mutating func append(escaped byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): buffer.append("\\\"")
        case UInt8(ascii: "\\"): buffer.append("\\\\")
        case UInt8(ascii: "\n"): buffer.append("\\n")
        case UInt8(ascii: "\r"): buffer.append("\\r")
        case UInt8(ascii: "\t"): buffer.append("\\t")
        default:
            let digits: StaticString = "0123456789abcdef"
            buffer.append("\\u00")
            buffer.append(digits.utf8Start[Int(byte >> 4)])
            buffer.append(digits.utf8Start[Int(byte & 0xF)])
        }
    }
}

/// Bytes written front to back: the sink's RowBuffer, of which other modules could not inline a line.
struct ByteBuffer: ~Copyable {
    private var base: UnsafeMutableRawPointer?
    private(set) var count = 0
    private var capacity = 0

    init() {}

    deinit { free(base) }

    /// What was written, lent until the next write.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    mutating func reset() { count = 0 }

    @inline(__always)
    private mutating func reserve(_ extra: Int) -> UnsafeMutableRawPointer {
        if count + extra > capacity { grow(extra) }
        return base.unsafelyUnwrapped + count
    }

    @inline(never)
    private mutating func grow(_ extra: Int) {
        capacity = max(count + extra, capacity * 2, 128 << 10)
        guard let grown = realloc(base, capacity) else { fatalError("out of memory: \(capacity) bytes") }
        base = grown
    }

    @inline(__always)
    mutating func append(_ byte: UInt8) {
        reserve(1).storeBytes(of: byte, as: UInt8.self)
        count += 1
    }

    @inline(__always)
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress, bytes.count > 0 else { return }
        memcpy(reserve(bytes.count), start, bytes.count)
        count += bytes.count
    }

    @inline(__always)
    mutating func append(_ text: StaticString) {
        append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    mutating func append(decimal number: UInt64) {
        let end = reserve(20) + 20
        var rest = number
        var digits = 0
        repeat {
            digits += 1
            (end - digits).storeBytes(of: UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10), as: UInt8.self)
            rest /= 10
        } while rest > 0
        memmove(end - 20, end - digits, digits)
        count += digits
    }
}
