internal import CLibpq
internal import CdcCore
internal import Glibc
internal import Libpq

/// One session with the target, over libpq without blocking calls: every wait ends at ``deadline``.
///
/// After an error with ``PostgresError/endsSession`` the session is not used again.
final class PostgresClient {
    /// When to give up waiting for the server.
    var deadline: ContinuousClock.Instant
    private let handle: OpaquePointer
    /// Commands sent in pipeline mode whose results have not been read.
    private var pending: [Expectation] = []
    /// Whether an answer did not come in time, or came torn: what follows on the wire belongs to nothing.
    private var isGivenUp = false

    /// Settings that values and waits depend on, whatever the role's defaults are.
    ///
    /// The keepalives are the server's: a daemon that vanished must not keep its locks. Nobody's lock is waited for longer than
    /// two seconds at a time, so that a daemon that is to stop stops.
    private static let pinnedSettings = """
        SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; SET extra_float_digits = 3;
        SET bytea_output = 'hex'; SET xmloption = 'content'; SET search_path = ''; SET row_security = off;
        SET standard_conforming_strings = on; SET statement_timeout = 0; SET lock_timeout = '2s';
        SET idle_in_transaction_session_timeout = 0; SET default_transaction_isolation = 'read committed';
        SET default_transaction_deferrable = off; SET check_function_bodies = off; SET client_min_messages = error;
        SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;
        SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; SET enable_hashjoin = off;
        SET enable_mergejoin = off; SET jit = off;
        SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
        WHERE name IN ('idle_session_timeout', 'transaction_timeout')
        UNION ALL SELECT pg_catalog.set_config(name, 'on', false) FROM pg_catalog.pg_settings
        WHERE name = 'synchronous_commit' AND setting NOT IN ('on', 'remote_apply')
        UNION ALL SELECT pg_catalog.set_config(name, 'C', false) FROM pg_catalog.pg_settings WHERE name = 'lc_monetary'
        """

    /// Connects and pins the session's settings.
    ///
    /// - Throws: ``PostgresError``.
    init(_ conninfo: Conninfo, deadline: ContinuousClock.Instant) throws(PostgresError) {
        self.deadline = deadline
        guard let handle = conninfo.start() else { throw PostgresError(.lost, "libpq has no memory") }
        self.handle = handle
        // Verbose errors carry the SQLSTATE, which is the only way to learn it from a refused connection.
        PQsetErrorVerbosity(handle, PQERRORS_VERBOSE)
        PQsetNoticeProcessor(handle, { _, _ in }, nil)
        try finishConnecting()
        PQsetErrorVerbosity(handle, PQERRORS_DEFAULT)
        PQsetnonblocking(handle, 1)
        try execute(PostgresClient.pinnedSettings)
    }

    deinit { PQfinish(handle) }

    private func finishConnecting() throws(PostgresError) {
        var state = PGRES_POLLING_WRITING
        while state != PGRES_POLLING_OK {
            guard state != PGRES_POLLING_FAILED, PQstatus(handle) != CONNECTION_BAD else {
                throw PostgresError(connecting: handle)
            }
            try wait(for: state == PGRES_POLLING_READING ? POLLIN : POLLOUT)
            state = PQconnectPoll(handle)
        }
    }

    // MARK: What libpq knows

    /// Host, port and database, for messages.
    var server: String { Answers.server(handle) }

    /// For example 150018.
    var serverVersion: Int { Int(PQserverVersion(handle)) }

    /// The server's process for this session.
    var backendPID: Int32 { PQbackendPID(handle) }

    /// Whether a transaction is open, failed ones included.
    var isInTransaction: Bool { PQtransactionStatus(handle) != PQTRANS_IDLE }

    /// Whether the session can be used, as far as anybody knows without asking the server.
    var isUsable: Bool { !isGivenUp && PQstatus(handle) == CONNECTION_OK }

    // MARK: Waiting

    private func wait(for events: Int32) throws(PostgresError) {
        let left = deadline - .now
        guard left > .zero else {
            isGivenUp = true
            throw PostgresError(.timeout, "no answer from \(server) in time")
        }
        var descriptor = pollfd(fd: PQsocket(handle), events: Int16(events), revents: 0)
        poll(&descriptor, 1, Int32(min(left / .milliseconds(1) + 1, 60_000)))
    }

    /// Waits until libpq has handed everything to the kernel, taking in what the server says meanwhile.
    private func flush() throws(PostgresError) {
        while true {
            switch PQflush(handle) {
            case 0: return
            case 1:
                try wait(for: POLLIN | POLLOUT)
                guard PQconsumeInput(handle) == 1 else { throw lost() }
            default: throw lost()
            }
        }
    }

