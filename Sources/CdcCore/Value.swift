/// One cell in friendly form: made on request, for tests, people and the first version of a new sink.
public enum Value: Hashable, Sendable {
    /// SQL NULL.
    case null
    /// A TOAST column that the update did not touch.
    case unchanged
    /// `bool`
    case boolean(Bool)
    /// Any integer type that fits.
    case integer(Int64)
    /// `float4` or `float8`; the bits are kept, NaN and -0 included.
    case float(Double)
    /// `bytea`
    case bytes([UInt8])
    /// Every other type: PostgreSQL's text output.
    case text(String)
    /// A type's binary output that this view does not take apart.
    case raw([UInt8])
}

/// A column's name and value.
public struct ColumnValue: Hashable, Sendable {
    /// The column's name.
    public var name: String
    /// Its value.
    public var value: Value

    /// Makes a named value.
    public init(name: String, value: Value) {
        self.name = name
        self.value = value
    }
}

/// A change of the source as the connector template names it: a view over a batch, made when somebody asks.
public enum CdcRecord: Sendable {
    /// A new row.
    case insert(table: TableRef, columns: [ColumnValue], version: RowVersion)
    /// A changed row; `oldColumns` has the key or the whole old row, where the source sent it.
    case update(table: TableRef, oldColumns: [ColumnValue]?, newColumns: [ColumnValue], version: RowVersion)
    /// A removed row: its key, or the whole row under REPLICA IDENTITY FULL.
    case delete(table: TableRef, columns: [ColumnValue], version: RowVersion)
    /// All rows of the table removed.
    case truncate(table: TableRef, version: RowVersion)
    /// The table has other columns from here on.
    case schemaChange(table: TableRef, columns: [ColumnDef], version: RowVersion)
    /// A transaction begins.
    case begin(xid: UInt32)
    /// A transaction is complete.
    case commit(xid: UInt32, position: SourcePosition)
    /// Nothing happened up to here.
    case heartbeat(position: SourcePosition)
}
