internal import CdcCore
internal import Glibc
internal import HTTPClient

/// ClickHouse's HTTP interface.
///
/// See https://clickhouse.com/docs/interfaces/http
final class ClickHouseClient {
    private let config: ClickHouseConfig
    private let http: HTTPClient
    /// What every query of this pipeline is called by in `system.processes`; the rest of the id is the process and a number.
    var queryPrefix = "dbmazz-sink-"
    private var queries = 0
    /// When whoever called the sink wants an answer; nil for calls without a deadline of their own.
    var limit: ContinuousClock.Instant?
    /// Settings of inserts that this server knows.
    private var insertSettings: [(String, String)] = []

    init(_ config: ClickHouseConfig) throws(SinkError) {
        self.config = config
        var options = HTTPClientOptions(userAgent: "dbmazz-sink")
        options.certificateAuthority = config.certificateAuthority
        options.certificate = config.certificate
        options.key = config.key
        options.maxRedirects = 0
        do throws(HTTPError) {
            http = try HTTPClient(options, cancellation: config.cancellation)
        } catch {
            throw ClickHouseError.error(error, operation: "prepare", table: nil, lsn: nil, isRead: true)
        }
    }

    func close() { http.close() }

    // MARK: Statements

    /// How long a statement that is no insert may take.
    private static let patience = Duration.seconds(60)

    /// The rows of a query as text, NULL as nil.
    func rows(_ query: String, operation: String, table: TableRef? = nil) throws(SinkError) -> [[String?]] {
        let body = try read(query + " FORMAT TabSeparated", operation: operation, table: table)
        return TabSeparated.rows(body)
    }

    /// The answer to a query; asked again once where a kept connection was gone, since reading changes nothing.
    func read(
        _ query: String,
        operation: String,
        table: TableRef? = nil,
        deadline: ContinuousClock.Instant? = nil
    ) throws(SinkError) -> [UInt8] {
        let deadline = min(deadline ?? .now + ClickHouseClient.patience, limit ?? .now + ClickHouseClient.patience)
        do throws(SinkError) {
            return try post(query, operation: operation, table: table, deadline: deadline)
        } catch {
            guard error.kind == .retriable, error.pause == .zero, ContinuousClock.now < deadline else { throw error }
            return try post(query, operation: operation, table: table, deadline: deadline)
        }
    }

    /// Runs a statement that may be run twice.
    func run(_ statement: String, operation: String, table: TableRef? = nil, deadline: ContinuousClock.Instant? = nil)
        throws(SinkError)
    {
        _ = try read(statement, operation: operation, table: table, deadline: deadline)
    }

    /// Sends a statement as the body.
    private func post(
        _ query: String,
        _ settings: [(String, String)] = [],
        operation: String,
        table: TableRef? = nil,
        lsn: LSN? = nil,
        isRead: Bool = true,
        deadline: ContinuousClock.Instant
    ) throws(SinkError) -> [UInt8] {
        var text = query
        var outcome: Result<HTTPResponse, SinkError>?
        text.withUTF8 { bytes in
            var request = request(settings + [("max_query_size", "8388608")])
            request.body = UnsafeRawBufferPointer(bytes)
            request.responseLimit = 256 << 20
            request.mustFit = true
            do throws(SinkError) {
                outcome = .success(
                    try send(request, operation: operation, table: table, lsn: lsn, isRead: isRead, deadline: deadline)
                )
            } catch {
                outcome = .failure(error)
            }
        }
        guard let outcome else { preconditionFailure("the request was not sent") }
        return try outcome.get().body
    }

    // MARK: Inserts

