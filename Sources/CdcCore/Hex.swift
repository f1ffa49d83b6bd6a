/// PostgreSQL's hexadecimal text form of `bytea`: `\x` and two digits a byte (`bytea_output = hex`).
public enum Hex {
    /// How many bytes the text stands for; nil if it is not of this form.
    @inline(__always)
    public static func decodedLength(_ text: UnsafeRawBufferPointer) -> Int? {
        guard text.count >= 2, text.count % 2 == 0, text[0] == UInt8(ascii: "\\"), text[1] == UInt8(ascii: "x") else {
            return nil
        }
        return (text.count - 2) / 2
    }

    /// Decodes into `target`, which has ``decodedLength(_:)`` bytes; false at a character that is no digit.
    public static func decode(_ text: UnsafeRawBufferPointer, into target: UnsafeMutableRawBufferPointer) -> Bool {
        guard decodedLength(text) == target.count else { return false }
        for index in 0..<target.count {
            let high = digit(text[2 + 2 * index])
            let low = digit(text[3 + 2 * index])
            guard high < 16, low < 16 else { return false }
            target[index] = high << 4 | low
        }
        return true
    }

    /// Decodes into an array; nil if the text is not of this form.
    public static func decode(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
        guard let length = decodedLength(text) else { return nil }
        var valid = false
        let bytes = [UInt8](unsafeUninitializedCapacity: length) { buffer, count in
            valid = decode(text, into: UnsafeMutableRawBufferPointer(buffer))
            count = valid ? length : 0
        }
        return valid ? bytes : nil
    }

    @inline(__always)
    private static func digit(_ character: UInt8) -> UInt8 {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
        default: 255
        }
    }
}