    private func nextResult() throws(PostgresError) -> OpaquePointer? {
        while PQisBusy(handle) == 1 {
            let unsent = PQflush(handle)
            guard unsent >= 0 else { throw lost() }
            try wait(for: unsent == 1 ? POLLIN | POLLOUT : POLLIN)
            guard PQconsumeInput(handle) == 1 else { throw lost() }
        }
        return PQgetResult(handle)
    }

    /// What a result says went wrong.
    private func serverError(in result: OpaquePointer) -> PostgresError {
        let error = PostgresError(result: result)
        if error.endsSession { isGivenUp = true }
        return error
    }

    private func lost() -> PostgresError {
        isGivenUp = true
        let text = Answers.message(of: handle)
        return PostgresError(.lost, text.isEmpty ? "connection to \(server) lost" : text)
    }

    // MARK: Statements, one after the other

    typealias Rows = Answers.Rows

    /// Runs one or several statements without parameters; returns the last one's rows.
    @discardableResult
    func execute(_ sql: String) throws(PostgresError) -> Rows {
        guard PQsendQuery(handle, sql) == 1 else { throw lost() }
        return try collect()
    }

    /// Runs a statement with text parameters.
    @discardableResult
    func query(_ sql: String, _ parameters: [String?]) throws(PostgresError) -> Rows {
        let sent = withCStrings(parameters) {
            PQsendQueryParams(handle, sql, Int32(parameters.count), nil, $0, nil, nil, 0)
        }
        guard sent == 1 else { throw lost() }
        return try collect()
    }

    private func collect() throws(PostgresError) -> Rows {
        var rows: Rows = []
        var failure: PostgresError?
        while let result = try nextResult() {
            defer { PQclear(result) }
            switch PQresultStatus(result) {
            case PGRES_TUPLES_OK: rows = Answers.rows(result)
            case PGRES_COMMAND_OK, PGRES_EMPTY_QUERY: break
            default: failure = failure ?? serverError(in: result)
            }
        }
        if let failure { throw failure }
        return rows
    }

    /// Commits.
    ///
    /// - Throws: ``PostgresError``, also when the server has rolled back instead, as it does with a transaction that failed.
    func commit() throws(PostgresError) {
        guard PQsendQuery(handle, "COMMIT") == 1 else { throw lost() }
        var failure: PostgresError?
        var tag = ""
        while let result = try nextResult() {
            defer { PQclear(result) }
            if PQresultStatus(result) == PGRES_COMMAND_OK {
                tag = PQcmdStatus(result).map { String(cString: $0) } ?? ""
            } else {
                failure = failure ?? serverError(in: result)
            }
        }
        if let failure { throw failure }
        guard tag == "COMMIT" else { throw PostgresError(.server, "the target answered \(tag) to COMMIT") }
    }

    // MARK: COPY

    /// Runs statements of which one is a COPY FROM STDIN, feeding it with what `fill` sends.
    ///
    /// - Parameters:
    ///   - sql: one COPY among other statements; all of them in one message.
    ///   - fill: sends the data through ``sendCopyData(_:)``.
    /// - Returns: for each statement in turn the number of rows it affected; nil where it says none.
    /// - Throws: ``PostgresError``; the statements behind the one that failed did not run.
    func copy(_ sql: String, _ fill: () throws(PostgresError) -> Void) throws(PostgresError) -> [Int?] {
        guard PQsendQuery(handle, sql) == 1 else { throw lost() }
        var counts: [Int?] = []
        var failure: PostgresError?
        var isFed = false
        while let result = try nextResult() {
            defer { PQclear(result) }
            switch PQresultStatus(result) {
            case PGRES_COPY_IN where !isFed:
                isFed = true
                do throws(PostgresError) {
                    try fill()
                } catch {
                    // Half a COPY is on the wire.
                    isGivenUp = true
                    throw error
                }
                guard PQputCopyEnd(handle, nil) == 1 else { throw lost() }
                try flush()
            case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY:
                counts.append(PostgresClient.affectedRows(result))
            default: failure = failure ?? serverError(in: result)
            }
        }
        if let failure { throw failure }
        return counts
    }

    /// Sends a part of the data of the COPY that runs.
    func sendCopyData(_ bytes: UnsafeRawBufferPointer) throws(PostgresError) {
        guard bytes.count > 0 else { return }
        let sent = PQputCopyData(
            handle,
            bytes.baseAddress?.assumingMemoryBound(to: CChar.self),
            Int32(truncatingIfNeeded: bytes.count)
        )
        guard sent == 1 else { throw lost() }
        try flush()
    }

