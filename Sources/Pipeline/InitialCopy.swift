internal import CdcCore
internal import Logging
internal import PgOutput
internal import PostgresSource

/// The copy of tables: contract 3 of the design.
///
/// A temporary slot gives a snapshot with its consistent point. All tables of one attempt are read in that snapshot, by COPY
/// through the same batches as the stream. The attempt leaves nothing at the source, and the sink empties the tables when
/// the next one begins, so it may be killed anywhere.
struct InitialCopy {
    let link: SinkLink
    let side: SideSession
    let monitor: PipelineMonitor
    let options: StreamOptions
    let format: TupleFormat
    let logger: Logger

    /// Copies the tables.
    ///
    /// - Parameters:
    ///   - tables: what to copy.
    ///   - schemas: the same tables as the sink knows them.
    ///   - connection: a replication session; the temporary slot ends with it.
    ///   - slot: the temporary slot's name.
    /// - Returns: the consistent point that the rows correspond to.
    /// - Throws: ``SessionEnd``; the copy then has to begin anew.
    func run(
        _ tables: [SourceTable],
        schemas: [TableSchema],
        on connection: PostgresConnection,
        slot: String
    ) throws(SessionEnd) -> LSN {
        logger.info("copy begins", metadata: ["tables": .stringConvertible(tables.count)])
        try requireClaim()
        guard case .order(let order) = try link.call(.beginCopy(schemas)) else { throw .stopped }
        let point: LSN
        let rows: Int?
        do throws(SourceError) {
            point = try connection.beginSnapshot(slot: slot)
            try connection.lockForCopy(tables)
            rows = try SourceCatalog(connection).estimatedRows(tables)
        } catch {
            throw SessionEnd(error)
        }
        monitor.copyBegins(tables: tables.count, rowsExpected: rows)
        var copier = TableCopier(
            schemas: schemas,
            point: point,
            link: link,
            side: side,
            monitor: monitor,
            options: options,
            format: format
        )
        do throws(SessionEnd) {
            try copyAll(tables, order, connection, &copier)
        } catch {
            // The sink may be stuck: the source is not to wait for this session meanwhile.
            connection.hangUp()
            if let failure = copier.settle() { throw .failed(failure) }
            throw error
        }
        Failpoint.copyRowsWritten.pass()
        return point
    }

    private func copyAll(
        _ tables: [SourceTable],
        _ order: [Int],
        _ connection: PostgresConnection,
        _ copier: inout TableCopier
    ) throws(SessionEnd) {
        for index in order {
            let table = tables[index]
            let before = copier.rows
            monitor.copies(table.ref)
            try copier.copy(table, index: UInt32(index), from: connection)
            monitor.copied()
            logger.info(
                "table copied",
                metadata: ["table": "\(table.ref)", "rows": .stringConvertible(copier.rows - before)]
            )
        }
        try copier.finish()
        // Without the lock another daemon may have begun to copy into the same tables.
        try requireClaim()
    }

    /// The lock goes with the side session; a lost one is noticed here.
    private func requireClaim() throws(SessionEnd) {
        do throws(SourceError) { try side.tick(.now, isReadable: true) } catch { throw SessionEnd(error) }
    }

    /// The statement that reads a table: published columns, published rows, children only where they are partitions.
    static func statement(_ table: SourceTable, _ format: TupleFormat) -> String {
        let columns = table.columns.map { expression($0, format) }.joined(separator: ", ")
        let filter = table.rowFilter.map { " WHERE \($0)" } ?? ""
        let rows = "SELECT \(columns) FROM \(table.isPartitioned ? "" : "ONLY ")\(table.quotedName)\(filter)"
        return "COPY (\(rows)) TO STDOUT" + (format == .binary ? " (FORMAT binary)" : "")
    }

    /// What has no binary output is read as the text that the stream has, which is the output function's.
    ///
    /// A cast to text is not that: somebody may have made one of his own. `IS NULL` is not either: it looks into rows.
    private static func expression(_ column: ColumnDef, _ format: TupleFormat) -> String {
        let name = PostgresConnection.quote(identifier: column.name)
        guard format == .binary, !column.postgresType.hasBinaryOutput else { return name }
        return "CASE WHEN pg_catalog.num_nulls(\(name)) = 0 THEN pg_catalog.format('%s', \(name)) END"
    }
}

/// Rows of COPY into batches, batches to the sink; one is filled while the other is written.
private struct TableCopier: ~Copyable {
    private let link: SinkLink
    private let side: SideSession
    private let monitor: PipelineMonitor
    private let options: StreamOptions
    private let point: LSN
    private let format: TupleFormat
    private var text = CopyTextDecoder()
    private var binary = CopyBinaryDecoder([])
    private var filling: CdcBatch
    private var spare: CdcBatch?
    private(set) var rows = 0
    /// Whether the sink has a batch and has not answered.
    private var isReplyOwed = false

