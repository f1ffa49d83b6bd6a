internal import CdcCore
internal import HTTPClient

/// StarRocks' HTTP interfaces: Stream Load, states of labels, transactions of loads.
///
/// See https://docs.starrocks.io/docs/loading/StreamLoad/ and https://docs.starrocks.io/docs/loading/Stream_Load_transaction_interface/
final class StarRocksClient {
    private let config: StarRocksConfig
    private let http: HTTPClient

    /// One body for one table.
    struct Load {
        /// The table's name in the database.
        let table: String
        var label: String
        /// The `columns` header: names in back-ticks, in the order of the body.
        let columns: String
        let separators: StarRocksSeparators
        var isPartial = false
        /// A column of which a row's value must not be smaller than that of the row that is there.
        var mergeCondition: String?
        let compression: CompressionMethod
        let rows: Int
        /// Names that may be told of when rows are refused.
        var columnNames: Set<String> = []

        /// The same under another label.
        func labelled(_ label: String) -> Load {
            var load = self
            load.label = label
            return load
        }
    }

    /// What is known of a load.
    enum Outcome {
        /// All rows are committed; readers may not see them yet.
        case loaded(isVisible: Bool)
        /// None is, and none will be by this request.
        case failed(SinkError)
        /// The label was used before.
        case labelExists
        /// Nobody knows: its label is to be asked for.
        case unknown(SinkError)
    }

    /// What became of a label.
    enum LabelState: Equatable {
        case unknown
        case running
        case committed
        case visible
        case aborted
    }

    init(_ config: StarRocksConfig) throws(SinkError) {
        self.config = config
        var options = HTTPClientOptions(userAgent: "dbmazz-sink")
        options.certificateAuthority = config.certificateAuthority
        options.certificate = config.certificate
        options.key = config.key
        options.hostMap = config.hostMap
        // The front end names the back end that is to have the load, and that one wants the password again.
        options.allowsAnyRedirectHost = true
        do throws(HTTPError) {
            http = try HTTPClient(options, cancellation: config.cancellation)
        } catch {
            throw StarRocksError.error(error, operation: "prepare", table: nil, lsn: nil)
        }
    }

    func close() { http.close() }

    // MARK: Loads

    /// How long the server may take for a load, in seconds: no longer than somebody waits for it, so that it is not in the way.
    private static func timeout(until deadline: ContinuousClock.Instant) -> Int {
        min(max(Int((deadline - .now) / .seconds(1)), 10), 600)
    }

    private func headers(of load: Load, deadline: ContinuousClock.Instant) -> [(name: String, value: String)] {
        var headers: [(name: String, value: String)] = [
            ("label", load.label),
            ("format", load.compression == .none ? "csv" : load.compression.rawValue),
            ("column_separator", load.separators.columnHeader),
            ("row_delimiter", load.separators.rowHeader),
            ("columns", load.columns),
            ("max_filter_ratio", "0"),
            ("strict_mode", "true"),
            ("timezone", "UTC"),
            ("timeout", String(StarRocksClient.timeout(until: deadline))),
        ]
        if load.isPartial { headers.append(("partial_update", "true")) }
        if let condition = load.mergeCondition { headers.append(("merge_condition", condition)) }
        return headers
    }

    /// Sends a body; returns when the server says that it is committed.
    func send(
        _ body: UnsafeRawBufferPointer,
        _ load: Load,
        operation: String,
        table: TableRef? = nil,
        lsn: LSN? = nil,
        deadline: ContinuousClock.Instant
    ) -> Outcome {
        let path = "/api/\(config.database.percentEncoded)/\(load.table.percentEncoded)/_stream_load"
        var request = request("PUT", path, headers(of: load, deadline: deadline))
        request.body = body
        request.expectsContinue = true
        let answer: HTTPResponse
        do throws(HTTPError) {
            answer = try http.send(request, deadline: deadline)
        } catch {
            let told = StarRocksError.error(error, operation: operation, table: table, lsn: lsn)
            return error.bytesSent == 0 && error.kind != .cancelled ? .failed(told) : .unknown(told)
        }
        guard let reply = StarRocksReply(answer.body), !reply.status.isEmpty else {
            let told = StarRocksError.error(status: answer.status, operation: operation, table: table, lsn: lsn)
            // A proxy's words, or half an answer, say nothing of the load.
            return told.kind == .configuration && answer.status == 401 ? .failed(told) : .unknown(told)
        }
        switch reply.status.lowercased() {
        case "success", "ok": return judged(reply, load, operation, table, lsn, isVisible: true)
        case "publish timeout": return judged(reply, load, operation, table, lsn, isVisible: false)
        case "label already exists": return .labelExists
        default:
            return .failed(failure(reply, load.columnNames, operation, table, lsn, deadline))
        }
    }

    /// Rows that were sent and not loaded are lost: nothing may go on then.
    private func judged(
        _ reply: StarRocksReply,
        _ load: Load,
        _ operation: String,
        _ table: TableRef?,
        _ lsn: LSN?,
        isVisible: Bool
    ) -> Outcome {
        let loaded = reply.loadedRows ?? load.rows
        guard loaded == load.rows, reply.filteredRows ?? 0 == 0, reply.unselectedRows ?? 0 == 0 else {
            return .failed(
                SinkError(
                    .permanent,
                    operation: operation,
                    table: table,
                    lsn: lsn,
                    cause:
                        "of \(load.rows) rows the server loaded \(loaded), filtered \(reply.filteredRows ?? 0) and left "
                        + "out \(reply.unselectedRows ?? 0)",
                    remedy: "copy the table anew, and report this as an error of dbmazz-sink with the server's version"
                ).ofTarget
            )
        }
        return .loaded(isVisible: isVisible)
    }

