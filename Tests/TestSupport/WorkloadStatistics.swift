/// What the clients of a workload did so far.
public struct WorkloadStatistics: Sendable {
    /// COMMITs that the server confirmed.
    public var committed = 0
    /// Transactions rolled back on purpose or after an error.
    public var rolledBack = 0
    /// COMMITs whose answer was lost with the connection.
    public var ambiguous = 0
    /// Savepoints rolled back.
    public var savepointsRolledBack = 0
    /// TRUNCATE statements.
    public var truncates = 0
    /// Large transactions that were committed.
    public var large = 0
    /// Connections made after the first of each client.
    public var reconnects = 0
    /// Rows that committed transactions touched, and whole-table truncations.
    public var effects = 0
    /// Errors of the server by SQLSTATE; conflicts among them are part of the workload.
    public var errors: [String: Int] = [:]
    /// Errors that are no conflicts: mistakes of the harness.
    public var unexpected: [String] = []

    /// Nothing done yet.
    public init() {}
}
