internal import CLibpq
internal import CLinux
internal import CdcCore
internal import Glibc
internal import Libpq

/// One session with the source.
///
/// Belongs to one thread; every wait ends when the daemon is to stop.
public final class PostgresConnection {
    private let handle: OpaquePointer
    let stop: StopSignal
    /// How long a statement's answer may take before the session counts as dead; nil for ever, for what waits for others.
    public var answerLimit: Duration? = .seconds(120)

    /// What a session is set to, replication and copy alike: text output depends on it, and a role's or database's own
    /// settings must not change a value, cut the copy short (the time-outs) or hide rows (row_security).
    static let pinnedSettings = """
        SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; SET extra_float_digits = 3;
        SET bytea_output = 'hex'; SET lc_monetary = 'C'; SET client_encoding = 'UTF8'; SET search_path = '';
        SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;
        SET row_security = off;
        SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
        WHERE name IN ('idle_session_timeout', 'transaction_timeout')
        """

    /// Connects and pins the session's settings.
    ///
    /// - Parameters:
    ///   - parameters: where to.
    ///   - replication: whether the session is to take replication commands too.
    ///   - stop: ends the wait.
    ///   - timeout: nil for the one in `SOURCE_URL`.
    /// - Throws: ``SourceError``, classified by the SQLSTATE of a refusal.
    public init(
        _ parameters: ConnectionParameters,
        replication: Bool,
        stop: StopSignal,
        timeout: Duration? = nil
    ) throws(SourceError) {
        // libpq looks names up before it returns, and again for each host.
        stop.health.calling(for: PostgresConnection.nameLookup)
        guard let handle = parameters.start(replication: replication) else {
            throw SourceError(
                .retriable,
                operation: "connect to source",
                cause: "libpq has no memory",
                remedy: "trying again"
            )
        }
        self.handle = handle
        self.stop = stop
        // Verbose errors carry the SQLSTATE, which is the only way to learn it from a refused connection.
        PQsetErrorVerbosity(handle, PQERRORS_VERBOSE)
        PQsetNoticeProcessor(handle, { _, _ in }, nil)
        try finishConnecting(until: .now + (timeout ?? parameters.connectTimeout))
        PQsetErrorVerbosity(handle, PQERRORS_DEFAULT)
        try execute(PostgresConnection.pinnedSettings, as: "set up the session")
    }

    deinit {
        PQfinish(handle)
    }

    /// How long the resolver may take: several hosts, several name servers, several tries.
    private static let nameLookup = Duration.seconds(60)

    /// Runs something that waits for others at the server for as long as it takes.
    func withoutLimit<Value>(_ body: () throws(SourceError) -> Value) throws(SourceError) -> Value {
        let limit = answerLimit
        answerLimit = nil
        defer { answerLimit = limit }
        return try body()
    }

    private func finishConnecting(until deadline: ContinuousClock.Instant) throws(SourceError) {
        var state = PGRES_POLLING_WRITING
        while state != PGRES_POLLING_OK {
            guard state != PGRES_POLLING_FAILED, PQstatus(handle) != CONNECTION_BAD else { throw connectError() }
            let left = deadline - .now
            guard left > .zero else {
                throw SourceError(
                    .retriable,
                    operation: "connect to source",
                    cause: "no answer from \(server) in time",
                    remedy: "check host, port and firewall; trying again"
                )
            }
            let ready = stop.wait(for: socket, isForOutput: state != PGRES_POLLING_READING, atMost: left)
            if stop.isStopping { throw .stopped("connect to source") }
            // Others wake this thread, too; libpq wants to be called only when its socket is ready.
            guard ready.contains(.first) else { continue }
            stop.health.calling(for: PostgresConnection.nameLookup)
            state = PQconnectPoll(handle)
        }
    }

    /// Host, port and database, for messages.
    public var server: String { Answers.server(handle) }

    private func connectError() -> SourceError {
        let message = errorMessage
        return .server("connect to source", sqlState: Answers.sqlState(ofRefusal: message), message: message)
    }

    /// libpq's message on one line.
    var errorMessage: String { Answers.message(of: handle) }

    /// The descriptor to poll.
    public var socket: Int32 { PQsocket(handle) }

    /// The server's version as a number, for example 150018.
    public var serverVersion: Int32 { PQserverVersion(handle) }

    /// Whether the session still stands, as far as libpq knows.
    public var isAlive: Bool { PQstatus(handle) == CONNECTION_OK }

