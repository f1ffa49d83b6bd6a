import Glibc

/// What ClickHouse said instead of a result.
public struct ClickHouseFailure: Error, CustomStringConvertible, Sendable {
    /// The HTTP status.
    public let status: Int
    /// ClickHouse's number of the exception, 0 when there was none.
    public let code: Int
    /// The body.
    public let description: String
}

/// Asks ClickHouse over HTTP, one statement a connection.
public struct ClickHouseClient: Sendable {
    /// The port on 127.0.0.1.
    public let port: Int
    /// The database that names without one belong to.
    public var database: String
    /// Whether the test front's faults, users and log have nothing to do with it.
    public var isAside: Bool

    /// What came back.
    public struct Answer: Sendable {
        /// The HTTP status.
        public let status: Int
        /// The headers, their names in lower case.
        public let headers: [String: String]
        /// The body.
        public let body: [UInt8]
        /// False when the connection ended before the body did.
        public let isComplete: Bool
        /// The body as text.
        public var text: String { String(decoding: body, as: UTF8.self) }
    }

    /// A client of a port.
    public init(port: Int, database: String = "default", isAside: Bool = true) {
        self.port = port
        self.database = database
        self.isAside = isAside
    }

    /// Runs a statement and returns its rows as text.
    ///
    /// - Throws: `ClickHouseFailure`, or `HarnessError` when there is no answer.
    @discardableResult
    public func query(_ sql: String) throws -> [[String?]] {
        var rows: [[String?]] = []
        try forEachRow(sql) { fields in
            rows.append(fields.map { $0.map { String(decoding: $0, as: UTF8.self) } })
        }
        return rows
    }

    /// The first column of the first row, nil when there is no row or it is NULL.
    public func value(_ sql: String) throws -> String? { try query(sql).first?.first ?? nil }

    /// The number in the first column of the first row.
    public func number(_ sql: String) throws -> Int {
        guard let number = try value(sql).flatMap({ Int($0) }) else { throw HarnessError("no number: \(sql)") }
        return number
    }

    /// Calls `body` with the unescaped bytes of every row's fields, nil for NULL.
    func forEachRow(_ sql: String, _ body: ([[UInt8]?]) throws -> Void) throws {
        let answer = try send(sql)
        guard answer.status == 200, answer.isComplete, answer.headers["x-clickhouse-exception-code"] == nil else {
            let code = answer.headers["x-clickhouse-exception-code"].flatMap { Int($0) } ?? 0
            throw ClickHouseFailure(status: answer.status, code: code, description: answer.text)
        }
        try answer.body.withUnsafeBytes { bytes in
            var position = 0
            while position < bytes.count {
                let end = Self.find(UInt8(ascii: "\n"), in: bytes, from: position)
                var fields: [[UInt8]?] = []
                while position <= end {
                    let tab = min(end, Self.find(UInt8(ascii: "\t"), in: bytes, from: position, to: end))
                    fields.append(Self.unescaped(UnsafeRawBufferPointer(rebasing: bytes[position..<tab])))
                    position = tab + 1
                }
                try body(fields)
            }
        }
    }

    /// Sends a statement in the body, with these parameters.
    public func send(
        _ sql: String,
        settings: [String: String] = [:],
        headers: [(String, String)] = []
    ) throws -> Answer {
        try send(Array(sql.utf8), settings, headers, .seconds(60))
    }

    /// Sends an insert in the URL and its data in the body.
    @discardableResult
    public func insert(
        _ sql: String,
        _ data: [UInt8],
        settings: [String: String] = [:],
        encoding: String? = nil,
        queryID: String? = nil,
        timeout: Duration = .seconds(60)
    ) throws -> Answer {
        var parameters = settings
        parameters["query"] = sql
        parameters["query_id"] = queryID
        return try send(data, parameters, encoding.map { [("Content-Encoding", $0)] } ?? [], timeout)
    }

    private func send(
        _ body: [UInt8],
        _ parameters: [String: String],
        _ headers: [(String, String)],
        _ timeout: Duration
    ) throws -> Answer {
        let all = parameters.merging(["database": database, "default_format": "TabSeparated"]) { one, _ in one }
        let answer = try LoopbackHTTP.send(
            "POST",
            "/?" + all.map { "\($0)=\(LoopbackHTTP.encoded($1))" }.sorted().joined(separator: "&"),
            port: port,
            headers: headers + (isAside ? [("X-Aside", "1")] : []),
            body: body,
            timeout: timeout
        )
        return Answer(
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
            isComplete: answer.isComplete
        )
    }

    private static func find(_ byte: UInt8, in bytes: UnsafeRawBufferPointer, from: Int, to: Int? = nil) -> Int {
        let end = to ?? bytes.count
        guard from < end, let base = bytes.baseAddress, let found = memchr(base + from, Int32(byte), end - from) else {
            return end
        }
        return UnsafeRawPointer(found) - base
    }

    /// A field of TabSeparated, nil for `\N`.
    private static func unescaped(_ field: UnsafeRawBufferPointer) -> [UInt8]? {
        guard let base = field.baseAddress, memchr(base, Int32(UInt8(ascii: "\\")), field.count) != nil else {
            return Array(field)
        }
        if field.count == 2, field[1] == UInt8(ascii: "N") { return nil }
        var result: [UInt8] = []
        result.reserveCapacity(field.count)
        var index = 0
        while index < field.count {
            var byte = field[index]
            if byte == UInt8(ascii: "\\"), index + 1 < field.count {
                index += 1
                byte =
                    switch field[index] {
                    case UInt8(ascii: "b"): 0x08
                    case UInt8(ascii: "f"): 0x0C
                    case UInt8(ascii: "n"): 0x0A
                    case UInt8(ascii: "r"): 0x0D
                    case UInt8(ascii: "t"): 0x09
                    case UInt8(ascii: "0"): 0
                    default: field[index]
                    }
            }
            result.append(byte)
            index += 1
        }
        return result
    }

    /// A name in back-ticks.
    public static func quote(_ name: String) -> String { "`" + escape(name, quote: "`") + "`" }

    /// A text as a literal.
    public static func literal(_ text: String) -> String { "'" + escape(text, quote: "'") + "'" }

    private static func escape(_ text: String, quote: Unicode.Scalar) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            if scalar == quote || scalar == "\\" { result += "\\" }
            result.unicodeScalars.append(scalar)
        }
        return result
    }
}
