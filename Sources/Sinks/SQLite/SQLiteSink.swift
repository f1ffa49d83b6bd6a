internal import CSQLite
public import CdcCore
internal import Glibc

/// Keeps the source's tables in a SQLite file.
///
/// Rows and position commit in one transaction: exactly once.
public final class SQLiteSink: Sink {
    /// The value of `SINK_TYPE`.
    public static let name = "sqlite"

    /// Rows are written one by one into an open transaction, so batches need not be large; a commit costs a sync.
    public static let capabilities = SinkCapabilities(
        supportsUpsert: true,
        supportsDelete: true,
        supportsTransactions: true,
        loadingModel: .streaming,
        maxBatchSize: 50_000,
        maxBatchBytes: 1 << 20,
        optimalFlushInterval: .zero,
        storesPosition: true
    )

    private let config: SQLiteConfig
    private let binder: SQLiteBinder
    private var fold = FoldIndex()
    /// The open connection; tests look at it.
    private(set) var connection: SQLiteConnection?
    private var pipeline: String?
    private var writers: [TableRef: SQLiteTableWriter] = [:]
    private var moveStatement: SQLiteStatement?
    private var prepared: Set<TableRef> = []
    /// The position in the file, as far as this process knows.
    private var stored: SourcePosition?

    /// Checks the settings; touches nothing outside.
    public init(_ config: SinkConfig) throws(SinkError) {
        self.config = try SQLiteConfig(config)
        binder = SQLiteBinder(config.onUnrepresentable)
    }

    /// The file, with its directory.
    public var target: String {
        let directory = realpath(config.directory, nil)
        defer { free(directory) }
        let name = config.path.split(separator: "/").last.map(String.init) ?? config.path
        return "sqlite \(directory.map { String(cString: $0) } ?? config.directory)/\(name)"
    }

    // MARK: Start

    /// Checks SQLite's version, the directory, and that an existing file is a database.
    ///
    /// Creates nothing.
    public func validateConnection() async throws(SinkError) {
        let operation = "check database"
        guard sqlite3_libversion_number() >= 3_037_000 else {
            throw SinkError(
                .configuration,
                operation: operation,
                cause: "SQLite \(String(cString: sqlite3_libversion())) has no STRICT tables",
                remedy: "install libsqlite3 3.37 or later"
            )
        }
        do throws(SinkError) {
            guard try SQLiteFileCheck.exists(config) else { return }
            // Reading the catalog finds a file that is no database.
            _ = try open(creating: false).text("SELECT count(*) FROM sqlite_schema", operation: operation)
        } catch {
            throw asConfiguration(error)
        }
    }

    /// What waiting does not mend is the operator's to mend, as long as nothing runs yet.
    private func asConfiguration(_ error: SinkError) -> SinkError {
        var error = error
        if error.kind == .permanent { error.kind = .configuration }
        drop()
        return error
    }

    /// Reads the pipeline's row; nil if there is no file, no state in it, or no such pipeline.
    public func loadState(of pipeline: String) async throws(SinkError) -> PipelineState? {
        guard try SQLiteFileCheck.exists(config) else { return nil }
        let connection = try open(creating: false)
        do throws(SinkError) {
            return try SQLiteState(connection: connection).load(pipeline)
        } catch {
            drop()
            throw error
        }
    }

    /// Reads the file's catalog, if there is a file, and compares.
    public func plan(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError) -> [TablePlan] {
        let exists = try SQLiteFileCheck.exists(config)
        // Where there is no file yet, everything is missing, as in an empty one.
        let connection = exists ? try open(creating: false) : try SQLiteConnection(path: ":memory:", creating: true)
        return try SQLiteSetup(connection: connection, config: config, pipeline: pipeline).plan(tables)
    }

