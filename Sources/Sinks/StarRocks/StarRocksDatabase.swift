internal import CdcCore
internal import MySQLClient

/// StarRocks' MySQL port: statements, and rows to read.
final class StarRocksDatabase {
    private let config: StarRocksConfig
    private var connection: MySQLConnection?
    /// When whoever called the sink wants an answer; nil for calls without a deadline of their own.
    var limit: ContinuousClock.Instant?

    /// How long a statement may take.
    private static let patience = Duration.seconds(60)

    init(_ config: StarRocksConfig) { self.config = config }

    func close() {
        connection?.close()
        connection = nil
    }

    /// The rows of a small result as text, NULL as nil.
    func rows(_ statement: String, operation: String, table: TableRef? = nil) throws(SinkError) -> [[String?]] {
        try perform(operation, table) { (connection, deadline) throws(MySQLError) in
            try Self.catchUp(connection, deadline)
            return try connection.rows(statement, deadline: deadline, byteLimit: 256 << 20)
        }
    }

    /// The only row of a result by the names of its columns, for statements whose columns change with the version.
    func row(_ statement: String, operation: String, table: TableRef) throws(SinkError) -> [(String, String)] {
        try perform(operation, table) { (connection, deadline) throws(MySQLError) in
            var fields: [(String, String)] = []
            try connection.query(statement, deadline: deadline) { row in
                fields = row.columns.indices.map { index in
                    let text = row.withBytes(index) { $0.map { String(decoding: $0, as: UTF8.self) } ?? "" }
                    return (row.columns[index].name, text)
                }
            }
            return fields
        }
    }

    /// Calls `row` with each row of a result, and `restart` before the first, each time that the query is sent.
    func read(
        _ statement: String,
        operation: String,
        table: TableRef? = nil,
        restart: () -> Void,
        row: (borrowing MySQLRow) -> Void
    ) throws(SinkError) {
        try perform(operation, table) { (connection, deadline) throws(MySQLError) in
            try Self.catchUp(connection, deadline)
            restart()
            try connection.query(statement, deadline: deadline) { row($0) }
        }
    }

    /// Has the front end know what others have committed: loads came by another way, and perhaps through another front end.
    ///
    /// See https://docs.starrocks.io/docs/sql-reference/sql-statements/cluster-management/nodes_processes/SYNC
    private static func catchUp(_ connection: MySQLConnection, _ deadline: ContinuousClock.Instant) throws(MySQLError) {
        _ = try connection.execute("SYNC", deadline: deadline)
    }

    /// Runs a statement that may be run twice.
    func run(_ statement: String, operation: String, table: TableRef? = nil) throws(SinkError) {
        _ = try perform(operation, table) { (connection, deadline) throws(MySQLError) in
            try connection.execute(statement, deadline: deadline)
        }
    }

    /// Does something with a connection, and once more with a new one where a kept one was gone.
    private func perform<Result>(
        _ operation: String,
        _ table: TableRef?,
        _ body: (MySQLConnection, ContinuousClock.Instant) throws(MySQLError) -> Result
    ) throws(SinkError) -> Result {
        let deadline = limit ?? .now + Self.patience
        do throws(MySQLError) {
            let isKept = connection?.isUsable ?? false
            do throws(MySQLError) {
                return try body(try connected(), deadline)
            } catch {
                guard isKept, error.kind == .lost, ContinuousClock.now < deadline else { throw error }
                return try body(try connected(), deadline)
            }
        } catch {
            throw Self.error(error, operation, table)
        }
    }

    private func connected() throws(MySQLError) -> MySQLConnection {
        if let connection, connection.isUsable { return connection }
        connection = nil
        var options = MySQLOptions(
            host: config.host,
            port: UInt16(clamping: config.mysqlPort),
            user: config.user,
            password: config.password
        )
        options.encryption = config.mysqlTLS ? .required : .off
        options.certificateAuthority = config.certificateAuthority
        options.certificate = config.certificate
        options.key = config.key
        let made = try MySQLConnection(options, cancellation: config.cancellation)
        // Otherwise DATETIME would be written and compared in the front end's own zone.
        _ = try made.execute("SET time_zone = 'UTC'", deadline: .now + .seconds(10))
        connection = made
        return made
    }

    private static func error(_ error: MySQLError, _ operation: String, _ table: TableRef?) -> SinkError {
        let kind: SinkError.Kind
        let remedy: String
        switch error.kind {
        case .unreachable, .lost, .timeout, .cancelled, .protocol, .limit: (kind, remedy) = (.retriable, "trying again")
        case .authentication:
            (kind, remedy) = (
                .configuration,
                "correct SINK_USER and SINK_PASSWORD; SINK_PORT is to be the front end's MySQL port (9030)"
            )
        case .tls:
            (kind, remedy) = (
                .configuration,
                "correct SINK_TLS_CA, SINK_TLS_CERT or the server's certificate; a server without TLS on its MySQL port "
                    + "needs SINK_STARROCKS_MYSQL_TLS=off"
            )
        case .invalid: (kind, remedy) = (.configuration, "correct SINK_URL, SINK_PORT and SINK_TLS_*")
        case .server:
            switch error.code {
            case 1044, 1045, 1142, 1227, 5203:
                (kind, remedy) = (.configuration, "grant the user what is missing (see the connector's README)")
            case 1049, 5501:
                (kind, remedy) = (.configuration, "create the database, or correct SINK_DATABASE")
            case 1064 where error.message.contains("analyzing error") || error.message.contains("parsing error"):
                (kind, remedy) = (
                    .configuration, "the server does not take the statement; see Limitations in the connector's README"
                )
            default: (kind, remedy) = (.retriable, "trying again; see the front end's log if it stays")
            }
        }
        return SinkError(kind, operation: operation, table: table, cause: error.description, remedy: remedy).ofTarget
    }
}