    /// Finds out which settings of inserts the server knows.
    func learnSettings() throws(SinkError) {
        var wanted = [
            ("async_insert", "0"), ("wait_for_async_insert", "1"), ("input_format_null_as_default", "0"),
            ("insert_deduplicate", "1"),
        ]
        if config.cluster != nil { wanted += [("insert_quorum", "auto"), ("insert_quorum_parallel", "0")] }
        let names = wanted.map { $0.0.clickhouseLiteral }.joined(separator: ", ")
        let known = try rows(
            "SELECT name FROM system.settings WHERE name IN (\(names))",
            operation: "read settings"
        ).compactMap { $0[0] }
        insertSettings = wanted.filter { known.contains($0.0) }
    }

    /// Inserts a body of RowBinary; returns when the server says that it is there.
    ///
    /// The statement ends before `FORMAT`. A second insert with the same token into the same table does nothing.
    func insert(
        _ statement: String,
        _ body: UnsafeRawBufferPointer,
        _ compression: CompressionMethod,
        token: String,
        operation: String,
        table: TableRef? = nil,
        lsn: LSN? = nil,
        deadline: ContinuousClock.Instant
    ) throws(SinkError) {
        var request = request([("query", statement + " FORMAT RowBinary")] + settingsOfInsert(token))
        request.body = body
        if let encoding = BodyWriter.contentEncoding(compression) {
            request.headers.append((name: "Content-Encoding", value: encoding))
        }
        let answer = try send(
            request,
            operation: operation,
            table: table,
            lsn: lsn,
            isRead: false,
            deadline: deadline
        )
        try expectNothing(in: answer.body, operation: operation, table: table, lsn: lsn)
    }

    /// Runs an `INSERT … SELECT`, once: whether it may be run again is the caller's to know.
    func insert(
        selecting statement: String,
        token: String,
        operation: String,
        lsn: LSN?,
        deadline: ContinuousClock.Instant
    ) throws(SinkError) {
        let answer = try post(
            statement,
            settingsOfInsert(token),
            operation: operation,
            lsn: lsn,
            isRead: false,
            deadline: min(deadline, limit ?? deadline)
        )
        try expectNothing(in: answer, operation: operation, table: nil, lsn: lsn)
    }

    private func settingsOfInsert(_ token: String) -> [(String, String)] {
        queries += 1
        let id = "\(queryPrefix)\(getpid())-\(queries)"
        return [("query_id", id), ("insert_deduplication_token", token)] + insertSettings
    }

    /// An insert that went well has no answer.
    private func expectNothing(in answer: [UInt8], operation: String, table: TableRef?, lsn: LSN?) throws(SinkError) {
        guard !answer.isEmpty else { return }
        throw ClickHouseError.error(
            code: ClickHouseClient.code(in: answer) ?? 0,
            message: String(decoding: answer.prefix(2000), as: UTF8.self),
            operation: operation,
            table: table,
            lsn: lsn
        )
    }

    /// Waits until no insert of this pipeline runs: one whose answer was not awaited goes on at the server.
    func awaitGivenUpInserts(operation: String, table: TableRef?, deadline: ContinuousClock.Instant) throws(SinkError) {
        while true {
            let running = try rows(
                "SELECT count() FROM system.processes WHERE startsWith(query_id, \(queryPrefix.clickhouseLiteral))",
                operation: operation,
                table: table
            )
            guard let count = running.first?.first, count != "0" else { return }
            guard ContinuousClock.now < deadline else {
                throw SinkError(
                    .retriable,
                    operation: operation,
                    table: table,
                    cause:
                        "\(count ?? "some") inserts of this pipeline, whose answers never came, still run at the server",
                    remedy: "trying again; KILL QUERY WHERE startsWith(query_id, \(queryPrefix.clickhouseLiteral))"
                )
            }
            sleep(for: .milliseconds(50))
        }
    }

    // MARK: Requests

    /// A request whose answer comes when all of its work is done.
    private func request(_ settings: [(String, String)]) -> HTTPRequest {
        let all = [("wait_end_of_query", "1")] + settings
        let query = all.map { "\($0.0)=\($0.1.percentEncoded)" }.joined(separator: "&")
        return HTTPRequest(
            method: "POST",
            url: "\(config.url)/?database=\(config.database.percentEncoded)&\(query)",
            headers: [
                (name: "X-ClickHouse-User", value: config.user),
                (name: "Content-Type", value: "application/octet-stream"),
            ],
            secretHeaders: [(name: "X-ClickHouse-Key", value: config.password)]
        )
    }

