public import CdcCore

/// A column as RELATION describes it.
public struct RelationColumn: Hashable, Sendable {
    /// Whether it is part of the replica identity.
    ///
    /// Under FULL every column is.
    public var isKey: Bool
    /// The column's name.
    public var name: String
    /// The type's OID; a domain's own.
    public var typeOID: UInt32
    /// `atttypmod`.
    public var typeModifier: Int32
}

/// What RELATION says of a table, sent before its first row and after every change of it.
public struct RelationMessage: Hashable, Sendable {
    /// The table's OID, by which rows name it.
    public var oid: UInt32
    /// The table's name; an empty namespace means `pg_catalog`.
    public var ref: TableRef
    /// What is logged of old rows.
    public var identity: ReplicaIdentity
    /// The published columns in order.
    public var columns: [RelationColumn]
}

/// One pgoutput message.
///
/// Rows are offsets into the message, not copies of it.
public enum PgOutputMessage: Sendable {
    /// A transaction begins: where its commit record begins, when it committed, its id.
    case begin(TransactionInfo)
    /// The transaction is complete.
    case commit(commitLSN: LSN, endLSN: LSN, time: Int64)
    /// The transaction came from another server.
    case origin(commitLSN: LSN, name: String)
    /// A table's columns.
    case relation(RelationMessage)
    /// A type that is not built in.
    case type(oid: UInt32, schema: String, name: String)
    /// A new row.
    case insert(relation: UInt32, newOffset: Int)
    /// A changed row, perhaps with an old one.
    case update(relation: UInt32, old: OldTuple, oldOffset: Int, newOffset: Int)
    /// A removed row.
    case delete(relation: UInt32, old: OldTuple, oldOffset: Int)
    /// Tables emptied; names every cascaded table already.
    case truncate(relations: [UInt32], cascade: Bool, restartIdentity: Bool)
    /// `pg_logical_emit_message`
    case message(lsn: LSN, isTransactional: Bool, prefix: String, contentLength: Int)
}
