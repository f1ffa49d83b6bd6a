/// Why a sink could not do something, and what to do about it.
///
/// Never holds a cell's value or a secret.
public struct SinkError: Error, Sendable {
    /// What the pipeline does about it.
    public enum Kind: Sendable, Equatable {
        /// The same call may succeed later: wait and repeat.
        case retriable
        /// The same call will never succeed: stop, or give the rows up where the operator wants that.
        case permanent
        /// It is not known whether the call took effect: ask ``Sink/durablePosition()`` before repeating.
        case ambiguous
        /// The operator has to change a setting or the target.
        case configuration
        /// The source's table and the target's differ; `remedy` has the statement that is missing.
        case schemaMismatch
        /// Nobody reads the output any more.
        case outputClosed
    }

    /// What the pipeline does about it.
    public var kind: Kind
    /// What was being done, for example `upsert` or `open database`.
    public var operation: String
    /// The source's table, where one is concerned.
    public var table: TableRef?
    /// The commit at which it happened, where one is concerned.
    public var lsn: LSN?
    /// Why, with the target's own code and message.
    public var cause: String
    /// What to do.
    public var remedy: String
    /// The changes of the batch that the sink refuses, by their place in it, where it knows them; ascending.
    public var changes: [Int] = []
    /// Whether rows may be to blame; false for what would refuse any of them, as a table that is gone.
    ///
    /// Only rows become dead letters.
    public var concernsRows = true
    /// How long to wait at least before the same call is repeated.
    public var pause: Duration = .zero

    /// Makes an error.
    public init(
        _ kind: Kind,
        operation: String,
        table: TableRef? = nil,
        lsn: LSN? = nil,
        cause: String,
        remedy: String
    ) {
        self.kind = kind
        self.operation = operation
        self.table = table
        self.lsn = lsn
        self.cause = cause
        self.remedy = remedy
    }
}

extension SinkError {
    /// The same, said of the target as a whole: no row is to blame.
    public var ofTarget: SinkError {
        var error = self
        error.concernsRows = false
        return error
    }
}

extension SinkError: CustomStringConvertible {
    /// One sentence: operation, table, LSN, cause and remedy.
    public var description: String {
        var text = "\(operation) failed"
        if let table { text += " for \(table)" }
        if let lsn { text += " at \(lsn)" }
        return text + ": \(cause); \(remedy)"
    }
}
