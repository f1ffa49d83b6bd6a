internal import CdcCore
internal import HTTPClient

/// What StarRocks' words and codes mean for the pipeline.
enum StarRocksError {
    /// A load, or a step of a transaction, that the server answered with `Fail` and words of its own.
    ///
    /// `details` is what its log says of the refused rows, without their values.
    static func failure(
        _ message: String,
        details: String = "",
        operation: String,
        table: TableRef?,
        lsn: LSN?
    ) -> SinkError {
        let (kind, remedy, pause, concernsRows) = meaning(of: message.lowercased())
        var error = SinkError(
            kind,
            operation: operation,
            table: table,
            lsn: lsn,
            cause: "StarRocks says: \(brief(message))" + (details.isEmpty ? "" : " (\(details))"),
            remedy: remedy
        )
        error.pause = pause
        error.concernsRows = concernsRows
        return error
    }

    private static func meaning(of message: String) -> (SinkError.Kind, String, Duration, Bool) {
        func has(_ texts: String...) -> Bool { texts.contains { message.contains($0) } }
        if has("too many filtered rows", "primary key size exceed", "key size exceed") {
            return (
                .permanent, "correct the rows at the source or widen the column, see the connector's README", .zero,
                true
            )
        }
        if has("access denied", "no valid basic authorization", "unauthorized") {
            return (.configuration, "correct SINK_USER and SINK_PASSWORD, or grant INSERT on the table", .zero, false)
        }
        if has("unknown database", "unknown table", "unknown column", "not exist", "no partition", "not found column") {
            return (.schemaMismatch, "the table is not as it was: the next start says what is missing", .zero, false)
        }
        if has("only primary key table support", "unknown data format", "not a primary key") {
            return (.permanent, "the table is to be a primary-key table: see the connector's README", .zero, false)
        }
        if has("current running txns on db") {
            return (.retriable, "too many loads run in this database: trying again later", .seconds(5), false)
        }
        if has("too many versions", "too many tablet versions", "tablet versions") {
            return (
                .retriable, "the table gets too many loads: trying again later; set SINK_FLUSH_INTERVAL_MS higher",
                .seconds(10), false
            )
        }
        if has("close index channel failed", "mem limit", "memory limit", "memory of process exceed") {
            return (.retriable, "the back end is overloaded: trying again later", .seconds(5), false)
        }
        return (.retriable, "trying again", .zero, false)
    }

    /// CURLE_COULDNT_RESOLVE_HOST.
    private static let cannotResolve: Int32 = 6

    /// A request that brought no answer.
    static func error(_ error: HTTPError, operation: String, table: TableRef?, lsn: LSN?) -> SinkError {
        let kind: SinkError.Kind
        let remedy: String
        switch error.kind {
        case .unreachable:
            // The front end names back ends as they know each other.
            let isName = error.code == Self.cannotResolve
            (kind, remedy) = (
                .retriable,
                isName
                    ? "trying again; a back end whose name is not known here is to be in SINK_STARROCKS_HOST_MAP"
                    : "trying again"
            )
        case .ambiguous, .cancelled, .tooLarge:
            (kind, remedy) = (.retriable, "asking for the load's label, then trying again")
        case .tls: (kind, remedy) = (.configuration, "correct SINK_TLS_CA, SINK_TLS_CERT or the server's certificate")
        case .invalid: (kind, remedy) = (.configuration, "correct SINK_URL, SINK_TLS_* and SINK_STARROCKS_HOST_MAP")
        case .redirects:
            (kind, remedy) = (.configuration, "the front end is to redirect to a back end once, by the same scheme")
        }
        return SinkError(
            kind,
            operation: operation,
            table: table,
            lsn: lsn,
            cause: error.description,
            remedy: remedy
        ).ofTarget
    }

    /// An answer that is no answer of StarRocks.
    static func error(status: Int, operation: String, table: TableRef?, lsn: LSN?) -> SinkError {
        let kind: SinkError.Kind
        let remedy: String
        switch status {
        case 401, 403: (kind, remedy) = (.configuration, "correct SINK_USER and SINK_PASSWORD")
        case 400, 404, 405, 411, 413:
            (kind, remedy) = (.configuration, "SINK_URL is to be the front end's HTTP port; look at what is between")
        default: (kind, remedy) = (.retriable, "trying again")
        }
        return SinkError(
            kind,
            operation: operation,
            table: table,
            lsn: lsn,
            cause: "HTTP status \(status) without an answer of StarRocks",
            remedy: remedy
        ).ofTarget
    }

    /// The first line, and not more than a log can bear.
    static func brief(_ message: String) -> String {
        let line = message.split(whereSeparator: \.isNewline).first.map(String.init) ?? "nothing"
        return line.count > 400 ? String(line.prefix(400)) + "…" : line
    }

    /// What an error log says first, without what the row holds.
    ///
    /// A line is `Error: …. Row: …`. What is behind `Row:` or `Value:` is cut off, and so are further lines, which may be a
    /// value's; quoted text that is not a column's name is replaced by stars.
    static func redacted(_ log: String, columns: Set<String>) -> String {
        guard var reason = log.split(whereSeparator: \.isNewline).first, reason.hasPrefix("Error: ") else { return "" }
        for mark in ["Row:", ", Value:"] {
            if let place = reason.firstRange(of: mark) { reason = reason[..<place.lowerBound] }
        }
        var shown = ""
        for (index, part) in reason.split(separator: "'", omittingEmptySubsequences: false).enumerated() {
            let isPlain = index % 2 == 0 || columns.contains(String(part))
            shown += index % 2 == 0 ? String(part) : isPlain ? "'\(part)'" : "'***'"
        }
        while let last = shown.last, " .".contains(last) { shown.removeLast() }
        return brief(shown)
    }
}
