import Logging
import Testing

@testable import Settings

@Suite("Log lines") struct LogLineTests {
    private static let time = LogTime(seconds: 1_795_341_600, nanoseconds: 123_456_789)

    private static func json(_ message: String, _ metadata: Logger.Metadata = [:]) -> String {
        var line: [UInt8] = []
        JSONLogLine().append(message, level: .info, metadata: metadata, at: time, to: &line)
        return String(decoding: line, as: UTF8.self)
    }

    private static func text(
        _ message: String,
        _ metadata: Logger.Metadata = [:],
        level: Logger.Level = .info,
        isColoured: Bool = false
    ) -> String {
        var line: [UInt8] = []
        TextLogLine(isColoured: isColoured).append(message, level: level, metadata: metadata, at: time, to: &line)
        return String(decoding: line, as: UTF8.self)
    }

    @Test("JSON: time, level and event come first, then fields in alphabetical order")
    func jsonOrder() {
        #expect(
            Self.json("connected", ["table": "public.t", "lsn": "0/16B3748", "attempt": "1"])
                == "{\"time\":\"2026-11-22T10:00:00.123456Z\",\"level\":\"info\",\"event\":\"connected\","
                + "\"attempt\":\"1\",\"lsn\":\"0/16B3748\",\"table\":\"public.t\"}\n"
        )
    }

    @Test("JSON: whole numbers and truth values stay what they are, all else is text")
    func jsonValues() {
        let line = Self.json(
            "x",
            [
                "a": .stringConvertible(42), "b": .stringConvertible(UInt64.max), "c": .stringConvertible(1.5),
                "d": .stringConvertible(true), "e": "42", "f": .stringConvertible(-7 as Int8),
                "g": .array(["x", .stringConvertible(1)]), "h": .dictionary(["z": "1", "y": .array([])]),
                "i": .stringConvertible(Double.nan), "time": "mine",
            ]
        )
        #expect(
            line.contains(
                "\"a\":42,\"b\":18446744073709551615,\"c\":\"1.5\",\"d\":true,\"e\":\"42\",\"f\":-7,"
                    + "\"g\":[\"x\",1],\"h\":{\"y\":[],\"z\":\"1\"},\"i\":\"nan\",\"time_\":\"mine\"}"
            )
        )
    }

    @Test("JSON: quotes, control characters and line ends are escaped, other text is not")
    func jsonEscapes() {
        let line = Self.json("a\"b\\c\n\r\t\u{0}\u{1B}\u{7F}\u{85}\u{2028}é😀/")
        #expect(line.contains("\"event\":\"a\\\"b\\\\c\\n\\r\\t\\u0000\\u001b\\u007f\\u0085\\u2028é😀/\""))
        #expect(line.filter { $0 == "\n" }.count == 1)
    }

    @Test("JSON: bytes that are no Unicode arrive as the replacement character")
    func jsonInvalid() {
        let text = String(decoding: [0x61, 0xFF, 0xED, 0xA0, 0x80] as [UInt8], as: UTF8.self)
        let line = Self.json(text)
        #expect(line.contains("\"event\":\"a\u{FFFD}"))
        #expect(String(validating: line.utf8, as: UTF8.self) != nil)
    }

    @Test("text: time, level, event, then fields; quotes only where a value is not one word")
    func textForm() {
        #expect(
            Self.text("copy finished", ["table": "public.t", "note": "two words", "rows": .stringConvertible(7)])
                == "2026-11-22 10:00:00.123 INFO  copy finished note=\"two words\" rows=7 table=public.t\n"
        )
        #expect(Self.text("x", ["a": "", "b": "k=v", "c": "q\"q"]).hasSuffix(" x a=\"\" b=\"k=v\" c=\"q\\\"q\"\n"))
        #expect(Self.text("x", ["a": .array(["1", "2"])]).hasSuffix(" x a=[1,2]\n"))
    }

    @Test("text: nothing from outside can begin a line or steer the terminal")
    func textEscapes() {
        #expect(Self.text("a\nb\u{1B}[2J").hasSuffix(" INFO  \"a\\nb\\u001b[2J\"\n"))
        #expect(Self.text("x", ["a": "1\n2"]).hasSuffix(" x a=\"1\\n2\"\n"))
    }

    @Test("text: levels are five letters wide")
    func textLevels() {
        let names = Logger.Level.allCases.map { Self.text("x", level: $0).dropFirst(24).prefix(6) }
        #expect(names == ["TRACE ", "DEBUG ", "INFO  ", "NOTE  ", "WARN  ", "ERROR ", "CRIT  "])
    }

    @Test("text: colours only where they are wanted")
    func textColours() {
        #expect(!Self.text("x", ["a": "1"]).contains("\u{1B}"))
        #expect(Self.text("x", level: .warning, isColoured: true).contains("\u{1B}[33mWARN \u{1B}[0m"))
    }

    @Test("leap days, the turn of a year and early times have the right date")
    func dates() {
        #expect(LogTime(seconds: 0, nanoseconds: 0).iso8601 == "1970-01-01T00:00:00.000000Z")
        #expect(LogTime(seconds: 951_782_399, nanoseconds: 999_999_999).iso8601 == "2000-02-28T23:59:59.999999Z")
        #expect(LogTime(seconds: 951_782_400, nanoseconds: 1000).iso8601 == "2000-02-29T00:00:00.000001Z")
        #expect(LogTime(seconds: 1_798_761_599, nanoseconds: 0).forPeople == "2026-12-31 23:59:59.000")
    }
}
