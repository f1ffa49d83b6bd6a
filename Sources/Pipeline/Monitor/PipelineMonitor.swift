public import CdcCore
public import CoreMetrics
internal import Glibc
internal import Logging
internal import PostgresSource
internal import Synchronization

/// What is known of a running pipeline: its lanes' health, phase, positions, lag, counts and troubles.
///
/// The lanes tell it what they do, once a batch or once a turn of their loop, never once a row; whoever watches (watchdog,
/// health endpoint, metrics, status page) asks it at any time from any thread.
public final class PipelineMonitor: Sendable {
    /// The lane that reads.
    public let sourceHealth: LaneHealth
    /// The lane that writes.
    public let sinkHealth: LaneHealth

    private let metrics: PipelineMetrics
    private let logger: Logger
    private let sinkType: String
    private let slotName: String
    private let live: LiveSettings
    private let walThreshold: Int?
    private let maximumLag: Int

    // Told once a turn of the source's loop: no lock, each stands for itself.
    private let received = Atomic<UInt64>(0)
    private let flushed = Atomic<UInt64>(0)
    private let confirmed = Atomic<UInt64>(0)
    private let isOwing = Atomic<Bool>(false)
    private let memoryUsed = Atomic<Int>(0)
    private let proven = Atomic<Bool>(false)
    private let state: Mutex<State>

    private struct State: Sendable {
        var pipeline = ""
        var source = ""
        var target: String?
        var phase = PipelinePhase.starting
        var detail: String?
        var phaseSince: Int
        /// Commit time, in milliseconds since 1970, up to which the sink is known to have everything; nil before that is known.
        var caughtUp: Int?
        var slot: SlotReport?
        var lookedAt: ContinuousClock.Instant?
        var alarm = WALAlarm.none
        var alarmText = ""
        var copy: PipelineStatus.Copy?
        var totals = PipelineStatus.Totals()
        var tables: [TableRef: PipelineStatus.Table] = [:]
        var counters: [TableRef: PipelineMetrics.Table] = [:]
        var troubles: [PipelineStatus.Trouble] = []
        var samples: [Sample] = []

        /// A stop stays a stop, whatever the lanes still do.
        mutating func enter(_ next: PipelinePhase, _ detail: String?) {
            guard phase != .stopping else { return }
            if phase != next { phaseSince = PipelineMonitor.now() }
            phase = next
            self.detail = detail
        }
    }

    private struct Sample: Sendable {
        var at: ContinuousClock.Instant
        var totals: PipelineStatus.Totals
    }

    private static let troublesKept = 10
    /// Three times the longest interval of looks.
    private static let oldLook = Duration.seconds(30)
    private static let rateWindow = Duration.seconds(10)
    private let started = PipelineMonitor.now()

    /// Makes the monitor of a pipeline that has not begun.
    ///
    /// - Parameters:
    ///   - config: the pipeline's settings.
    ///   - factory: where metrics go; swift-metrics' global backend by default.
    public init(_ config: PipelineConfig, metrics factory: any MetricsFactory = MetricsSystem.factory) {
        sourceHealth = LaneHealth(name: "source", patience: config.hangTimeout)
        sinkHealth = LaneHealth(name: "sink", patience: config.hangTimeout)
        metrics = PipelineMetrics(factory)
        logger = config.logger
        sinkType = config.sink.type
        slotName = config.source.slotName
        live = config.live
        walThreshold = config.source.walAlarmBytes
        maximumLag = config.readyMaxLag
        state = Mutex(State(phaseSince: started))
    }

