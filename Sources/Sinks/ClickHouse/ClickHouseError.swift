internal import CdcCore
internal import HTTPClient

/// What a server's error code means for the pipeline.
///
/// Codes: https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
enum ClickHouseError {
    /// A refusal of the server; of its words only the first line is told, since the rest may quote data.
    static func error(
        code: Int,
        message: String,
        operation: String,
        table: TableRef?,
        lsn: LSN?
    ) -> SinkError {
        let (kind, remedy) = meaning(of: code, message)
        var error = SinkError(
            kind,
            operation: operation,
            table: table,
            lsn: lsn,
            cause: "ClickHouse says: \(brief(message))",
            remedy: remedy
        )
        error.concernsRows = aboutRows.contains(code)
        if code == tooManyParts { error.pause = .seconds(5) }
        return error
    }

    private static let tooManyParts = 252

    /// Codes that tell of values, not of tables or servers.
    private static let aboutRows: Set<Int> = [6, 27, 33, 38, 41, 53, 69, 117, 131, 349, 407, 469, 691]

    private static func meaning(of code: Int, _ message: String) -> (SinkError.Kind, String) {
        switch code {
        case 192, 193, 194, 516: (.configuration, "correct SINK_USER and SINK_PASSWORD")
        case 497: (.configuration, "grant the user what is missing (see the connector's README)")
        case 81: (.configuration, "create the database, or correct SINK_DATABASE")
        case 115:
            (.configuration, "the server does not know a setting that the sink uses: report this with its version")
        case 164: (.retriable, "the server or the user is read-only: trying again")
        case tooManyParts where message.contains("Too many partitions"):
            (.permanent, "the table is not to be partitioned (see the connector's README)")
        case tooManyParts:
            (.retriable, "the server is behind with its merges: trying again later; set SINK_FLUSH_INTERVAL_MS higher")
        case 241: (.retriable, "the server is out of memory: trying again; set SINK_BATCH_SIZE lower if it stays")
        case 242: (.retriable, "the table is read-only for now (keeper?): trying again")
        case 16, 47:
            (.schemaMismatch, "compare the table's columns with the source's; the next start names the statement")
        case 60: (.schemaMismatch, "the table is gone: the next start says what to do")
        case 6, 27, 33, 36, 38, 41, 43, 44, 53, 57, 62, 69, 117, 131, 349, 407, 467, 469, 691:
            (.permanent, "report this as an error of dbmazz-sink, with the server's version")
        default: (.retriable, "trying again")
        }
    }

    /// The first line, without stack traces, and not more than a log can bear.
    private static func brief(_ message: String) -> String {
        let line = message.split(whereSeparator: \.isNewline).first.map(String.init) ?? "nothing"
        // What follows may quote the row: "(at row 3)", "Row 1: Column 0, name: …".
        let kept = line.split(separator: ": (while").first.map(String.init) ?? line
        return kept.count > 400 ? String(kept.prefix(400)) + "…" : kept
    }

    /// A request that brought no answer.
    static func error(_ error: HTTPError, operation: String, table: TableRef?, lsn: LSN?, isRead: Bool) -> SinkError {
        let kind: SinkError.Kind
        let remedy: String
        switch error.kind {
        case .unreachable: (kind, remedy) = (.retriable, "trying again")
        case .ambiguous, .cancelled, .tooLarge:
            (kind, remedy) = (
                .retriable, isRead ? "trying again" : "sending the same again: the server knows what it has"
            )
        case .tls: (kind, remedy) = (.configuration, "correct SINK_TLS_CA, SINK_TLS_CERT or the server's certificate")
        case .invalid: (kind, remedy) = (.configuration, "correct SINK_URL and SINK_TLS_*")
        case .redirects: (kind, remedy) = (.configuration, "set SINK_URL to the server itself")
        }
        return SinkError(
            kind,
            operation: operation,
            table: table,
            lsn: lsn,
            cause: error.description,
            remedy: remedy
        )
    }

    /// An answer that is not ClickHouse's.
    static func error(status: Int, operation: String, table: TableRef?, lsn: LSN?) -> SinkError {
        let isPassing = status == 408 || status == 429 || status >= 500
        return SinkError(
            isPassing ? .retriable : .configuration,
            operation: operation,
            table: table,
            lsn: lsn,
            cause: "HTTP status \(status) without an answer of ClickHouse",
            remedy: isPassing ? "trying again" : "SINK_URL is to be ClickHouse's HTTP port; look at what is between"
        )
    }
}
