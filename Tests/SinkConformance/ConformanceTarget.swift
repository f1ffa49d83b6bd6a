public import CdcCore

/// What a sink's author supplies, so that the sink can be put through ``Conformance/checks``: a target, empty and of its own
/// for each check, and eyes that see it by other means than the sink.
public protocol ConformanceTarget: AnyObject {
    /// The sink.
    var sinkType: any Sink.Type { get }

    /// Settings with which the sink writes to this target; the suite changes what a check is about.
    func config() throws -> SinkConfig

    /// The rows that readers of the table see now, columns in the source's order, values as PostgreSQL prints them, in any
    /// order.
    ///
    /// Rows marked as deleted are left out, and so are the sink's own columns. Floating point may have any notation that
    /// reads as the same value.
    func rows(of table: TableSchema) throws -> [[String?]]

    /// All rows of a table that has audit columns, those marked as deleted among them.
    func auditedRows(of table: TableSchema) throws -> [AuditedRow]

    /// Everything in the target that a sink could have made or changed, in any form: two of them are compared, to show that
    /// nothing has.
    func fingerprint() throws -> String

    /// Takes the target away, open connections and new ones alike, until ``resume()``; at least writes must fail.
    func interrupt(_ how: Interruption) throws

    /// Ends ``interrupt(_:)``.
    func resume() throws

    /// Variables, of those that only some sinks have, that mean something to this one; all others have to be refused.
    var meaningfulVariables: Set<String> { get }

    /// Values that the target cannot hold, or that do not read as their column's type; at least one.
    var refusedValues: [RefusedValue] { get }

    /// What the sink keeps of the contract in its own way.
    var traits: ConformanceTraits { get }
}

extension ConformanceTarget {
    /// For a sink without peculiarities.
    public var traits: ConformanceTraits { ConformanceTraits() }
}

/// Where sinks may differ without breaking a promise; a check proves whichever is said here.
public struct ConformanceTraits: Sendable {
    /// Whether a column that an update left untouched keeps its value at the target.
    ///
    /// If not, the sink refuses tables, or updates that leave columns out, where there is no REPLICA IDENTITY FULL, and the
    /// checks use that.
    public var keepsUnchangedColumns = true
    /// Whether tables without a key are taken, their equal rows counted; if not, setup has to refuse them.
    public var takesTablesWithoutKey = true
    /// Names of checks' tables and columns that the target has no place for, of ``Conformance/hostileNames``.
    public var refusedNames: Set<String> = []
    /// Names, of ``Conformance/hostileNames``, that the target has no place for as a table's.
    public var refusedTableNames: Set<String> = []
    /// Whether columns of floating point hold NaN and the infinities.
    public var holdsNotANumber = true
    /// The longest text that the target holds, in bytes; nil where the suite's own longest fits.
    public var longestText: Int?
    /// Values that every sink should hold and this one cannot, as `type value`, each with a reason in its README.
    public var unheldValues: Set<String> = []
    /// How many units a random workload has.
    public var randomUnits = 100

    /// Makes the traits of a sink without peculiarities.
    public init() {}
}

/// How a target is away; one that knows only one way takes both for the same.
public enum Interruption: Sendable {
    /// It refuses at once.
    case refused
    /// It says nothing.
    case silent
}

/// A row with what the audit columns say of it.
public struct AuditedRow: Hashable, Sendable {
    /// The source's columns, as ``ConformanceTarget/rows(of:)`` gives them.
    public var values: [String?]
    /// `dbmazz_op_type`.
    public var operation: Int
    /// `dbmazz_is_deleted`.
    public var isDeleted: Bool
    /// `dbmazz_cdc_version` as 32 hexadecimal digits.
    public var version: String

    /// Makes a row.
    public init(values: [String?], operation: Int, isDeleted: Bool, version: String) {
        self.values = values
        self.operation = operation
        self.isDeleted = isDeleted
        self.version = version
    }
}

/// A value that has to be refused.
public struct RefusedValue: Sendable {
    /// A column of the type that it is in.
    public var column: ColumnDef
    /// The value, in the form that the sink asks for.
    public var bytes: [UInt8]
    /// Whether that is the type's binary output.
    public var isBinary: Bool

    /// Makes a value of a built-in type: its OID and name are those of `pg_type`.
    public init(_ type: DataType, oid: UInt32, _ name: String, _ bytes: [UInt8], isBinary: Bool = false) {
        column = ColumnDef(name: "v", type: type, postgresType: PostgresType(oid: oid, name: name))
        self.bytes = bytes
        self.isBinary = isBinary
    }

    var cell: TestCell { isBinary ? .binary(bytes) : .bytes(bytes) }
}
