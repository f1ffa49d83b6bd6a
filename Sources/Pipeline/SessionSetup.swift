internal import CdcCore
internal import Logging
internal import PostgresSource

/// What the source says when a session begins.
struct SessionSetup {
    let config: PipelineConfig
    /// An ordinary session for the catalog; becomes the side session.
    let session: PostgresConnection
    /// The session that will stream.
    let replication: PostgresConnection
    let system: SystemIdentification
    let slot: ReplicationSlot?
    let selection: Publication.Selection
    /// How often the server wants to hear from us.
    let statusInterval: Duration

    /// Connects, checks and reads the catalog.
    ///
    /// Makes the publication if there is none.
    /// Stands by where another daemon runs the pipeline.
    init(
        _ parameters: ConnectionParameters,
        config: PipelineConfig,
        monitor: PipelineMonitor,
        own: OwnSessions,
        stop: StopSignal
    ) throws(SourceError) {
        self.config = config
        monitor.enter(.starting)
        session = try PostgresConnection(parameters, replication: false, stop: stop)
        monitor.connected(to: session.server)
        try own.note(session)
        // A copy for its own sake leaves the slot alone; whether it goes into a target that is in use is seen later.
        if config.source.snapshot != .only {
            try PipelineClaim(
                session: session,
                config: config,
                monitor: monitor,
                stop: stop,
                own: own,
                mode: config.sink.standby
            )
            .make()
        }
        slot = try ReplicationSlot.find(config.source.slotName, session)
        let needsSlot = slot == nil && config.source.snapshot != .only
        try Preflight(session).check(
            origin: config.source.origin,
            needsSlot: needsSlot,
            needsCopy: config.source.snapshot != .never && slot == nil
        )
        selection = try Publication(session, config: config.source).prepare()
        replication = try PostgresConnection(parameters, replication: true, stop: stop)
        try own.note(replication)
        system = try replication.identifySystem()
        statusInterval = try SessionSetup.statusInterval(replication)
        config.logger.info(
            "connected to source",
            metadata: [
                "server": "\(session.server)", "version": "\(session.serverVersion)",
                "system": "\(system.systemIdentifier)", "timeline": .stringConvertible(system.timeline),
                "tables": .stringConvertible(selection.tables.count), "publication_created": "\(selection.wasCreated)",
            ]
        )
        if !selection.filteredOut.isEmpty {
            config.logger.info(
                "published tables are left out by SOURCE_TABLES",
                metadata: ["tables": "\(selection.filteredOut.map(\.description).joined(separator: ","))"]
            )
        }
    }

    /// A third of the server's time-out, at most ten seconds: two late messages must still fit.
    private static func statusInterval(_ session: PostgresConnection) throws(SourceError) -> Duration {
        let rows = try session.execute(
            "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'",
            as: "read wal_sender_timeout"
        )
        let milliseconds = rows.first?.first?.flatMap { Int($0) } ?? 60_000
        guard milliseconds > 0 else { return .seconds(10) }
        return min(.seconds(10), .milliseconds(max(100, milliseconds / 3)))
    }
}
