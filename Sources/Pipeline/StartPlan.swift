internal import CdcCore
internal import PostgresSource

/// What a start does, decided from what sink and source remember: contract 2 of the design.
enum StartPlan: Equatable {
    /// Neither side knows the pipeline: make the slot, then copy or stream from its consistent point.
    case createSlot(copy: Bool)
    /// The slot is there, the sink has nothing complete: copy, then stream from the slot.
    case copyThenStream
    /// The slot is there, the sink has no position and wants no copy: begin where the slot is.
    case streamFromSlot(LSN)
    /// Both know the pipeline: go on behind the position.
    case resume(LSN)
    /// Copy from a temporary slot and end; the position is kept up only if a permanent slot can go on from it.
    case copyOnly(slotExists: Bool)

    /// Everything the decision depends on.
    struct Facts {
        var snapshot: SnapshotMode
        var storesPosition: Bool
        var state: PipelineState?
        var slotName: String
        var slot: ReplicationSlot?
        var system: SystemIdentification
        /// The history of the current timeline; needed where the state is of an earlier one.
        var history: TimelineHistory?
    }

    /// Decides.
    ///
    /// - Throws: ``SourceError`` where going on would lose changes: foreign system, lost slot, gap.
    static func decide(_ facts: Facts) throws(SourceError) -> StartPlan {
        try checkIdentity(facts)
        if facts.snapshot == .only { return .copyOnly(slotExists: facts.slot != nil) }
        guard let position = facts.state?.position else { return try firstStart(facts) }
        guard let slot = facts.slot else { throw slotMissing(facts, position) }
        try checkAlive(slot, facts)
        guard let confirmed = slot.confirmedFlush else {
            throw lost(facts, "it has no confirmed position")
        }
        guard facts.storesPosition else { return .resume(confirmed) }
        guard position.endLSN >= confirmed else {
            throw SourceError(
                .gap,
                operation: "start",
                lsn: position.endLSN,
                cause: "the sink is at \(position.endLSN), but slot \(slot.name) has moved on to \(confirmed): "
                    + "the changes between are gone",
                remedy: resync(facts)
            )
        }
        return .resume(position.endLSN)
    }

    private static func resync(_ facts: Facts) -> String {
        let slot =
            facts.slot == nil
            ? "" : "drop the slot (SELECT pg_drop_replication_slot('\(facts.slotName)');) and "
        let state =
            facts.storesPosition
            ? "delete the pipeline's row from the target's dbmazz_position (postgres: dbmazz.position)"
            : "remove the pipeline's file from STATE_DIRECTORY"
        return "copy anew: \(slot)\(state), then start with SOURCE_SNAPSHOT=initial"
    }

    private static func firstStart(_ facts: Facts) throws(SourceError) -> StartPlan {
        guard let slot = facts.slot else { return .createSlot(copy: facts.snapshot == .initial) }
        try checkAlive(slot, facts)
        guard facts.snapshot == .never else { return .copyThenStream }
        guard let confirmed = slot.confirmedFlush else { throw lost(facts, "it has no confirmed position") }
        return .streamFromSlot(confirmed)
    }

    private static func checkAlive(_ slot: ReplicationSlot, _ facts: Facts) throws(SourceError) {
        if slot.isLost {
            throw lost(facts, "PostgreSQL has invalidated it (wal_status lost), the WAL it needs is gone")
        }
    }

    private static func lost(_ facts: Facts, _ cause: String) -> SourceError {
        SourceError(
            .slotLost,
            operation: "start",
            cause: "slot \(facts.slotName) is lost: \(cause)",
            remedy: resync(facts) + "; raise max_slot_wal_keep_size so that it does not happen again"
        )
    }

    private static func slotMissing(_ facts: Facts, _ position: SourcePosition) -> SourceError {
        SourceError(
            .slotLost,
            operation: "start",
            lsn: position.endLSN,
            cause:
                "the sink is at \(position.endLSN), but slot \(facts.slotName) does not exist: changes since then are gone",
            remedy: resync(facts)
        )
    }

    private static func checkIdentity(_ facts: Facts) throws(SourceError) {
        guard let state = facts.state, let position = state.position else { return }
        let stored = state.source
        guard stored.systemIdentifier == facts.system.systemIdentifier else {
            throw foreign(
                position,
                "the sink's content comes from system \(stored.systemIdentifier), "
                    + "SOURCE_URL names system \(facts.system.systemIdentifier)"
            )
        }
        guard stored.slot == facts.slotName else {
            throw foreign(
                position,
                "the sink's position was reached with slot \(stored.slot), SOURCE_SLOT_NAME is \(facts.slotName)"
            )
        }
        guard stored.timeline != facts.system.timeline else { return }
        let isAncestor = facts.history?.contains(position.endLSN, on: stored.timeline) ?? false
        guard stored.timeline < facts.system.timeline, isAncestor else {
            throw foreign(
                position,
                "the sink is at \(position.endLSN) of timeline \(stored.timeline), which the source's timeline "
                    + "\(facts.system.timeline) does not contain"
            )
        }
    }

    private static func foreign(_ position: SourcePosition, _ cause: String) -> SourceError {
        SourceError(
            .foreignSystem,
            operation: "start",
            lsn: position.endLSN,
            cause: cause,
            remedy: "correct SOURCE_URL or SOURCE_SLOT_NAME, or give the new source a SINK_PIPELINE and sink of its own"
        )
    }
}
