internal import Glibc

/// Rows in a target's form, written front to back and used again for every batch; numbers are little-endian.
///
/// The only place of the HTTP sinks that writes through pointers: every write makes room first.
/// Lengths and strings are those of https://clickhouse.com/docs/interfaces/formats/RowBinary
struct RowBuffer: ~Copyable {
    private var base: UnsafeMutableRawPointer?
    private(set) var count = 0
    private var capacity = 0

    init() {}

    deinit { free(base) }

    /// What was written, lent until the next write.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// Forgets the content, and gives memory back that a huge row needed once.
    mutating func reset() {
        count = 0
        guard capacity > 1 << 20 else { return }
        free(base)
        base = nil
        capacity = 0
    }

    /// Drops everything behind `length`.
    mutating func truncate(to length: Int) {
        precondition(length >= 0 && length <= count, "outside of what was written")
        count = length
    }

    @inline(__always)
    private mutating func reserve(_ extra: Int) -> UnsafeMutableRawPointer {
        if count + extra > capacity { grow(extra) }
        return base.unsafelyUnwrapped + count
    }

    @inline(never)
    private mutating func grow(_ extra: Int) {
        let wanted = max(count + extra, min(capacity * 2, capacity + 8 << 20), 4096)
        guard let grown = realloc(base, wanted) else { fatalError("out of memory: \(wanted) bytes for a row") }
        base = grown
        capacity = wanted
    }

    @inline(__always)
    mutating func append<Number: FixedWidthInteger>(_ number: Number) {
        reserve(MemoryLayout<Number>.size).storeBytes(of: number.littleEndian, as: Number.self)
        count += MemoryLayout<Number>.size
    }

    @inline(__always)
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress, bytes.count > 0 else { return }
        memcpy(reserve(bytes.count), start, bytes.count)
        count += bytes.count
    }

    mutating func append(zeros: Int) {
        memset(reserve(zeros), 0, zeros)
        count += zeros
    }

    /// An unsigned LEB128 number: lengths of strings and arrays.
    @inline(__always)
    mutating func append(length: Int) {
        var rest = length
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(truncatingIfNeeded: rest))
    }

    /// A string: its length, then its bytes.
    @inline(__always)
    mutating func append(string bytes: UnsafeRawBufferPointer) {
        append(length: bytes.count)
        append(bytes)
    }

    mutating func append(string text: String) {
        var text = text
        text.withUTF8 { append(string: UnsafeRawBufferPointer($0)) }
    }

    /// A number in decimal, without a String.
    @inline(__always)
    mutating func append(decimal number: UInt128) {
        // A division of 128 bits is slow: nineteen digits at a time.
        let chunk: UInt64 = 10_000_000_000_000_000_000
        guard number >= UInt128(chunk) else { return append(digits: UInt64(truncatingIfNeeded: number), atLeast: 1) }
        let (high, low) = number.quotientAndRemainder(dividingBy: UInt128(chunk))
        append(aboveChunk: high)
        append(digits: UInt64(truncatingIfNeeded: low), atLeast: 19)
    }

    /// The digits above the last nineteen, of which there are at most twenty.
    @inline(never)
    private mutating func append(aboveChunk number: UInt128) {
        let chunk: UInt128 = 10_000_000_000_000_000_000
        if number >= chunk { append(digits: UInt64(truncatingIfNeeded: number / chunk), atLeast: 1) }
        append(digits: UInt64(truncatingIfNeeded: number % chunk), atLeast: number >= chunk ? 19 : 1)
    }

    @inline(__always)
    private mutating func append(digits number: UInt64, atLeast width: Int) {
        let start = reserve(20)
        let room = UnsafeMutableRawBufferPointer(start: start, count: 20)
        var rest = number
        var place = 20
        while rest > 0 || 20 - place < width {
            place -= 1
            room[place] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        memmove(start, start + place, 20 - place)
        count += 20 - place
    }

    /// Room for `size` bytes that `body` fills; false, and nothing written, if it says so.
    mutating func append(size: Int, _ body: (UnsafeMutableRawBufferPointer) -> Bool) -> Bool {
        guard body(UnsafeMutableRawBufferPointer(start: reserve(size), count: size)) else { return false }
        count += size
        return true
    }
}
