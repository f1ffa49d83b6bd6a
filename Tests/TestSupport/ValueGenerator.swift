/// Makes values of PostgreSQL types, as the texts that PostgreSQL reads: ordinary ones and the extremes.
struct ValueGenerator {
    /// What a column of the workload holds.
    enum Kind {
        case bool
        case int2
        case int4
        case int8
        case float4
        case float8
        case numeric
        case text
        case char
        case date
        case timestamp
        case timestamptz
        case time
        case interval
        case uuid
        case json
        case jsonb
        case bytea
        case mood
        case intArray
        case textArray
        case inet
        case bits
        case range
        case bigText
        case bigBytea
    }

    private static let poolSize = 1 << 18
    private let base64: [UInt8]
    private let hex: [UInt8]
    private let dates: [String]
    private let timestamps: [String]

    init(seed: UInt64, hasCommonDates: Bool = false) {
        var random = SeededRandom(seed: seed)
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        let digits = Array("0123456789abcdef".utf8)
        base64 = (0..<Self.poolSize).map { _ in alphabet[Int(random.next() & 63)] }
        hex = (0..<Self.poolSize).map { _ in digits[Int(random.next() & 15)] }
        func isAllowed(_ text: String) -> Bool {
            guard hasCommonDates else { return true }
            return text.hasPrefix("19") || text.hasPrefix("20") || text.hasPrefix("22")
        }
        dates = Self.dates.filter(isAllowed)
        timestamps = Self.timestamps.filter(isAllowed)
    }

    /// `count` random characters of base64, which hardly compress.
    func noise(_ count: Int, _ random: inout SeededRandom) -> String {
        let start = random.below(base64.count - count)
        return String(decoding: base64[start..<start + count], as: UTF8.self)
    }

    /// The same characters for the same number, another text for another.
    func fixedNoise(_ count: Int, number: Int) -> String {
        let start = (number &* 3001) % (base64.count - count)
        return "\(number):" + String(decoding: base64[start..<start + count], as: UTF8.self)
    }

    /// A value, NULL in one of twelve cases.
    func value(_ kind: Kind, _ random: inout SeededRandom) -> String? {
        if random.below(12) == 0 { return nil }
        switch kind {
        case .bool: return random.pick(["t", "f"])
        case .int2: return integer(Int64(Int16.min), Int64(Int16.max), &random)
        case .int4: return integer(Int64(Int32.min), Int64(Int32.max), &random)
        case .int8: return integer(.min, .max, &random)
        case .float4: return random.chance(50) ? random.pick(Self.floats4) : "\(Float(random.below(1000)) / 7)"
        case .float8: return random.chance(50) ? random.pick(Self.floats8) : "\(Double(random.below(100_000)) / 7)"
        case .numeric: return random.chance(50) ? random.pick(Self.numerics) : longNumber(&random)
        case .text:
            return random.chance(40) ? random.pick(Self.texts) : noise(1 + random.below(40), &random)
        case .char: return random.pick(["", "a", "ab ", " x", "abcdef", "\u{E9}\u{1F600}"])
        case .date: return random.pick(dates)
        case .timestamp: return random.pick(timestamps)
        case .timestamptz:
            return random.pick(timestamps + ["2024-02-29 12:34:56.789+05:30", "1999-12-31 23:00:00-11"])
        case .time: return random.pick(["00:00:00", "24:00:00", "23:59:59.999999", "12:34:56.1"])
        case .interval: return random.pick(Self.intervals)
        case .uuid: return uuid(&random)
        case .json: return random.pick(Self.jsons + Self.verbatimJsons)
        case .jsonb: return random.pick(Self.jsons)
        case .bytea: return "\\x" + random.pick(["", "00", "00ff00", "5c27", hexNoise(random.below(50), &random)])
        case .mood: return random.pick(Self.moods)
        case .intArray: return random.pick(["{}", "{1,NULL,-5}", "{{1,2},{3,NULL}}", "[0:1]={7,NULL}", "{2147483647}"])
        case .textArray: return random.pick(Self.textArrays)
        case .inet: return random.pick(["10.0.0.1", "10.0.0.0/8", "::1/64", "fe80::1"])
        case .bits: return random.pick(["", "0", "10101", String(repeating: "10", count: 50)])
        case .range: return random.pick(["empty", "(,)", "[2,6)", "[-5,)", "(,7)"])
        case .bigText: return noise(bigSize(&random), &random)
        case .bigBytea: return "\\x" + hexNoise(bigSize(&random), &random)
        }
    }

