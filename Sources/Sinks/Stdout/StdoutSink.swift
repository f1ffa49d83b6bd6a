public import CdcCore
internal import Glibc

/// Prints every change as one line of JSON, in Debezium's envelope.
public final class StdoutSink: Sink {
    /// The value of `SINK_TYPE`.
    public static let name = "stdout"

    /// Lines go out at once; what was printed cannot be taken back, so a restart may repeat it.
    public static let capabilities = SinkCapabilities(
        supportsUpsert: false,
        supportsDelete: true,
        supportsTransactions: false,
        loadingModel: .streaming,
        maxBatchSize: 10_000,
        maxBatchBytes: 1 << 20,
        optimalFlushInterval: .zero,
        storesPosition: false
    )

    private let file: Int32
    private let target: FileOutput
    private let stateDirectory: String
    private let policy: UnrepresentablePolicy
    private let output = JSONBuffer()
    /// Whether the buffer's first bytes are the rest of a line whose beginning is printed.
    private var beginsInsideLine = false
    /// The batch that failed, and how many of its changes are printed or in the buffer: its repetition goes on there.
    private var interrupted: (batch: ObjectIdentifier, version: RowVersion, changes: Int)?
    private var encoders: [TableRef: StdoutEncoder] = [:]
    private var state: StateFile?
    private var written: SourcePosition?

    /// Bytes of whole lines after which they are written: as many as a pipe holds.
    private static let flushSize = 64 << 10

    /// Checks the settings; touches nothing outside.
    public convenience init(_ config: SinkConfig) throws(SinkError) {
        try self.init(config, file: STDOUT_FILENO)
    }

    /// Prints to a descriptor that stays the caller's.
    init(_ config: SinkConfig, file: Int32) throws(SinkError) {
        var check = SettingsCheck(sink: StdoutSink.name)
        check.refuseServerSettings(of: config)
        check.refuseTableSettings(of: config)
        check.require([.error, .null], of: config)
        try check.finish()
        self.file = file
        target = FileOutput(file)
        stateDirectory = config.stateDirectory
        policy = config.onUnrepresentable
    }

    /// Checks that standard output is open and the state directory can be written.
    public func validateConnection() async throws(SinkError) {
        // A reader that went away is an error of write(2), not the end of the process.
        signal(SIGPIPE, SIG_IGN)
        let flags = fcntl(file, F_GETFL)
        guard flags >= 0, flags & O_ACCMODE != O_RDONLY else {
            throw SinkError(
                .configuration,
                operation: "check output",
                cause: "standard output is closed",
                remedy: "start the daemon with its output open, for example into a file or a pipe"
            )
        }
        try StateFile.checkDirectory(stateDirectory)
    }

    /// Reads the pipeline's state file; nil if there is none.
    public func loadState(of pipeline: String) async throws(SinkError) -> PipelineState? {
        try StateFile(directory: stateDirectory, pipeline: pipeline).load()
    }

    /// Remembers the source's identity.
    public func setup(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError) {
        signal(SIGPIPE, SIG_IGN)
        let file = StateFile(directory: stateDirectory, pipeline: pipeline.name)
        try file.saveIdentity(pipeline.source)
        state = file
    }

    /// Remembers that the copy has begun; what an earlier attempt printed stays printed.
    public func beginCopy(of tables: [TableSchema]) async throws(SinkError) {
        try state?.setCopies(of: tables, at: nil)
    }

    /// Remembers that the copy is complete.
    public func finishCopy(of tables: [TableSchema], at consistentPoint: LSN, position: SourcePosition?)
        async throws(SinkError)
    {
        try state?.setCopies(of: tables, at: consistentPoint)
        if let position { written = position }
    }

    /// The last position that this process has printed up to; nil at its start.
    public func durablePosition() async throws(SinkError) -> SourcePosition? {
        written
    }

    /// Prints the batch's changes in arrival order; returns when write(2) has taken the last byte.
    ///
    /// A batch that failed goes on where it stopped when it is repeated.
    public func writeBatch(_ batch: CdcBatch, deadline: ContinuousClock.Instant) async throws(SinkError) -> SinkResult {
        let now = Timestamp.nowMilliseconds()
        for index in resume(batch)..<batch.changeCount where batch.isSelected(index) {
            let change = batch.change(index)
            do throws(SinkError) {
                try encode(change, of: batch, now: now, deadline)
            } catch {
                var error = error
                if error.kind == .permanent { error.changes = [index] }
                throw error
            }
            interrupted?.changes = index + 1
            if output.count >= StdoutSink.flushSize { try flush(deadline) }
        }
        try flush(deadline)
        interrupted = nil
        if batch.commitsUnit, let position = batch.position { written = position }
        var result = SinkResult(
            recordsWritten: batch.selectedCount,
            bytesWritten: batch.tupleBytes,
            durablePosition: batch.commitsUnit ? written : nil
        )
        if policy != .error { result.substitutions = encoders.values.flatMap { $0.takeSubstitutions() } }
        return result
    }

