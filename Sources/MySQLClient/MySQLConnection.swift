internal import CMariadb
public import CdcCore
internal import Glibc

/// What a statement without rows did.
public struct MySQLOutcome: Sendable, Equatable {
    /// Rows inserted, deleted or really changed, as the server counts them; 0 where the statement returned rows.
    public let affectedRows: UInt64
    /// Warnings, for `SHOW WARNINGS`.
    public let warnings: Int
}

/// A connection to MariaDB, MySQL or StarRocks, over libmariadb and in the text protocol.
///
/// Owned by one thread, whose calls block until their deadline at the latest. A statement is sent once: what became of it
/// when the connection broke is for the caller to find out, see ``MySQLError/mayHaveTakenEffect``. A call that was given up
/// closes the connection; the server may go on with the statement until it notices.
///
/// The deadline and the cancellation count wherever the network is waited for. While a server keeps sending, they are
/// looked at before each row.
public final class MySQLConnection {
    let options: MySQLOptions
    let waiter: Waiter
    /// Nil once it is closed, by the caller or because it broke.
    private(set) var handle: Handle?
    /// Whether the closure of a query is running.
    var isReading = false
    private var isClosed = false

    /// Connects.
    ///
    /// - Parameters:
    ///   - options: Where to and as whom.
    ///   - cancellation: Ends this and every later call within a tenth of a second.
    /// - Throws: When there is no connection before the connect time-out.
    public init(_ options: MySQLOptions, cancellation: Cancellation) throws(MySQLError) {
        self.options = options
        waiter = Waiter(cancellation)
        try options.check()
        waiter.reset(.connecting, until: .now + options.connectTimeout)
        if waiter.isOver() { throw connectFailure() }
        switch NameLookup.look(up: options.host, waiter) {
        case .found: break
        case .givenUp: throw connectFailure()
        case .failed(let words):
            throw MySQLError(.unreachable, "connecting to \(options.server): looking up \(options.host): \(words)")
        }
        guard let handle = Handle(), handle.apply(options) else {
            throw MySQLError(.invalid, "connecting to \(options.server): libmariadb refuses an option")
        }
        let isConnected = waiter.attached {
            mysql_real_connect(
                handle.pointer,
                options.host,
                options.user,
                options.password?.value ?? "",
                options.database,
                UInt32(options.port),
                nil,
                0
            ) != nil
        }
        guard isConnected else {
            let error = connectFailure(handle)
            close(handle)
            throw error
        }
        // OpenSSL goes by the socket's own mode; the rest of the library asks for non-blocking each time.
        makeNonBlocking(handle.socket)
        if options.encryption == .required, !handle.isEncrypted {
            close(handle)
            throw MySQLError(.tls, "connecting to \(options.server): the connection is not encrypted")
        }
        self.handle = handle
    }

    deinit { close() }

    /// Closes the connection, without waiting for the server.
    public func close() {
        isClosed = true
        guard let handle, !isReading else { return }
        self.handle = nil
        close(handle)
    }

    /// Whether statements can be sent; false for good once the connection broke or a call was given up.
    ///
    /// True says nothing of a server that went away since.
    public var isUsable: Bool { handle != nil && !isClosed }

    /// The server's number for this connection, as `KILL` wants it; 0 when it is closed.
    public var connectionID: UInt64 { handle.map { UInt64(mysql_thread_id($0.pointer)) } ?? 0 }

    /// The server's version in its own words; StarRocks calls itself a MySQL.
    public var serverVersion: String {
        guard let text = handle.flatMap({ mysql_get_server_info($0.pointer) }) else { return "" }
        return String(cString: text)
    }

    /// Whether a backslash escapes in string literals: not while the session's `sql_mode` has NO_BACKSLASH_ESCAPES.
    public var usesBackslashEscapes: Bool {
        // SERVER_STATUS_NO_BACKSLASH_ESCAPES, which every answer of the server carries.
        handle.map { $0.pointer.pointee.server_status & 512 == 0 } ?? true
    }

    /// A string literal for this session.
    public func literal(_ text: String) -> String {
        MySQLText.literal(text, backslashEscapes: usesBackslashEscapes)
    }