    /// Creates the file, the state tables and the missing tables, in one transaction; reports every difference at once.
    public func setup(_ tables: [TableSchema], for pipeline: PipelineIdentity) async throws(SinkError) {
        try SQLiteFileCheck.requireDirectory(config)
        // Before there is a file: what is refused leaves nothing behind.
        try SQLiteSetup.refuseNames(of: tables, config)
        writers.removeAll()
        let connection = try open(creating: true)
        do throws(SinkError) {
            try connection.prepareForWriting()
            let setup = SQLiteSetup(connection: connection, config: config, pipeline: pipeline)
            try inTransaction(connection, "set up sink") { () throws(SinkError) in try setup.run(tables) }
            stored = try SQLiteState(connection: connection).position(pipeline.name)
        } catch {
            drop()
            throw error
        }
        self.pipeline = pipeline.name
        prepared = Set(tables.map(\.ref))
    }

    // MARK: Copy

    /// Empties the tables; their copy counts as unfinished until ``finishCopy(of:at:position:)``.
    public func beginCopy(of tables: [TableSchema]) async throws(SinkError) {
        let (connection, pipeline) = try ready()
        try inTransaction(connection, "begin copy") { () throws(SinkError) in
            for table in tables {
                try connection.execute("DELETE FROM \(table.sinkName.quotedIdentifier)", operation: "empty table")
                try SQLiteState(connection: connection).setConsistentPoint(nil, of: table, pipeline)
            }
        }
    }

    /// Stores the consistent point of the tables, and the position if one is given, in one transaction.
    public func finishCopy(of tables: [TableSchema], at consistentPoint: LSN, position: SourcePosition?)
        async throws(SinkError)
    {
        let (connection, pipeline) = try ready()
        try inTransaction(connection, "finish copy") { () throws(SinkError) in
            for table in tables {
                try SQLiteState(connection: connection).setConsistentPoint(consistentPoint, of: table, pipeline)
            }
            if let position { try move(to: position, connection) }
        }
        if let position { stored = position }
    }

    // MARK: Stream

    /// Reads the pipeline's position from the file.
    public func durablePosition() async throws(SinkError) -> SourcePosition? {
        guard let pipeline else { return nil }
        let connection = try open(creating: false)
        // Inside a unit the file would show what is not committed yet; only this process's commits move the position.
        guard !connection.isInTransaction else { return stored }
        do throws(SinkError) {
            stored = try SQLiteState(connection: connection).position(pipeline)
            return stored
        } catch {
            drop()
            throw error
        }
    }

    /// Applies the batch inside the unit's transaction; with the unit's last batch, moves the position and commits.
    ///
    /// The deadline bounds the wait for another process's lock. After an error the whole unit is rolled back.
    public func writeBatch(_ batch: CdcBatch, deadline: ContinuousClock.Instant) async throws(SinkError) -> SinkResult {
        let (connection, _) = try ready()
        do throws(SinkError) {
            try begin(batch, connection, deadline: deadline)
            try apply(batch, connection)
            guard batch.commitsUnit else { return result(batch, durable: nil) }
            if let position = batch.position { try move(to: position, connection) }
            Failpoint.beforeSinkCommit.pass()
            try commit(connection)
        } catch {
            rollBack(connection)
            throw error
        }
        if let position = batch.position { stored = position }
        // Nothing to write but the position: the source is idle, and so is the cache.
        if batch.isEmpty { connection.releaseMemory() }
        return result(batch, durable: stored)
    }

    /// Keeps lines in `dbmazz_dead_letter`, within the open unit if there is one.
    public func storeDeadLetters(_ lines: [String], of pipeline: String) async throws(SinkError) {
        let (connection, _) = try ready()
        let state = SQLiteState(connection: connection)
        guard connection.isInTransaction else {
            return try inTransaction(connection, "store dead letters") { () throws(SinkError) in
                try state.storeDeadLetters(lines, pipeline)
            }
        }
        do throws(SinkError) {
            try state.storeDeadLetters(lines, pipeline)
        } catch {
            rollBack(connection)
            throw error
        }
    }

