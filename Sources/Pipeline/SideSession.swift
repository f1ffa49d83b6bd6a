internal import CdcCore
internal import Logging
internal import PostgresSource

/// An ordinary session beside copy and stream: holds the pipeline's lock, sends heartbeats, looks at the slot for the WAL
/// guard, and notices that the source is going away.
///
/// A fast shutdown ends ordinary sessions at once but lets a walsender live until its reader has confirmed everything. With
/// a stuck sink that is never, so the stream has to be given up as soon as the side session hears of the shutdown.
final class SideSession {
    private let parameters: ConnectionParameters
    private let stop: StopSignal
    private let monitor: PipelineMonitor
    private let logger: Logger
    private let slot: String
    private var session: PostgresConnection?
    private var heartbeat: Duration?
    private let lookInterval: Duration
    private var nextHeartbeat: ContinuousClock.Instant
    private var nextLook: ContinuousClock.Instant = .now
    private var nextAttempt: ContinuousClock.Instant = .now
    /// What was sent and not answered; at most one statement at a time.
    private var pending: Statement?
    private var pendingSince: ContinuousClock.Instant = .now
    /// Whether this session holds the pipeline's lock.
    private var hasLock: Bool
    /// Whether the stream holds the slot: before that only the lock keeps another daemon away, and must not be lost.
    private var isStreaming = false
    private let own: OwnSessions

    private enum Statement: String {
        case heartbeat
        case lock = "lock pipeline"
        case look = "look at slot"
    }

    private static let reconnectInterval = Duration.seconds(5)
    private static let connectTimeout = Duration.seconds(5)
    /// A statement that is not answered for so long means a session that is dead.
    private static let answerLimit = Duration.seconds(30)

    /// - Parameters:
    ///   - session: an open session; becomes the side session's own.
    ///   - parameters: for connecting again.
    ///   - source: slot and heartbeat interval.
    ///   - hasLock: whether the session holds the pipeline's lock.
    ///   - own: where to note sessions opened here.
    ///   - monitor: what to tell of the slot.
    ///   - stop: ends waits.
    ///   - logger: where to tell what happened.
    /// - Throws: ``SourceError`` if the session is lost.
    init(
        _ session: PostgresConnection,
        parameters: ConnectionParameters,
        source: SourceConfig,
        hasLock: Bool,
        own: OwnSessions,
        monitor: PipelineMonitor,
        stop: StopSignal,
        logger: Logger
    ) throws(SourceError) {
        self.session = session
        self.parameters = parameters
        self.stop = stop
        self.monitor = monitor
        self.logger = logger
        self.hasLock = hasLock
        self.own = own
        slot = source.slotName
        nextHeartbeat = .now + (source.heartbeatInterval ?? .zero)
        // As often as the heartbeat, within reason: what it sees moves with it.
        lookInterval = max(.seconds(1), min(.seconds(10), source.heartbeatInterval ?? .seconds(10)))
        // Heartbeats cost no flush of their own at the source.
        let rows = try session.execute(
            "SET synchronous_commit = off; SELECT pg_catalog.pg_is_in_recovery()",
            as: "open the side session"
        )
        let isStandby = rows.first?.first == "t"
        heartbeat = isStandby ? nil : source.heartbeatInterval
    }

    /// The stream holds the slot from now on.
    func streams() { isStreaming = true }

    /// What to poll; -1 while there is no session.
    var socket: Int32 { session?.socket ?? -1 }

    /// When something is to be done next, whatever arrives.
    var deadline: ContinuousClock.Instant? {
        guard session != nil else { return nextAttempt }
        guard pending == nil else { return pendingSince + SideSession.answerLimit }
        return heartbeat == nil ? nextLook : min(nextLook, nextHeartbeat)
    }

    /// Does what is due.
    ///
    /// - Parameters:
    ///   - now: the time.
    ///   - isReadable: whether poll says that something has arrived.
    /// - Throws: ``SourceError`` of kind shuttingDown when the stream has to be given up.
    func tick(_ now: ContinuousClock.Instant, isReadable: Bool) throws(SourceError) {
        if isReadable { try takeIn() }
        if pending != nil, now - pendingSince >= SideSession.answerLimit {
            try lose("no answer to \(pending?.rawValue ?? "")")
        }
        if session == nil, now >= nextAttempt { try reconnect() }
        guard let session, pending == nil else { return }
        if let heartbeat, now >= nextHeartbeat {
            nextHeartbeat = now + heartbeat
            // Transactional, so that its commit is flushed by the WAL writer and reaches the stream.
            let sql = "SELECT pg_catalog.pg_logical_emit_message(true, 'dbmazz-sink/heartbeat', '')"
            if send(.heartbeat, sql, session) { monitor.heartbeat() }
        } else if now >= nextLook {
            nextLook = now + lookInterval
            // Another daemon may have taken the lock while this session was away; it waits for the slot, and lets go.
            if !hasLock, send(.lock, PipelineLock.attempt(slot: slot), session) {
                nextLook = now + .seconds(1)
                return
            }
            send(.look, SlotReport.query(slot: slot), session)
        }
    }

    @discardableResult
    private func send(_ statement: Statement, _ sql: String, _ session: PostgresConnection) -> Bool {
        guard session.send(sql) else { return false }
        pending = statement
        pendingSince = .now
        return true
    }

    private func takeIn() throws(SourceError) {
        guard let session else { return }
        do throws(SourceError) {
            guard let outcome = try session.takeIn((pending ?? .heartbeat).rawValue) else { return }
            let answered = pending
            pending = nil
            switch (outcome, answered) {
            case (.rows(let rows), .look):
                if let report = rows.first.flatMap(SlotReport.init(row:)) { monitor.looked(report) }
            case (.rows(let rows), .lock): hasLock = rows.first?.first == "t"
            case (.refused(let error), .heartbeat) where ["42501", "25006", "42883"].contains(error.sqlState):
                logger.warning("heartbeat refused", metadata: ["cause": "\(error.cause)"])
                heartbeat = nil
            case (.refused(let error), _):
                logger.debug("\(answered?.rawValue ?? "statement") failed", metadata: ["cause": "\(error.cause)"])
            case (.rows, _): break
            }
        } catch {
            try lose(error.cause)
        }
    }

    /// The session is gone, and with it the lock.
    private func lose(_ cause: String) throws(SourceError) {
        logger.info("side session lost", metadata: ["cause": "\(cause)"])
        session = nil
        pending = nil
        hasLock = false
        nextAttempt = .now
        guard !isStreaming else { return }
        throw SourceError(
            .retriable,
            operation: "hold the pipeline's lock",
            cause: "the session that holds it was lost: \(cause)",
            remedy: "connecting again; a copy begins anew"
        )
    }

    private func reconnect() throws(SourceError) {
        defer { nextAttempt = .now + SideSession.reconnectInterval }
        do throws(SourceError) {
            let session = try PostgresConnection(
                parameters,
                replication: false,
                stop: stop,
                timeout: SideSession.connectTimeout
            )
            session.answerLimit = SideSession.connectTimeout
            try own.note(session)
            try session.execute("SET synchronous_commit = off", as: "open the side session")
            hasLock = try PipelineLock(session, slot: slot).take() == nil
            self.session = session
        } catch {
            if error.kind == .shuttingDown { throw error }
            logger.info("side session not back yet", metadata: ["cause": "\(error.cause)"])
        }
    }
}
