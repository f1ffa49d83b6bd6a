/// What `dbmazz-sink validate` found: whether the pipeline would start, what it would do, and what could lose or refuse data.
public struct ValidationReport: Sendable, Codable {
    /// A column on its way.
    public struct Column: Sendable, Codable {
        /// Its name at the source.
        public var name: String
        /// Its type at the source.
        public var type: String
        /// Its type at the target; nil for a target that has none.
        public var sinkType: String?
        /// Whether it belongs to the key.
        public var isKey: Bool
    }

    /// A table on its way.
    public struct Table: Sendable, Codable {
        /// `schema.table` at the source.
        public var table: String
        /// Its name at the target.
        public var sinkTable: String
        /// The key's columns; empty for a table without one.
        public var key: [String]
        /// `default`, `index`, `full` or `nothing`.
        public var replicaIdentity: String
        /// The publication's row filter.
        public var rowFilter: String?
        /// The columns.
        public var columns: [Column]
        /// What the start will run at the target.
        public var statements: [String] = []
        /// Why the start will refuse it.
        public var problems: [String] = []
        /// What may surprise.
        public var warnings: [String] = []
    }

    /// Host, port and database; nil if it was not reached.
    public var source: String?
    /// The source's version, for example 150018.
    public var sourceVersion: Int?
    /// The source's system identifier.
    public var system: String?
    /// `SINK_TYPE`.
    public var sink: String
    /// `SINK_DELETE_MODE`.
    public var deleteMode: String
    /// The name under which the target remembers the pipeline.
    public var pipeline: String?
    /// What the start would do, in words.
    public var plan: String?
    /// Statements that the start will run at the source.
    public var sourceStatements: [String] = []
    /// The tables.
    public var tables: [Table] = []
    /// Published tables that SOURCE_TABLES leaves out.
    public var leftOut: [String] = []
    /// What keeps the pipeline from starting.
    public var errors: [String] = []
    /// What works today and may lose changes or fill a disk one day.
    public var warnings: [String] = []
    /// What the daemon would exit with; 0 if it would start.
    public var exitCode: Int32 = 0

    /// Whether the daemon would start.
    public var isGood: Bool { errors.isEmpty && tables.allSatisfy(\.problems.isEmpty) }
}
