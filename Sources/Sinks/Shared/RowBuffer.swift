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

    /// A few bytes, without a loop or a call.
    @inline(__always)
    mutating func append(_ bytes: ShortBytes) {
        reserve(8).storeBytes(of: bytes.word.littleEndian, as: UInt64.self)
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
        // Nineteen digits at a time, by the processor's division of 128 bits by 64, which wants a quotient of 64 bits.
        let chunk: UInt64 = 10_000_000_000_000_000_000
        let (high, low) = (UInt64(truncatingIfNeeded: number >> 64), UInt64(truncatingIfNeeded: number))
        if high == 0, low < chunk { return append(digits: low, atLeast: 1) }
        guard high < chunk else { return appendLarge(number) }
        let (above, below) = chunk.dividingFullWidth((high, low))
        // At most 2^64 - 1, which has twenty digits.
        append(digits: above, atLeast: 1)
        append(digits: below, atLeast: 19)
    }

    /// A number of which more than twenty digits are above the last nineteen.
    @inline(never)
    private mutating func appendLarge(_ number: UInt128) {
        let chunk: UInt128 = 10_000_000_000_000_000_000
        let (above, below) = number.quotientAndRemainder(dividingBy: chunk)
        append(digits: UInt64(truncatingIfNeeded: above / chunk), atLeast: 1)
        append(digits: UInt64(truncatingIfNeeded: above % chunk), atLeast: 19)
        append(digits: UInt64(truncatingIfNeeded: below), atLeast: 19)
    }

    /// Digits of a number, with zeros before them up to a width; eight at a time.
    @inline(__always)
    private mutating func append(digits number: UInt64, atLeast width: Int) {
        let (top, rest) = number.quotientAndRemainder(dividingBy: 10_000_000_000_000_000)
        let (middle, low) = rest.quotientAndRemainder(dividingBy: 100_000_000)
        let words = (RowBuffer.digits(top), RowBuffer.digits(middle), RowBuffer.digits(low))
        // The first digit is the lowest byte.
        let zeros =
            words.0 != 0
            ? words.0.trailingZeroBitCount / 8
            : words.1 != 0 ? 8 + words.1.trailingZeroBitCount / 8 : 16 + words.2.trailingZeroBitCount / 8
        let start = reserve(24)
        let ascii: UInt64 = 0x3030_3030_3030_3030
        start.storeBytes(of: (words.0 | ascii).littleEndian, as: UInt64.self)
        start.storeBytes(of: (words.1 | ascii).littleEndian, toByteOffset: 8, as: UInt64.self)
        start.storeBytes(of: (words.2 | ascii).littleEndian, toByteOffset: 16, as: UInt64.self)
        let skipped = min(zeros, 24 - width)
        memmove(start, start + skipped, 24 - skipped)
        count += 24 - skipped
    }

    /// Eight digits of a number below 10^8, each a byte, the first one the lowest: halves, quarters and single ones at once.
    @inline(__always)
    private static func digits(_ number: UInt64) -> UInt64 {
        let fours = number / 10_000 | (number % 10_000) << 32
        let hundreds = (fours &* 10_486) >> 20 & 0x0000_007F_0000_007F
        let twos = hundreds | (fours &- hundreds &* 100) << 16
        let tens = (twos &* 103) >> 10 & 0x000F_000F_000F_000F
        return tens | (twos &- tens &* 10) << 8
    }

    /// Room for `size` bytes that `body` fills; false, and nothing written, if it says so.
    mutating func append(size: Int, _ body: (UnsafeMutableRawBufferPointer) -> Bool) -> Bool {
        guard body(UnsafeMutableRawBufferPointer(start: reserve(size), count: size)) else { return false }
        count += size
        return true
    }
}

/// Up to eight bytes, as one word.
struct ShortBytes: Sendable {
    /// The first byte is the lowest.
    let word: UInt64
    let count: Int

    init(_ bytes: [UInt8]) {
        precondition(bytes.count <= 8, "more bytes than a word has")
        word = bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) }
        count = bytes.count
    }
}
