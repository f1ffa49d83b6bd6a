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

    private enum Statement: String {
        case heartbeat
        case look = "look at slot"
    }

    private static let reconnectInterval = Duration.seconds(5)
    private static let connectTimeout = Duration.seconds(5)

    /// - Parameters:
    ///   - session: an open session; becomes the side session's own.
    ///   - parameters: for connecting again.
    ///   - source: slot and heartbeat interval.
    ///   - monitor: what to tell of the slot.
    ///   - stop: ends waits.
    ///   - logger: where to tell what happened.
    /// - Throws: ``SourceError`` if the session is lost.
    init(
        _ session: PostgresConnection,
        parameters: ConnectionParameters,
        source: SourceConfig,
        monitor: PipelineMonitor,
        stop: StopSignal,
        logger: Logger
    ) throws(SourceError) {
        self.session = session
        self.parameters = parameters
        self.stop = stop
        self.monitor = monitor
        self.logger = logger
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

    /// What to poll; -1 while there is no session.
    var socket: Int32 { session?.socket ?? -1 }

    /// When something is to be done next, whatever arrives.
    var deadline: ContinuousClock.Instant? {
        guard session != nil else { return nextAttempt }
        guard pending == nil else { return nil }
        return heartbeat == nil ? nextLook : min(nextLook, nextHeartbeat)
    }

    /// Does what is due.
    ///
    /// - Parameters:
    ///   - now: the time.
    ///   - isReadable: whether poll says that something has arrived.
    /// - Throws: ``SourceError`` of kind shuttingDown when the stream has to be given up.
    func tick(_ now: ContinuousClock.Instant, isReadable: Bool) throws(SourceError) {
        if isReadable { takeIn() }
        if session == nil, now >= nextAttempt { try reconnect() }
        guard let session, pending == nil else { return }
        if let heartbeat, now >= nextHeartbeat {
            nextHeartbeat = now + heartbeat
            // Transactional, so that its commit is flushed by the WAL writer and reaches the stream.
            send(.heartbeat, "SELECT pg_catalog.pg_logical_emit_message(true, 'dbmazz-sink/heartbeat', '')", session)
            monitor.heartbeat()
        } else if now >= nextLook {
            nextLook = now + lookInterval
            send(.look, SlotReport.query(slot: slot), session)
        }
    }

    private func send(_ statement: Statement, _ sql: String, _ session: PostgresConnection) {
        if session.send(sql) { pending = statement }
    }

    private func takeIn() {
        guard let session else { return }
        do throws(SourceError) {
            guard let outcome = try session.takeIn((pending ?? .heartbeat).rawValue) else { return }
            let answered = pending
            pending = nil
            switch (outcome, answered) {
            case (.rows(let rows), .look):
                if let report = rows.first.flatMap(SlotReport.init(row:)) { monitor.looked(report) }
            case (.refused(let error), .heartbeat):
                logger.warning("heartbeat refused", metadata: ["cause": "\(error.cause)"])
                heartbeat = nil
            case (.refused(let error), _): logger.debug("slot not looked at", metadata: ["cause": "\(error.cause)"])
            case (.rows, _): break
            }
        } catch {
            logger.info("side session lost", metadata: ["cause": "\(error.cause)"])
            self.session = nil
            pending = nil
            nextAttempt = .now
        }
    }

    private func reconnect() throws(SourceError) {
        nextAttempt = .now + SideSession.reconnectInterval
        do throws(SourceError) {
            let session = try PostgresConnection(
                parameters,
                replication: false,
                stop: stop,
                timeout: SideSession.connectTimeout
            )
            try session.execute("SET synchronous_commit = off", as: "open the side session")
            // The stream holds the slot; whoever has the lock meanwhile waits for that.
            _ = try PipelineLock(session, slot: slot).take()
            self.session = session
        } catch {
            if error.kind == .shuttingDown { throw error }
            logger.info("side session not back yet", metadata: ["cause": "\(error.cause)"])
        }
    }
}
