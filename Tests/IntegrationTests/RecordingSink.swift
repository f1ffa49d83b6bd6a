import CdcCore
import Logging
import Synchronization

/// What a ``RecordingSink`` was given, and what was logged meanwhile.
final class Recording: Sendable {
    /// A row as it came.
    struct Row: Sendable, Equatable {
        var table: String
        var kind: ChangeKind
        var isCopy: Bool
        var cells: [Cell.Kind]
        var values: [[UInt8]]
    }

    private struct State {
        var rows: [Row] = []
        var columns: [ColumnDef] = []
        var pipeline: PipelineState?
        var events: [(message: String, metadata: Logger.Metadata)] = []
    }

    /// The form that the sink asks for.
    let format: TupleFormat
    private let state = Mutex(State())

    init(_ format: TupleFormat) {
        self.format = format
    }

    /// Of all tables that were set up.
    var columns: [ColumnDef] {
        get { state.withLock { $0.columns } }
        set { state.withLock { $0.columns = newValue } }
    }

    /// What a target would remember.
    var pipeline: PipelineState? {
        get { state.withLock { $0.pipeline } }
        set { state.withLock { $0.pipeline = newValue } }
    }

    var rows: [Row] { state.withLock { $0.rows } }

    func add(_ rows: [Row]) { state.withLock { $0.rows += rows } }

    /// The metadata of the last event with this message.
    func event(_ message: String) -> Logger.Metadata? {
        state.withLock { $0.events.last { $0.message == message }?.metadata }
    }

    func add(_ event: LogEvent) {
        state.withLock { $0.events.append((event.message.description, event.metadata ?? [:])) }
    }
}

/// Keeps everything in memory, in the form in which it comes.
final class RecordingSink: Sink {
    static let name = "recording"
    static let capabilities = SinkCapabilities(
        supportsUpsert: true,
        supportsDelete: true,
        supportsTransactions: true,
        loadingModel: .streaming,
        maxBatchSize: 1000,
        maxBatchBytes: 1 << 20,
        optimalFlushInterval: .zero,
        storesPosition: true
    )

    private let recording: Recording
    private var isSetUp = false

    init(_ recording: Recording) {
        self.recording = recording
    }

    convenience init(_ config: SinkConfig) throws(SinkError) {
        self.init(Recording(.text))
    }

    /// Before the setup it would be too early to ask.
    var tupleFormat: TupleFormat { isSetUp ? recording.format : .text }

    func validateConnection() async throws(SinkError) {}

    func loadState(of pipeline: String) async throws(SinkError) -> PipelineState? { recording.pipeline }

    func setup(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError) {
        recording.columns = tables.flatMap(\.columns)
        if recording.pipeline == nil {
            recording.pipeline = PipelineState(source: pipeline.source, position: nil, copies: [:])
        }
        isSetUp = true
    }

    func beginCopy(of tables: [TableSchema]) async throws(SinkError) {}

    func finishCopy(of tables: [TableSchema], at consistentPoint: LSN, position: SourcePosition?)
        async throws(SinkError)
    {
        for table in tables { recording.pipeline?.copies[table.ref] = consistentPoint }
        if let position { recording.pipeline?.position = position }
    }

    func durablePosition() async throws(SinkError) -> SourcePosition? { recording.pipeline?.position }

    func writeBatch(_ batch: CdcBatch, deadline: ContinuousClock.Instant) async throws(SinkError) -> SinkResult {
        recording.add(
            (0..<batch.changeCount).map { index in
                let change = batch.change(index)
                let table = batch.tables[Int(change.table)]
                let cells = change.kind == .delete ? [] : table.columns.indices.map { batch.newCell(change, $0) }
                return Recording.Row(
                    table: table.ref.name,
                    kind: change.kind,
                    isCopy: batch.isCopy,
                    cells: cells.map(\.kind),
                    values: cells.map { Array(batch.bytes(of: $0)) }
                )
            }
        )
        if batch.commitsUnit, let end = batch.position { recording.pipeline?.position = end }
        return SinkResult(
            recordsWritten: batch.changeCount,
            bytesWritten: batch.tupleBytes,
            durablePosition: batch.commitsUnit ? recording.pipeline?.position : nil
        )
    }

    func discardOpenUnit() async {}

    func close() async {}
}

/// Keeps events in a recording.
struct RecordingLogHandler: LogHandler {
    let recording: Recording
    var metadata: Logger.Metadata = [:]
    var logLevel = Logger.Level.debug

    init(_ recording: Recording) {
        self.recording = recording
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) { recording.add(event) }
}
