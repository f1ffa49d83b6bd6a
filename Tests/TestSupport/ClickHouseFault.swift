/// What the front before ClickHouse's engine is to do wrong; Tests/Tools/clickhouse_faults.py has the details.
public struct ClickHouseFault: Sendable {
    /// Which requests it happens to.
    public enum Occasion: Sendable {
        /// The request with this number, from 1 since the last reset.
        case number(Int)
        /// From the `from`th request whose query matches a regular expression on, this many times (0: for ever).
        case matching(String, from: Int = 1, times: Int = 1)
        /// Every `count`th request whose query matches.
        case every(Int, matching: String = "")
    }

    let fields: String

    private init(_ kind: String, _ more: String = "") { fields = "\"kind\": \"\(kind)\"" + more }

    /// The connection ends before the engine sees the request.
    public static let cutBefore = ClickHouseFault("cut-before")
    /// The connection ends in the middle of the request's body.
    public static let cutMiddle = ClickHouseFault("cut-middle")
    /// The request is carried out, then the connection ends without an answer.
    public static let cutAfter = ClickHouseFault("cut-after")
    /// The answer's last chunk is missing.
    public static let truncatedAnswer = ClickHouseFault("truncate-answer")

    /// The engine sees the request later; the client may give up, which ends nothing.
    public static func delay(seconds: Double) -> ClickHouseFault { .init("delay", ", \"seconds\": \(seconds)") }

    /// The answer comes later.
    public static func delayedAnswer(seconds: Double) -> ClickHouseFault {
        .init("delay-after", ", \"seconds\": \(seconds)")
    }

    /// The body is read slowly.
    public static func slow(bytesPerSecond: Int) -> ClickHouseFault {
        .init("slow", ", \"bytes_per_second\": \(bytesPerSecond)")
    }

    /// An exception of ClickHouse, before or after the request was carried out.
    public static func exception(_ code: Int, _ text: String? = nil, committed: Bool = false) -> ClickHouseFault {
        .init("exception", ", \"code\": \(code), \"commit\": \(committed)\(field("text", text))")
    }

    /// An exception behind a status of 200; `isComplete` sends the last chunk too, as a proxy would.
    public static func exceptionAfter200(
        _ code: Int,
        _ text: String? = nil,
        committed: Bool,
        isComplete: Bool = false
    ) -> ClickHouseFault {
        let more = ", \"code\": \(code), \"commit\": \(committed), \"complete\": \(isComplete)\(field("text", text))"
        return .init("exception-after-200", more)
    }

    /// An answer that is not ClickHouse's, as a proxy gives.
    public static func status(
        _ status: Int,
        body: String = "<html><body>Bad Gateway</body></html>",
        contentType: String = "text/html",
        committed: Bool = false
    ) -> ClickHouseFault {
        let more = ", \"status\": \(status), \"commit\": \(committed)\(field("body", body))"
        return .init("status", more + field("content_type", contentType))
    }

    private static func field(_ name: String, _ value: String?) -> String {
        value.map { ", \"\(name)\": \(LoopbackHTTP.json($0))" } ?? ""
    }

    func json(_ occasion: Occasion) -> String {
        let when =
            switch occasion {
            case .number(let number): "\"number\": \(number)"
            case .matching(let pattern, let from, let times):
                "\"match\": \(LoopbackHTTP.json(pattern)), \"occurrence\": \(from), \"times\": \(times)"
            case .every(let count, let pattern): "\"match\": \(LoopbackHTTP.json(pattern)), \"every\": \(count)"
            }
        return "{\(fields), \(when)}"
    }
}

/// A request as the front before ClickHouse's engine logged it.
public struct ClickHouseRequest: Sendable, CustomStringConvertible {
    private let line: LogLine

    init(_ line: String) { self.line = LogLine(line) }

    /// Its number since the last reset.
    public var number: Int { integer("number") }
    /// The statement, without an insert's data; its beginning if it came in the body.
    public var query: String { line["query"] ?? "" }
    /// `query_id`, or the one that the front made up.
    public var queryID: String { line["query_id"] ?? "" }
    /// The URL's parameters that are settings.
    public var settings: [String: String] { LogLine(line["settings"] ?? "{}").fields }
    /// The headers without those that have keys.
    public var headers: [String: String] { LogLine(line["headers"] ?? "{}").fields }
    /// Bytes of the body as sent.
    public var bodyBytes: Int { integer("body_bytes") }
    /// Rows that the engine wrote, or would have but for the token.
    public var rows: Int { integer("rows") }
    /// The HTTP status; 0 when no answer was sent.
    public var status: Int { integer("status") }
    /// The exception's number, 0 for none.
    public var code: Int { integer("code") }
    /// `done`, `error`, `not run`, or where the connection ended.
    public var outcome: String { line["outcome"] ?? "" }
    /// The kind of the fault that happened to it.
    public var fault: String? { line["fault"] == "null" ? nil : line["fault"] }
    /// Whether it is an INSERT.
    public var isInsert: Bool { query.drop { $0.isWhitespace }.prefix(6).uppercased() == "INSERT" }
    /// The line.
    public var description: String { line.raw }

    private func integer(_ name: String) -> Int { line[name].flatMap { Int($0) } ?? 0 }
}
