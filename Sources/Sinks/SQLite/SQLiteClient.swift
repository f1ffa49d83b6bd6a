internal import CSQLite
internal import CdcCore

/// A connection to the database file: owns the handle.
///
/// One thread uses it, so SQLite's own mutexes are off.
final class SQLiteConnection {
    let path: String
    let handle: OpaquePointer
    /// Whether ``prepareForWriting()`` was done.
    private(set) var isPrepared = false

    /// Opens the file; where it is missing, makes it if `creating`, else fails.
    init(path: String, creating: Bool) throws(SinkError) {
        var opened: OpaquePointer?
        let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (creating ? SQLITE_OPEN_CREATE : 0)
        let code = sqlite3_open_v2(path, &opened, flags, nil)
        guard code == SQLITE_OK, let handle = opened else {
            let error = SQLiteError.make(
                opened.map(sqlite3_extended_errcode) ?? code,
                database: opened,
                path: path,
                operation: "open database"
            )
            sqlite3_close_v2(opened)
            throw error
        }
        self.path = path
        self.handle = handle
        sqlite3_extended_result_codes(handle, 1)
        sqlite3_busy_timeout(handle, Int32(SQLiteConnection.longestLockWait / .milliseconds(1)))
    }

    deinit {
        // _v2: statements that are finalized later do no harm.
        sqlite3_close_v2(handle)
    }

    /// How long one call waits for another process's lock: the lane's retries do the rest, and say so.
    static let longestLockWait: Duration = .seconds(1)

    /// Makes every commit survive a power cut, and readers and the daemon not wait for each other.
    func prepareForWriting() throws(SinkError) {
        let operation = "prepare database"
        let mode = try text("PRAGMA journal_mode = WAL", operation: operation)
        guard mode == "wal" else {
            throw SinkError(
                .configuration,
                operation: operation,
                cause: "\(path) does not take write-ahead logging (journal mode \(mode ?? "unknown"))",
                remedy: "put the file on a local file system"
            )
        }
        // NORMAL would lose commits that were acknowledged to the source when the power fails.
        try execute("PRAGMA synchronous = FULL", operation: operation)
        try execute("PRAGMA foreign_keys = OFF", operation: operation)
        try execute("PRAGMA wal_autocheckpoint = \(SQLiteConnection.checkpointPages)", operation: operation)
        try execute("PRAGMA cache_size = -\(SQLiteConnection.cacheKilobytes)", operation: operation)
        isPrepared = true
    }

    /// Pages in the write-ahead log after which a commit also moves them into the database.
    static let checkpointPages = 4000
    /// The page cache while rows arrive; ``releaseMemory()`` gives it back when they stop.
    static let cacheKilobytes = 8192

    /// Gives cached pages back to the system.
    func releaseMemory() {
        sqlite3_db_release_memory(handle)
    }

    /// Whether a transaction is open.
    var isInTransaction: Bool { sqlite3_get_autocommit(handle) == 0 }

    /// Rows that the last statement touched.
    @inline(__always)
    var changes: Int32 { sqlite3_changes(handle) }

    /// Whether the file was renamed or removed since it was opened: what is written would be lost.
    var hasMoved: Bool {
        var moved: Int32 = 0
        return sqlite3_file_control(handle, "main", SQLITE_FCNTL_HAS_MOVED, &moved) == SQLITE_OK && moved != 0
    }

    /// The error of the call that just failed.
    func error(_ operation: String, table: TableRef? = nil, lsn: LSN? = nil) -> SinkError {
        SQLiteError.make(
            sqlite3_extended_errcode(handle),
            database: handle,
            path: path,
            operation: operation,
            table: table,
            lsn: lsn
        )
    }

    /// Runs statements without parameters and results.
    func execute(_ sql: String, operation: String) throws(SinkError) {
        guard sqlite3_exec(handle, sql, nil, nil, nil) == SQLITE_OK else { throw error(operation) }
    }

    /// Compiles a statement that is run often.
    func prepare(_ sql: String, operation: String) throws(SinkError) -> SQLiteStatement {
        var prepared: OpaquePointer?
        guard
            sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &prepared, nil) == SQLITE_OK,
            let prepared
        else { throw error(operation) }
        return SQLiteStatement(prepared)
    }

    /// The rows of a query, as text: for state and catalog, not for data.
    func rows(_ sql: String, _ parameters: [String?] = [], operation: String) throws(SinkError) -> [[String?]] {
        let statement = try prepare(sql, operation: operation)
        for (index, parameter) in parameters.enumerated() { statement.bind(Int32(index + 1), copying: parameter) }
        var rows: [[String?]] = []
        while true {
            switch sqlite3_step(statement.handle) {
            case SQLITE_ROW: rows.append(statement.row)
            case SQLITE_DONE: return rows
            default: throw error(operation)
            }
        }
    }

    /// Runs one statement with parameters.
    func run(_ sql: String, _ parameters: [String?], operation: String) throws(SinkError) {
        _ = try rows(sql, parameters, operation: operation)
    }

    /// The first column of the first row.
    func text(_ sql: String, operation: String) throws(SinkError) -> String? {
        try rows(sql, operation: operation).first?.first ?? nil
    }
}

/// A compiled statement: owns the handle.
final class SQLiteStatement {
    let handle: OpaquePointer

    init(_ handle: OpaquePointer) {
        self.handle = handle
    }

    deinit {
        sqlite3_finalize(handle)
    }

    /// Binds a text that SQLite copies.
    func bind(_ parameter: Int32, copying text: String?) {
        guard let text else {
            sqlite3_bind_null(handle, parameter)
            return
        }
        // SQLITE_TRANSIENT, a cast that Swift does not import.
        let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
        sqlite3_bind_text(handle, parameter, text, Int32(text.utf8.count), transient)
    }

    /// The current row as text.
    var row: [String?] {
        (0..<sqlite3_column_count(handle)).map { column in
            sqlite3_column_text(handle, column).map { String(cString: $0) }
        }
    }
}

extension String {
    /// The name as SQL writes it whatever it contains.
    var quotedIdentifier: String { quoted("\"") }

    /// The text as a SQL literal.
    var quotedLiteral: String { quoted("'") }

    private func quoted(_ quote: Character) -> String {
        var text = String(quote)
        for character in self {
            text.append(character)
            if character == quote { text.append(quote) }
        }
        text.append(quote)
        return text
    }

    /// The name as SQLite compares names: ASCII letters without case, everything else by its bytes.
    var sqliteFolded: [UInt8] {
        utf8.map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 + 32 : $0 }
    }
}
