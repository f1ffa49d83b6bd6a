/// What a write achieved.
public struct SinkResult: Sendable {
    /// Operations taken from the batch.
    public var recordsWritten: Int
    /// Bytes of column values taken from the batch.
    public var bytesWritten: Int
    /// How far the sink is durable now; nil while a unit is open.
    public var durablePosition: SourcePosition?

    /// Where the sink had to leave its fastest way.
    public var fallbacks: WriteFallbacks
    /// Values that were changed because the target cannot hold them (`SINK_ON_UNREPRESENTABLE`).
    public var substitutions: [ValueSubstitution] = []

    /// Makes a result.
    public init(
        recordsWritten: Int,
        bytesWritten: Int,
        durablePosition: SourcePosition?,
        fallbacks: WriteFallbacks = WriteFallbacks()
    ) {
        self.recordsWritten = recordsWritten
        self.bytesWritten = bytesWritten
        self.durablePosition = durablePosition
        self.fallbacks = fallbacks
    }
}

/// How often a write had to leave the sink's fastest way: correct all the same, but slower.
public struct WriteFallbacks: Hashable, Sendable {
    /// Batches of inserts that met a row which was there already, and were merged instead.
    public var merges = 0
    /// Batches whose changes were replayed one by one in their order, because sets of them broke a constraint.
    public var replays = 0

    /// Makes a count of nothing.
    public init() {}
}

/// How many values of a column were changed because the target cannot hold them.
public struct ValueSubstitution: Hashable, Sendable {
    /// The source's table.
    public var table: TableRef
    /// The column's name.
    public var column: String
    /// How many values.
    public var count: Int

    /// Makes a count.
    public init(table: TableRef, column: String, count: Int) {
        self.table = table
        self.column = column
        self.count = count
    }
}

/// Which source a position belongs to.
public struct SourceIdentity: Hashable, Sendable {
    /// `pg_control`'s system identifier, decimal.
    public var systemIdentifier: String
    /// The timeline on which the position was reached.
    public var timeline: UInt32
    /// The permanent replication slot.
    public var slot: String

    /// Makes an identity.
    public init(systemIdentifier: String, timeline: UInt32, slot: String) {
        self.systemIdentifier = systemIdentifier
        self.timeline = timeline
        self.slot = slot
    }
}

/// A pipeline: the name under which a sink keeps its state, and the source it belongs to.
public struct PipelineIdentity: Hashable, Sendable {
    /// `SINK_PIPELINE`; by default system identifier and slot name.
    public var name: String
    /// The source.
    public var source: SourceIdentity

    /// Makes an identity.
    public init(name: String, source: SourceIdentity) {
        self.name = name
        self.source = source
    }
}

/// What a sink remembers of a pipeline.
public struct PipelineState: Sendable {
    /// The source whose changes are there.
    public var source: SourceIdentity
    /// The commit that the sink's content corresponds to; nil until a first copy is complete.
    public var position: SourcePosition?
    /// The consistent point of each table whose copy is complete.
    ///
    /// Changes that committed before it are dropped.
    public var copies: [TableRef: LSN]
    /// The source's OID of each table when it was copied, where the sink remembers it.
    public var tableOIDs: [TableRef: UInt32] = [:]
    /// Makes a state.
    public init(source: SourceIdentity, position: SourcePosition?, copies: [TableRef: LSN]) {
        self.source = source
        self.position = position
        self.copies = copies
    }
}

/// A destination.
///
/// One lane owns a sink: methods are called one at a time, on the lane's own thread, and may block. A sink is therefore a
/// plain class with plain state; it needs no locks and is not Sendable.
///
/// A **unit** is what the sink makes durable at once. Its first batch has ``CdcBatch/beginsUnit``, its last
/// ``CdcBatch/commitsUnit``; a source transaction larger than the memory budget comes in several batches between them.
/// A batch that begins a unit while another is open voids the open one.
public protocol Sink: AnyObject, SendableMetatype {
    /// The value of `SINK_TYPE` that selects it.
    static var name: String { get }

    /// What it can do and which defaults suit it.
    static var capabilities: SinkCapabilities { get }

    /// Its name and what it writes to, for logs and status; without secrets. The default is the name alone.
    var target: String { get }

    /// Makes a sink; touches nothing outside.
    init(_ config: SinkConfig) throws(SinkError)

    /// Checks that the target is reachable, the privileges suffice and the version is supported. Changes nothing.
    func validateConnection() async throws(SinkError)

    /// What the target remembers of the pipeline; nil for a pipeline it does not know. Changes nothing.
    func loadState(of pipeline: String) async throws(SinkError) -> PipelineState?

    /// What ``setup(_:for:)`` would do and refuse, table by table. Changes nothing.
    ///
    /// The default is for sinks that make no tables.
    func plan(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError) -> [TablePlan]

    /// Creates what is missing for the tables and checks what is there. Reports every difference at once.
    func setup(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError)

    /// Empties the tables and remembers that their copy has begun. Batches of rows follow, then ``finishCopy(of:at:position:)``.
    func beginCopy(of tables: [TableSchema]) async throws(SinkError)

    /// In which order the tables are best copied, as indexes; asked after ``beginCopy(of:)``. The default is the order given.
    func copyOrder(of tables: [TableSchema]) async throws(SinkError) -> [Int]

    /// Remembers that the tables hold exactly what the source had at `consistentPoint`, and the position if one is given.
    func finishCopy(of tables: [TableSchema], at consistentPoint: LSN, position: SourcePosition?)
        async throws(SinkError)

    /// In which form column values are to come, once ``setup(_:for:)`` has seen the tables; the default is that of the capabilities.
    var tupleFormat: TupleFormat { get }

    /// What an operator should know of the target, once ``setup(_:for:)`` has seen it: logged at every start.
    var warnings: [String] { get }

    /// The last position that is durable in the target. Also how the pipeline resolves an ambiguous outcome.
    func durablePosition() async throws(SinkError) -> SourcePosition?

    /// Writes a batch; returns when it is durable, or, for a batch that does not commit its unit, when it is taken.
    ///
    /// A batch without changes that commits only moves the stored position on.
    ///
    /// - Parameters:
    ///   - batch: rows of several tables in arrival order.
    ///   - deadline: when to give up waiting for the target and throw a retriable or ambiguous error.
    /// - Returns: what was written, and how far the sink is durable now.
    /// - Throws: ``SinkError``. After an error nothing of the unit is in the target, unless the error is ambiguous.
    func writeBatch(_ batch: CdcBatch, deadline: ContinuousClock.Instant) async throws(SinkError) -> SinkResult

    /// Tries a batch without keeping it: throws what writing and committing it would.
    ///
    /// Used to find the changes that the target refuses. A sink whose rows are idempotent may leave them there. The default
    /// writes the batch as a part of a unit and voids that.
    func rehearse(_ batch: CdcBatch, deadline: ContinuousClock.Instant) async throws(SinkError)

    /// Keeps lines of a pipeline's dead letters in the target's own table (`SINK_DEAD_LETTER_URL=table`), in their order.
    ///
    /// Each line is JSON; without lines only the table is made. Returns when they are durable; inside an open unit they belong to it, and go with it. The default is
    /// for sinks without such a table.
    func storeDeadLetters(_ lines: [String], of pipeline: String) async throws(SinkError)

    /// The lines that ``storeDeadLetters(_:of:)`` kept, in their order; none where there is no such table yet.
    func deadLetters(of pipeline: String) async throws(SinkError) -> [String]

    /// Voids the unit whose first batches were written and whose commit will not come.
    func discardOpenUnit() async

    /// Releases everything. The sink is not used again.
    func close() async
}
