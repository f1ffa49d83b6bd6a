import CSQLite

/// A value as SQLite holds it.
public enum SQLiteValue: Hashable, Sendable, CustomStringConvertible {
    /// NULL.
    case null
    /// A 64-bit integer.
    case integer(Int64)
    /// A double.
    case real(Double)
    /// The bytes of a text.
    case text([UInt8])
    /// Bytes.
    case blob([UInt8])

    /// A text value.
    public static func string(_ text: String) -> SQLiteValue { .text(Array(text.utf8)) }

    /// The text, nil for everything that is not a text.
    public var string: String? {
        guard case .text(let bytes) = self else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The integer, nil for everything that is not one.
    public var integer: Int64? {
        guard case .integer(let value) = self else { return nil }
        return value
    }

    /// For messages: long values are cut.
    public var description: String {
        switch self {
        case .null: "NULL"
        case .integer(let value): "INTEGER \(value)"
        case .real(let value): "REAL \(value)"
        case .text(let bytes): "TEXT \(describe(bytes))"
        case .blob(let bytes):
            "BLOB[\(bytes.count)] \(bytes.prefix(16).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())"
        }
    }
}

/// A text's bytes for a message: quoted, cut after 60 bytes, everything but ASCII as scalars (é has two forms).
func describe(_ bytes: [UInt8]) -> String {
    let text = String(decoding: bytes.prefix(60), as: UTF8.self)
    let escaped = text.unicodeScalars.map { $0.escaped(asASCII: true) }.joined()
    return bytes.count <= 60 ? "\"\(escaped)\"" : "\"\(escaped)\"… (\(bytes.count) bytes)"
}

/// An error of SQLite.
public struct SQLiteError: Error, CustomStringConvertible, Sendable {
    /// The extended result code.
    public let code: Int32
    /// SQLite's text, and the statement.
    public let description: String

    /// Another connection held a lock for longer than the busy timeout.
    public var isBusy: Bool { code & 0xFF == SQLITE_BUSY }
}

/// A connection to a SQLite file, for looking at what the daemon wrote; for one thread at a time.
public final class SQLiteFile {
    private let database: OpaquePointer

    /// Opens a file.
    ///
    /// - Parameters:
    ///   - path: The file.
    ///   - readOnly: False also lets SQLite roll back the journal that a killed writer left, which every reader must.
    ///   - create: Whether a missing file is made.
    ///   - busyTimeout: How long to wait for another connection's lock.
    /// - Throws: `SQLiteError` when the file cannot be opened.
    public init(
        _ path: String,
        readOnly: Bool = false,
        create: Bool = false,
        busyTimeout: Duration = .seconds(10)
    ) throws(SQLiteError) {
        var handle: OpaquePointer?
        let mode = readOnly ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE | (create ? SQLITE_OPEN_CREATE : 0)
        let code = sqlite3_open_v2(path, &handle, mode, nil)
        guard code == SQLITE_OK, let handle else {
            sqlite3_close_v2(handle)
            throw SQLiteError(code: code, description: "cannot open \(path): SQLite code \(code)")
        }
        database = handle
        sqlite3_extended_result_codes(handle, 1)
        sqlite3_busy_timeout(handle, Int32(busyTimeout / .milliseconds(1)))
    }

    deinit { sqlite3_close_v2(database) }

    /// Runs statements and ignores their rows.
    public func execute(_ sql: String) throws(SQLiteError) {
        guard sqlite3_exec(database, sql, nil, nil, nil) == SQLITE_OK else { throw error(sql) }
    }

    /// Runs one statement with parameters `?` and returns its rows.
    public func query(_ sql: String, _ parameters: [SQLiteValue] = []) throws(SQLiteError) -> [[SQLiteValue]] {
        var rows: [[SQLiteValue]] = []
        try forEachRow(sql, parameters) { row in
            rows.append((0..<row.columnCount).map { row.value($0) })
        }
        return rows
    }

    /// The first column of the first row, nil when there is no row.
    public func value(_ sql: String, _ parameters: [SQLiteValue] = []) throws(SQLiteError) -> SQLiteValue? {
        try query(sql, parameters).first?.first
    }

    /// Runs `body` in one read transaction: all its reads see the same state of the file.
    public func snapshot<Result>(_ body: () throws -> Result) throws -> Result {
        try execute("BEGIN")
        do {
            // BEGIN alone takes no lock; the first read does.
            _ = try query("SELECT count(*) FROM sqlite_master")
            let result = try body()
            try execute("COMMIT")
            return result
        } catch {
            try? execute("ROLLBACK")
            throw error
        }
    }

