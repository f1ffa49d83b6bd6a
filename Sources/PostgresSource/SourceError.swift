public import CdcCore

/// Why something about the source failed, and what to do about it.
///
/// Never holds a cell's value or a secret.
public struct SourceError: Error, Sendable {
    /// What the pipeline does about it.
    public enum Kind: Sendable, Equatable {
        /// The source is away or busy: wait and connect again.
        case retriable
        /// The source is shutting down: let it go at once, connect again later.
        case shuttingDown
        /// The operator has to change a setting, a privilege or a table.
        case configuration
        /// The slot is gone or invalidated: changes are missing.
        case slotLost
        /// The slot has moved on past the sink's position: changes are missing.
        case gap
        /// Another daemon runs the pipeline, and this one is not to wait for it.
        case slotInUse
        /// The sink's content comes from another system, slot or timeline.
        case foreignSystem
        /// The source's table and the sink's differ.
        case schemaMismatch
        /// What arrived does not follow the protocol.
        case protocolViolation
        /// The daemon is being stopped.
        case stopped
    }

    /// What the pipeline does about it.
    public var kind: Kind
    /// What was being done.
    public var operation: String
    /// The table, where one is concerned.
    public var table: TableRef?
    /// The place in the WAL, where one is concerned.
    public var lsn: LSN?
    /// PostgreSQL's SQLSTATE, where the server said no.
    public var sqlState: String?
    /// Why, with the server's message.
    public var cause: String
    /// What to do.
    public var remedy: String

    /// Makes an error.
    public init(
        _ kind: Kind,
        operation: String,
        table: TableRef? = nil,
        lsn: LSN? = nil,
        sqlState: String? = nil,
        cause: String,
        remedy: String
    ) {
        self.kind = kind
        self.operation = operation
        self.table = table
        self.lsn = lsn
        self.sqlState = sqlState
        self.cause = cause
        self.remedy = remedy
    }

    /// The daemon is being stopped while something waits.
    public static func stopped(_ operation: String) -> SourceError {
        SourceError(.stopped, operation: operation, cause: "the daemon is stopping", remedy: "nothing to do")
    }
}

extension SourceError: CustomStringConvertible {
    /// One sentence: operation, table, LSN, cause with SQLSTATE, remedy.
    public var description: String {
        var text = "\(operation) failed"
        if let table { text += " for \(table)" }
        if let lsn { text += " at \(lsn)" }
        text += ": \(cause)"
        if let sqlState { text += " (SQLSTATE \(sqlState))" }
        return text + "; \(remedy)"
    }
}

extension SourceError {
    /// What libpq itself refuses, before a server has a say, and no repetition mends.
    private static func isMisconfiguration(_ message: String) -> Bool {
        [
            "no password supplied", "does not support SSL", "invalid port", "invalid integer value", "certificate",
            "sslmode value", "private key", "definition of service",
        ]
        .contains { message.contains($0) }
    }

    /// The error for a server's refusal, classified by its SQLSTATE.
    ///
    /// See https://www.postgresql.org/docs/current/errcodes-appendix.html
    static func server(_ operation: String, sqlState: String?, message: String) -> SourceError {
        let (kind, remedy): (Kind, String) =
            switch sqlState {
            case "57P03" where message.contains("shutting down"):
                (.shuttingDown, "waiting for the source to come back")
            case nil where SourceError.isMisconfiguration(message):
                (.configuration, "correct SOURCE_URL, SOURCE_PASSWORD or the server's settings for TLS")
            case nil, "57P01", "57P02", "57P03", "57P05": (.retriable, "connecting again")
            case "28P01", "28000":
                (.configuration, "check the user and password in SOURCE_URL or SOURCE_PASSWORD, and pg_hba.conf")
            case "3D000": (.configuration, "correct the database's name in SOURCE_URL")
            case "42704":
                (
                    .configuration,
                    "a publication has to exist before the slot that reads it: if it was made later, drop the slot and "
                        + "copy anew"
                )
            case "42501": (.configuration, "grant the privilege that the message names to the user of SOURCE_URL")
            case "53300": (.retriable, "raise max_connections or max_wal_senders on the source; trying again")
            case "53400":
                (.configuration, "raise max_replication_slots on the source, or drop a slot that nobody uses")
            case "55006": (.retriable, "stop the other reader of the slot; trying again")
            case let code? where code.hasPrefix("08") || code.hasPrefix("40") || code.hasPrefix("53"):
                (.retriable, "trying again")
            case let code? where code.hasPrefix("57") || code.hasPrefix("58"): (.retriable, "trying again")
            default: (.configuration, "mend what the message names")
            }
        return SourceError(kind, operation: operation, sqlState: sqlState, cause: message, remedy: remedy)
    }
}
