internal import CdcCore

/// The pipeline's row as this process wrote it last, and the loads of which nobody knows whether they were done.
///
/// Revisions count every write of the sink's own tables, and each has a label of its own: one that was perhaps written is
/// asked for before the next.
final class StarRocksLedger {
    let state: StarRocksState
    private(set) var stored = StarRocksState.Position(
        source: SourceIdentity(systemIdentifier: "", timeline: 0, slot: "")
    )
    /// Loads that were announced and have not been seen to succeed.
    var unsettled: [StarRocksState.Load] = []
    /// The greatest revision that this process tried to write.
    private var attempted: UInt64 = 0
    /// A write that may have been done: its revision, and the row if it was one of the position.
    private var pending: (revision: UInt64, position: StarRocksState.Position?)?
    private var rehearsals = 0
    private var tidied: UInt64 = 0

    /// Rows of the position's table that are kept before they are removed.
    private static let keptRevisions: UInt64 = 500

    init(_ state: StarRocksState) { self.state = state }

    /// Reads the pipeline's row and writes it anew: what an earlier daemon has on its way finds its label taken.
    func open(_ source: SourceIdentity, deadline: ContinuousClock.Instant) throws(SinkError) {
        var position = try state.position() ?? StarRocksState.Position(source: source)
        attempted = position.revision
        for _ in 0..<1000 {
            position.source = source
            attempted += 1
            position.revision = attempted
            // One that failed is not used again either.
            if try state.isUnused(attempted, deadline: deadline), try state.store(position, deadline: deadline) {
                stored = position
                unsettled = position.loads
                return
            }
            // Another write had it: it may have been one of the position.
            position = try state.position() ?? position
            attempted = max(attempted, position.revision)
        }
        throw somebodyElse("set up sink", nil)
    }

    /// Reads the position that is stored.
    func read(deadline: ContinuousClock.Instant) throws(SinkError) -> SourcePosition? {
        try resolve(deadline)
        guard let found = try state.position() else { return nil }
        if found.revision <= attempted, found.revision >= stored.revision { stored = found }
        return found.position
    }

    // MARK: Writing

    /// Says which loads come next.
    ///
    /// - Returns: their labels.
    func announce(_ loads: [StarRocksState.Load], deadline: ContinuousClock.Instant) throws(SinkError) -> [String] {
        guard !loads.isEmpty else { return [] }
        try resolve(deadline)
        var next = stored
        next.revision = attempted + 1
        var named = loads
        for index in named.indices {
            named[index].label = "\(state.label(next.revision))_\(index)"
            next.loads.removeAll { $0.table == named[index].table }
        }
        next.loads += named
        try store(next, deadline: deadline)
        unsettled.removeAll { load in named.contains { $0.table == load.table } }
        unsettled += named
        return named.map(\.label)
    }

    /// Moves the position behind what was loaded.
    func move(to position: SourcePosition, deadline: ContinuousClock.Instant) throws(SinkError) {
        if let known = stored.position, known.endLSN >= position.endLSN, stored.loads.isEmpty { return }
        do throws(SinkError) {
            try resolve(deadline)
            var next = stored
            next.position = position
            next.loads = []
            next.revision = attempted + 1
            try store(next, deadline: deadline)
        } catch {
            var error = error
            // The rows are there, and the row of the position may be: asking is cheaper than sending all again.
            if error.kind == .retriable { error.kind = .ambiguous }
            throw error
        }
        if stored.revision - tidied > Self.keptRevisions { try? tidy() }
    }

    /// Registers tables, with how far their copy is.
    func register(_ tables: [TableSchema], at point: LSN?, deadline: ContinuousClock.Instant) throws(SinkError) {
        guard !tables.isEmpty else { return }
        try resolve(deadline)
        attempted += 1
        pending = (attempted, nil)
        guard try state.register(tables, at: point, revision: attempted, deadline: deadline) else {
            throw somebodyElse("store copy state", point)
        }
        pending = nil
    }

    private func store(_ next: StarRocksState.Position, deadline: ContinuousClock.Instant) throws(SinkError) {
        attempted = next.revision
        pending = (attempted, next)
        guard try state.store(next, deadline: deadline) else {
            throw somebodyElse("store position", next.position?.commitLSN)
        }
        pending = nil
        stored = next
    }