    private func send(
        _ request: HTTPRequest,
        operation: String,
        table: TableRef?,
        lsn: LSN?,
        isRead: Bool,
        deadline: ContinuousClock.Instant
    ) throws(SinkError) -> HTTPResponse {
        let answer: HTTPResponse
        do throws(HTTPError) {
            answer = try http.send(request, deadline: deadline)
        } catch {
            throw ClickHouseError.error(error, operation: operation, table: table, lsn: lsn, isRead: isRead)
        }
        let marked = answer.headers["X-ClickHouse-Exception-Code"] ?? answer.trailers["X-ClickHouse-Exception-Code"]
        // An error can follow a 200: since 25.11 behind a mark that a header announces, before as plain text.
        let tag = answer.headers["X-ClickHouse-Exception-Tag"]
        let isTagged = tag.map { ClickHouseClient.contains(answer.body, "__exception__\r\n\($0)") } ?? false
        guard marked == nil, answer.status == 200, !isTagged else {
            let code = marked.flatMap { Int($0) } ?? ClickHouseClient.code(in: answer.body)
            guard let code else {
                throw ClickHouseError.error(status: answer.status, operation: operation, table: table, lsn: lsn)
            }
            throw ClickHouseError.error(
                code: code,
                message: ClickHouseClient.message(in: answer.body),
                operation: operation,
                table: table,
                lsn: lsn
            )
        }
        return answer
    }

    private static func contains(_ body: [UInt8], _ text: String) -> Bool {
        let wanted = Array(text.utf8)
        guard body.count >= wanted.count, let first = wanted.first else { return false }
        return body.indices.dropLast(wanted.count - 1).contains {
            body[$0] == first && body[$0..<$0 + wanted.count].elementsEqual(wanted)
        }
    }

    /// The error's own words: from `Code:` on.
    private static func message(in body: [UInt8]) -> String {
        let text = String(decoding: body.suffix(8000), as: UTF8.self)
        guard let place = text.firstRange(of: "Code: ") else { return text }
        return String(text[place.lowerBound...])
    }

    /// The number of an exception that a body has; nil if there is none.
    static func code(in body: [UInt8]) -> Int? {
        let text = String(decoding: body.suffix(8000), as: UTF8.self)
        guard let place = text.firstRange(of: "Code: ") else { return nil }
        return Int(text[place.upperBound...].prefix { $0.isASCII && $0.isNumber })
    }
}

/// ClickHouse's text format of rows.
///
/// See https://clickhouse.com/docs/interfaces/formats/TabSeparated
enum TabSeparated {
    static func rows(_ body: [UInt8]) -> [[String?]] {
        body.split(separator: UInt8(ascii: "\n")).map { line in
            line.split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false).map(value)
        }
    }

    private static func value(_ field: ArraySlice<UInt8>) -> String? {
        if field.elementsEqual("\\N".utf8) { return nil }
        var plain: [UInt8] = []
        var bytes = field.makeIterator()
        while let byte = bytes.next() {
            guard byte == UInt8(ascii: "\\"), let escaped = bytes.next() else {
                plain.append(byte)
                continue
            }
            switch escaped {
            case UInt8(ascii: "n"): plain.append(0x0A)
            case UInt8(ascii: "t"): plain.append(0x09)
            case UInt8(ascii: "r"): plain.append(0x0D)
            case UInt8(ascii: "b"): plain.append(0x08)
            case UInt8(ascii: "f"): plain.append(0x0C)
            case UInt8(ascii: "0"): plain.append(0)
            default: plain.append(escaped)
            }
        }
        return String(decoding: plain, as: UTF8.self)
    }
}
