/// What happened to a row or a table.
public enum ChangeKind: UInt8, BitwiseCopyable, Sendable {
    /// A new row.
    case insert
    /// A changed row.
    case update
    /// A removed row.
    case delete
    /// All rows of the table removed: a barrier.
    case truncate
}

/// Which old row came with an update or delete.
public enum OldTuple: UInt8, BitwiseCopyable, Sendable {
    /// None: the key is that of the new row.
    case none
    /// The identity's columns; all others are NULL in the tuple and unknown.
    case key
    /// The whole row.
    case full
}

/// One operation of a batch: 32 bytes without references, the row's cells lie in the batch.
public struct Change: BitwiseCopyable, Sendable {
    /// What happened.
    public let kind: ChangeKind
    /// Which old row there is.
    public let oldTuple: OldTuple
    /// Whether an update changed the key's bytes.
    ///
    /// A key tuple is no proof of it: a toasted key sends one on every update.
    public let changesKey: Bool
    /// Whether the new row has columns that the update did not touch and that no old row carries.
    public let isPartial: Bool
    /// Index into the batch's tables.
    public let table: UInt32
    @usableFromInline let newCells: UInt32
    @usableFromInline let oldCells: UInt32
    /// Index into the batch's transactions.
    public let transaction: UInt32
    /// The next change of the same table in this batch, or `UInt32.max`.
    public var nextOfTable: UInt32
    /// The change's place in its transaction, from 1; 0 for a row of the initial copy.
    public let ordinal: UInt64

    @inlinable
    init(
        kind: ChangeKind,
        oldTuple: OldTuple,
        changesKey: Bool,
        isPartial: Bool,
        table: UInt32,
        newCells: UInt32,
        oldCells: UInt32,
        transaction: UInt32,
        nextOfTable: UInt32,
        ordinal: UInt64
    ) {
        self.kind = kind
        self.oldTuple = oldTuple
        self.changesKey = changesKey
        self.isPartial = isPartial
        self.table = table
        self.newCells = newCells
        self.oldCells = oldCells
        self.transaction = transaction
        self.nextOfTable = nextOfTable
        self.ordinal = ordinal
    }
}

/// A source transaction that a batch holds changes of.
public struct TransactionInfo: BitwiseCopyable, Sendable {
    /// The transaction's id, without its epoch; 0 for the initial copy.
    public var xid: UInt32
    /// Where its commit record begins; the consistent point for the initial copy.
    public var commitLSN: LSN
    /// When it committed: microseconds since 2000-01-01 UTC.
    public var commitTime: Int64
    /// Where its commit record ends, once the commit arrived in this batch.
    public var endLSN: LSN?

    /// Makes a transaction.
    public init(xid: UInt32, commitLSN: LSN, commitTime: Int64, endLSN: LSN? = nil) {
        self.xid = xid
        self.commitLSN = commitLSN
        self.commitTime = commitTime
        self.endLSN = endLSN
    }
}
