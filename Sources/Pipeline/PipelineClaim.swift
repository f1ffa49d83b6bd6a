internal import CdcCore
internal import Logging
internal import PostgresSource

/// Becomes the one daemon that runs a pipeline: takes its lock and waits until nobody reads its slot.
///
/// Where another daemon runs it, this one stands by (`SINK_STANDBY=wait`) or ends (`refuse`).
struct PipelineClaim {
    let session: PostgresConnection
    let config: PipelineConfig
    let monitor: PipelineMonitor
    let stop: StopSignal
    /// This daemon's earlier sessions: after a cut connection the server may not know yet.
    let own: OwnSessions
    let mode: StandbyMode

    /// Another daemon shows within this time that it is alive: it looks at its slot that often, at the least.
    private static let graceForLiving = Duration.seconds(12)
    /// A predecessor that vanished with its machine still has sessions at the server until that notices
    /// (`wal_sender_timeout`, 60 s by default).
    private static let graceForVanished = Duration.seconds(75)
    private static let lookInterval = Duration.seconds(1)

    /// Returns once nobody else runs the pipeline.
    ///
    /// - Throws: ``SourceError`` of kind slotInUse where the daemon is not to wait.
    func make() throws(SourceError) {
        let lock = PipelineLock(session, slot: config.source.slotName)
        let began = ContinuousClock.now
        var told: SlotHolder.Identity?
        var first: SlotHolder?
        while let holder = try holder(lock) {
            if first?.identity != holder.identity { first = holder }
            if own.contains(holder) {
                try lock.end(holder)
            } else if mode == .refuse {
                let isAlive = holder.lastActive != first?.lastActive
                let grace = isAlive ? PipelineClaim.graceForLiving : PipelineClaim.graceForVanished
                guard .now - began < grace else { throw refusal(holder) }
            } else if told != holder.identity {
                config.logger.info(
                    "standing by",
                    metadata: ["slot": "\(config.source.slotName)", "held_by": "\(holder)"]
                )
                monitor.enter(.standingBy, "\(config.source.slotName) is held by \(holder)")
                told = holder.identity
            }
            stop.wait(atMost: PipelineClaim.lookInterval)
            if stop.isStopping { throw .stopped("stand by") }
        }
        guard told != nil else { return }
        config.logger.info("taking over", metadata: ["slot": "\(config.source.slotName)"])
        monitor.enter(.starting)
    }

    private func holder(_ lock: PipelineLock) throws(SourceError) -> SlotHolder? {
        if let holder = try lock.take() { return holder }
        return try lock.reader()
    }

    private func refusal(_ holder: SlotHolder) -> SourceError {
        SourceError(
            .slotInUse,
            operation: "start",
            cause: "slot \(config.source.slotName) is in use by \(holder)",
            remedy:
                "stop the other daemon, set SOURCE_SLOT_NAME to another slot, or set SINK_STANDBY=wait to take over when "
                + "it ends"
        )
    }
}
