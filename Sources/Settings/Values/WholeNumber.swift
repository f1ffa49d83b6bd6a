/// Whole numbers, written with digits alone.
enum WholeNumber {
    /// The number, or nil for a special word that is none.
    ///
    /// Units and separators are refused with the number that they probably mean: `16MB` would otherwise be 16 for one
    /// program and 16 000 000 or 16 777 216 for another.
    static func parse(
        _ text: String,
        in range: ClosedRange<Int>,
        unit: Variable.Unit,
        special: Variable.Special?,
        example: String
    ) throws(ValueMistake) -> Int? {
        if let special, text.lowercased() == special.text { return Int(special.text) }
        let digits = text.hasPrefix("-") ? text.dropFirst() : text[...]
        guard !digits.isEmpty, digits.allSatisfy(isDigit) else {
            throw mistake(in: text, range: range, unit: unit, example: example)
        }
        guard let number = Int(text), range.contains(number) else {
            throw ValueMistake(message: "is out of range", suggestion: .example(example))
        }
        return number
    }

    private static func mistake(
        in text: String,
        range: ClosedRange<Int>,
        unit: Variable.Unit,
        example: String
    ) -> ValueMistake {
        let joined = withoutSeparators(text)
        if joined != text, joined.allSatisfy(isDigit), let number = Int(joined) {
            return ValueMistake(
                message: "has something between its digits",
                suggestion: suggestion(number, range, example)
            )
        }
        if let number = convert(joined, to: unit) {
            return ValueMistake(
                message: "has a unit, but the value is \(unit.rawValue)",
                suggestion: suggestion(number, range, example)
            )
        }
        return ValueMistake(message: "is not a whole number", suggestion: .example(example))
    }

    private static func suggestion(_ number: Int, _ range: ClosedRange<Int>, _ example: String) -> Problem.Suggestion {
        .example(range.contains(number) ? String(number) : example)
    }

    private static func isDigit(_ character: Character) -> Bool { ("0"..."9").contains(character) }

    /// The text without what people put between thousands; 0.5 stays as it is, for it is not 5.
    private static func withoutSeparators(_ text: String) -> String {
        let joined = text.filter { $0 != "_" && $0 != "'" && $0 != " " }
        let groups = joined.split(omittingEmptySubsequences: false) { $0 == "," || $0 == "." }
        let areThousands = groups.dropFirst().allSatisfy { $0.count == 3 } && (1...3).contains(groups[0].count)
        return areThousands ? groups.joined() : joined
    }

    /// What `text` is in `unit`, or nil if it is not a number and a unit of that kind.
    private static func convert(_ text: String, to unit: Variable.Unit) -> Int? {
        let digits = text.prefix(while: isDigit)
        guard let number = Int(digits), let scale = scales(of: unit)[text.dropFirst(digits.count).lowercased()] else {
            return nil
        }
        let (product, overflow) = number.multipliedReportingOverflow(by: scale)
        return overflow ? nil : product
    }

    private static func scales(of unit: Variable.Unit) -> [String: Int] {
        switch unit {
        case .count: ["k": 1000, "m": 1_000_000]
        case .bytes:
            [
                "b": 1, "k": 1 << 10, "kb": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mb": 1 << 20, "mib": 1 << 20,
                "g": 1 << 30, "gb": 1 << 30, "gib": 1 << 30,
            ]
        case .mebibytes: ["m": 1, "mb": 1, "mib": 1, "g": 1 << 10, "gb": 1 << 10, "gib": 1 << 10]
        case .milliseconds: ["ms": 1, "s": 1000, "sec": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000]
        }
    }
}
