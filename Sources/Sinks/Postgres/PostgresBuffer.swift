internal import Glibc

/// Bytes in PostgreSQL's wire order, written front to back and used again for every batch.
///
/// The only place of this sink that writes through pointers: every write makes room first.
struct PostgresBuffer: ~Copyable {
    private var base: UnsafeMutableRawPointer?
    private(set) var count = 0
    private var capacity = 0
    private let keptCapacity: Int

    /// - Parameter keptCapacity: how much memory ``reset()`` keeps.
    init(keptCapacity: Int) {
        self.keptCapacity = keptCapacity
    }

    deinit { free(base) }

    /// What was written, lent until the next write.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// Forgets the content, and gives memory back that was needed only once.
    mutating func reset() {
        count = 0
        guard capacity > keptCapacity else { return }
        free(base)
        base = nil
        capacity = 0
    }

    @inline(__always)
    private mutating func reserve(_ extra: Int) -> UnsafeMutableRawPointer {
        if count + extra > capacity { grow(extra) }
        return base.unsafelyUnwrapped + count
    }

    @inline(never)
    private mutating func grow(_ extra: Int) {
        let wanted = max(count + extra, min(capacity * 2, capacity + 8 << 20), 4096)
        guard let grown = realloc(base, wanted) else { fatalError("out of memory: \(wanted) bytes for a statement") }
        base = grown
        capacity = wanted
    }

    @inline(__always)
    mutating func append<Number: FixedWidthInteger>(_ number: Number) {
        reserve(MemoryLayout<Number>.size).storeBytes(of: number.bigEndian, as: Number.self)
        count += MemoryLayout<Number>.size
    }

    @inline(__always)
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress, bytes.count > 0 else { return }
        memcpy(reserve(bytes.count), start, bytes.count)
        count += bytes.count
    }

    /// A value as COPY and arrays have it: its length, then its bytes.
    @inline(__always)
    mutating func append(value bytes: UnsafeRawBufferPointer) {
        let place = reserve(4 + bytes.count)
        place.storeBytes(of: Int32(truncatingIfNeeded: bytes.count).bigEndian, as: Int32.self)
        if let start = bytes.baseAddress { memcpy(place + 4, start, bytes.count) }
        count += 4 + bytes.count
    }

    /// NULL, as COPY and arrays have it.
    @inline(__always)
    mutating func appendNull() { append(-1 as Int32) }

    /// Writes a number over four bytes that are there.
    @inline(__always)
    mutating func overwrite(_ number: UInt32, at offset: Int) {
        precondition(offset >= 0 && offset + 4 <= count, "outside of what was written")
        base.unsafelyUnwrapped.storeBytes(of: number.bigEndian, toByteOffset: offset, as: UInt32.self)
    }

    /// What libpq is told of parameters that lie here one behind the other; valid until the next write.
    ///
    /// - Parameters:
    ///   - starts: where each begins.
    ///   - hasLengths: whether each begins with its own length, which is not part of it; -1 is NULL.
    ///   - values: where to put pointers, nil for NULL.
    ///   - lengths: where to put lengths in bytes.
    func parameters(
        startingAt starts: [Int],
        hasLengths: Bool,
        _ values: inout [UnsafePointer<CChar>?],
        _ lengths: inout [Int32]
    ) {
        values.removeAll(keepingCapacity: true)
        lengths.removeAll(keepingCapacity: true)
        guard let base else { return }
        let text = UnsafeRawPointer(base).assumingMemoryBound(to: CChar.self)
        for (index, start) in starts.enumerated() {
            let end = index + 1 < starts.count ? starts[index + 1] : count
            let head = hasLengths ? 4 : 0
            precondition(start + head <= end && end <= count, "outside of what was written")
            let isNull = hasLengths && bytes.loadUnaligned(fromByteOffset: start, as: Int32.self) == -1
            values.append(isNull ? nil : text + start + head)
            lengths.append(Int32(truncatingIfNeeded: end - start - head))
        }
    }

    /// 16 lower-case hexadecimal digits.
    mutating func append(hexadecimal number: UInt64) {
        let place = reserve(16)
        for digit in 0..<16 {
            let value = UInt8(truncatingIfNeeded: number >> UInt64(60 - 4 * digit)) & 15
            place.storeBytes(
                of: value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10,
                toByteOffset: digit,
                as: UInt8.self
            )
        }
        count += 16
    }

    /// A value in COPY's text format: backslash, tab and line ends are escaped.
    ///
    /// See https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.2
    mutating func append(escaped bytes: UnsafeRawBufferPointer) {
        var place = reserve(2 * bytes.count)
        let start = place
        for byte in bytes {
            let escape: UInt8? =
                switch byte {
                case UInt8(ascii: "\\"): byte
                case UInt8(ascii: "\n"): UInt8(ascii: "n")
                case UInt8(ascii: "\r"): UInt8(ascii: "r")
                case UInt8(ascii: "\t"): UInt8(ascii: "t")
                default: nil
                }
            if let escape {
                place.storeBytes(of: UInt8(ascii: "\\"), as: UInt8.self)
                place += 1
                place.storeBytes(of: escape, as: UInt8.self)
            } else {
                place.storeBytes(of: byte, as: UInt8.self)
            }
            place += 1
        }
        count += place - start
    }
}
