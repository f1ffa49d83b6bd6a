/// What a successful comparison of the SQLite file with the model covered.
public struct CheckResult: Sendable, CustomStringConvertible {
    /// The position that the file said it is at; nil while the initial copy is unfinished (nothing is compared then).
    public let lsn: UInt64?
    /// Commits between the last check and this one.
    public let commits: Int
    /// Commits since the beginning.
    public let commitsTotal: Int
    /// Rows that were compared, all tables together.
    public let rows: Int

    /// For messages.
    public var description: String {
        guard let lsn else { return "no position yet" }
        return "equal at \(formatLSN(lsn)): \(rows) rows after \(commits) more commits (\(commitsTotal) in all)"
    }
}

/// The SQLite file, or the source, is not what it should be.
public struct WorkloadMismatch: Error, CustomStringConvertible, Sendable {
    /// Where the comparison was made.
    public let lsn: UInt64?
    /// The first differences.
    public let differences: [String]

    /// For messages.
    public var description: String {
        "at \(lsn.map(formatLSN) ?? "no position"): " + differences.joined(separator: "\n  ")
    }
}