    private static func affectedRows(_ result: OpaquePointer) -> Int? {
        PQcmdTuples(result).flatMap { Int(String(cString: $0)) }
    }

    // MARK: Many statements in one flight

    /// A command in flight and what it is for.
    struct Expectation {
        /// What was being done, for messages.
        var operation: String
        /// Index of the table in the batch, where there is one.
        var table: UInt32?
        /// How many rows the command has to affect; nil for any.
        var rows: Int?
    }

    /// An error, and the command that met it.
    struct FlightError: Error {
        let error: PostgresError
        let expectation: Expectation?
    }

    /// How many commands wait for their results.
    var commandsInFlight: Int { pending.count }

    private func enterPipeline() throws(PostgresError) {
        guard pending.isEmpty, PQpipelineStatus(handle) == PQ_PIPELINE_OFF else { return }
        guard PQenterPipelineMode(handle) == 1 else { throw lost() }
    }

    /// Sends a statement without parameters.
    func fly(_ sql: String, _ expectation: Expectation) throws(PostgresError) {
        try enterPipeline()
        guard PQsendQueryParams(handle, sql, 0, nil, nil, nil, nil, 0) == 1 else { throw lost() }
        pending.append(expectation)
    }

    /// Sends the execution of a prepared statement with text parameters.
    func flyExecute(_ name: String, _ parameters: [String?], _ expectation: Expectation) throws(PostgresError) {
        try enterPipeline()
        let sent = withCStrings(parameters) {
            PQsendQueryPrepared(handle, name, Int32(parameters.count), $0, nil, nil, 0)
        }
        guard sent == 1 else { throw lost() }
        pending.append(expectation)
    }

    /// Sends a statement to be prepared.
    func flyPrepare(_ name: String, _ sql: String, _ expectation: Expectation) throws(PostgresError) {
        try enterPipeline()
        guard PQsendPrepare(handle, name, sql, 0, nil) == 1 else { throw lost() }
        pending.append(expectation)
    }

    /// Sends the execution of a prepared statement.
    ///
    /// - Parameters:
    ///   - name: of the statement.
    ///   - values: where each parameter begins; nil for NULL.
    ///   - lengths: their lengths.
    ///   - formats: 1 for each: binary.
    ///   - expectation: what it is for.
    /// - Throws: ``PostgresError`` when the session is lost.
    func flyExecute(
        _ name: String,
        values: [UnsafePointer<CChar>?],
        lengths: [Int32],
        formats: [Int32],
        _ expectation: Expectation
    ) throws(PostgresError) {
        try enterPipeline()
        let count = Int32(truncatingIfNeeded: values.count)
        guard PQsendQueryPrepared(handle, name, count, values, lengths, formats, 0) == 1 else { throw lost() }
        pending.append(expectation)
    }

    /// Ends the flight and reads every result.
    ///
    /// - Returns: the first command that affected another number of rows than it had to.
    /// - Throws: ``FlightError`` with the first error; the commands behind it did not run.
    func land() throws(FlightError) -> Expectation? {
        guard !pending.isEmpty else { return nil }
        let flight = pending
        pending.removeAll(keepingCapacity: true)
        let outcome: (mismatch: Expectation?, failure: FlightError?)
        do throws(PostgresError) {
            outcome = try read(flight)
        } catch {
            throw FlightError(error: error, expectation: flight.last)
        }
        if let failure = outcome.failure { throw failure }
        return outcome.mismatch
    }

    private func read(_ flight: [Expectation]) throws(PostgresError) -> (mismatch: Expectation?, failure: FlightError?)
    {
        guard PQpipelineSync(handle) == 1 else { throw lost() }
        var outcome: (mismatch: Expectation?, failure: FlightError?)
        for expectation in flight {
            while let result = try nextResult() {
                defer { PQclear(result) }
                switch PQresultStatus(result) {
                case PGRES_COMMAND_OK, PGRES_TUPLES_OK:
                    guard outcome.mismatch == nil, let wanted = expectation.rows else { continue }
                    let affected = PostgresClient.affectedRows(result) ?? wanted
                    if affected != wanted { outcome.mismatch = expectation }
                case PGRES_PIPELINE_ABORTED, PGRES_EMPTY_QUERY: break
                default:
                    let error = serverError(in: result)
                    if error.reason == .lost { throw error }
                    outcome.failure = outcome.failure ?? FlightError(error: error, expectation: expectation)
                }
            }
        }
        while let result = try nextResult() {
            let isSync = PQresultStatus(result) == PGRES_PIPELINE_SYNC
            PQclear(result)
            if isSync { break }
        }
        guard PQexitPipelineMode(handle) == 1 else { throw lost() }
        return outcome
    }
}
