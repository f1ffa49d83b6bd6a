/// What the emulated StarRocks is to do wrong; Tests/Tools/starrocks_faults.py has the details.
public struct StarRocksFault: Sendable {
    /// The fault as the control port takes it.
    public let json: String

    /// A fault.
    ///
    /// - Parameters:
    ///   - what: One of the kinds, for example `reset-after-commit`.
    ///   - request: The kind of request: `redirect`, `load`, `state`, `transaction`, `sql`, `error-log`.
    ///   - nth: From which matching request on.
    ///   - count: How often; 0 for ever.
    ///   - matching: Regular expressions for `url`, `db`, `table`, `label`, `sql`.
    ///   - seconds: For faults that take time.
    ///   - numbers: `code`, `port`.
    ///   - texts: `message`, `host`, `then`.
    public init(
        _ what: String,
        on request: String? = nil,
        nth: Int = 1,
        count: Int = 1,
        matching: [String: String] = [:],
        seconds: Double? = nil,
        numbers: [String: Int] = [:],
        texts: [String: String] = [:]
    ) {
        var fields = ["\"do\": \(LoopbackHTTP.json(what))", "\"nth\": \(nth)", "\"count\": \(count)"]
        if let request { fields.append("\"on\": \(LoopbackHTTP.json(request))") }
        if let seconds { fields.append("\"seconds\": \(seconds)") }
        fields += matching.map { "\(LoopbackHTTP.json($0)): \(LoopbackHTTP.json($1))" }
        fields += numbers.map { "\(LoopbackHTTP.json($0)): \($1)" }
        fields += texts.map { "\(LoopbackHTTP.json($0)): \(LoopbackHTTP.json($1))" }
        json = "{\(fields.joined(separator: ", "))}"
    }
}

/// A request or a statement as the emulated StarRocks logged it.
public struct StarRocksRequest: Sendable, CustomStringConvertible {
    private let line: LogLine

    init(_ line: String) { self.line = LogLine(line) }

    /// Its number since the last reset.
    public var number: Int { integer("n") }
    /// `redirect`, `load`, `state`, `transaction`, `sql`, `error-log` or `other`.
    public var kind: String { line["kind"] ?? "" }
    /// The database, of a load or as a statement's default.
    public var database: String { line["db"] ?? "" }
    /// A load's table.
    public var table: String { line["table"] ?? "" }
    /// A load's label.
    public var label: String { line["label"] ?? "" }
    /// The statement's text, its beginning where it is long.
    public var sql: String { line["sql"] ?? "" }
    /// The headers without the authorization.
    public var headers: [String: String] { LogLine(line["headers"] ?? "{}").fields }
    /// Rows of a load, or that a statement gave.
    public var rows: Int { integer("rows") }
    /// Rows of a load that were filtered.
    public var filteredRows: Int { integer("filtered") }
    /// Bytes of the body as sent.
    public var bodyBytes: Int { integer("bytes") }
    /// The HTTP status; 0 when no answer was sent.
    public var status: Int { integer("status") }
    /// The reply's `Status`: `Success`, `Fail`, `Publish Timeout`, `Label Already Exists`, `OK`, ….
    public var reply: String { line["reply"] ?? "" }
    /// What became of it.
    public var outcome: String { line["outcome"] ?? "" }
    /// The kind of the fault that happened to it.
    public var fault: String? { line["fault"] == "null" ? nil : line["fault"] }
    /// What the client did that it should not have done.
    public var violations: [String] {
        guard let list = line["violations"] else { return [] }
        // A JSON list of texts, split at what stands between two of them.
        return list.dropFirst(2).dropLast(2).split(separator: "\", \"").map(String.init)
    }
    /// When it began, in seconds since 1970.
    public var time: Double { line["time"].flatMap { Double($0) } ?? 0 }
    /// How long it took.
    public var seconds: Double { line["seconds"].flatMap { Double($0) } ?? 0 }
    /// The line.
    public var description: String { line.raw }

    private func integer(_ name: String) -> Int { line[name].flatMap { Int($0) } ?? 0 }
}
