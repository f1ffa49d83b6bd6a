internal import CdcCore
internal import Logging
internal import PostgresSource

/// An ordinary session beside the stream: sends heartbeats, and notices that the source is going away.
///
/// A fast shutdown ends ordinary sessions at once but lets a walsender live until its reader has confirmed everything. With
/// a stuck sink that is never, so the stream has to be given up as soon as the side session hears of the shutdown.
final class SideSession {
    private let parameters: ConnectionParameters
    private let stop: StopSignal
    private let logger: Logger
    private var session: PostgresConnection?
    private var heartbeat: Duration?
    private var nextHeartbeat: ContinuousClock.Instant
    private var nextAttempt: ContinuousClock.Instant = .now

    private static let reconnectInterval = Duration.seconds(5)
    private static let connectTimeout = Duration.seconds(5)

    /// - Parameters:
    ///   - session: an open session; becomes the side session's own.
    ///   - parameters: for connecting again.
    ///   - heartbeat: the interval of heartbeats; nil for none.
    ///   - stop: ends waits.
    ///   - logger: where to tell what happened.
    /// - Throws: ``SourceError`` if the session is lost.
    init(
        _ session: PostgresConnection,
        parameters: ConnectionParameters,
        heartbeat: Duration?,
        stop: StopSignal,
        logger: Logger
    ) throws(SourceError) {
        self.session = session
        self.parameters = parameters
        self.stop = stop
        self.logger = logger
        nextHeartbeat = .now + (heartbeat ?? .zero)
        // Heartbeats cost no flush of their own at the source.
        let rows = try session.execute(
            "SET synchronous_commit = off; SELECT pg_catalog.pg_is_in_recovery()",
            as: "open the side session"
        )
        let isStandby = rows.first?.first == "t"
        self.heartbeat = isStandby ? nil : heartbeat
    }

    /// What to poll; -1 while there is no session.
    var socket: Int32 { session?.socket ?? -1 }

    /// When something is to be done next, whatever arrives.
    var deadline: ContinuousClock.Instant? { session == nil ? nextAttempt : heartbeat.map { _ in nextHeartbeat } }

    /// Does what is due.
    ///
    /// - Parameters:
    ///   - now: the time.
    ///   - isReadable: whether poll says that something has arrived.
    /// - Throws: ``SourceError`` of kind shuttingDown when the stream has to be given up.
    func tick(_ now: ContinuousClock.Instant, isReadable: Bool) throws(SourceError) {
        if isReadable { takeIn() }
        if session == nil, now >= nextAttempt { try reconnect() }
        if let heartbeat, let session, now >= nextHeartbeat {
            nextHeartbeat = now + heartbeat
            // Transactional, so that its commit is flushed by the WAL writer and reaches the stream.
            _ = session.send("SELECT pg_catalog.pg_logical_emit_message(true, 'dbmazz-sink/heartbeat', '')")
        }
    }

    private func takeIn() {
        guard let session else { return }
        do throws(SourceError) {
            if let failure = try session.takeIn() {
                logger.warning("heartbeat refused", metadata: ["cause": "\(failure.cause)"])
                heartbeat = nil
            }
        } catch {
            logger.info("side session lost", metadata: ["cause": "\(error.cause)"])
            self.session = nil
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
            self.session = session
        } catch {
            if error.kind == .shuttingDown { throw error }
            logger.info("side session not back yet", metadata: ["cause": "\(error.cause)"])
        }
    }
}
