internal import CLibpq
internal import CdcCore
internal import Libpq

/// What the target's server or libpq said, before anybody knows which table it is about.
struct PostgresError: Error {
    /// What went wrong with a session or a statement.
    enum Reason {
        /// The server's answer.
        case server
        /// The session is gone; whether what was sent took effect is unknown.
        case lost
        /// No answer within the time given; the session is of no use any more.
        case timeout
    }

    var reason: Reason
    /// Five characters, where the server gave them.
    var sqlState: String?
    /// The server's message without values, or libpq's.
    var message: String
    /// The constraint or column that the server names.
    var constraint: String?
    /// Whether a function of the target raised it, with whatever code.
    var isRaised = false

    /// The row of a COPY that the server was at, from 1, where that is the row to blame.
    var copiedRow: Int?

    /// Whether the row may be to blame: its data, a constraint, a limit of sizes, or what a trigger said of it.
    private var concernsRows: Bool {
        isRaised || ["22", "23", "21", "44", "54", "P0", "38", "39"].contains(String(sqlState?.prefix(2) ?? ""))
    }

    /// Whether the session is of no use any more.
    ///
    /// A read-only one may be that of a former primary: a new session may find the new one.
    var endsSession: Bool {
        guard reason == .server else { return true }
        guard let sqlState else { return false }
        return sqlState.hasPrefix("57P0") || sqlState.hasPrefix("08") || ["25P03", "25P04", "25006"].contains(sqlState)
    }

    /// Whether the same rows in another order may pass: a set of them met a constraint that holds after each source statement.
    var mayPassInOrder: Bool {
        ["23505", "23503", "23P01", "21000"].contains(sqlState ?? "")
    }

    /// Classes of https://www.postgresql.org/docs/current/errcodes-appendix.html that waiting may mend.
    private var isRetriable: Bool {
        guard reason == .server else { return true }
        guard let sqlState else { return false }
        switch sqlState.prefix(2) {
        case "08", "53", "58": return true
        default: break
        }
        return [
            "40001", "40P01", "55P03", "57P01", "57P02", "57P03", "57P05", "25006", "57014", "25P03", "25P04", "55006",
        ]
        .contains(sqlState)
    }

    /// The refusals that the operator mends before anything runs: authentication, a database or privilege that is missing.
    private var isConfiguration: Bool {
        guard reason == .server, let sqlState else { return false }
        return sqlState.hasPrefix("28") || sqlState == "3D000" || sqlState == "42501"
    }

    /// As the pipeline wants it.
    func sinkError(_ operation: String, table: TableRef? = nil, lsn: LSN? = nil) -> SinkError {
        var error = SinkError(
            isRetriable ? .retriable : isConfiguration ? .configuration : .permanent,
            operation: operation,
            table: table,
            lsn: lsn,
            cause: cause,
            remedy: remedy
        )
        error.concernsRows = concernsRows
        return error
    }

    private var cause: String {
        let code = sqlState.map { "SQLSTATE \($0): " } ?? ""
        return code + message + (constraint.map { " (\($0))" } ?? "")
    }

    private var remedy: String {
        switch sqlState {
        case "42501": "grant the role of SINK_URL what the message names"
        case "28P01", "28000": "correct user and password in SINK_URL, SINK_USER and SINK_PASSWORD, or pg_hba.conf"
        case "3D000": "create the database, or correct SINK_URL"
        case "25006": "waiting for a target that can be written to; check that SINK_URL names the primary"
        case "23505", "23503", "23P01", "23514", "23502":
            "compare the row at the target with the source's; drop the constraint if the source has no such one"
        case "42P01", "42703", "42P10":
            "the target's table was changed: restore it, or restart the daemon to see what differs"
        case "22021", "22P05": "the target's encoding cannot hold the text: use a database with encoding UTF8"
        default: isRetriable ? "trying again" : "see the target's log for the whole message"
        }
    }

    /// Values of rows stand in messages of these classes: only code, names and condition may leave.
    private static func quotesValues(_ sqlState: String) -> Bool {
        ["22", "23", "21", "P0", "38", "39", "44"].contains(String(sqlState.prefix(2)))
    }

    /// An error of a result.
    init(result: OpaquePointer) {
        func field(_ code: Character) -> String? { Answers.field(code, result) }
        reason = .server
        sqlState = field("C")
        let primary = field("M") ?? ""
        guard let sqlState else {
            // libpq's own, for example when the connection broke.
            reason = .lost
            message = Answers.oneLine(PQresultErrorMessage(result).map { String(cString: $0) } ?? primary)
            return
        }
        let context = field("W") ?? ""
        // What a function of the target says is its author's choice, and may be a value of the row.
        isRaised = field("R") == "exec_stmt_raise" || context.hasPrefix("PL/")
        message =
            isRaised
            ? "a trigger or function of the target raised it"
            : PostgresError.quotesValues(sqlState) ? PostgresError.condition(sqlState) : primary
        let names = [("constraint", "n"), ("column", "c"), ("type", "d")] as [(String, Character)]
        constraint = names.lazy.compactMap { name, code in field(code).map { "\(name) \"\($0)\"" } }.first
        if constraint == nil { constraint = PostgresError.copiedColumn(context) }
        // What is found out before a row joins the others that are stored together; of those the context names any.
        if isRaised || sqlState.hasPrefix("22") || sqlState == "23502" || sqlState == "23514" {
            copiedRow = PostgresError.copiedRow(context)
        }
    }

    init(_ reason: Reason, _ message: String) {
        self.reason = reason
        self.message = message
    }

    /// A failed attempt to connect: the SQLSTATE stands in the verbose message.
    init(connecting handle: OpaquePointer) {
        message = Answers.message(of: handle)
        sqlState = Answers.sqlState(ofRefusal: message)
        reason = sqlState == nil ? .lost : .server
    }

    /// `COPY t, line 5, column v: "secret"` names the column before the value.
    private static func copiedColumn(_ context: String) -> String? {
        guard context.hasPrefix("COPY "), let mark = context.firstRange(of: ", column ") else { return nil }
        return "column \"\(context[mark.upperBound...].prefix { $0 != ":" && $0 != "\n" })\""
    }

    /// `COPY t, line 5`, behind the function that raised it where there is one.
    private static func copiedRow(_ context: String) -> Int? {
        guard let line = context.split(separator: "\n").last(where: { $0.hasPrefix("COPY ") }),
            let mark = line.firstRange(of: ", line ")
        else { return nil }
        return Int(line[mark.upperBound...].prefix { $0 >= "0" && $0 <= "9" })
    }

    private static func condition(_ sqlState: String) -> String {
        switch sqlState {
        case "21000": "a set has one row twice"
        case "22001": "value too long for its column"
        case "22003": "number out of range"
        case "22007", "22008": "date or time out of range or not understood"
        case "22021", "22P05": "text that the target's encoding cannot hold"
        case "22P02": "text that the column's type does not take"
        case "22P03": "binary form that the column's type does not take"
        case "23502": "NULL in a NOT NULL column"
        case "23503": "foreign key violated"
        case "23505": "unique constraint violated"
        case "23514": "check constraint violated"
        case "23P01": "exclusion constraint violated"
        case "P0001": "a trigger or function of the target raised an exception"
        default: "the target refused a row"
        }
    }
}
