/// Questions about text bytes that are asked for every cell.
enum TextCheck {
    /// Whether the bytes are valid UTF-8.
    ///
    /// ASCII, by far the most frequent text, is looked at eight bytes at a time.
    @inline(__always)
    static func isUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var offset = 0
        while offset + 8 <= bytes.count {
            guard bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self) & 0x8080_8080_8080_8080 == 0 else {
                return isUTF8Beyond(bytes, offset)
            }
            offset += 8
        }
        while offset < bytes.count {
            guard bytes[offset] < 0x80 else { return isUTF8Beyond(bytes, offset) }
            offset += 1
        }
        return true
    }

    @inline(never)
    private static func isUTF8Beyond(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> Bool {
        // Everything before the offset is ASCII, so no character is cut there.
        let rest = UnsafeRawBufferPointer(rebasing: bytes[offset...])
        return rest.withMemoryRebound(to: UInt8.self) { buffer in
            (try? UTF8Span(validating: buffer.span)) != nil
        }
    }

    /// Reads a decimal integer; nil for anything else, and for what 64 bits do not hold.
    @inline(__always)
    static func integer(_ bytes: UnsafeRawBufferPointer) -> Int64? {
        var index = 0
        let isNegative = bytes.count > 0 && bytes[0] == UInt8(ascii: "-")
        if isNegative { index = 1 }
        guard index < bytes.count, bytes.count - index <= 19 else { return nil }
        // Nineteen digits fit into 64 bits without a sign.
        var magnitude: UInt64 = 0
        while index < bytes.count {
            let digit = bytes[index] &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            magnitude = magnitude &* 10 &+ UInt64(digit)
            index += 1
        }
        if isNegative {
            return magnitude <= 1 << 63 ? Int64(truncatingIfNeeded: 0 &- magnitude) : nil
        }
        return Int64(exactly: magnitude)
    }
}