    /// What a reply that is no success means, with what the back end's log says of rows.
    func failure(
        _ reply: StarRocksReply,
        _ columns: Set<String>,
        _ operation: String,
        _ table: TableRef?,
        _ lsn: LSN?,
        _ deadline: ContinuousClock.Instant
    ) -> SinkError {
        let details = reply.errorURL.map { errorLog($0, columns, deadline) } ?? ""
        return StarRocksError.failure(reply.message, details: details, operation: operation, table: table, lsn: lsn)
    }

    /// What the back end says of refused rows, as far as it can be had.
    private func errorLog(_ url: String, _ columns: Set<String>, _ deadline: ContinuousClock.Instant) -> String {
        let request = HTTPRequest(method: "GET", url: url, responseLimit: 3000)
        guard let answer = try? http.send(request, deadline: min(deadline, .now + .seconds(10))), answer.status == 200
        else { return "" }
        return StarRocksError.redacted(String(decoding: answer.body, as: UTF8.self), columns: columns)
    }

    // MARK: Labels

    /// Asks the front end for a label.
    func state(of label: String, operation: String, deadline: ContinuousClock.Instant) throws(SinkError) -> LabelState {
        let path = "/api/\(config.database.percentEncoded)/get_load_state?label=\(label.percentEncoded)"
        let reply = try reply(to: request("GET", path, []), operation: operation, table: nil, deadline: deadline)
        switch reply.state?.uppercased() {
        case "VISIBLE"?: return .visible
        case "COMMITTED"?: return .committed
        case "PREPARE"?, "PREPARED"?: return .running
        case "ABORTED"?: return .aborted
        case "UNKNOWN"?: return .unknown
        default:
            throw StarRocksError.failure(reply.message, operation: operation, table: nil, lsn: nil)
        }
    }

    // MARK: Transactions

    /// A step of a transaction of loads.
    enum Step: String {
        case begin
        case prepare
        case commit
        case rollback
    }

    /// Begins, prepares, commits or rolls back.
    func run(
        _ step: Step,
        label: String,
        table: String?,
        operation: String,
        deadline: ContinuousClock.Instant
    ) throws(SinkError) -> StarRocksReply {
        var headers: [(name: String, value: String)] = [("label", label), ("db", config.database)]
        if let table { headers.append(("table", table)) } else { headers.append(("transaction_type", "multi")) }
        if step == .begin { headers.append(("timeout", String(Self.timeout(until: deadline)))) }
        var request = request("POST", "/api/transaction/\(step.rawValue)", headers)
        request.expectsContinue = true
        return try reply(to: request, operation: operation, table: nil, deadline: deadline)
    }

    /// Adds a body to a transaction; the server looks at the rows.
    func addToTransaction(
        _ body: UnsafeRawBufferPointer,
        _ load: Load,
        isMulti: Bool,
        operation: String,
        table: TableRef?,
        lsn: LSN?,
        deadline: ContinuousClock.Instant
    ) throws(SinkError) {
        var headers = headers(of: load, deadline: deadline)
        headers.append(("db", config.database))
        headers.append(("table", load.table))
        if isMulti { headers.append(("transaction_type", "multi")) }
        var request = request("PUT", "/api/transaction/load", headers)
        request.body = body
        request.expectsContinue = true
        let reply = try reply(to: request, operation: operation, table: table, deadline: deadline)
        guard reply.status.uppercased() == "OK" || reply.status.lowercased() == "success" else {
            throw failure(reply, load.columnNames, operation, table, lsn, deadline)
        }
        if case .failed(let error) = judged(reply, load, operation, table, lsn, isVisible: true) { throw error }
    }

    /// Has the server say what it thinks of the rows of a transaction of one table.
    func prepare(
        _ load: Load,
        operation: String,
        table: TableRef,
        lsn: LSN?,
        deadline: ContinuousClock.Instant
    ) throws(SinkError) {
        let reply = try run(.prepare, label: load.label, table: load.table, operation: operation, deadline: deadline)
        guard reply.status.uppercased() == "OK" else {
            throw failure(reply, load.columnNames, operation, table, lsn, deadline)
        }
        if case .failed(let error) = judged(reply, load, operation, table, lsn, isVisible: true) { throw error }
    }

    // MARK: Requests

    private func reply(
        to request: HTTPRequest,
        operation: String,
        table: TableRef?,
        deadline: ContinuousClock.Instant
    ) throws(SinkError) -> StarRocksReply {
        let answer: HTTPResponse
        do throws(HTTPError) {
            answer = try http.send(request, deadline: deadline)
        } catch {
            throw StarRocksError.error(error, operation: operation, table: table, lsn: nil)
        }
        guard answer.status == 200, let reply = StarRocksReply(answer.body) else {
            throw StarRocksError.error(status: answer.status, operation: operation, table: table, lsn: nil)
        }
        return reply
    }

    private func request(_ method: String, _ path: String, _ headers: [(name: String, value: String)]) -> HTTPRequest {
        HTTPRequest(
            method: method,
            url: config.url + path,
            headers: headers,
            credentials: HTTPCredentials(user: config.user, password: config.password)
        )
    }
}
