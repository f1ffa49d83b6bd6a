/// A table of the source, by name.
public struct TableRef: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The schema's name, unquoted.
    public var schema: String
    /// The table's name, unquoted.
    public var name: String

    /// Makes a reference.
    public init(schema: String, name: String) {
        self.schema = schema
        self.name = name
    }

    /// `schema.table`, unquoted, for logs and messages.
    public var description: String {
        "\(schema).\(name)"
    }

    /// Compares bytes: PostgreSQL tells names apart that Unicode calls equivalent.
    public static func == (left: TableRef, right: TableRef) -> Bool {
        left.name.hasSameBytes(as: right.name) && left.schema.hasSameBytes(as: right.schema)
    }

    /// Hashes bytes.
    public func hash(into hasher: inout Hasher) {
        for byte in schema.utf8 { hasher.combine(byte) }
        hasher.combine(0 as UInt8)
        for byte in name.utf8 { hasher.combine(byte) }
    }

    /// Orders by schema, then name.
    public static func < (left: TableRef, right: TableRef) -> Bool {
        (left.schema, left.name) < (right.schema, right.name)
    }
}

extension TableRef {
    /// Where a PostgreSQL target keeps how far each pipeline is.
    public static let positionState = TableRef(schema: "dbmazz", name: "position")
    /// Where a PostgreSQL target keeps which tables each pipeline has.
    public static let tableState = TableRef(schema: "dbmazz", name: "source_table")

    /// Where a PostgreSQL target keeps dead letters (`SINK_DEAD_LETTER_URL=table`).
    public static let deadLetterState = TableRef(schema: "dbmazz", name: "dead_letter")

    /// Whether this is the daemon's own bookkeeping.
    ///
    /// A database can be target of one pipeline and source of another: then a publication of all tables has it, too.
    public var isState: Bool {
        self == TableRef.positionState || self == TableRef.tableState || self == TableRef.deadLetterState
    }
}

extension String {
    /// Whether both are the same UTF-8.
    ///
    /// `==` takes composed and decomposed letters for the same, PostgreSQL does not.
    public func hasSameBytes(as other: String) -> Bool {
        utf8.elementsEqual(other.utf8)
    }
}

/// One column of a source table.
public struct ColumnDef: Hashable, Sendable {
    /// The name, unquoted.
    public var name: String
    /// What it holds, with domains resolved to their base type.
    public var type: DataType
    /// The column's own PostgreSQL type: the domain where it is one.
    public var postgresType: PostgresType
    /// False where the source has NOT NULL.
    public var isNullable: Bool

    /// Makes a column.
    public init(name: String, type: DataType, postgresType: PostgresType, isNullable: Bool = true) {
        self.name = name
        self.type = type
        self.postgresType = postgresType
        self.isNullable = isNullable
    }
}

/// What PostgreSQL logs of the old row on update and delete (`pg_class.relreplident`).
public enum ReplicaIdentity: UInt8, Sendable {
    /// The primary key's columns; nothing if there is none.
    case `default` = 0x64  // d
    /// A named unique index's columns.
    case index = 0x69  // i
    /// All columns.
    case full = 0x66  // f
    /// Nothing: updates and deletes cannot be published.
    case nothing = 0x6E  // n
}

/// A table that the pipeline carries: the source's side of it and its name at the sink.
public final class TableSchema: Sendable {
    /// The source's table.
    public let ref: TableRef
    /// The table's OID at the source, from `pg_class`: with another one the same name is another table; 0 for none.
    public let oid: UInt32
    /// The table's name at the sink, by `SINK_TABLE_NAME`.
    public let sinkName: String
    /// The published columns, in the source's order.
    public let columns: [ColumnDef]
    /// Indexes into ``columns`` of the key, in the key's order; empty for a table without one.
    public let key: [Int]
    /// What the source logs of old rows.
    public let identity: ReplicaIdentity

    /// Makes a table.
    public init(
        ref: TableRef,
        sinkName: String,
        columns: [ColumnDef],
        key: [Int],
        identity: ReplicaIdentity,
        oid: UInt32 = 0
    ) {
        self.oid = oid
        self.ref = ref
        self.sinkName = sinkName
        self.columns = columns
        self.key = key
        self.identity = identity
    }

    /// Whether rows can be told apart by key.
    ///
    /// Without one they are never folded, and one copy is removed by its values.
    public var hasKey: Bool { !key.isEmpty }
}
