internal import CLinux
internal import CdcCore
internal import Glibc
internal import Logging
internal import PgOutput
internal import PostgresSource

/// Reads the stream, fills batches, hands them to the sink's lane, and acknowledges what is durable, until something ends it.
///
/// Runs on the source lane's thread. Nothing in here waits for the sink: while both batches are taken it only stops reading.
final class StreamSession {
    private let connection: PostgresConnection
    private let side: SideSession
    private let link: SinkLink
    private let config: PipelineConfig
    private let monitor: PipelineMonitor
    private let logger: Logger
    private var options: StreamOptions
    private var optionsGeneration: Int
    private let tables: RelationTable
    private let format: TupleFormat

    // Touched for every row: one thread uses them, and no access to one of them is open while another begins.
    @exclusivity(unchecked) private var filling: CdcBatch
    /// The other batch; nil while the sink has it.
    @exclusivity(unchecked) private var spare: CdcBatch?
    private var inFlightHasChanges = false
    private var inFlightBytes = 0
    /// Since when both batches are taken, so that nothing is read.
    private var stalledSince: ContinuousClock.Instant?
    private var lastTick: ContinuousClock.Instant = .now
    /// Whether the sink owes an answer.
    private var isSinkBusy = false
    private var isUnitOpen = false

    @exclusivity(unchecked) private var progress: ReplicationProgress
    /// Whether a transaction's commit has not arrived; ``open`` is that transaction.
    @exclusivity(unchecked) private var isInTransaction = false
    @exclusivity(unchecked) private var open = OpenTransaction()
    private var gathering = Gathering()
    @exclusivity(unchecked) private var isReplyWanted = false
    private var lastReported = LSN.zero
    private var lastStatus: ContinuousClock.Instant = .now
    private var lastIdleStore: ContinuousClock.Instant = .now

    private struct OpenTransaction {
        var info = TransactionInfo(xid: 0, commitLSN: .zero, commitTime: 0)
        var ordinal: UInt64 = 0
        /// Whether the batch being filled knows it.
        var isInBatch = false
    }

    init(
        _ connection: PostgresConnection,
        side: SideSession,
        link: SinkLink,
        tables: RelationTable,
        config: PipelineConfig,
        statusInterval: Duration,
        startingAt position: LSN,
        format: TupleFormat,
        monitor: PipelineMonitor
    ) {
        self.format = format
        self.connection = connection
        self.side = side
        self.link = link
        self.tables = tables
        self.config = config
        self.monitor = monitor
        logger = config.logger
        optionsGeneration = config.live.generation
        options = config.streamOptions(statusInterval: statusInterval)
        filling = CdcBatch(tables: tables.schemas, keptCapacity: 2 * options.partBytes)
        spare = CdcBatch(tables: tables.schemas, keptCapacity: 2 * options.partBytes)
        progress = ReplicationProgress(durable: position)
    }

    /// How far the sink is durable.
    var durable: LSN { progress.acknowledgeable }

    // MARK: The loop

    /// Streams until the daemon is stopped.
    ///
    /// - Throws: ``SessionEnd`` for everything else that ends the session.
    func run() throws(SessionEnd) {
        Failpoint.streamStarted.pass()
        while true {
            try takeReply()
            if link.stop.isStopping { return try drain() }
            refreshOptions()
            link.stop.health.moving()
            let messages = try read()
            try submitIfDue()
            tellMonitor()
            try tickWhileBusy()
            try source { () throws(SourceError) in try sendStatusIfDue(.now) }
            try wait(after: messages)
        }
    }

    /// A stream that never pauses must not keep the side session from its work.
    private func tickWhileBusy() throws(SessionEnd) {
        let now = ContinuousClock.now
        guard now - lastTick >= .seconds(1) else { return }
        lastTick = now
        try source { () throws(SourceError) in try side.tick(now, isReadable: true) }
    }

    /// Limits may have changed since the last turn.
    private func refreshOptions() {
        let generation = config.live.generation
        guard generation != optionsGeneration else { return }
        optionsGeneration = generation
        options = config.streamOptions(statusInterval: options.statusInterval)
    }

    private func tellMonitor() {
        monitor.turned(
            received: progress.received,
            flushed: progress.acknowledgeable,
            isOwing: isOwing,
            memoryUsed: filling.byteCount + inFlightBytes
        )
    }