    /// Mostly a few kilobytes, sometimes up to 20; sometimes small enough to stay in the row.
    private func bigSize(_ random: inout SeededRandom) -> Int {
        switch random.below(10) {
        case 0: 10 + random.below(1000)
        case 1: 8000 + random.below(12_000)
        default: 3000 + random.below(2000)
        }
    }

    private func hexNoise(_ count: Int, _ random: inout SeededRandom) -> String {
        let start = random.below(hex.count - 2 * count - 1)
        return String(decoding: hex[start..<start + 2 * count], as: UTF8.self)
    }

    private func integer(_ lowest: Int64, _ highest: Int64, _ random: inout SeededRandom) -> String {
        let number = random.pick([lowest, highest, lowest + 1, 0, -1, 1])
        return random.chance(30) ? "\(number)" : "\(Int64(random.below(20_000)) - 10_000)"
    }

    private func longNumber(_ random: inout SeededRandom) -> String {
        let digits = (0..<(1 + random.below(60))).map { _ in "\(random.below(10))" }.joined()
        let fraction =
            random.chance(50) ? "." + (0..<(1 + random.below(30))).map { _ in "\(random.below(10))" }.joined() : ""
        return (random.chance(50) ? "-" : "") + digits + fraction
    }

    private func uuid(_ random: inout SeededRandom) -> String {
        let digits = hexNoise(16, &random)
        return digits
    }

    static let moods = ["sad", "ok", "happy", "with space", "quo'te", "\u{E9}"]

    /// Texts that break careless programs; the two forms of é are different keys.
    static let texts = [
        "", " ", "a", "A", "a ", " a", "it's", "\"quoted\"", "tab\there", "new\nline", "cr\r\nlf", "back\\slash", "\\N",
        "\\.", "\\x41", "NULL", "null", "\u{E9}", "e\u{301}", "\u{1F600}", "\u{1F469}\u{200D}\u{1F680}", "\u{FEFF}bom",
        "\u{200B}", "\u{7F}\u{1}", "{}", "{\"a\":1}", "0", "00", "1.0", "-0", "NaN", "t", "true", "; DROP TABLE x; --",
        "\u{10FFFF}", "%s%n$1", "a,b|c", "\u{202E}rtl",
    ]
    private static let floats4 = [
        "NaN", "Infinity", "-Infinity", "-0", "0", "1e-45", "3.4028235e+38", "-3.4028235e+38", "1.1754944e-38", "0.1",
        "16777217",
    ]
    private static let floats8 = [
        "NaN", "Infinity", "-Infinity", "-0", "0", "5e-324", "1.7976931348623157e+308", "2.2250738585072014e-308",
        "0.1", "1e15", "9007199254740993", "1e100", "123456789012345680",
    ]
    private static let numerics = [
        "NaN", "Infinity", "-Infinity", "0", "0.00", "-1.50", "1e-30", "1e200",
        "12345678901234567890.12345678901234567890",
        "0.1", "100", "1e2",
    ]
    private static let dates = [
        "infinity", "-infinity", "4713-01-01 BC", "5874897-12-31", "2000-01-01", "1999-12-31", "0001-01-01",
        "2024-02-29", "1900-01-01", "2299-12-31", "1969-12-31",
        "0044-03-15 BC",
    ]
    private static let timestamps = [
        "infinity", "-infinity", "4713-01-02 00:00:00 BC", "294276-12-30 23:59:59.999999", "2024-02-29 12:34:56.789",
        "1970-01-01 00:00:00", "1999-12-31 23:59:59.000001", "0001-01-01 00:00:00",
        "1900-01-01 00:00:00", "1969-12-31 23:59:59.999999", "2299-12-31 23:59:59.999999",
    ]
    private static let intervals = [
        "0", "1 year 2 mons -3 days +04:05:06.000007", "-10 mons -3 days +04:05:06.000007", "-178000000 years",
        "1 mon", "30 days", "24:00:00", "-00:00:00.000001",
    ]
    private static let jsons = [
        "null", "{}", "[]", "{\"a\": 1, \"a\": 2}", " [1, 2.50 , \"x\\ty\", null]", "\"\\u00e9\"",
        "12345678901234567890.123",
        "{\"b\":{\"c\":[true,false]},\"a\":\"it's\"}", "\"e\u{301}\"",
    ]
    private static let verbatimJsons = ["\"\\u0000\"", "1e400", " { } "]
    private static let textArrays = [
        "{}", "{\"a,b\",\"NULL\",NULL,\"\",\"\\\"q\\\"\",\"back\\\\slash\"}", "{\u{E9},e\u{301}}", "{{a,b},{c,d}}",
        "{\"new\nline\",\" x \"}",
    ]
}