    /// Encodes the batch's changes and prints nothing.
    public func rehearse(_ batch: CdcBatch, deadline: ContinuousClock.Instant) async throws(SinkError) {
        let begin = output.count
        defer { output.truncate(to: begin) }
        for index in batch.selectedChanges {
            let change = batch.change(index)
            let encoder = encoder(for: batch.tables[Int(change.table)])
            do throws(StdoutEncoder.Problem) {
                try encoder.encode(change, of: batch, now: 0, to: output)
            } catch {
                var error = refusal(error, encoder.schema, lsn: batch.version(of: change).commitLSN)
                error.changes = [index]
                throw error
            }
            output.truncate(to: begin)
        }
        _ = encoders.values.map { $0.takeSubstitutions() }
    }

    /// The first change that is neither printed nor in the buffer.
    private func resume(_ batch: CdcBatch) -> Int {
        let id = ObjectIdentifier(batch)
        let version =
            batch.isEmpty ? RowVersion(commitLSN: .zero, ordinal: 0) : batch.version(of: batch.change(0))
        if let interrupted, interrupted.batch == id, interrupted.version == version { return interrupted.changes }
        forgetInterrupted()
        interrupted = (id, version, 0)
        return 0
    }

    /// Another batch follows: of what is in the buffer only a line that has begun counts.
    private func forgetInterrupted() {
        interrupted = nil
        if beginsInsideLine { output.keepLine(from: 0) } else { output.removeAll() }
    }

    /// What is printed cannot be taken back; what is not will come again.
    public func discardOpenUnit() async {
        forgetInterrupted()
    }

    /// Does nothing: standard output belongs to the process.
    public func close() async {}

    private func encode(
        _ change: Change,
        of batch: CdcBatch,
        now: Int64,
        _ deadline: ContinuousClock.Instant
    ) throws(SinkError) {
        let encoder = encoder(for: batch.tables[Int(change.table)])
        let begin = output.count
        do throws(StdoutEncoder.Problem) {
            try encoder.encode(change, of: batch, now: now, to: output)
        } catch {
            // Whole lines only: those before this row are printed.
            output.truncate(to: begin)
            try flush(deadline)
            throw refusal(error, encoder.schema, lsn: batch.version(of: change).commitLSN)
        }
    }

    private func encoder(for table: TableSchema) -> StdoutEncoder {
        if let encoder = encoders[table.ref], encoder.schema === table { return encoder }
        let encoder = StdoutEncoder(table, policy)
        encoders[table.ref] = encoder
        return encoder
    }

    private func flush(_ deadline: ContinuousClock.Instant) throws(SinkError) {
        guard output.count > 0 else { return }
        let outcome = target.write(output.bytes, deadline: deadline)
        guard outcome.error != 0 else {
            beginsInsideLine = false
            return output.removeAll()
        }
        if outcome.count > 0 { beginsInsideLine = output.bytes[outcome.count - 1] != UInt8(ascii: "\n") }
        output.removeFirst(outcome.count)
        let reason = String(cString: strerror(outcome.error))
        switch outcome.error {
        case EPIPE, EBADF:
            throw SinkError(
                .outputClosed,
                operation: "write output",
                cause: "nobody reads standard output any more (\(reason))",
                remedy: "start the daemon again together with its reader; nothing unread was acknowledged"
            )
        case ETIMEDOUT:
            throw SinkError(
                .retriable,
                operation: "write output",
                cause: "the reader of standard output takes nothing",
                remedy: "see what it waits for; the daemon goes on when it reads again"
            )
        default:
            throw SinkError(
                .retriable,
                operation: "write output",
                cause: reason,
                remedy: "make room where standard output goes; the daemon goes on where it stopped"
            )
        }
    }

    private func refusal(_ problem: StdoutEncoder.Problem, _ schema: TableSchema, lsn: LSN) -> SinkError {
        switch problem {
        case .notUTF8(let column):
            SinkError(
                .permanent,
                operation: "encode row",
                table: schema.ref,
                lsn: lsn,
                cause: "column \"\(schema.columns[column].name)\" (\(schema.columns[column].postgresType.name)) holds "
                    + "bytes that are not UTF-8",
                remedy:
                    "SINK_ON_UNREPRESENTABLE=\(policy.rawValue) refuses the row: correct it at the source, or leave the "
                    + "column out of the publication"
            )
        case .unreadable(let column):
            SinkError(
                .permanent,
                operation: "encode row",
                table: schema.ref,
                lsn: lsn,
                cause:
                    "column \"\(schema.columns[column].name)\" (\(schema.columns[column].postgresType.name)) came in a "
                    + "form that the sink does not read",
                remedy: "report this as an error of dbmazz-sink"
            )
        }
    }
}