    /// Reads what has arrived, as far as there is room for it.
    private func read() throws(SessionEnd) -> Int {
        var messages = 0
        while hasRoom, messages < 8192 {
            let next: PostgresConnection.CopyData
            do throws(SourceError) { next = try connection.takeMessage() } catch { throw SessionEnd(error) }
            switch next {
            case .message(let bytes):
                messages += 1
                try handle(bytes.bytes)
            case .nothing: return messages
            case .end:
                try finish()
                throw .retry(
                    SourceError(
                        .retriable,
                        operation: "stream from slot",
                        cause: "the server ended the stream",
                        remedy: "connecting again"
                    )
                )
            }
        }
        return messages
    }

    /// Hears why the server ended the stream.
    private func finish() throws(SessionEnd) {
        do throws(SourceError) {
            try connection.finishCopy("stream from slot")
        } catch {
            // A table that joined the publication since, or WAL from before a column was dropped, may hold what has no
            // binary output.
            if format == .binary, error.sqlState == StreamSession.undefinedFunction {
                throw .needsText(cause: error.cause)
            }
            throw SessionEnd(error)
        }
    }

    private static let undefinedFunction = "42883"

    private func source(_ body: () throws(SourceError) -> Void) throws(SessionEnd) {
        do throws(SourceError) { try body() } catch { throw SessionEnd(error) }
    }

    /// Sleeps until something is to be done.
    private func wait(after messages: Int) throws(SessionEnd) {
        let now = ContinuousClock.now
        let socket = hasRoom ? connection.socket : -1
        if messages > 0, socket >= 0 {
            // The kernel has nothing: rows come one wake-up each unless they are given a moment to gather.
            if linux_wait(socket, Int16(POLLIN), -1, -1, 0) == 0 {
                link.stop.pause(nanoseconds: gathering.pause(after: messages))
            } else {
                gathering.add(messages)
            }
            return try source { () throws(SourceError) in try connection.readSocket() }
        }
        // At most a second: with TLS, poll does not hear of bytes that OpenSSL holds already.
        var until = min(now + .seconds(1), lastStatus + options.statusInterval)
        if progress.acknowledgeable > lastReported { until = min(until, lastStatus + StreamOptions.statusDelay) }
        if let arrival = filling.firstArrival, spare != nil { until = min(until, arrival + options.flushInterval) }
        if let deadline = side.deadline { until = min(until, deadline) }
        let ready = link.stop.wait(for: socket, or: side.socket, atMost: until - now)
        try source { () throws(SourceError) in
            if socket >= 0 { try connection.readSocket() }
            try side.tick(.now, isReadable: ready.contains(.second))
            try giveUpInDanger(.now)
        }
    }

    /// Ends the session where the server may wait for it.
    ///
    /// A server that wants to be rid of the slot, because WAL is to be removed, waits for its walsender to end, and the
    /// walsender waits until somebody reads its last words. With a stuck sink nobody would, and the server's checkpoints would
    /// stand still.
    private func giveUpInDanger(_ now: ContinuousClock.Instant) throws(SourceError) {
        guard !hasRoom else {
            stalledSince = nil
            return
        }
        let since = stalledSince ?? now
        stalledSince = since
        guard now - since >= StreamOptions.stallInDanger, let danger = monitor.slotInDanger else { return }
        throw danger
    }

    // MARK: Messages

    @inline(__always)
    private func handle(_ message: RawSpan) throws(SessionEnd) {
        do throws(WireError) {
            switch try ReplicationMessage(message) {
            case .data(_, let walEnd):
                progress.data(walEnd: walEnd)
                try handle(try PgOutputDecoder.decode(message, from: ReplicationMessage.payloadOffset), message)
            case .keepalive(let walEnd, let replyRequested):
                progress.idle(at: walEnd, owing: isOwing)
                if replyRequested { isReplyWanted = true }
            }
        } catch {
            throw protocolViolation(error)
        }
        if let end = tables.sessionEnd { throw end }
    }

    private func protocolViolation(_ error: WireError) -> SessionEnd {
        .failed(
            PipelineFailure(
                .protocolViolation,
                SourceError(
                    .protocolViolation,
                    operation: "decode the stream",
                    lsn: progress.received,
                    cause: error.description,
                    remedy: "nothing was acknowledged beyond \(progress.acknowledgeable); check the network for "
                        + "proxies that alter data, and report this with the server's version"
                ).description
            )
        )
    }

