/// A commit of the source: how far a sink is.
public struct SourcePosition: Hashable, Sendable {
    /// Where the commit record begins.
    ///
    /// Orders transactions.
    public var commitLSN: LSN
    /// How many changes the transaction had, or how many of them this position covers.
    public var ordinal: UInt64
    /// Where the commit record ends.
    ///
    /// This is what is stored and acknowledged: PostgreSQL resends only what commits after it.
    public var endLSN: LSN

    /// Makes a position.
    public init(commitLSN: LSN, ordinal: UInt64 = 0, endLSN: LSN) {
        self.commitLSN = commitLSN
        self.ordinal = ordinal
        self.endLSN = endLSN
    }

    /// A position that is not a commit's: a consistent point, or the WAL end of a keepalive.
    public init(at lsn: LSN) {
        self.init(commitLSN: lsn, endLSN: lsn)
    }
}

/// The version of a row: commit LSN · 2⁶⁴ + ordinal of the change in its transaction.
///
/// Neither part orders rows alone. A transaction that is open at a copy's consistent point writes its change before that
/// point and commits after it, so by the change's own LSN the copied row would win; an insert writes WAL before its unique
/// check, so it can precede the delete that it waits for; and the commit LSN repeats within a transaction.
public struct RowVersion: Hashable, Comparable, Sendable, BitwiseCopyable {
    /// The commit LSN, or the consistent point for a row of the initial copy.
    public var commitLSN: LSN
    /// The change's place in its transaction, from 1; 0 for a row of the initial copy.
    public var ordinal: UInt64

    /// Makes a version.
    public init(commitLSN: LSN, ordinal: UInt64) {
        self.commitLSN = commitLSN
        self.ordinal = ordinal
    }

    /// The version as one number, for sinks with 128-bit integers.
    public var number: UInt128 {
        UInt128(commitLSN.rawValue) << 64 | UInt128(ordinal)
    }

    /// 32 hexadecimal digits that sort as the number does.
    public var hexadecimal: String {
        RowVersion.padded(commitLSN.rawValue) + RowVersion.padded(ordinal)
    }

    private static func padded(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// Orders as the changes happened.
    public static func < (left: RowVersion, right: RowVersion) -> Bool {
        (left.commitLSN, left.ordinal) < (right.commitLSN, right.ordinal)
    }
}