    /// Sends a statement and waits until it is done; rows that it returns are dropped.
    ///
    /// - Parameters:
    ///   - sql: One statement, without secrets where it can be helped: servers log statements.
    ///   - deadline: When to give up.
    /// - Returns: What it did.
    /// - Throws: The server's refusal, or what became of the connection.
    public func execute(_ sql: String, deadline: ContinuousClock.Instant) throws(MySQLError) -> MySQLOutcome {
        try withBytes(of: sql) { bytes throws(MySQLError) in try execute(bytes, deadline: deadline) }
    }

    /// Sends a statement that may hold bytes that are not UTF-8.
    public func execute(
        _ sql: UnsafeRawBufferPointer,
        deadline: ContinuousClock.Instant
    ) throws(MySQLError) -> MySQLOutcome {
        try perform(sql, deadline: deadline, row: { _ in }).outcome
    }

    /// Sends a statement and reads its rows one by one, without keeping them.
    ///
    /// - Parameters:
    ///   - sql: One statement that returns rows.
    ///   - deadline: When to give up; for all of the rows.
    ///   - row: Called with each row. It does not use the connection. What it throws ends the query, and closes the
    ///     connection, for the rest of the rows would have to be read.
    /// - Returns: The columns, which a row has too; empty where the statement returns no rows by its nature.
    /// - Throws: The server's refusal, what became of the connection, or what `row` throws.
    @discardableResult
    public func query(
        _ sql: String,
        deadline: ContinuousClock.Instant,
        row: (borrowing MySQLRow) throws(MySQLError) -> Void
    ) throws(MySQLError) -> [MySQLColumn] {
        try withBytes(of: sql) { bytes throws(MySQLError) in
            try perform(bytes, deadline: deadline, row: row).columns
        }
    }

    /// The rows of a small result.
    ///
    /// - Parameters:
    ///   - sql: One statement that returns rows.
    ///   - deadline: When to give up.
    ///   - byteLimit: Bytes of all values together; more end the query as ``MySQLError/Kind/limit``.
    /// - Returns: Rows of columns; nil is NULL.
    /// - Throws: As ``query(_:deadline:row:)``, and of kind ``MySQLError/Kind/protocol`` for bytes that are not UTF-8.
    public func rows(
        _ sql: String,
        deadline: ContinuousClock.Instant,
        byteLimit: Int = 16 << 20
    ) throws(MySQLError) -> [[String?]] {
        var rows: [[String?]] = []
        var bytes = 0
        try query(sql, deadline: deadline) { row throws(MySQLError) in
            var cells: [String?] = []
            cells.reserveCapacity(row.count)
            for column in 0..<row.count {
                // What an empty cell costs counts too.
                bytes += row.byteCount(column) + MemoryLayout<String?>.size
                guard bytes <= byteLimit else {
                    throw MySQLError(.limit, "the result is larger than \(byteLimit) bytes")
                }
                cells.append(try row.text(column))
            }
            rows.append(cells)
        }
        return rows
    }

    /// Closes the connection after an error that leaves it in an unknown state.
    func drop() {
        guard let handle else { return }
        self.handle = nil
        handle.shutDown()
        close(handle)
    }

    private func close(_ handle: consuming Handle) {
        waiter.phase = .closing
        waiter.attached { handle.close() }
    }

    private func withBytes<Result>(
        of sql: String,
        _ body: (UnsafeRawBufferPointer) throws(MySQLError) -> Result
    ) throws(MySQLError) -> Result {
        var sql = sql
        return try sql.withUTF8 { bytes in
            Swift.Result { () throws(MySQLError) in try body(UnsafeRawBufferPointer(bytes)) }
        }.get()
    }

    /// Whether the caller may send a statement now.
    func checkUsable(_ name: @autoclosure () -> String) throws(MySQLError) -> Handle {
        if isReading {
            throw MySQLError(.invalid, "\(name()) at \(options.server): the rows of another statement are being read")
        }
        if isClosed { throw MySQLError(.invalid, "\(name()) at \(options.server): the connection is closed") }
        guard let handle else { throw MySQLError(.lost, "\(name()) at \(options.server): the connection is gone") }
        return handle
    }
}