    /// Lets the server go at once; whatever is called afterwards fails.
    ///
    /// The connection is reset, not shut down: a server process that waits for room to send its last words would not notice
    /// an orderly end, and whoever waits for that process (a checkpoint, a shutdown) would wait for good. libpq keeps its
    /// descriptor, which leads nowhere from here on.
    public func hangUp() {
        guard socket >= 0 else { return }
        var discard = linger(l_onoff: 1, l_linger: 0)
        setsockopt(socket, SOL_SOCKET, SO_LINGER, &discard, socklen_t(MemoryLayout<linger>.size))
        let nowhere = open("/dev/null", O_RDWR | O_CLOEXEC)
        guard nowhere >= 0 else {
            shutdown(socket, Int32(SHUT_RDWR))
            return
        }
        linux_replace_descriptor(nowhere, socket)
        close(nowhere)
    }

    // MARK: Statements

    /// Rows of a result, as text.
    public typealias Rows = [[String?]]

    /// Runs one or several statements without parameters; returns the last one's rows.
    @discardableResult
    public func execute(_ sql: String, as operation: String) throws(SourceError) -> Rows {
        guard PQsendQuery(handle, sql) == 1 else { throw lost(operation) }
        return try collect(operation)
    }

    /// Runs a statement with text parameters.
    public func query(_ sql: String, _ parameters: [String], as operation: String) throws(SourceError) -> Rows {
        let sent = withCStrings(parameters) { values in
            PQsendQueryParams(handle, sql, Int32(parameters.count), nil, values, nil, nil, 0)
        }
        guard sent == 1 else { throw lost(operation) }
        return try collect(operation)
    }

    /// Runs a statement and takes its rows one by one as they arrive, for results that are large.
    ///
    /// - Parameters:
    ///   - sql: one statement.
    ///   - operation: what it is for, for errors.
    ///   - body: takes a row; what it throws is thrown once the statement is over.
    /// - Throws: ``SourceError`` of the statement, or of the body.
    func forEachRow(
        _ sql: String,
        as operation: String,
        _ body: ([String?]) throws(SourceError) -> Void
    ) throws(SourceError) {
        guard PQsendQuery(handle, sql) == 1, PQsetSingleRowMode(handle) == 1 else { throw lost(operation) }
        var failure: SourceError?
        while let result = try nextResult(operation) {
            defer { PQclear(result) }
            switch PQresultStatus(result) {
            case PGRES_SINGLE_TUPLE, PGRES_TUPLES_OK:
                for row in Answers.rows(result) where failure == nil {
                    do throws(SourceError) { try body(row) } catch { failure = error }
                }
            default: failure = failure ?? resultError(result, operation)
            }
        }
        if let failure { throw failure }
    }

    private func collect(_ operation: String) throws(SourceError) -> Rows {
        var rows: Rows = []
        var failure: SourceError?
        while let result = try nextResult(operation) {
            defer { PQclear(result) }
            switch PQresultStatus(result) {
            case PGRES_TUPLES_OK: rows = Answers.rows(result)
            case PGRES_COMMAND_OK, PGRES_EMPTY_QUERY: break
            case PGRES_COPY_BOTH, PGRES_COPY_OUT: return rows
            default: failure = failure ?? resultError(result, operation)
            }
        }
        if let failure { throw failure }
        return rows
    }

    /// Waits for the next result; nil when the statement is over.
    func nextResult(_ operation: String) throws(SourceError) -> OpaquePointer? {
        let began = ContinuousClock.now
        while PQisBusy(handle) == 1 {
            _ = PQflush(handle)
            stop.wait(for: socket, atMost: .seconds(1))
            if stop.isStopping { throw .stopped(operation) }
            if let answerLimit, .now - began >= answerLimit {
                throw SourceError(
                    .retriable,
                    operation: operation,
                    cause: "no answer from \(server) for \(answerLimit.components.seconds) s",
                    remedy: "see what the server waits for (pg_stat_activity); connecting again"
                )
            }
            guard PQconsumeInput(handle) == 1 else { throw lost(operation) }
        }
        return PQgetResult(handle)
    }

    func resultError(_ result: OpaquePointer, _ operation: String) -> SourceError {
        var message = Answers.field("M", result) ?? errorMessage
        if let detail = Answers.field("D", result) { message += " (\(detail))" }
        return .server(operation, sqlState: Answers.field("C", result), message: message)
    }

