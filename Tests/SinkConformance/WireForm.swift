internal import CdcCore

/// PostgreSQL's binary output of a value that is given as its text output: what the types' send functions do.
enum WireForm {
    /// The cell as a source sends it that was asked for binary values; text where the type has no binary output.
    static func binary(_ cell: TestCell, _ column: ColumnDef) -> TestCell {
        guard case .bytes(let bytes) = cell, column.postgresType.hasBinaryOutput else { return cell }
        let text = String(decoding: bytes, as: UTF8.self)
        switch column.type {
        case .boolean: return .binary([text == "t" ? 1 : 0])
        case .int16: return big(Int16(text))
        case .int32: return big(Int32(text))
        case .int64: return big(Int64(text))
        case .uint32: return big(UInt32(text))
        case .uint64: return big(UInt64(text))
        case .float32: return big(Float(text)?.bitPattern)
        case .float64: return big(Double(text)?.bitPattern)
        case .decimal: return .binary(numeric(text))
        case .string, .text, .json, .other: return .binary(bytes)
        case .jsonb: return .binary([1] + bytes)
        case .uuid: return .binary(hex(text.filter { $0 != "-" }))
        case .bytes: return .binary(hex(String(text.dropFirst(2))))
        case .date: return big(days(text))
        case .time: return big(microseconds(text[...]))
        case .timestamp, .timestampTz: return big(timestamp(text))
        }
    }

    private static func big<Number: FixedWidthInteger>(_ number: Number?) -> TestCell {
        guard let number else { preconditionFailure("a value of a check does not read as its type") }
        return .binary(withUnsafeBytes(of: number.bigEndian) { Array($0) })
    }

    private static func hex(_ text: String) -> [UInt8] {
        let digits = text.compactMap { $0.hexDigitValue }
        return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] * 16 + digits[$0 + 1]) }
    }

    /// `numeric_send`: number of digits to the base 10 000, weight of the first, sign, decimal places, digits.
    private static func numeric(_ text: String) -> [UInt8] {
        func words(_ words: [Int]) -> [UInt8] { words.flatMap { [UInt8($0 >> 8 & 0xFF), UInt8($0 & 0xFF)] } }
        switch text {
        case "NaN": return words([0, 0, 0xC000, 0])
        case "Infinity": return words([0, 0, 0xD000, 0])
        case "-Infinity": return words([0, 0, 0xF000, 0])
        default: break
        }
        let parts = text.drop { $0 == "-" }.split(separator: ".", omittingEmptySubsequences: false)
        var whole = parts[0].compactMap(\.wholeNumberValue)
        let places = parts.count > 1 ? parts[1].utf8.count : 0
        var fraction = parts.count > 1 ? parts[1].compactMap(\.wholeNumberValue) : []
        whole.insert(contentsOf: Array(repeating: 0, count: (4 - whole.count % 4) % 4), at: 0)
        fraction += Array(repeating: 0, count: (4 - fraction.count % 4) % 4)
        let all = whole + fraction
        var digits = stride(from: 0, to: all.count, by: 4).map { all[$0..<$0 + 4].reduce(0) { $0 * 10 + $1 } }
        var weight = whole.count / 4 - 1
        while digits.first == 0 {
            digits.removeFirst()
            weight -= 1
        }
        while digits.last == 0 { digits.removeLast() }
        if digits.isEmpty { weight = 0 }
        return words([digits.count, weight, text.hasPrefix("-") ? 0x4000 : 0, places] + digits)
    }

    /// Days since 2000-01-01 in the Gregorian calendar.
    private static func days(_ text: String) -> Int32? {
        if text == "infinity" { return .max }
        if text == "-infinity" { return .min }
        let isBC = text.hasSuffix(" BC")
        let numbers = text.prefix { $0 != " " }.split(separator: "-").compactMap { Int($0) }
        guard numbers.count == 3 else { return nil }
        // Howard Hinnant's days_from_civil (https://howardhinnant.github.io/date_algorithms.html), from March on.
        let year = (isBC ? 1 - numbers[0] : numbers[0]) - (numbers[1] <= 2 ? 1 : 0)
        let era = (year >= 0 ? year : year - 399) / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (numbers[1] + (numbers[1] > 2 ? -3 : 9)) + 2) / 5 + numbers[2] - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return Int32(era * 146_097 + dayOfEra - 719_468 - 10_957)
    }

    private static func microseconds(_ text: Substring) -> Int64? {
        let parts = text.split(separator: ":")
        guard parts.count == 3, let hours = Int64(parts[0]), let minutes = Int64(parts[1]) else { return nil }
        let seconds = parts[2].split(separator: ".")
        guard let whole = Int64(seconds[0]) else { return nil }
        let digits = seconds.count > 1 ? seconds[1] + String(repeating: "0", count: 6 - seconds[1].utf8.count) : "0"
        guard let fraction = Int64(digits) else { return nil }
        return ((hours * 60 + minutes) * 60 + whole) * 1_000_000 + fraction
    }

    private static func timestamp(_ text: String) -> Int64? {
        if text == "infinity" { return .max }
        if text == "-infinity" { return .min }
        let parts = text.split(separator: " ")
        guard parts.count >= 2, let day = days(String(parts[0]) + (text.hasSuffix(" BC") ? " BC" : "")),
            let time = microseconds(parts[1].prefix { $0 != "+" })
        else { return nil }
        return Int64(day) * 86_400_000_000 + time
    }
}