    /// Reads `dbmazz_dead_letter`.
    public func deadLetters(of pipeline: String) async throws(SinkError) -> [String] {
        guard try SQLiteFileCheck.exists(config) else { return [] }
        return try SQLiteState(connection: try open(creating: false)).deadLetters(pipeline)
    }

    /// Rolls back what is open.
    public func discardOpenUnit() async {
        if let connection { rollBack(connection) }
    }

    /// Rolls back what is open and closes the file.
    public func close() async {
        if let connection { rollBack(connection) }
        drop()
    }

    private func result(_ batch: CdcBatch, durable: SourcePosition?) -> SinkResult {
        var result = SinkResult(
            recordsWritten: batch.selectedCount,
            bytesWritten: batch.tupleBytes,
            durablePosition: durable
        )
        if config.onUnrepresentable != .error {
            result.substitutions = writers.values.flatMap { $0.takeSubstitutions() }
        }
        return result
    }

    private func begin(_ batch: CdcBatch, _ connection: SQLiteConnection, deadline: ContinuousClock.Instant)
        throws(SinkError)
    {
        guard batch.beginsUnit else {
            guard connection.isInTransaction else { throw lostUnit() }
            return
        }
        if connection.isInTransaction { try connection.execute("ROLLBACK", operation: "void unit") }
        guard !connection.hasMoved else {
            throw SinkError(
                .permanent,
                operation: "begin",
                cause: "\(config.path) was renamed or removed while it was in use",
                remedy: "put it back and start the daemon again"
            )
            .ofTarget
        }
        let left = max(.zero, min(deadline - .now, SQLiteConnection.longestLockWait))
        sqlite3_busy_timeout(connection.handle, Int32(left / .milliseconds(1)))
        try connection.execute("BEGIN IMMEDIATE", operation: "begin")
    }

    private func lostUnit() -> SinkError {
        SinkError(
            .retriable,
            operation: "write",
            cause: "the unit's first part is no longer in an open transaction",
            remedy: "sending the unit again from its beginning"
        )
        .ofTarget
    }

    private func apply(_ batch: CdcBatch, _ connection: SQLiteConnection) throws(SinkError) {
        guard !batch.isEmpty else { return }
        var now = Timestamp.iso(milliseconds: Timestamp.nowMilliseconds())
        var refusals = SQLiteRefusals(areWanted: config.findsAllRefusals)
        for table in batch.touchedTables {
            let writer = try writer(for: batch.tables[Int(table)], connection)
            // Inserts alone have nothing to fold. Soft deletes are written one by one, so that a row that was inserted and
            // deleted in one batch is left as marked as in two.
            let folds = config.deleteMode == .hard && !batch.hasOnlyInserts(table)
            fold.build(batch, table: table, folding: folds)
            do throws(SinkError) {
                try SQLiteSink.withBytes(of: &now) { bytes throws(SinkError) in
                    try writer.apply(SQLiteTableWriter.Context(batch: batch, fold: fold, syncedAt: bytes))
                }
            } catch {
                // The other tables are tried in the same attempt.
                try refusals.note(error, connection)
            }
        }
        try refusals.finish()
    }

    private func writer(for table: TableSchema, _ connection: SQLiteConnection) throws(SinkError) -> SQLiteTableWriter {
        if let writer = writers[table.ref], writer.schema === table { return writer }
        guard prepared.contains(table.ref) else {
            throw SinkError.notSetUp(table.ref)
        }
        let writer = SQLiteTableWriter(table, connection: connection, binder: binder, config: config)
        writers[table.ref] = writer
        return writer
    }