    /// Takes the write lock (and in rollback-journal mode also shuts readers out) until `unlock()`.
    public func lockExclusively() throws(SQLiteError) { try execute("BEGIN EXCLUSIVE") }

    /// Gives the lock of `lockExclusively` back.
    public func unlock() throws(SQLiteError) { try execute("ROLLBACK") }

    /// Whether a table of this name exists.
    public func hasTable(_ name: String) throws(SQLiteError) -> Bool {
        try !query("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", [.string(name)]).isEmpty
    }

    /// Calls `body` for every row, without keeping them.
    func forEachRow(
        _ sql: String,
        _ parameters: [SQLiteValue] = [],
        _ body: (SQLiteRow) -> Void
    ) throws(SQLiteError) {
        var prepared: OpaquePointer?
        guard sqlite3_prepare_v2(database, sql, -1, &prepared, nil) == SQLITE_OK, let statement = prepared else {
            throw error(sql)
        }
        defer { sqlite3_finalize(statement) }
        for (index, parameter) in parameters.enumerated() { bind(statement, Int32(index + 1), parameter) }
        while true {
            switch sqlite3_step(statement) {
            case SQLITE_ROW: body(SQLiteRow(statement: statement))
            case SQLITE_DONE: return
            default: throw error(sql)
            }
        }
    }

    private func bind(_ statement: OpaquePointer, _ index: Int32, _ value: SQLiteValue) {
        // SQLITE_TRANSIENT, a cast macro that Swift does not see: SQLite copies the bytes.
        let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)
        switch value {
        case .null: sqlite3_bind_null(statement, index)
        case .integer(let value): sqlite3_bind_int64(statement, index, value)
        case .real(let value): sqlite3_bind_double(statement, index, value)
        case .text(let bytes):
            if bytes.isEmpty {
                sqlite3_bind_text(statement, index, "", 0, transient)
            } else {
                _ = bytes.withUnsafeBytes { buffer in
                    let start = buffer.baseAddress?.assumingMemoryBound(to: CChar.self)
                    return sqlite3_bind_text(statement, index, start, Int32(buffer.count), transient)
                }
            }
        case .blob(let bytes):
            if bytes.isEmpty {
                sqlite3_bind_zeroblob(statement, index, 0)
            } else {
                _ = bytes.withUnsafeBytes {
                    sqlite3_bind_blob64(statement, index, $0.baseAddress, UInt64($0.count), transient)
                }
            }
        }
    }

    private func error(_ sql: String) -> SQLiteError {
        let message = String(cString: sqlite3_errmsg(database))
        return SQLiteError(code: sqlite3_extended_errcode(database), description: "\(message) in: \(sql.prefix(200))")
    }
}

/// The current row of a statement; valid inside `forEachRow` only.
struct SQLiteRow {
    fileprivate let statement: OpaquePointer

    var columnCount: Int { Int(sqlite3_column_count(statement)) }

    enum ValueType {
        case null
        case integer
        case real
        case text
        case blob
    }

    func type(_ column: Int) -> ValueType {
        switch sqlite3_column_type(statement, Int32(column)) {
        case SQLITE_INTEGER: .integer
        case SQLITE_FLOAT: .real
        case SQLITE_TEXT: .text
        case SQLITE_BLOB: .blob
        default: .null
        }
    }

    func integer(_ column: Int) -> Int64 { sqlite3_column_int64(statement, Int32(column)) }

    func real(_ column: Int) -> Double { sqlite3_column_double(statement, Int32(column)) }

    /// The bytes of a text or blob, valid until the next row.
    func bytes(_ column: Int) -> UnsafeRawBufferPointer {
        let start = sqlite3_column_blob(statement, Int32(column))
        return UnsafeRawBufferPointer(
            start: start,
            count: start == nil ? 0 : Int(sqlite3_column_bytes(statement, Int32(column)))
        )
    }

    func value(_ column: Int) -> SQLiteValue {
        switch type(column) {
        case .null: .null
        case .integer: .integer(integer(column))
        case .real: .real(real(column))
        case .text: .text(Array(bytes(column)))
        case .blob: .blob(Array(bytes(column)))
        }
    }
}
