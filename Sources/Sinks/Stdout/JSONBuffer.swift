internal import CdcCore
internal import Glibc

/// Bytes of output on their way: one block, used again and again.
final class JSONBuffer {
    private var base: UnsafeMutablePointer<UInt8>
    private var capacity: Int
    private(set) var count = 0

    /// A block that a large value made larger than this goes back when it has been written.
    private static let keptCapacity = 256 << 10

    init() {
        capacity = JSONBuffer.keptCapacity
        base = UnsafeMutablePointer.allocate(capacity: capacity)
    }

    deinit {
        base.deallocate()
    }

    /// The content, lent until the next call.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    /// Empties the buffer.
    func removeAll() {
        count = 0
        guard capacity > JSONBuffer.keptCapacity else { return }
        base.deallocate()
        capacity = JSONBuffer.keptCapacity
        base = UnsafeMutablePointer.allocate(capacity: capacity)
    }

    /// Drops the first bytes.
    func removeFirst(_ length: Int) {
        memmove(base, base + length, count - length)
        count -= length
    }

    /// Drops the bytes before `begin`, and everything behind the line that `begin` lies in.
    func keepLine(from begin: Int) {
        var end = begin
        while end < count, base[end] != UInt8(ascii: "\n") { end += 1 }
        end = min(end + 1, count)
        memmove(base, base + begin, end - begin)
        count = end - begin
    }

    /// Drops everything behind `newCount`.
    func truncate(to newCount: Int) {
        count = min(count, newCount)
    }

    @inline(__always)
    private func reserve(_ extra: Int) {
        if count + extra > capacity { grow(extra) }
    }

    @inline(never)
    private func grow(_ extra: Int) {
        capacity = max(capacity * 2, count + extra)
        let grown = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
        grown.update(from: base, count: count)
        base.deallocate()
        base = grown
    }

    // MARK: Pieces

    @inline(__always)
    func append(_ byte: UInt8) {
        reserve(1)
        base[count] = byte
        count += 1
    }

    @inline(__always)
    func append(_ bytes: UnsafeRawBufferPointer) {
        guard let start = bytes.baseAddress else { return }
        reserve(bytes.count)
        memcpy(base + count, start, bytes.count)
        count += bytes.count
    }

    @inline(__always)
    func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { append($0) }
    }

    @inline(__always)
    func append(_ text: StaticString) {
        append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Decimal digits.
    func append(decimal value: Int64) {
        if value < 0 { append(UInt8(ascii: "-")) }
        append(decimal: value.magnitude)
    }

    /// Decimal digits.
    func append(decimal value: UInt64) {
        reserve(20)
        var digits = 1
        var bound = value
        while bound >= 10 {
            bound /= 10
            digits += 1
        }
        var rest = value
        var place = count + digits
        repeat {
            place -= 1
            base[place] = UInt8(ascii: "0") + UInt8(rest % 10)
            rest /= 10
        } while rest > 0
        count += digits
    }

    /// PostgreSQL's text form, quoted.
    func append(_ lsn: LSN) {
        append(UInt8(ascii: "\""))
        append(hexadecimal: UInt32(truncatingIfNeeded: lsn.rawValue >> 32))
        append(UInt8(ascii: "/"))
        append(hexadecimal: UInt32(truncatingIfNeeded: lsn.rawValue))
        append(UInt8(ascii: "\""))
    }

    private func append(hexadecimal value: UInt32) {
        var shift = max(0, 28 - value.leadingZeroBitCount / 4 * 4)
        while shift >= 0 {
            append(JSONBuffer.digit(UInt8(value >> UInt32(shift) & 0xF), letters: UInt8(ascii: "A")))
            shift -= 4
        }
    }

    @inline(__always)
    private static func digit(_ value: UInt8, letters: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : letters + value - 10
    }

    /// A JSON string of UTF-8 bytes.
    func append(string bytes: UnsafeRawBufferPointer) {
        append(UInt8(ascii: "\""))
        var begin = 0
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            if byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
                append(UnsafeRawBufferPointer(rebasing: bytes[begin..<index]))
                append(escaped: byte)
                begin = index + 1
            }
            index += 1
        }
        append(UnsafeRawBufferPointer(rebasing: bytes[begin...]))
        append(UInt8(ascii: "\""))
    }

    private func append(escaped byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""): append("\\\"")
        case UInt8(ascii: "\\"): append("\\\\")
        case UInt8(ascii: "\n"): append("\\n")
        case UInt8(ascii: "\r"): append("\\r")
        case UInt8(ascii: "\t"): append("\\t")
        default:
            append("\\u00")
            append(JSONBuffer.digit(byte >> 4, letters: UInt8(ascii: "a")))
            append(JSONBuffer.digit(byte & 0xF, letters: UInt8(ascii: "a")))
        }
    }

    /// A JSON string with the base64 form of what `bytea`'s hexadecimal text stands for; false if it is not that.
    func append(base64OfHexadecimal text: UnsafeRawBufferPointer) -> Bool {
        guard let bytes = Hex.decode(text) else { return false }
        append(UInt8(ascii: "\""))
        var index = 0
        while index < bytes.count {
            let here = min(3, bytes.count - index)
            var group = UInt32(bytes[index]) << 16
            if here > 1 { group |= UInt32(bytes[index + 1]) << 8 }
            if here > 2 { group |= UInt32(bytes[index + 2]) }
            for place in 0..<4 {
                append(
                    place <= here ? JSONBuffer.base64(UInt8(group >> UInt32(18 - 6 * place) & 0x3F)) : UInt8(ascii: "=")
                )
            }
            index += 3
        }
        append(UInt8(ascii: "\""))
        return true
    }

    private static func base64(_ value: UInt8) -> UInt8 {
        switch value {
        case 0..<26: UInt8(ascii: "A") + value
        case 26..<52: UInt8(ascii: "a") + value - 26
        case 52..<62: UInt8(ascii: "0") + value - 52
        case 62: UInt8(ascii: "+")
        default: UInt8(ascii: "/")
        }
    }
}