    private static func now() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }

    // MARK: Told by the lanes

    func enter(_ phase: PipelinePhase, _ detail: String? = nil) {
        state.withLock { $0.enter(phase, detail) }
    }

    func connected(to source: String) { state.withLock { $0.source = source } }

    func identified(as pipeline: String) { state.withLock { $0.pipeline = pipeline } }

    /// Configuration, source, slot and sink have shown that they work.
    func prove() { proven.store(true, ordering: .releasing) }

    /// One turn of the source's loop.
    @inline(__always)
    func turned(received: LSN, flushed: LSN, isOwing: Bool, memoryUsed: Int) {
        self.received.store(received.rawValue, ordering: .relaxed)
        self.flushed.store(flushed.rawValue, ordering: .relaxed)
        self.isOwing.store(isOwing, ordering: .relaxed)
        self.memoryUsed.store(memoryUsed, ordering: .relaxed)
    }

    func reported(_ position: LSN) { confirmed.store(position.rawValue, ordering: .relaxed) }

    func heartbeat() { metrics.heartbeats.increment() }

    /// A batch is at the sink.
    func written(_ batch: CdcBatch, took duration: Duration, fallbacks: WriteFallbacks = WriteFallbacks()) {
        let tally = BatchTally(batch)
        let isCopy = batch.isCopy
        metrics.batches.increment()
        metrics.sinkMerges.increment(by: fallbacks.merges)
        metrics.sinkReplays.increment(by: fallbacks.replays)
        metrics.batchWrite.recordNanoseconds(duration.nanoseconds)
        if !batch.isEmpty {
            metrics.batchRows.record(batch.selectedCount)
            metrics.batchBytes.record(batch.tupleBytes)
        }
        // The last transaction of a part goes on in the next.
        let transactions = isCopy ? 0 : batch.transactionCount - (batch.commitsUnit || batch.isEmpty ? 0 : 1)
        metrics.transactions.increment(by: transactions)
        if batch.commitsUnit, transactions > 0 {
            let first = PipelineMonitor.unixMilliseconds(batch.transaction(0))
            metrics.commitToDurable.recordMilliseconds(max(0, PipelineMonitor.now() - first))
        }
        state.withLock { state in
            state.totals.batches += 1
            state.totals.sinkFallbacks.merge += fallbacks.merges
            state.totals.sinkFallbacks.replay += fallbacks.replays
            state.totals.transactions += transactions
            for table in tally.tables { count(table, of: batch, isCopy: isCopy, in: &state) }
            if batch.commitsUnit, transactions > 0 {
                let last = PipelineMonitor.unixMilliseconds(batch.transaction(transactions - 1))
                state.caughtUp = max(state.caughtUp ?? .min, last)
            }
        }
    }

    /// PostgreSQL counts microseconds from 2000.
    private static func unixMilliseconds(_ transaction: TransactionInfo) -> Int {
        Int(transaction.commitTime / 1000) + 946_684_800_000
    }

    private func count(_ tally: BatchTally.Table, of batch: CdcBatch, isCopy: Bool, in state: inout State) {
        let ref = batch.tables[tally.index].ref
        var table = state.tables[ref] ?? PipelineStatus.Table(table: ref.description)
        let counters = state.counters[ref] ?? metrics.table(ref)
        let rows = tally.inserts + tally.updates + tally.deletes + tally.truncates
        if isCopy {
            table.copied += rows
            counters.copied.increment(by: rows)
            state.copy?.rows += rows
        } else {
            table.inserts += tally.inserts
            table.updates += tally.updates
            table.deletes += tally.deletes
            table.truncates += tally.truncates
            counters.inserts.increment(by: tally.inserts)
            counters.updates.increment(by: tally.updates)
            counters.deletes.increment(by: tally.deletes)
            counters.truncates.increment(by: tally.truncates)
        }
        table.bytes += tally.bytes
        counters.bytes.increment(by: tally.bytes)
        state.tables[ref] = table
        state.counters[ref] = counters
        state.totals.rows += rows
        state.totals.bytes += tally.bytes
    }

    /// Changes were given up, and are on disk.
    func deadLetters(of table: TableRef, _ count: Int) {
        metrics.deadLetters(table, by: count)
        state.withLock { $0.totals.deadLetters += count }
    }

    /// Values were changed because the target cannot hold them.
    func substituted(_ substitutions: [ValueSubstitution]) {
        guard !substitutions.isEmpty else { return }
        for substitution in substitutions { metrics.substituted(substitution) }
        let count = substitutions.reduce(0) { $0 + $1.count }
        state.withLock { $0.totals.valuesSubstituted += count }
    }

    // MARK: Copy

    func copyBegins(tables: Int, rowsExpected: Int?) {
        state.withLock {
            $0.copy = PipelineStatus.Copy(
                tables: tables,
                tablesDone: 0,
                table: nil,
                rows: 0,
                rowsExpected: rowsExpected
            )
        }
        enter(.copying)
    }

    func copies(_ table: TableRef) { state.withLock { $0.copy?.table = table.description } }

    func copied() {
        state.withLock {
            $0.copy?.tablesDone += 1
            $0.copy?.table = nil
        }
    }

    // MARK: Troubles

    /// A write will be repeated.
    func repeating(_ error: SinkError) {
        metrics.sinkRetries.increment()
        metrics.error(side: "sink", class: error.kind == .ambiguous ? "ambiguous" : "retriable")
        note(side: "sink", error.description) { state in
            state.totals.sinkRetries += 1
            if state.phase == .streaming || state.phase == .copying {
                state.detail = "waiting for the target: \(error.cause)"
            }
        }
    }

    /// The sink takes what it refused before.
    func sinkWorks() {
        state.withLock { if $0.phase == .streaming || $0.phase == .copying { $0.detail = nil } }
    }

    /// The sink says what it writes to.
    func sinkIs(_ target: String) { state.withLock { $0.target = target } }

    /// The source will be connected again.
    func repeating(_ error: SourceError) {
        metrics.sourceReconnects.increment()
        metrics.error(side: "source", class: error.kind == .shuttingDown ? "shutting_down" : "retriable")
        note(side: "source", error.description) { state in
            state.totals.sourceReconnects += 1
            state.enter(.waitingForSource, error.cause)
        }
    }

    private func note(side: String, _ error: String, _ change: (inout State) -> Void) {
        state.withLock { state in
            let trouble = PipelineStatus.Trouble(timeMs: PipelineMonitor.now(), side: side, error: error)
            state.troubles.insert(trouble, at: 0)
            if state.troubles.count > PipelineMonitor.troublesKept { state.troubles.removeLast() }
            change(&state)
        }
    }

    // MARK: WAL guard

    /// Takes what the source says of the slot, and raises or ends the alarm.
    func looked(_ report: SlotReport) {
        let (level, text) = WALAlarm.judge(report, threshold: walThreshold)
        let before = state.withLock { state in
            defer {
                state.slot = report
                state.lookedAt = .now
                state.alarm = level
                state.alarmText = text
            }
            return state.alarm
        }
        guard level != before else { return }
        let facts: Logger.Metadata = [
            "slot": "\(slotName)", "alarm": "\(level.words)",
            "retained_bytes": .stringConvertible(report.retainedBytes),
            "wal_status": "\(report.walStatus ?? "-")",
        ]
        switch level {
        case .none: logger.info("WAL alarm over", metadata: facts)
        case .warning: logger.warning("WAL alarm", metadata: facts.merging(["cause": "\(text)"]) { $1 })
        case .critical: logger.error("WAL alarm", metadata: facts.merging(["cause": "\(text)"]) { $1 })
        }
    }

    /// Why a connection that is not being read has to be given up: the slot may be invalidated at any checkpoint.
    var slotInDanger: SourceError? {
        let report = state.withLock { $0.slot }
        guard report?.walStatus == "unreserved" || report?.walStatus == "lost" else { return nil }
        return SourceError(
            .retriable,
            operation: "stream from slot",
            cause: "the target takes nothing and the source is about to invalidate the slot (wal_status "
                + "\(report?.walStatus ?? "")): the connection is given up, because the source's checkpoint would wait for it",
            remedy: "mend the target; the daemon connects again once it takes what was read"
        )
    }

    // MARK: Asked by watchers

    /// Whether every lane is alive by its own rule: moving, idle, waiting in a declared backoff, or inside a call that has not
    /// passed its deadline.
    public var isHealthy: Bool {
        let now = ContinuousClock.now
        return sourceHealth.isAlive(at: now) && sinkHealth.isAlive(at: now)
    }

    /// Whether configuration, source, slot and sink have shown that they work.
    public var isProven: Bool { proven.load(ordering: .acquiring) }

    /// The pipeline is asked to stop.
    public func stopping() { enter(.stopping) }

    /// Takes a sample for rates, and notes that the sink has everything, if so; to be called about once a second.
    public func tick() {
        let now = ContinuousClock.now
        state.withLock { state in
            if isCaughtUp(state) { state.caughtUp = PipelineMonitor.now() }
            state.samples.append(Sample(at: now, totals: state.totals))
            while state.samples.count > 2, now - state.samples[0].at > PipelineMonitor.rateWindow {
                state.samples.removeFirst()
            }
        }
    }

    /// Everything at one moment.
    public func status() -> PipelineStatus {
        let now = PipelineMonitor.now()
        let copy = state.withLock { $0 }
        let position = positions(copy)
        let isCaughtUp = isCaughtUp(copy)
        let lag =
            isCaughtUp || position.source < position.flushed ? 0 : position.source.rawValue - position.flushed.rawValue
        let lagBytes = Int(clamping: lag)
        let healthy = isHealthy
        return PipelineStatus(
            pipeline: copy.pipeline,
            source: copy.source,
            sink: copy.target ?? sinkType,
            startedMs: started,
            timeMs: now,
            phase: copy.phase,
            detail: copy.detail,
            phaseSinceMs: copy.phaseSince,
            healthy: healthy,
            ready: healthy && copy.phase == .streaming && isCurrent(copy) && lagBytes <= maximumLag,
            lanes: [lane(sourceHealth), lane(sinkHealth)],
            positions: PipelineStatus.Positions(
                source: "\(position.source)",
                received: "\(position.received)",
                flushed: "\(position.flushed)",
                confirmed: "\(position.confirmed)"
            ),
            lagBytes: lagBytes,
            lagSeconds: isCaughtUp ? 0 : Double(max(0, now - (copy.caughtUp ?? started))) / 1000,
            slot: slot(copy),
            copy: copy.copy,
            memoryBudgetBytes: live.sink.memoryLimit,
            memoryUsedBytes: memoryUsed.load(ordering: .relaxed),
            totals: copy.totals,
            rates: PipelineMonitor.rates(copy.samples),
            tables: copy.tables.sorted { $0.key < $1.key }.map(\.value),
            troubles: copy.troubles
        )
    }

    /// Whether the source's end of WAL was heard of lately: without that nobody knows the lag.
    private func isCurrent(_ state: State) -> Bool {
        state.lookedAt.map { .now - $0 < PipelineMonitor.oldLook } ?? false
    }

    /// Whether everything that the source is known to have written is durable at the sink.
    private func isCaughtUp(_ state: State) -> Bool {
        state.phase == .streaming && !isOwing.load(ordering: .relaxed) && isCurrent(state)
            && positions(state).received >= (state.slot?.walEnd ?? .zero)
    }

    private struct Position {
        var source: LSN
        var received: LSN
        var flushed: LSN
        var confirmed: LSN
    }

    /// Before the stream begins, the slot's own position is how far the sink is.
    private func positions(_ state: State) -> Position {
        let received = LSN(rawValue: self.received.load(ordering: .relaxed))
        let known = state.slot?.confirmedFlush ?? .zero
        return Position(
            source: max(state.slot?.walEnd ?? .zero, received),
            received: max(received, known),
            flushed: max(LSN(rawValue: flushed.load(ordering: .relaxed)), known),
            confirmed: max(LSN(rawValue: confirmed.load(ordering: .relaxed)), known)
        )
    }

    private func lane(_ health: LaneHealth) -> PipelineStatus.Lane {
        PipelineStatus.Lane(name: health.name, alive: health.isAlive(), activity: health.activity.words)
    }

    private func slot(_ state: State) -> PipelineStatus.Slot {
        let report = state.slot
        return PipelineStatus.Slot(
            name: slotName,
            walStatus: report?.walStatus,
            retainedBytes: report?.retainedBytes,
            safeBytes: report?.safeWALBytes,
            limitBytes: report?.limitBytes,
            spilledTransactions: report?.spilledTransactions,
            spilledBytes: report?.spilledBytes,
            alarm: state.alarm.words,
            alarmText: state.alarmText.isEmpty ? nil : state.alarmText
        )
    }

    private static func rates(_ samples: [Sample]) -> PipelineStatus.Rates {
        guard let first = samples.first, let last = samples.last, last.at > first.at else {
            return PipelineStatus.Rates()
        }
        let seconds = (last.at - first.at) / .seconds(1)
        func rate(_ count: (PipelineStatus.Totals) -> Int) -> Double {
            (Double(count(last.totals) - count(first.totals)) / seconds * 10).rounded() / 10
        }
        return PipelineStatus.Rates(
            rowsPerSecond: rate(\.rows),
            bytesPerSecond: rate(\.bytes),
            transactionsPerSecond: rate(\.transactions)
        )
    }

    /// Sets all gauges to what holds now; to be called before metrics are read.
    public func publishGauges() {
        let status = status()
        let (report, alarm, position) = state.withLock { ($0.slot, $0.alarm, positions($0)) }
        metrics.states(
            "dbmazz_pipeline_state",
            "state",
            PipelinePhase.allCases.map(\.rawValue),
            current: status.phase.rawValue
        )
        metrics.gauge("dbmazz_healthy", status.healthy ? 1 : 0)
        metrics.gauge("dbmazz_ready", status.ready ? 1 : 0)
        for lane in status.lanes { metrics.gauge("dbmazz_lane_alive", lane.alive ? 1 : 0, [("lane", lane.name)]) }
        metrics.gauge("dbmazz_source_wal_lsn_bytes", Double(position.source.rawValue))
        metrics.gauge("dbmazz_received_lsn_bytes", Double(position.received.rawValue))
        metrics.gauge("dbmazz_flushed_lsn_bytes", Double(position.flushed.rawValue))
        metrics.gauge("dbmazz_confirmed_lsn_bytes", Double(position.confirmed.rawValue))
        metrics.gauge("dbmazz_lag_bytes", status.lagBytes)
        metrics.gauge("dbmazz_lag_seconds", status.lagSeconds)
        metrics.gauge("dbmazz_memory_budget_bytes", status.memoryBudgetBytes)
        metrics.gauge("dbmazz_memory_used_bytes", status.memoryUsedBytes)
        publishSlot(report, alarm)
        metrics.gauge("dbmazz_copy_tables", status.copy?.tables ?? 0)
        metrics.gauge("dbmazz_copy_tables_done", status.copy?.tablesDone ?? 0)
        metrics.gauge("dbmazz_copy_rows", status.copy?.rows ?? 0)
        metrics.gauge("dbmazz_copy_rows_expected", status.copy?.rowsExpected ?? 0)
    }

    private func publishSlot(_ report: SlotReport?, _ alarm: WALAlarm) {
        metrics.gauge("dbmazz_wal_alarm", alarm.rawValue)
        metrics.gauge("dbmazz_slot_retained_wal_bytes", optional: report?.retainedBytes)
        metrics.gauge("dbmazz_slot_safe_wal_bytes", optional: report?.safeWALBytes)
        metrics.gauge("dbmazz_slot_wal_limit_bytes", optional: report?.limitBytes)
        metrics.states(
            "dbmazz_slot_wal_status",
            "status",
            ["reserved", "extended", "unreserved", "lost"],
            current: report?.walStatus
        )
        metrics.gauge("dbmazz_slot_spilled_transactions_total", report?.spilledTransactions ?? 0)
        metrics.gauge("dbmazz_slot_spilled_bytes_total", report?.spilledBytes ?? 0)
    }
}