    private static func withBytes(
        of text: inout String,
        _ body: (UnsafeRawBufferPointer) throws(SinkError) -> Void
    ) throws(SinkError) {
        let outcome = text.withUTF8 { bytes -> Result<Void, SinkError> in
            do throws(SinkError) {
                return .success(try body(UnsafeRawBufferPointer(bytes)))
            } catch {
                return .failure(error)
            }
        }
        try outcome.get()
    }

    // MARK: Transactions

    private func move(to position: SourcePosition, _ connection: SQLiteConnection) throws(SinkError) {
        let operation = "store position"
        let statement: SQLiteStatement
        if let moveStatement {
            statement = moveStatement
        } else {
            statement = try connection.prepare(SQLiteState.moveSQL, operation: operation)
            moveStatement = statement
        }
        statement.bind(1, copying: pipeline)
        statement.bind(2, copying: position.endLSN.description)
        statement.bind(3, copying: position.commitLSN.description)
        statement.bind(4, copying: Timestamp.iso(milliseconds: Timestamp.nowMilliseconds()))
        statement.bind(5, copying: stored?.endLSN.description)
        let code = sqlite3_step(statement.handle)
        sqlite3_reset(statement.handle)
        guard code == SQLITE_DONE else { throw connection.error(operation, lsn: position.commitLSN) }
        guard connection.changes == 1 else {
            throw SinkError(
                .permanent,
                operation: operation,
                lsn: position.commitLSN,
                cause: "somebody else moved the position of pipeline \"\(pipeline ?? "")\" in \(config.path)",
                remedy: "stop the other daemon that writes this file, or set SINK_PIPELINE to another name"
            )
            .ofTarget
        }
    }

    private func commit(_ connection: SQLiteConnection) throws(SinkError) {
        guard sqlite3_exec(connection.handle, "COMMIT", nil, nil, nil) != SQLITE_OK else { return }
        var error = connection.error("commit")
        // SQLite says that a failed COMMIT which ended the transaction rolled it back (https://sqlite.org/lang_transaction.html).
        // After an error of the disk itself we would rather look than believe it.
        if !connection.isInTransaction && SQLiteError.spoilsConnection(sqlite3_extended_errcode(connection.handle)) {
            error.kind = .ambiguous
            error.remedy = "the stored position tells whether it was written; " + error.remedy
        }
        throw error
    }

    private func inTransaction(
        _ connection: SQLiteConnection,
        _ operation: String,
        _ body: () throws(SinkError) -> Void
    ) throws(SinkError) {
        do throws(SinkError) {
            if connection.isInTransaction { try connection.execute("ROLLBACK", operation: operation) }
            try connection.execute("BEGIN IMMEDIATE", operation: operation)
            try body()
            try commit(connection)
        } catch {
            rollBack(connection)
            throw error
        }
    }

    /// Ends what is open, and leaves a connection that failed behind: the next call opens another.
    private func rollBack(_ connection: SQLiteConnection) {
        let failure = sqlite3_extended_errcode(connection.handle)
        if connection.isInTransaction { sqlite3_exec(connection.handle, "ROLLBACK", nil, nil, nil) }
        if connection.isInTransaction || SQLiteError.spoilsConnection(failure) { drop() }
    }

    // MARK: Connection

    /// The connection, opened anew where it was dropped, of a sink that was set up.
    private func ready() throws(SinkError) -> (SQLiteConnection, String) {
        guard let pipeline else {
            throw SinkError.notSetUp
        }
        // Not created: a file that is gone took its rows with it.
        let connection = try open(creating: false)
        if connection.isPrepared { return (connection, pipeline) }
        do throws(SinkError) {
            try connection.prepareForWriting()
        } catch {
            drop()
            throw error
        }
        return (connection, pipeline)
    }

    private func open(creating: Bool) throws(SinkError) -> SQLiteConnection {
        if let connection { return connection }
        let opened = try SQLiteConnection(path: config.path, creating: creating)
        connection = opened
        return opened
    }

    private func drop() {
        writers.removeAll()
        moveStatement = nil
        connection = nil
    }
}
