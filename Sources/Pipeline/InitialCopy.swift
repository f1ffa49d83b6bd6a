internal import CLinux
internal import CdcCore
internal import Glibc
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
    let options: StreamOptions
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
        logger.info("copy begins", metadata: ["tables": "\(tables.count)"])
        _ = try link.call(.beginCopy(schemas))
        let point: LSN
        do throws(SourceError) {
            point = try connection.beginSnapshot(slot: slot)
            try connection.lockForCopy(tables)
        } catch {
            throw SessionEnd(error)
        }
        var copier = TableCopier(schemas: schemas, point: point, link: link, options: options)
        for (index, table) in tables.enumerated() {
            let before = copier.rows
            try copier.copy(table, index: UInt32(index), from: connection)
            logger.info("table copied", metadata: ["table": "\(table.ref)", "rows": "\(copier.rows - before)"])
        }
        try copier.finish()
        Failpoint.copyRowsWritten.pass()
        return point
    }

    /// The statement that reads a table: published columns, published rows, children only where they are partitions.
    static func statement(_ table: SourceTable) -> String {
        let columns = table.columns.map { PostgresConnection.quote(identifier: $0.name) }.joined(separator: ", ")
        let filter = table.rowFilter.map { " WHERE \($0)" } ?? ""
        return
            "COPY (SELECT \(columns) FROM \(table.isPartitioned ? "" : "ONLY ")\(table.quotedName)\(filter)) TO STDOUT"
    }
}

/// Rows of COPY into batches, batches to the sink; one is filled while the other is written.
private struct TableCopier: ~Copyable {
    private let link: SinkLink
    private let options: StreamOptions
    private let point: LSN
    private var decoder = CopyTextDecoder()
    private var filling: CdcBatch
    private var spare: CdcBatch?
    private(set) var rows = 0

    init(schemas: [TableSchema], point: LSN, link: SinkLink, options: StreamOptions) {
        self.link = link
        self.options = options
        self.point = point
        filling = CdcBatch(tables: schemas, keptCapacity: 2 * options.batchBytes)
        spare = CdcBatch(tables: schemas, keptCapacity: 2 * options.batchBytes)
    }

    mutating func copy(_ table: SourceTable, index: UInt32, from connection: PostgresConnection) throws(SessionEnd) {
        let operation = "copy \(table.ref)"
        do throws(SourceError) {
            try connection.execute(InitialCopy.statement(table), as: operation)
        } catch {
            throw SessionEnd(error)
        }
        while try readRows(table, index, connection, operation) {
            _ = linux_wait(connection.socket, Int16(POLLIN), link.stop.descriptor, -1, 1_000_000_000)
            if link.stop.isStopping { throw .stopped }
            do throws(SourceError) { try connection.readSocket() } catch { throw SessionEnd(error) }
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
                case .message(let line):
                    if filling.isEmpty { filling.begin(TransactionInfo(xid: 0, commitLSN: point, commitTime: 0)) }
                    try decoder.append(line.bytes, into: filling, table: index)
                    rows += 1
                    if filling.byteCount >= options.batchBytes || filling.changeCount >= options.batchRows {
                        try submit()
                    }
                case .nothing: return true
                case .end:
                    try connection.finishCopy(operation)
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

    private mutating func submit() throws(SessionEnd) {
        filling.markCommitted()
        if spare == nil { try awaitSpare() }
        guard let next = spare else { return }
        link.exchange.submit(.write(filling))
        filling = next
        spare = nil
    }

    private mutating func awaitSpare() throws(SessionEnd) {
        switch link.awaitReply(until: nil) {
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

    /// Waits until every row is in the sink.
    mutating func finish() throws(SessionEnd) {
        if !filling.isEmpty { try submit() }
        if spare == nil { try awaitSpare() }
    }
}
