import CLibpq
import Glibc

/// An error of PostgreSQL or of the connection to it.
public struct PgError: Error, CustomStringConvertible, Sendable {
    /// Five characters, nil when the connection failed before the server could say one.
    public let sqlState: String?
    /// The server's or libpq's text.
    public let message: String
    /// True when the connection is gone: the outcome of a COMMIT is then unknown.
    public let isConnectionLost: Bool

    /// For messages.
    public var description: String { "[\(sqlState ?? "no SQLSTATE")] \(message)" }
}

/// A blocking connection to PostgreSQL, for one thread at a time.
public final class PgClient {
    /// The session settings under which the daemon reads values; `SET` commands of one simple query.
    public static let pinnedSettings = """
        SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; SET extra_float_digits = 3; \
        SET bytea_output = 'hex'; SET lc_monetary = 'C'; SET client_encoding = 'UTF8'; SET search_path = ''; \
        SET row_security = off; SET application_name = 'dbmazz-test';
        """

    let connection: OpaquePointer

    /// Connects.
    ///
    /// - Parameters:
    ///   - url: A libpq URI or connection string.
    ///   - pinned: Whether to apply `pinnedSettings` (an empty search_path among them: qualify every name).
    /// - Throws: `PgError` when there is no connection.
    public init(_ url: String, pinned: Bool = true) throws(PgError) {
        let names: [UnsafePointer<CChar>?] = [Self.dbname, Self.connectTimeout, nil]
        let opened = url.withCString { url in
            "20".withCString { timeout in
                PQconnectdbParams(names, [url, timeout, nil], 1)
            }
        }
        guard let opened else {
            throw PgError(sqlState: nil, message: "libpq is out of memory", isConnectionLost: true)
        }
        connection = opened
        PQsetNoticeProcessor(opened, { _, _ in }, nil)
        guard PQstatus(opened) == CONNECTION_OK else { throw connectionError() }
        if pinned { try execute(Self.pinnedSettings) }
    }

    deinit { PQfinish(connection) }

    /// True while libpq believes in the connection.
    public var isConnected: Bool { PQstatus(connection) == CONNECTION_OK }

    /// The process id of the server's backend.
    public var backendPID: Int32 { PQbackendPID(connection) }

    /// Runs one or several statements and ignores their rows.
    public func execute(_ sql: String) throws(PgError) {
        try check(PQexec(connection, sql)).close()
    }

    /// Runs one statement with text parameters `$1…` and returns its rows as text.
    public func query(_ sql: String, _ parameters: [String?] = []) throws(PgError) -> [[String?]] {
        let result = try run(sql, parameters)
        defer { result.close() }
        return (0..<result.rowCount).map { row in
            (0..<result.columnCount).map { column in
                result.bytes(row, column).map { String(decoding: $0, as: UTF8.self) }
            }
        }
    }

    /// Like `query`, with the values' bytes: `==` of Swift strings ignores how a character is composed.
    public func queryBytes(_ sql: String, _ parameters: [String?] = []) throws(PgError) -> [[[UInt8]?]] {
        let result = try run(sql, parameters)
        defer { result.close() }
        return (0..<result.rowCount).map { row in
            (0..<result.columnCount).map { column in result.bytes(row, column).map { Array($0) } }
        }
    }

    /// The first column of the first row, nil when there is no row or it is NULL.
    public func value(_ sql: String, _ parameters: [String?] = []) throws(PgError) -> String? {
        try query(sql, parameters).first?.first ?? nil
    }

    /// Runs one statement; the caller reads the rows from libpq's own memory and closes the result.
    func run(_ sql: String, _ parameters: [String?]) throws(PgError) -> PgResult {
        let copies = parameters.map { $0.flatMap { strdup($0) } }
        defer { for copy in copies { free(copy) } }
        let values = copies.map { UnsafePointer($0) }
        return try check(PQexecParams(connection, sql, Int32(values.count), nil, values, nil, nil, 0))
    }

    /// Runs a command by the simple protocol, which is all that a replication connection understands.
    func run(_ sql: String, simple: Void) throws(PgError) -> PgResult { try check(PQexec(connection, sql)) }

    private func check(_ pointer: OpaquePointer?) throws(PgError) -> PgResult {
        guard let pointer else { throw connectionError() }
        switch PQresultStatus(pointer) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY, PGRES_COPY_BOTH:
            return PgResult(pointer: pointer)
        default:
            defer { PQclear(pointer) }
            let state = PQresultErrorField(pointer, 67).map { String(cString: $0) }  // PG_DIAG_SQLSTATE 'C'
            let message = PQresultErrorMessage(pointer).map { String(cString: $0) } ?? ""
            let shutdown = ["57P01", "57P02", "57P03"].contains(state ?? "")
            // An error without a SQLSTATE is libpq's own: it has no answer of the server.
            let lost = shutdown || state == nil || PQstatus(connection) != CONNECTION_OK
            throw PgError(sqlState: state, message: message.trimmedEnd, isConnectionLost: lost)
        }
    }

    func connectionError() -> PgError {
        let message = PQerrorMessage(connection).map { String(cString: $0) } ?? ""
        return PgError(sqlState: nil, message: message.trimmedEnd, isConnectionLost: true)
    }

    // libpq wants C strings that outlive the call; these two live as long as the process.
    nonisolated(unsafe) private static let dbname = UnsafePointer<CChar>(strdup("dbname"))
    nonisolated(unsafe) private static let connectTimeout = UnsafePointer<CChar>(strdup("connect_timeout"))
}

/// The rows of one statement in libpq's memory, until `close`.
struct PgResult {
    fileprivate let pointer: OpaquePointer

    var rowCount: Int { Int(PQntuples(pointer)) }
    var columnCount: Int { Int(PQnfields(pointer)) }
    var affectedRows: Int { Int(String(cString: PQcmdTuples(pointer))) ?? 0 }

    /// A value's bytes, valid until `close`; nil for NULL.
    func bytes(_ row: Int, _ column: Int) -> UnsafeRawBufferPointer? {
        guard PQgetisnull(pointer, Int32(row), Int32(column)) == 0 else { return nil }
        let start = PQgetvalue(pointer, Int32(row), Int32(column))
        return UnsafeRawBufferPointer(start: start, count: Int(PQgetlength(pointer, Int32(row), Int32(column))))
    }

    func close() { PQclear(pointer) }
}

extension String {
    fileprivate var trimmedEnd: String {
        var text = self[...]
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text)
    }
}