    init(
        schemas: [TableSchema],
        point: LSN,
        link: SinkLink,
        side: SideSession,
        monitor: PipelineMonitor,
        options: StreamOptions,
        format: TupleFormat
    ) {
        self.format = format
        self.link = link
        self.side = side
        self.monitor = monitor
        self.options = options
        self.point = point
        filling = CdcBatch(tables: schemas, keptCapacity: 2 * options.batchBytes)
        spare = CdcBatch(tables: schemas, keptCapacity: 2 * options.batchBytes)
    }

    mutating func copy(_ table: SourceTable, index: UInt32, from connection: PostgresConnection) throws(SessionEnd) {
        let operation = "copy \(table.ref)"
        binary = CopyBinaryDecoder(table.columns)
        do throws(SourceError) {
            try connection.execute(InitialCopy.statement(table, format), as: operation)
        } catch {
            throw SessionEnd(error)
        }
        while try readRows(table, index, connection, operation) {
            let ready = link.stop.wait(for: connection.socket, or: side.socket, atMost: .seconds(1))
            if link.stop.isStopping { throw .stopped }
            do throws(SourceError) {
                try side.tick(.now, isReadable: ready.contains(.second))
                try connection.readSocket()
            } catch {
                throw SessionEnd(error)
            }
        }
    }

    /// Takes what has arrived; false at the table's end.
    private mutating func readRows(
        _ table: SourceTable,
        _ index: UInt32,
        _ connection: PostgresConnection,
        _ operation: String
    ) throws(SessionEnd) -> Bool {
        do {
            while true {
                switch try connection.takeMessage() {
                case .message(let message):
                    if filling.transactionCount == 0 {
                        filling.begin(TransactionInfo(xid: 0, commitLSN: point, commitTime: 0))
                    }
                    guard try append(message.bytes, index) else { continue }
                    rows += 1
                    if filling.byteCount >= options.batchBytes || filling.changeCount >= options.batchRows {
                        try submit()
                    }
                case .nothing: return true
                case .end:
                    try connection.finishCopy(operation)
                    if format == .binary { try binary.finish() }
                    return false
                }
            }
        } catch let error as SourceError {
            throw SessionEnd(error)
        } catch let error as SessionEnd {
            throw error
        } catch {
            throw .failed(PipelineFailure(.protocolViolation, "\(operation) failed: \(error); report this"))
        }
    }

    /// Takes a message; false if there was no row in it.
    @inline(__always)
    private mutating func append(_ message: RawSpan, _ index: UInt32) throws(WireError) -> Bool {
        if format == .binary { return try binary.append(message, into: filling, table: index) }
        try text.append(message, into: filling, table: index)
        return true
    }

    private mutating func submit() throws(SessionEnd) {
        filling.markCommitted()
        if spare == nil { try awaitSpare() }
        guard let next = spare else { return }
        link.exchange.submit(.write(filling))
        isReplyOwed = true
        filling = next
        spare = nil
    }

    private mutating func awaitSpare() throws(SessionEnd) {
        let side = side
        let monitor = monitor
        let began = ContinuousClock.now
        let reply = try link.awaitReply(until: nil) { () throws(SessionEnd) in
            do throws(SourceError) {
                try side.tick(.now, isReadable: true)
                let isStalled = .now - began >= StreamOptions.stallInDanger
                if isStalled, let danger = monitor.slotInDanger { throw danger }
            } catch {
                throw SessionEnd(error)
            }
        }
        isReplyOwed = false
        switch reply {
        case .written(let batch, _):
            Failpoint.copyPartWritten.pass()
            batch.reset()
            spare = batch
        case .failed(let failure): throw .failed(failure)
        case .unitLost(_, let error):
            throw .restart(reason: "it is not known whether copied rows arrived: \(error.cause)")
        default: throw .stopped
        }
    }

    /// After an error: waits for the answer that the sink still owes, so that the next attempt finds it free.
    ///
    /// - Returns: why the sink ends the daemon, if it does.
    mutating func settle() -> PipelineFailure? {
        guard isReplyOwed else { return nil }
        isReplyOwed = false
        guard case .failed(let failure) = link.awaitReply(until: nil) else { return nil }
        return failure
    }

    /// Waits until every row is in the sink.
    mutating func finish() throws(SessionEnd) {
        if !filling.isEmpty { try submit() }
        if spare == nil { try awaitSpare() }
    }
}
