/// A decimal as ClickHouse has it: an integer, scaled, of 4 to 32 bytes in two's complement.
struct ClickHouseDecimal {
    private var low: UInt128 = 0
    private var high: UInt128 = 0

    enum Problem: Error {
        case notANumber
        case outOfRange
        case malformed
    }

    /// Reads PostgreSQL's text of a numeric, or of money with `lc_monetary = C`.
    ///
    /// - Throws: outOfRange for more digits before the point than `precision - scale`, or other digits than zeros beyond the scale.
    init(_ text: UnsafeRawBufferPointer, precision: Int, scale: Int) throws(Problem) {
        var index = 0
        var isNegative = false
        var digits = 0
        var fraction = -1
        while index < text.count {
            let byte = text[index]
            index += 1
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                let digit = byte - UInt8(ascii: "0")
                if fraction >= 0 {
                    guard fraction < scale else {
                        if digit == 0 { continue }
                        throw .outOfRange
                    }
                    fraction += 1
                }
                if digits > 0 || digit > 0 { digits += 1 }
                guard digits <= precision else { throw .outOfRange }
                multiplyAndAdd(digit)
            case UInt8(ascii: "."): fraction = 0
            case UInt8(ascii: "-") where digits == 0 && fraction < 0: isNegative = true
            case UInt8(ascii: "$"), UInt8(ascii: ","): continue
            case UInt8(ascii: "N"): throw .notANumber
            case UInt8(ascii: "I"): throw .outOfRange
            default: throw .malformed
            }
        }
        guard text.count > 0 else { throw .malformed }
        for _ in max(0, fraction)..<max(scale, max(0, fraction)) {
            if digits > 0 { digits += 1 }
            guard digits <= precision else { throw .outOfRange }
            multiplyAndAdd(0)
        }
        if isNegative {
            (low, high) = (0 &- low, ~high &+ (low == 0 ? 1 : 0))
        }
    }

    /// At most 76 digits come, so that 256 bits never overflow.
    @inline(__always)
    private mutating func multiplyAndAdd(_ digit: UInt8) {
        guard high != 0 || low >= UInt128.max / 10 - 1 else {
            low = low &* 10 &+ UInt128(digit)
            return
        }
        let product = low.multipliedFullWidth(by: 10)
        let (sum, carries) = product.low.addingReportingOverflow(UInt128(digit))
        low = sum
        high = high &* 10 &+ product.high &+ (carries ? 1 : 0)
    }

    func append(to buffer: inout RowBuffer, size: Int) {
        switch size {
        case 4: buffer.append(UInt32(truncatingIfNeeded: low))
        case 8: buffer.append(UInt64(truncatingIfNeeded: low))
        case 16: buffer.append(low)
        default:
            buffer.append(low)
            buffer.append(high)
        }
    }
}
