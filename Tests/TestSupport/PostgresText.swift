/// Values as PostgreSQL writes them under the daemon's session settings.
enum PostgresText {
    /// float4, with as many digits as it takes.
    static func float(_ value: Float) -> String {
        special(Double(value)) ?? scientific(value.description, limit: 6)
    }

    /// float8, with as many digits as it takes.
    static func double(_ value: Double) -> String { special(value) ?? scientific(value.description, limit: 15) }

    private static func special(_ value: Double) -> String? {
        value.isNaN ? "NaN" : value.isInfinite ? (value < 0 ? "-Infinity" : "Infinity") : nil
    }

    /// The shortest digits, which Swift finds too, with PostgreSQL's choice of when to write an exponent.
    private static func scientific(_ description: String, limit: Int) -> String {
        let sign = description.hasPrefix("-") ? "-" : ""
        let parts = description.drop { $0 == "-" }.split(separator: "e")
        let mantissa = parts[0].split(separator: ".", omittingEmptySubsequences: false)
        var digits = mantissa.joined()
        var exponent = mantissa[0].count - 1 + (parts.count > 1 ? Int(parts[1]) ?? 0 : 0)
        let zeros = digits.prefix { $0 == "0" }.count
        guard zeros < digits.count else { return sign + "0" }
        digits.removeFirst(zeros)
        exponent -= zeros
        while digits.hasSuffix("0") { digits.removeLast() }
        guard exponent >= -4, exponent < limit else {
            let power = abs(exponent) < 10 ? "0\(abs(exponent))" : "\(abs(exponent))"
            let fraction = digits.count > 1 ? ".\(digits.dropFirst())" : ""
            return "\(sign)\(digits.prefix(1))\(fraction)e\(exponent < 0 ? "-" : "+")\(power)"
        }
        if exponent < 0 { return sign + "0." + String(repeating: "0", count: -exponent - 1) + digits }
        if digits.count <= exponent + 1 {
            return sign + digits + String(repeating: "0", count: exponent + 1 - digits.count)
        }
        return "\(sign)\(digits.prefix(exponent + 1)).\(digits.dropFirst(exponent + 1))"
    }

    /// numeric(p, scale) of a text that may lack zeros at its end.
    static func decimal(_ text: String, scale: Int) -> String {
        guard scale > 0 else { return text }
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        let fraction = parts.count > 1 ? String(parts[1]) : ""
        return "\(parts[0]).\(fraction)\(String(repeating: "0", count: max(0, scale - fraction.count)))"
    }

    /// money under lc_monetary=C: `-$1,234.50`.
    static func money(_ decimal: String) -> String {
        let parts = decimal.split(separator: ".")
        let whole = Array(parts[0].drop { $0 == "-" })
        var groups = ""
        for (index, digit) in whole.enumerated() {
            if index > 0, (whole.count - index) % 3 == 0 { groups += "," }
            groups.append(digit)
        }
        return "\(decimal.hasPrefix("-") ? "-" : "")$\(groups).\(parts.dropFirst().first ?? "00")"
    }

    /// date, of days since 1970.
    static func date(_ days: Int64) -> String {
        let (year, month, day) = civil(days)
        let shown = year > 0 ? year : 1 - year
        return "\(padded(shown, 4))-\(padded(month, 2))-\(padded(day, 2))\(year > 0 ? "" : " BC")"
    }

    /// timestamp or timestamptz in UTC, of microseconds since 1970.
    static func timestamp(_ microseconds: Int64, hasZone: Bool) -> String {
        let perDay: Int64 = 86_400_000_000
        let days = microseconds >= 0 ? microseconds / perDay : -((perDay - 1 - microseconds) / perDay)
        let rest = microseconds - days * perDay
        let seconds = rest / 1_000_000
        var fraction = padded(rest % 1_000_000, 6)
        while fraction.hasSuffix("0") { fraction.removeLast() }
        let time = [seconds / 3600, seconds / 60 % 60, seconds % 60].map { padded($0, 2) }.joined(separator: ":")
        let day = date(days)
        let isBefore = day.hasSuffix(" BC")
        return (isBefore ? String(day.dropLast(3)) : day) + " " + time + (fraction.isEmpty ? "" : "." + fraction)
            + (hasZone ? "+00" : "") + (isBefore ? " BC" : "")
    }

    /// An element of an array, in quotes where PostgreSQL sets them.
    static func arrayElement(_ text: String) -> String {
        let needsQuotes =
            text.isEmpty || text.uppercased() == "NULL"
            || text.unicodeScalars.contains { "{}\",\\ \t\n\r\u{B}\u{C}".unicodeScalars.contains($0) }
        guard needsQuotes else { return text }
        var result = "\""
        for scalar in text.unicodeScalars {
            if scalar == "\"" || scalar == "\\" { result += "\\" }
            result.unicodeScalars.append(scalar)
        }
        return result + "\""
    }

    /// The proleptic Gregorian date of a number of days since 1970, by eras of 400 years that begin in March.
    private static func civil(_ days: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let ofEra = shifted - era * 146_097
        let yearOfEra = (ofEra - ofEra / 1460 + ofEra / 36_524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * ofYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, ofYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    private static func padded(_ number: Int64, _ width: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}
