/// Dates and times as PostgreSQL prints them (`datestyle = ISO, YMD`, `timezone = UTC`), as numbers since 1970.
enum ClickHouseCalendar {
    private static let microsecondsADay: Int64 = 86_400_000_000

    /// Days since 1970-01-01; the ends of Int64 for ±infinity, nil for what is no date.
    static func days(_ text: UnsafeRawBufferPointer) -> Int64? {
        if let end = infinity(text) { return end }
        var reader = Reader(text)
        guard let date = reader.date() else { return nil }
        let isBC = reader.takesBC()
        return reader.isAtEnd ? days(date, isBC: isBC) : nil
    }

    /// Microseconds since 1970-01-01 00:00 UTC; saturates, so that ±infinity are the ends of Int64.
    static func microseconds(_ text: UnsafeRawBufferPointer) -> Int64? {
        if let end = infinity(text) { return end }
        var reader = Reader(text)
        guard let date = reader.date(), reader.takes(UInt8(ascii: " ")), let time = reader.time() else { return nil }
        // timestamptz under timezone=UTC.
        if reader.takes(UInt8(ascii: "+")) { guard reader.number() == 0 else { return nil } }
        let isBC = reader.takesBC()
        guard reader.isAtEnd else { return nil }
        let (scaled, overflow) = days(date, isBC: isBC).multipliedReportingOverflow(by: microsecondsADay)
        guard !overflow else { return .max }
        let (sum, isBeyond) = scaled.addingReportingOverflow(time)
        return isBeyond ? .max : sum
    }

    private static func infinity(_ text: UnsafeRawBufferPointer) -> Int64? {
        guard text.count >= 8, text.count <= 9, text[text.count - 1] == UInt8(ascii: "y") else { return nil }
        return text[0] == UInt8(ascii: "-") ? .min : .max
    }

    /// The proleptic Gregorian calendar, counted in eras of 400 years (Howard Hinnant's `days_from_civil`).
    private static func days(_ date: (year: Int64, month: Int64, day: Int64), isBC: Bool) -> Int64 {
        let year = (isBC ? 1 - date.year : date.year) - (date.month <= 2 ? 1 : 0)
        let era = (year >= 0 ? year : year - 399) / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (date.month + (date.month > 2 ? -3 : 9)) + 2) / 5 + date.day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    private struct Reader {
        let text: UnsafeRawBufferPointer
        var index = 0

        init(_ text: UnsafeRawBufferPointer) { self.text = text }

        var isAtEnd: Bool { index == text.count }

        @inline(__always)
        mutating func takes(_ byte: UInt8) -> Bool {
            guard index < text.count, text[index] == byte else { return false }
            index += 1
            return true
        }

        @inline(__always)
        mutating func number() -> Int64? {
            let begin = index
            var value: Int64 = 0
            while index < text.count, index - begin < 9 {
                let digit = text[index] &- UInt8(ascii: "0")
                guard digit < 10 else { break }
                value = value * 10 + Int64(digit)
                index += 1
            }
            return index > begin ? value : nil
        }

        mutating func date() -> (year: Int64, month: Int64, day: Int64)? {
            guard let year = number(), takes(UInt8(ascii: "-")), let month = number(), takes(UInt8(ascii: "-")),
                let day = number(), (1...12).contains(month), (1...31).contains(day)
            else { return nil }
            return (year, month, day)
        }

        /// Microseconds since midnight.
        mutating func time() -> Int64? {
            guard let hour = number(), takes(UInt8(ascii: ":")), let minute = number(), takes(UInt8(ascii: ":")),
                let second = number()
            else { return nil }
            var fraction: Int64 = 0
            if takes(UInt8(ascii: ".")) {
                let begin = index
                guard let digits = number(), index - begin <= 6 else { return nil }
                fraction = digits
                for _ in (index - begin)..<6 { fraction *= 10 }
            }
            return ((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction
        }

        mutating func takesBC() -> Bool {
            guard index + 3 == text.count, text[index] == UInt8(ascii: " "), text[index + 1] == UInt8(ascii: "B") else {
                return false
            }
            index += 3
            return true
        }
    }
}