    @inline(__always)
    private func handle(_ change: PgOutputMessage, _ message: RawSpan) throws(WireError) {
        switch change {
        case .insert(let relation, let newOffset):
            guard let (table, ordinal) = try target(relation) else { return }
            try TupleDecoder.insert(
                message,
                newOffset: newOffset,
                into: filling,
                table: table,
                map: tables.current.map,
                ordinal: ordinal
            )
        case .update(let relation, let old, let oldOffset, let newOffset):
            guard let (table, ordinal) = try target(relation) else { return }
            try TupleDecoder.update(
                message,
                old: old,
                oldOffset: oldOffset,
                newOffset: newOffset,
                into: filling,
                table: table,
                map: tables.current.map,
                ordinal: ordinal
            )
        case .delete(let relation, let old, let oldOffset):
            guard let (table, ordinal) = try target(relation) else { return }
            try TupleDecoder.delete(
                message,
                old: old,
                oldOffset: oldOffset,
                into: filling,
                table: table,
                map: tables.current.map,
                ordinal: ordinal
            )
        case .truncate(let relations, _, _):
            for relation in relations {
                if let (table, ordinal) = try target(relation) {
                    filling.appendTruncate(table: table, ordinal: ordinal)
                }
            }
        case .begin(let info):
            guard !isInTransaction else { throw WireError("transaction inside a transaction", at: 0) }
            isInTransaction = true
            open = OpenTransaction(info: info)
        case .commit(let commitLSN, let endLSN, _):
            try commit(commitLSN, endLSN)
        case .relation(let relation):
            tables.relation(relation)
        case .type, .origin, .message:
            break
        }
    }

    /// Counts the change and says where it goes; nil if it is not carried.
    @inline(__always)
    private func target(_ relation: UInt32) throws(WireError) -> (table: UInt32, ordinal: UInt64)? {
        guard isInTransaction else { throw WireError("change outside a transaction", at: 0) }
        open.ordinal += 1
        try tables.select(relation)
        guard let table = tables.current.table, open.info.commitLSN >= tables.current.copiedUpTo else { return nil }
        if !open.isInBatch { enter() }
        return (table, open.ordinal)
    }

    /// The transaction's first change in this batch.
    private func enter() {
        open.isInBatch = true
        filling.begin(open.info)
        progress.change()
        if filling.firstArrival == nil { filling.firstArrival = .now }
    }

    private func commit(_ commitLSN: LSN, _ endLSN: LSN) throws(WireError) {
        guard isInTransaction, open.info.commitLSN == commitLSN, endLSN > commitLSN else {
            throw WireError("commit of another transaction", at: 0)
        }
        let position = SourcePosition(commitLSN: commitLSN, ordinal: open.ordinal, endLSN: endLSN)
        if isUnitOpen, !open.isInBatch { enter() }
        isInTransaction = false
        if open.isInBatch {
            filling.commit(position)
        } else if !filling.isEmpty {
            filling.advance(to: position)
        } else {
            progress.idle(at: endLSN, owing: isOwing)
        }
    }

    /// Whether anything received is not durable yet.
    private var isOwing: Bool {
        isInTransaction || !filling.isEmpty || isUnitOpen || (spare == nil && inFlightHasChanges)
    }

    // MARK: Batches

    private var isFull: Bool {
        filling.byteCount >= options.batchBytes || filling.changeCount >= options.batchRows
    }

    private var isOverfull: Bool {
        filling.byteCount >= options.partBytes || filling.changeCount >= 2 * options.batchRows
    }

    /// Whether another message may be read: a full batch waits for the sink, a transaction may go on a little.
    private var hasRoom: Bool {
        guard isFull else { return true }
        return isInTransaction && !isOverfull
    }

    private func submitIfDue() throws(SessionEnd) {
        guard spare != nil else { return }
        let now = ContinuousClock.now
        if isInTransaction {
            if isOverfull { submit(commits: false) }
        } else if isUnitOpen || (!filling.isEmpty && (isFull || isRipe(now))) {
            submit(commits: true)
        } else if filling.isEmpty, let end = progress.idleEnd {
            advance(to: end, now)
        }
    }

    private func isRipe(_ now: ContinuousClock.Instant) -> Bool {
        filling.firstArrival.map { now - $0 >= options.flushInterval } ?? true
    }