    /// The connection broke.
    func lost(_ operation: String) -> SourceError {
        let message = errorMessage
        return SourceError(
            .retriable,
            operation: operation,
            cause: message.isEmpty ? "connection lost" : message,
            remedy: "connecting again"
        )
    }

    // MARK: Without waiting, for the side session

    /// Sends a statement and does not wait for it; false if the session is busy or broken.
    public func send(_ sql: String) -> Bool {
        PQisBusy(handle) == 0 && PQsendQuery(handle, sql) == 1
    }

    /// What became of a statement that was sent.
    public enum Outcome {
        /// It succeeded; its rows.
        case rows(Rows)
        /// The server refused it.
        case refused(SourceError)
    }

    /// Takes in what has arrived.
    ///
    /// - Parameter operation: what was sent, for errors.
    /// - Returns: what became of the statement; nil while that is not complete.
    /// - Throws: ``SourceError`` when the session has ended.
    public func takeIn(_ operation: String) throws(SourceError) -> Outcome? {
        guard PQconsumeInput(handle) == 1, isAlive else { throw lost(operation) }
        var outcome: Outcome?
        while PQisBusy(handle) == 0, let result = PQgetResult(handle) {
            defer { PQclear(result) }
            outcome =
                PQresultStatus(result) == PGRES_FATAL_ERROR
                ? .refused(resultError(result, operation)) : .rows(Answers.rows(result))
        }
        return outcome
    }

    /// The server process of this session; nil where the server does not show it.
    public func identity() throws(SourceError) -> SlotHolder.Identity? {
        let rows = try execute(
            "SELECT pid, '', '', backend_start FROM pg_catalog.pg_stat_activity WHERE pid = pg_catalog.pg_backend_pid()",
            as: "look up own session"
        )
        return rows.first.map { SlotHolder(row: $0).identity }
    }

    // MARK: COPY

    @exclusivity(unchecked) private var received: UnsafeMutablePointer<CChar>?

    /// What ``takeMessage()`` found.
    public enum CopyData {
        /// One message, lent: valid until the next call.
        case message(UnsafeRawBufferPointer)
        /// Nothing complete has arrived: wait.
        case nothing
        /// The server has ended the COPY.
        case end
    }

    /// The next CopyData message that has arrived, without waiting and without reading from the socket.
    ///
    /// - Throws: ``SourceError`` when the connection is lost.
    @inline(__always)
    public func takeMessage() throws(SourceError) -> CopyData {
        if received != nil {
            PQfreemem(received)
            received = nil
        }
        let length = PQgetCopyData(handle, &received, 1)
        if length > 0 { return .message(UnsafeRawBufferPointer(start: received, count: Int(length))) }
        if length == 0 { return .nothing }
        if length == -1 { return .end }
        throw lost("read from source")
    }

    /// Reads from the socket what the kernel has.
    @inline(__always)
    public func readSocket() throws(SourceError) {
        guard PQconsumeInput(handle) == 1 else { throw lost("read from source") }
    }

    /// Waits for the COPY's final result.
    ///
    /// - Throws: ``SourceError`` with the server's reason if it ended the COPY with an error.
    public func finishCopy(_ operation: String) throws(SourceError) {
        while let result = try nextResult(operation) {
            defer { PQclear(result) }
            if PQresultStatus(result) == PGRES_FATAL_ERROR { throw resultError(result, operation) }
            if PQresultStatus(result) == PGRES_COPY_IN { break }
        }
    }

    /// From here on sending never blocks: a status update must not wait for a server that waits for us.
    func stopBlocking() {
        PQsetnonblocking(handle, 1)
    }

    /// Sends one CopyData message.
    func sendCopyData(_ bytes: [UInt8]) throws(SourceError) {
        let sent = bytes.withUnsafeBytes {
            PQputCopyData(handle, $0.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(bytes.count))
        }
        guard sent == 1, PQflush(handle) >= 0 else { throw lost("send status to source") }
    }

    /// Says that this side ends the COPY.
    func sendCopyEnd() {
        _ = PQputCopyEnd(handle, nil)
        _ = PQflush(handle)
    }

    // MARK: Quoting

    /// An identifier between double quotes.
    public static func quote(identifier: String) -> String {
        "\"" + identifier.replacing("\"", with: "\"\"") + "\""
    }

    /// A literal between single quotes; in E'' form where it has a backslash.
    public static func quote(literal: String) -> String {
        let quoted = literal.replacing("'", with: "''")
        return literal.contains("\\") ? "E'" + quoted.replacing("\\", with: "\\\\") + "'" : "'" + quoted + "'"
    }
}
