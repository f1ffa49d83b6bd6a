internal import CdcCore
internal import Glibc

/// PostgreSQL's text of a value to RowBinary.
struct ClickHouseEncoder: Sendable {
    /// Why a column cannot hold a value.
    enum Problem: UInt8 {
        case outOfRange
        case notANumber
        case nullValue
        case arrayShape
        case malformed
    }

    /// What became of a value.
    enum Outcome {
        case written
        /// Something else was written in its place, as the policy says.
        case substituted(Problem)
        case refused(Problem)
    }

    let policy: UnrepresentablePolicy
    /// The days that Date32 has, and DateTime64 with them.
    let days: ClosedRange<Int64>

    private var microseconds: ClosedRange<Int64> {
        days.lowerBound * 86_400_000_000...(days.upperBound + 1) * 86_400_000_000 - 1
    }

    /// Days since 1970 of the years 1900 to 2299, and from ClickHouse 26.7 on of the years 1 to 9999.
    static func days(ofServer version: ClickHouseVersion) -> ClosedRange<Int64> {
        version >= ClickHouseVersion(26, 7) ? -719_162...2_932_896 : -25_567...120_529
    }

    /// Appends a cell's value; where it is refused, nothing.
    @inline(__always)
    func append(_ text: UnsafeRawBufferPointer?, as encoding: ClickHouseEncoding, to buffer: inout RowBuffer)
        -> Outcome
    {
        guard let text else {
            if encoding.isNullable {
                buffer.append(1 as UInt8)
                return .written
            }
            return substitute(.nullValue, nil, encoding, &buffer)
        }
        let begin = buffer.count
        if encoding.isNullable { buffer.append(0 as UInt8) }
        guard let problem = value(text, encoding, &buffer) else { return .written }
        buffer.truncate(to: begin)
        return substitute(problem, text, encoding, &buffer)
    }

    /// Appends what stands in a column of a deleted row: nobody sees it.
    func appendNothing(as encoding: ClickHouseEncoding, to buffer: inout RowBuffer) {
        if encoding.isNullable {
            buffer.append(1 as UInt8)
        } else {
            buffer.append(zeros: max(1, encoding.size))
        }
    }

    @inline(never)
    private func substitute(
        _ problem: Problem,
        _ text: UnsafeRawBufferPointer?,
        _ encoding: ClickHouseEncoding,
        _ buffer: inout RowBuffer
    ) -> Outcome {
        switch (policy, problem) {
        case (.null, .outOfRange), (.null, .notANumber):
            guard encoding.isNullable else { return .refused(problem) }
            buffer.append(1 as UInt8)
        case (.clamp, .nullValue) where encoding.kind == .array:
            buffer.append(0 as UInt8)
        case (.clamp, .outOfRange) where encoding.kind == .date || encoding.kind == .timestamp:
            guard let text else { return .refused(problem) }
            if encoding.isNullable { buffer.append(0 as UInt8) }
            if encoding.kind == .date {
                let value = ClickHouseCalendar.days(text) ?? 0
                buffer.append(Int32(truncatingIfNeeded: min(max(value, days.lowerBound), days.upperBound)))
            } else {
                let value = ClickHouseCalendar.microseconds(text) ?? 0
                buffer.append(min(max(value, microseconds.lowerBound), microseconds.upperBound))
            }
        default: return .refused(problem)
        }
        return .substituted(problem)
    }