    /// Moves the position on although nothing changed, so that the source may forget WAL of others.
    private func advance(to end: LSN, _ now: ContinuousClock.Instant) {
        guard options.storesPosition else { return progress.acknowledgeIdleEnd() }
        guard isReplyWanted || now - lastIdleStore >= StreamOptions.idleStoreInterval else { return }
        lastIdleStore = now
        filling.advance(to: SourcePosition(at: end))
        submit(commits: true)
    }

    private func submit(commits: Bool) {
        guard let next = spare else { return }
        filling.beginsUnit = !isUnitOpen
        filling.commitsUnit = commits
        if !commits { filling.position = nil }
        open.isInBatch = false
        isUnitOpen = !commits
        inFlightHasChanges = !filling.isEmpty
        inFlightBytes = filling.byteCount
        link.exchange.submit(.write(filling))
        isSinkBusy = true
        filling = next
        spare = nil
    }

    private func takeReply() throws(SessionEnd) {
        guard let reply = link.exchange.takeReply() else { return }
        isSinkBusy = false
        switch reply {
        case .written(let batch, let result):
            giveBack(batch)
            if let position = result.durablePosition { progress.durable(position.endLSN) }
            if !isOwing { progress.settled() }
        case .unitLost(let batch, let error):
            giveBack(batch)
            isUnitOpen = false
            throw .restart(reason: "the sink lost its open transaction: \(error.cause)")
        case .failed(let failure):
            throw .failed(failure)
        case .abandoned:
            throw .stopped
        case .done, .ready, .state, .position, .order:
            break
        }
    }

    private func giveBack(_ batch: CdcBatch) {
        batch.reset()
        spare = batch
        inFlightBytes = 0
    }

    // MARK: Acknowledging

    private func sendStatusIfDue(_ now: ContinuousClock.Instant) throws(SourceError) {
        let hasNews = progress.acknowledgeable > lastReported && now - lastStatus >= StreamOptions.statusDelay
        guard isReplyWanted || hasNews || now - lastStatus >= options.statusInterval else { return }
        try sendStatus(now)
    }

    private func sendStatus(_ now: ContinuousClock.Instant) throws(SourceError) {
        isReplyWanted = false
        lastStatus = now
        lastReported = progress.acknowledgeable
        try connection.send(StandbyStatusUpdate(written: progress.received, flushed: progress.acknowledgeable))
        monitor.reported(lastReported)
        Failpoint.statusSent.pass()
    }

    // MARK: Ending

    /// Finishes what is complete, within the time that a stop may take.
    private func drain() throws(SessionEnd) {
        let deadline = ContinuousClock.now + options.shutdownTimeout
        filling.discardUncommitted()
        isInTransaction = false
        if !isUnitOpen, spare != nil, !filling.isEmpty { submit(commits: true) }
        while isSinkBusy, ContinuousClock.now < deadline, try settleOnce() {
            if spare != nil, !isUnitOpen, !filling.isEmpty { submit(commits: true) }
        }
        if isSinkBusy {
            logger.warning("stopped before the sink was done", metadata: ["lsn": "\(progress.acknowledgeable)"])
            link.exchange.abandon()
            _ = link.awaitReply(until: nil)
        }
        try? sendStatus(.now)
        connection.endReplication()
    }

    /// Waits a moment for the sink and keeps the server content; false when there is nothing to wait for.
    private func settleOnce() throws(SessionEnd) -> Bool {
        link.stop.wait(atMost: .milliseconds(100))
        do throws(SessionEnd) {
            try takeReply()
        } catch {
            if case .failed = error { throw error }
            return false
        }
        try? sendStatusIfDue(.now)
        return true
    }

    /// After an error: waits until the sink has answered, so that the next session finds it free.
    ///
    /// What is not durable is read again.
    ///
    /// The source is let go first: the sink may hang, and a server that shuts down would wait for this session.
    func settle() -> PipelineFailure? {
        connection.hangUp()
        if isSinkBusy {
            monitor.enter(.waitingForSource, "the stream was lost; the target has to answer before the next one begins")
            let reply = link.awaitReply(until: options.shutdownTimeout) { () throws(Never) in
                try? side.tick(.now, isReadable: true)
            }
            switch reply {
            case .written(_, let result):
                if let position = result.durablePosition { progress.durable(position.endLSN) }
            case .failed(let failure): return failure
            default: break
            }
        }
        return nil
    }
}
