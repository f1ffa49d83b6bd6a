internal import CdcCore
internal import PostgresSource

extension StartPlan {
    /// Whether tables will be copied for certain.
    var copies: Bool {
        switch self {
        case .createSlot(let copy): copy
        case .copyThenStream, .copyOnly: true
        case .streamFromSlot, .resume: false
        }
    }

    /// Decides from what was found, asking the source for its timelines' history where that is needed.
    static func decide(
        _ config: PipelineConfig,
        state: PipelineState?,
        slot: ReplicationSlot?,
        system: SystemIdentification,
        replication: PostgresConnection
    ) throws(SourceError) -> StartPlan {
        var history: TimelineHistory?
        if let state, state.source.timeline < system.timeline {
            history = TimelineHistory(try replication.timelineHistory(system.timeline))
        }
        return try decide(
            Facts(
                snapshot: config.source.snapshot,
                storesPosition: config.capabilities.storesPosition,
                state: state,
                slotName: config.source.slotName,
                slot: slot,
                system: system,
                history: history
            )
        )
    }

    /// A table that was dropped and made anew since it was copied: its old rows are at the sink, and no WAL tells that they
    /// are gone.
    static func refuseOtherTables(_ tables: [SourceTable], _ state: PipelineState) throws(SourceError) {
        let other = tables.filter { table in
            state.copies[table.ref] != nil && state.tableOIDs[table.ref].map { $0 != table.oid } ?? false
        }
        guard let first = other.first else { return }
        throw SourceError(
            .schemaMismatch,
            operation: "start",
            table: first.ref,
            cause: "dropped and made anew since the copy, so that their old rows would stay at the sink: "
                + other.map(\.ref.description).joined(separator: ", "),
            remedy: "copy the tables anew: run the daemon once with SOURCE_SNAPSHOT=only, then as before"
        )
    }
}

extension PipelineState {
    /// The state as the plan is decided from it.
    ///
    /// A sink that stores no position has begun once a copy is complete; how far it is, the slot knows.
    func begun(storesPosition: Bool) -> PipelineState {
        guard !storesPosition, let point = copies.values.max() else { return self }
        var state = self
        state.position = SourcePosition(at: point)
        return state
    }
}