    @inline(__always)
    private func value(_ text: UnsafeRawBufferPointer, _ encoding: ClickHouseEncoding, _ buffer: inout RowBuffer)
        -> Problem?
    {
        switch encoding.kind {
        case .string: buffer.append(string: text)
        case .int32: return integer(text, Int32.self, &buffer)
        case .int64: return integer(text, Int64.self, &buffer)
        case .int16: return integer(text, Int16.self, &buffer)
        case .uint32: return integer(text, UInt32.self, &buffer)
        case .timestamp:
            guard let value = ClickHouseCalendar.microseconds(text) else { return .malformed }
            guard microseconds.contains(value) else { return .outOfRange }
            buffer.append(value)
        case .date:
            guard let value = ClickHouseCalendar.days(text) else { return .malformed }
            guard days.contains(value) else { return .outOfRange }
            buffer.append(Int32(truncatingIfNeeded: value))
        case .boolean:
            guard text.count == 1, text[0] == UInt8(ascii: "t") || text[0] == UInt8(ascii: "f") else {
                return .malformed
            }
            buffer.append(text[0] == UInt8(ascii: "t") ? 1 : 0 as UInt8)
        case .decimal: return decimal(text, encoding, &buffer)
        case .uuid: return uuid(text, &buffer)
        case .float64: return float(text, &buffer) { strtod($0, $1).bitPattern }
        case .float32: return float(text, &buffer) { strtof($0, $1).bitPattern }
        case .uint64:
            var value: UInt64 = 0
            guard text.count > 0 else { return .malformed }
            for byte in text {
                let digit = byte &- UInt8(ascii: "0")
                let (product, overflow) = value.multipliedReportingOverflow(by: 10)
                let (sum, isBeyond) = product.addingReportingOverflow(UInt64(digit))
                guard digit < 10, !overflow, !isBeyond else { return .malformed }
                value = sum
            }
            buffer.append(value)
        case .bytes:
            guard let length = Hex.decodedLength(text) else { return .malformed }
            buffer.append(length: length)
            return buffer.append(size: length) { Hex.decode(text, into: $0) } ? nil : .malformed
        case .array: return array(text, encoding.elementEncoding, &buffer)
        }
        return nil
    }

    @inline(__always)
    private func integer<Number: FixedWidthInteger>(
        _ text: UnsafeRawBufferPointer,
        _ type: Number.Type,
        _ buffer: inout RowBuffer
    ) -> Problem? {
        guard let wide = TextCheck.integer(text) else { return .malformed }
        guard let value = Number(exactly: wide) else { return .outOfRange }
        buffer.append(value)
        return nil
    }

    private func decimal(
        _ text: UnsafeRawBufferPointer,
        _ encoding: ClickHouseEncoding,
        _ buffer: inout RowBuffer
    ) -> Problem? {
        do throws(ClickHouseDecimal.Problem) {
            let value = try ClickHouseDecimal(text, precision: encoding.precision, scale: encoding.scale)
            value.append(to: &buffer, size: ClickHouseEncoding.decimalSize(encoding.precision))
            return nil
        } catch {
            switch error {
            case .notANumber: return .notANumber
            case .outOfRange: return .outOfRange
            case .malformed: return .malformed
            }
        }
    }

    /// A UUID is two numbers of 64 bits, each in wire order.
    private func uuid(_ text: UnsafeRawBufferPointer, _ buffer: inout RowBuffer) -> Problem? {
        guard text.count == 36 else { return .malformed }
        var halves: (UInt64, UInt64) = (0, 0)
        var digits = 0
        for byte in text where byte != UInt8(ascii: "-") {
            let digit: UInt8
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte - UInt8(ascii: "a") + 10
            default: return .malformed
            }
            if digits < 16 {
                halves.0 = halves.0 << 4 | UInt64(digit)
            } else {
                halves.1 = halves.1 << 4 | UInt64(digit)
            }
            digits += 1
        }
        guard digits == 32 else { return .malformed }
        buffer.append(halves.0)
        buffer.append(halves.1)
        return nil
    }

    /// The C library reads what PostgreSQL's shortest exact output says, NaN and Infinity included, without rounding twice.
    private func float<Bits: FixedWidthInteger>(
        _ text: UnsafeRawBufferPointer,
        _ buffer: inout RowBuffer,
        _ read: (UnsafePointer<CChar>, UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Bits
    ) -> Problem? {
        guard text.count > 0, text.count < 64 else { return .malformed }
        let bits = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { copy -> Bits? in
            for index in 0..<text.count { copy[index] = CChar(bitPattern: text[index]) }
            copy[text.count] = 0
            guard let base = copy.baseAddress else { return nil }
            var end: UnsafeMutablePointer<CChar>?
            let value = read(base, &end)
            return end == base + text.count ? value : nil
        }
        guard let bits else { return .malformed }
        buffer.append(bits)
        return nil
    }
}