    /// Finds out whether the last write was done, and makes sure that it will not be any more if it was not.
    private func resolve(_ deadline: ContinuousClock.Instant) throws(SinkError) {
        while let (revision, position) = pending {
            let label = state.label(revision)
            if position?.isTransaction == true { state.rollBack(label, deadline: deadline) }
            switch try state.settled(label, operation: "store position", deadline: deadline) {
            case .visible, .committed:
                // Or it was claimed, and nobody heard of it.
                if let position, try state.position()?.revision == revision { stored = position }
                pending = nil
            case .aborted: pending = nil
            case .unknown, .running:
                if try state.claim(label, stored, deadline: deadline) { pending = nil }
            }
        }
    }

    /// Removes rows that nobody will read again.
    func tidy() throws(SinkError) {
        try state.forget(before: stored.revision)
        tidied = stored.revision
    }

    private func somebodyElse(_ operation: String, _ lsn: LSN?) -> SinkError {
        .movedPosition(of: state.pipeline, in: state.config.database, operation: operation, lsn: lsn)
    }

    /// A label for a transaction that will be rolled back.
    func nextRehearsal() -> String {
        rehearsals += 1
        return "\(state.label(stored.revision))_rehearsal_\(rehearsals)"
    }

    // MARK: Transactions

    /// The row that a transaction will write, once all that a batch has is in it.
    ///
    /// `position` is what the batch earns, nil where its unit goes on; `applied` then says what its tables have.
    func next(_ position: SourcePosition?, applied: [StarRocksState.Load]) -> StarRocksState.Position {
        var next = stored
        next.revision = attempted + 1
        next.isTransaction = true
        if let position {
            next.position = position
            next.loads = []
        } else {
            next.loads.removeAll { load in applied.contains { $0.table == load.table } }
            next.loads += applied
        }
        return next
    }

    /// Runs a transaction of loads under the label of the row's revision, and writes that row in it.
    ///
    /// Where `body` returns false it is rolled back, and false is returned.
    func transact(
        _ next: StarRocksState.Position,
        deadline: ContinuousClock.Instant,
        _ body: (StarRocksTableWriter.Transaction) throws(SinkError) -> Bool
    ) throws(SinkError) -> Bool {
        attempted = next.revision
        pending = (attempted, next)
        let label = state.label(next.revision)
        try state.begin(label, deadline: deadline)
        do throws(SinkError) {
            guard try body(StarRocksTableWriter.Transaction(label: label, isMulti: true)) else {
                state.rollBack(label, deadline: deadline)
                return false
            }
            try state.add(next, label, deadline: deadline)
        } catch {
            state.rollBack(label, deadline: deadline)
            throw error
        }
        Failpoint.loadAnnounced.pass()
        try state.commit(label, next.position?.commitLSN, deadline: deadline)
        Failpoint.loadSent.pass()
        pending = nil
        stored = next
        return true
    }

    /// Settles what may be pending, so that ``next(_:applied:)`` builds on what is stored.
    func prepare(deadline: ContinuousClock.Instant) throws(SinkError) { try resolve(deadline) }

    // MARK: Loads

    /// What became of a load.
    enum Fate {
        case nothing
        /// The first of its parts is in, and the last is not.
        case some
        case all
    }

    /// Asks for a load's labels; takes those that nobody has used, so that nobody will.
    func fate(of load: StarRocksState.Load, deadline: ContinuousClock.Instant) throws(SinkError) -> Fate {
        // Written with its rows.
        if load.label.isEmpty { return .all }
        if try isLoaded(load, "end", deadline) { return .all }
        var parts = 0
        while try isLoaded(load, String(parts), deadline) { parts += 1 }
        return parts > 0 ? .some : .nothing
    }

    private func isLoaded(_ load: StarRocksState.Load, _ part: String, _ deadline: ContinuousClock.Instant)
        throws(SinkError) -> Bool
    {
        try resolve(deadline)
        let label = "\(load.label)_\(part)"
        let place = stored.loads.firstIndex { $0.label == load.label }
        if let place, stored.loads[place].claimed.contains(part) { return false }
        while true {
            switch try state.settled(label, operation: "find what is loaded", deadline: deadline) {
            case .visible, .committed: return try !state.isClaimed(load.label, part)
            case .aborted, .running: return false
            case .unknown:
                var claimed = stored
                // A claimed label looks like that of a load: the row that claims it tells the two apart.
                if let place { claimed.loads[place].claimed.append(part) }
                guard try state.claim(label, claimed, deadline: deadline) else { continue }
                stored = claimed
                return false
            }
        }
    }
}
