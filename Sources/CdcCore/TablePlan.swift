/// What a sink makes of a table: what `dbmazz-sink validate` shows.
public struct TablePlan: Sendable {
    /// A column at the target.
    public struct Column: Sendable {
        /// Its name.
        public var name: String
        /// Its type there, as the target writes it.
        public var type: String

        /// Makes a column.
        public init(name: String, type: String) {
            self.name = name
            self.type = type
        }
    }

    /// The source's table.
    public var table: TableRef
    /// The table's name at the target.
    public var sinkName: String
    /// The columns that it has, or will get, there.
    public var columns: [Column]
    /// What ``Sink/setup(_:for:)`` will run; empty where everything is there.
    public var statements: [String]
    /// Why ``Sink/setup(_:for:)`` will refuse the table, each with what to do.
    public var problems: [String]
    /// What an operator should know of the table; none of it keeps it from being carried.
    public var warnings: [String]

    /// Makes a plan.
    public init(
        table: TableRef,
        sinkName: String,
        columns: [Column],
        statements: [String] = [],
        problems: [String] = [],
        warnings: [String] = []
    ) {
        self.table = table
        self.sinkName = sinkName
        self.columns = columns
        self.statements = statements
        self.problems = problems
        self.warnings = warnings
    }
}

extension Sink {
    /// For a sink of which there is only one.
    public var target: String { Self.name }

    /// For a sink whose tables do not depend on each other.
    public func copyOrder(of tables: [TableSchema]) async throws(SinkError) -> [Int] { Array(tables.indices) }

    /// For a sink whose open unit is nowhere to be seen.
    public func rehearse(_ batch: CdcBatch, deadline: ContinuousClock.Instant) async throws(SinkError) {
        let (begins, commits, position) = (batch.beginsUnit, batch.commitsUnit, batch.position)
        batch.beginsUnit = true
        batch.commitsUnit = false
        batch.position = nil
        defer {
            batch.beginsUnit = begins
            batch.commitsUnit = commits
            batch.position = position
        }
        _ = try await writeBatch(batch, deadline: deadline)
        await discardOpenUnit()
    }

    /// For a sink without a table of its own.
    public func storeDeadLetters(_ lines: [String], of pipeline: String) async throws(SinkError) {
        throw Self.hasNoDeadLetterTable
    }

    /// For a sink without a table of its own.
    public func deadLetters(of pipeline: String) async throws(SinkError) -> [String] {
        throw Self.hasNoDeadLetterTable
    }

    private static var hasNoDeadLetterTable: SinkError {
        SinkError(
            .configuration,
            operation: "open dead letters",
            cause: "the sink \(name) has no table for SINK_DEAD_LETTER_URL=table",
            remedy: "set SINK_DEAD_LETTER_URL to a directory"
        )
    }

    /// For a sink that has nothing to warn of.
    public var warnings: [String] { [] }

    /// For a sink that wants one form whatever the tables.
    public var tupleFormat: TupleFormat { Self.capabilities.tupleFormat }

    /// For a sink that makes no tables: the source's own types, nothing to do.
    public func plan(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError) -> [TablePlan] {
        tables.map { table in
            TablePlan(
                table: table.ref,
                sinkName: table.sinkName,
                columns: table.columns.map { TablePlan.Column(name: $0.name, type: $0.postgresType.name) }
            )
        }
    }
}
