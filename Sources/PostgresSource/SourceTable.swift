public import CdcCore

/// A published table as the source's catalog describes it.
public struct SourceTable: Sendable {
    /// Schema and name.
    public var ref: TableRef
    /// `pg_class.oid`: another one under the same name means that the table was dropped and made anew.
    public var oid: UInt32
    /// Whether it is the root of a partitioned table.
    public var isPartitioned: Bool
    /// The published columns, in order.
    public var columns: [ColumnDef]
    /// Indexes into ``columns`` of the key.
    public var key: [Int]
    /// What the source logs of old rows.
    public var identity: ReplicaIdentity
    /// The publication's row filter, as SQL.
    public var rowFilter: String?
    /// Columns that are not published: generated ones, and those that the publication's column list leaves out.
    public var leftOut: [String] = []
    /// Whether the server would end a binary stream at the table's first row.
    ///
    /// It does at a value whose type has a send function while one of its parts has none, for example `aclitem[]`.
    public var endsBinaryStream = false

    /// The pipeline's view of it under its name at the sink.
    public func schema(sinkName: String) -> TableSchema {
        TableSchema(ref: ref, sinkName: sinkName, columns: columns, key: key, identity: identity, oid: oid)
    }

    /// The table as a session has it in which everything comes as text: no column has a binary output.
    public var asText: SourceTable {
        var table = self
        for index in table.columns.indices { table.columns[index].postgresType.hasBinaryOutput = false }
        return table
    }

    /// Schema and name, quoted.
    public var quotedName: String {
        PostgresConnection.quote(identifier: ref.schema) + "." + PostgresConnection.quote(identifier: ref.name)
    }

    /// Whether updates and deletes can be told apart by row: a key, or the whole old row.
    public var identifiesRows: Bool {
        switch identity {
        case .default, .index: !key.isEmpty
        case .full: true
        case .nothing: false
        }
    }
}
