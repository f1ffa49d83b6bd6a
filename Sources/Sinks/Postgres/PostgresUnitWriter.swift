internal import CdcCore
internal import Glibc

/// Writes batches into the transaction of their unit, each in the fastest mode that its rows allow.
///
/// Keeps a writer for each table that is busy.
final class PostgresUnitWriter {
    private let config: PostgresConfig
    private var encoder = PostgresEncoder()
    private var fold = FoldIndex()
    private var writers: [TableRef: PostgresTableWriter] = [:]
    private var types = PostgresTypes()
    private var names: [TableRef: TableRef] = [:]
    private var format = TupleFormat.binary

    private static let savepoint = "dbmazz_part"
    /// Tables whose statements are kept; with more of them busy at once they begin anew.
    private static let mostWriters = 1_000

    init(_ config: PostgresConfig) {
        self.config = config
    }

    /// Takes up the tables of a session of the pipeline.
    ///
    /// - Parameters:
    ///   - names: what each is called at the target.
    ///   - types: what the target knows of their types.
    ///   - format: in which form their values come.
    func takeUp(_ names: [TableRef: TableRef], _ types: PostgresTypes, _ format: TupleFormat) {
        self.names = names
        self.types = types
        self.format = format
        forgetWriters()
    }

    /// Forgets what was prepared over a session that is gone.
    func forgetWriters() { writers.removeAll() }

    /// Forgets what was collected of a batch that failed.
    func forgetSets() {
        for writer in writers.values { writer.forgetSets() }
    }

    // MARK: Units

    /// Has what begins the batch's transaction, or its part of one, sent before whatever comes next.
    func begin(_ batch: CdcBatch, _ session: PostgresSession) {
        if batch.beginsUnit {
            if writers.count > PostgresUnitWriter.mostWriters { forgetWriters() }
            session.prologue = beginning(of: batch)
        } else if !batch.isEmpty, session.prologue.isEmpty {
            // What an empty first part has left unsent begins the transaction, and has a savepoint already.
            session.prologue = ["SAVEPOINT \(PostgresUnitWriter.savepoint)"]
        }
    }

    private func beginning(of batch: CdcBatch) -> [String] {
        var statements = ["BEGIN"]
        // Copied rows are durable when the end of the copy is.
        if batch.isCopy { statements.append("SET LOCAL synchronous_commit = off") }
        // What a lock takes back here has to be read from the source again.
        if !PostgresUnitWriter.isWhole(batch) {
            statements += ["SET LOCAL lock_timeout = '30s'", "SAVEPOINT \(PostgresUnitWriter.savepoint)"]
        }
        return statements
    }

    /// Whether the unit is this batch alone: then its transaction is the savepoint.
    private static func isWhole(_ batch: CdcBatch) -> Bool { batch.beginsUnit && batch.commitsUnit }

    /// Writes the batch in the fastest mode that its rows allow.
    ///
    /// - Parameters:
    ///   - batch: not an empty one.
    ///   - session: with the unit's transaction open, or about to be.
    ///   - fallbacks: counts the modes that had to be left.
    ///   - finish: sends what belongs into the batch's last flight.
    /// - Throws: ``PostgresWriteFailure``; what was written of the batch may still be in the transaction.
    func write(
        _ batch: CdcBatch,
        _ session: PostgresSession,
        _ fallbacks: inout WriteFallbacks,
        finish: () throws(PostgresWriteFailure) -> Void
    ) throws(PostgresWriteFailure) {
        var mode = PostgresMode.fast
        encoder.begin(at: PostgresUnitWriter.now())
        while true {
            do throws(PostgresWriteFailure) {
                if mode == .replay {
                    try replay(batch, session)
                } else {
                    for table in batch.touchedTables {
                        let writer = try writer(for: table, of: batch, session)
                        let context = PostgresTableWriter.Context(
                            batch: batch,
                            table: table,
                            mode: mode,
                            session: session
                        )
                        try writer.apply(context, &fold, &encoder)
                    }
                }
                if !PostgresUnitWriter.isWhole(batch) {
                    // What a failure takes back has to be known before.
                    try land(batch, session)
                    try release(session)
                }
                try finish()
                try land(batch, session)
                return
            } catch {
                guard let next = PostgresUnitWriter.next(after: mode, error) else { throw error }
                if next == .merge { fallbacks.merges += 1 } else { fallbacks.replays += 1 }
                mode = next
                try restart(batch, session, mode)
            }
        }
    }

