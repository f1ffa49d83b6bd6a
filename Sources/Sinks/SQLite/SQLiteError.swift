internal import CSQLite
internal import CdcCore

/// What a SQLite result code means for the pipeline.
///
/// See https://sqlite.org/rescode.html
enum SQLiteError {
    /// The error of a call that returned `code` on `database`.
    static func make(
        _ code: Int32,
        database: OpaquePointer?,
        path: String,
        operation: String,
        table: TableRef? = nil,
        lsn: LSN? = nil
    ) -> SinkError {
        // SQLite's messages name tables, columns and types, never a value.
        let message = database.map { String(cString: sqlite3_errmsg($0)) } ?? String(cString: sqlite3_errstr(code))
        var error = SinkError(
            kind(code),
            operation: operation,
            table: table,
            lsn: lsn,
            cause: "\(name(code)) (\(code)): \(message)",
            remedy: remedy(code, path: path)
        )
        error.concernsRows = [SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_TOOBIG].contains(code & 0xFF)
        return error
    }

    /// Whether the same call may succeed later.
    static func kind(_ code: Int32) -> SinkError.Kind {
        switch code & 0xFF {
        case SQLITE_BUSY, SQLITE_LOCKED, SQLITE_FULL, SQLITE_IOERR, SQLITE_NOMEM, SQLITE_CANTOPEN, SQLITE_PROTOCOL,
            SQLITE_READONLY, SQLITE_INTERRUPT, SQLITE_PERM:
            .retriable
        default:
            .permanent
        }
    }

    /// Whether the connection is to be opened anew before the next try.
    static func spoilsConnection(_ code: Int32) -> Bool {
        switch code & 0xFF {
        case SQLITE_IOERR, SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_CANTOPEN, SQLITE_PROTOCOL, SQLITE_READONLY,
            SQLITE_NOMEM:
            true
        default:
            false
        }
    }

    private static func remedy(_ code: Int32, path: String) -> String {
        switch code & 0xFF {
        case SQLITE_BUSY, SQLITE_LOCKED, SQLITE_PROTOCOL:
            "another process holds a lock on \(path): end its transaction; the daemon tries again"
        case SQLITE_FULL:
            "make room on the file system of \(path); the daemon tries again"
        case SQLITE_IOERR:
            "look at the system's log for errors of the disk that holds \(path); the daemon tries again"
        case SQLITE_CANTOPEN, SQLITE_PERM, SQLITE_READONLY:
            "make \(path) and its directory writable for the daemon's user; the daemon tries again"
        case SQLITE_NOMEM:
            "give the process more memory; the daemon tries again"
        case SQLITE_CORRUPT, SQLITE_NOTADB:
            "restore \(path) from a backup, or remove it and the slot and copy anew"
        case SQLITE_CONSTRAINT, SQLITE_MISMATCH:
            "the table at the sink no longer fits the source: compare the two, or copy the table anew"
        case SQLITE_TOOBIG:
            "the row is larger than SQLite holds (1 GB): exclude the column from the publication"
        default:
            "compare the table at the sink with the source's"
        }
    }

    /// The code's name in SQLite's manual: the extended one where it tells more.
    static func name(_ code: Int32) -> String {
        extended[code] ?? primary[code & 0xFF] ?? "SQLite error"
    }

    private static let primary: [Int32: String] = [
        SQLITE_ERROR: "SQLITE_ERROR", SQLITE_INTERNAL: "SQLITE_INTERNAL", SQLITE_PERM: "SQLITE_PERM",
        SQLITE_ABORT: "SQLITE_ABORT", SQLITE_BUSY: "SQLITE_BUSY", SQLITE_LOCKED: "SQLITE_LOCKED",
        SQLITE_NOMEM: "SQLITE_NOMEM", SQLITE_READONLY: "SQLITE_READONLY", SQLITE_INTERRUPT: "SQLITE_INTERRUPT",
        SQLITE_IOERR: "SQLITE_IOERR", SQLITE_CORRUPT: "SQLITE_CORRUPT", SQLITE_FULL: "SQLITE_FULL",
        SQLITE_CANTOPEN: "SQLITE_CANTOPEN", SQLITE_PROTOCOL: "SQLITE_PROTOCOL", SQLITE_SCHEMA: "SQLITE_SCHEMA",
        SQLITE_TOOBIG: "SQLITE_TOOBIG", SQLITE_CONSTRAINT: "SQLITE_CONSTRAINT", SQLITE_MISMATCH: "SQLITE_MISMATCH",
        SQLITE_MISUSE: "SQLITE_MISUSE", SQLITE_AUTH: "SQLITE_AUTH", SQLITE_RANGE: "SQLITE_RANGE",
        SQLITE_NOTADB: "SQLITE_NOTADB",
    ]

    // The header's macros of extended codes are expressions, which Swift does not see: primary | number << 8.
    private static let extended: [Int32: String] = [
        SQLITE_CONSTRAINT | 3 << 8: "SQLITE_CONSTRAINT_FOREIGNKEY",
        SQLITE_CONSTRAINT | 5 << 8: "SQLITE_CONSTRAINT_NOTNULL",
        primaryKeyTaken: "SQLITE_CONSTRAINT_PRIMARYKEY",
        SQLITE_CONSTRAINT | 7 << 8: "SQLITE_CONSTRAINT_TRIGGER",
        uniqueTaken: "SQLITE_CONSTRAINT_UNIQUE",
        rowidTaken: "SQLITE_CONSTRAINT_ROWID",
        SQLITE_CONSTRAINT | 12 << 8: "SQLITE_CONSTRAINT_DATATYPE",
        SQLITE_IOERR | 1 << 8: "SQLITE_IOERR_READ",
        SQLITE_IOERR | 2 << 8: "SQLITE_IOERR_SHORT_READ",
        SQLITE_IOERR | 3 << 8: "SQLITE_IOERR_WRITE",
        SQLITE_IOERR | 4 << 8: "SQLITE_IOERR_FSYNC",
        SQLITE_IOERR | 6 << 8: "SQLITE_IOERR_TRUNCATE",
        SQLITE_IOERR | 19 << 8: "SQLITE_IOERR_SHMSIZE",
        SQLITE_IOERR | 21 << 8: "SQLITE_IOERR_SHMMAP",
        SQLITE_BUSY | 1 << 8: "SQLITE_BUSY_RECOVERY",
        SQLITE_BUSY | 2 << 8: "SQLITE_BUSY_SNAPSHOT",
        SQLITE_READONLY | 4 << 8: "SQLITE_READONLY_DBMOVED",
        SQLITE_READONLY | 6 << 8: "SQLITE_READONLY_DIRECTORY",
        SQLITE_CANTOPEN | 2 << 8: "SQLITE_CANTOPEN_ISDIR",
    ]

    static let primaryKeyTaken = SQLITE_CONSTRAINT | 6 << 8
    static let uniqueTaken = SQLITE_CONSTRAINT | 8 << 8
    static let rowidTaken = SQLITE_CONSTRAINT | 10 << 8

    /// Whether an insert failed because its key is there already.
    static func isKeyTaken(_ code: Int32) -> Bool {
        code == primaryKeyTaken || code == rowidTaken || code == uniqueTaken
    }
}