    /// Applies the batch change by change, in the order of the source over all tables.
    private func replay(_ batch: CdcBatch, _ session: PostgresSession) throws(PostgresWriteFailure) {
        var tables: [UInt32: (writer: PostgresTableWriter, fold: FoldIndex, next: Int)] = [:]
        for table in batch.touchedTables {
            var fold = FoldIndex()
            fold.build(batch, table: table, folding: false)
            tables[table] = (try writer(for: table, of: batch, session), fold, 0)
        }
        for index in batch.selectedChanges {
            let table = batch.change(index).table
            guard let (writer, fold, next) = tables[table] else { continue }
            tables[table]?.next = next + 1
            let context = PostgresTableWriter.Context(batch: batch, table: table, mode: .replay, session: session)
            try writer.applyAlone(next, context, fold, &encoder)
        }
    }

    /// The mode in which a batch may pass that did not in this one; nil if there is none.
    private static func next(after mode: PostgresMode, _ failure: PostgresWriteFailure) -> PostgresMode? {
        switch failure.kind {
        case .wrongForm, .noOldRow: return nil
        case .missingRow where failure.table == nil: return nil
        case .missingRow: break
        case .server(let error): guard error.reason == .server, error.mayPassInOrder else { return nil }
        }
        return switch mode {
        case .fast: failure.isDirectCopy || isMissingRow(failure) ? .merge : .replay
        case .merge: .replay
        case .replay: nil
        }
    }

    private static func isMissingRow(_ failure: PostgresWriteFailure) -> Bool {
        guard case .missingRow = failure.kind else { return false }
        return true
    }

    /// Takes back what was written of the batch, so that it can be written in another mode.
    private func restart(
        _ batch: CdcBatch,
        _ session: PostgresSession,
        _ mode: PostgresMode
    ) throws(PostgresWriteFailure) {
        forgetSets()
        try PostgresWriteFailure.catching("write in another way") { () throws(PostgresError) in
            if PostgresUnitWriter.isWhole(batch) {
                try session.client.execute("ROLLBACK")
                session.prologue = beginning(of: batch)
            } else {
                try session.client.execute("ROLLBACK TO SAVEPOINT \(PostgresUnitWriter.savepoint)")
                session.prologue = []
            }
            try session.forgetStatements()
            if mode == .replay { session.prologue.append("SET CONSTRAINTS ALL DEFERRED") }
        }
    }

    private func release(_ session: PostgresSession) throws(PostgresWriteFailure) {
        let operation = "release savepoint"
        try session.fly(operation) { () throws(PostgresError) in
            try session.client.fly(
                "RELEASE SAVEPOINT \(PostgresUnitWriter.savepoint)",
                PostgresClient.Expectation(operation: operation)
            )
        }
    }

    private func land(_ batch: CdcBatch, _ session: PostgresSession) throws(PostgresWriteFailure) {
        try session.land { batch.tables[Int($0)].ref }
    }

    private func writer(
        for index: UInt32,
        of batch: CdcBatch,
        _ session: PostgresSession
    ) throws(PostgresWriteFailure) -> PostgresTableWriter {
        let table = batch.tables[Int(index)]
        if let writer = writers[table.ref], writer.schema === table { return writer }
        let name = names[table.ref] ?? table.ref
        var found: PostgresTable?
        // The catalog is read outside of the flight; what is in flight lands first.
        try land(batch, session)
        try PostgresWriteFailure.catching("look at table") { () throws(PostgresError) in
            found = try PostgresCatalog(client: session.client).tables([name])[name]
            try types.read(oids: Set(found?.columns.map(\.typeOID) ?? []), session.client)
        }
        guard let found,
            let layout = PostgresLayout(table, name: name, there: found, types: types, format: format)
        else {
            let error = PostgresError(.server, "table \(name) was dropped or altered while the daemon ran")
            throw PostgresWriteFailure(kind: .server(error), operation: "look at table", table: table.ref)
        }
        let writer = PostgresTableWriter(layout, config: config)
        writers[table.ref] = writer
        return writer
    }

    /// Microseconds since 2000-01-01 UTC.
    private static func now() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return (Int64(time.tv_sec) * 1000 - Timestamp.postgresEpoch) * 1000 + Int64(time.tv_nsec) / 1000
    }
}
