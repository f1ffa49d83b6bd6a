internal import CdcCore
internal import HTTPClient

/// Writes the changes of one table: folded by key, in slices of the stream's order, each slice in one load where it can be.
///
/// A slice has a load for whole rows and deletes, and then one for every set of columns that updates leave unchanged: all rows
/// of a partial update share their columns. The first comes first: it may take what it needs from rows under their old keys.
///
/// A load is committed as a whole or not at all, and its label tells. So it is known after every failure what the table has:
/// up to ``applied`` everything; and up to ``uncertain`` what the rows' versions say, see ``StarRocksSlice``.
final class StarRocksTableWriter {
    let layout: StarRocksLayout
    let client: StarRocksClient
    let database: StarRocksDatabase
    let deleteMode: DeleteMode
    /// Whether the server takes a merge condition with a partial update.
    private let mergesPartialUpdates: Bool
    let body: BodyWriter
    private var rows: StarRocksRowEncoder
    /// Copied rows of a table without a key, which have no other number.
    var copied: UInt64 = 0
    /// Whether a copy has begun here: else copied rows are dead letters of an earlier one.
    private(set) var isCopying = false
    /// The version up to which the table has the stream's changes.
    var applied: UInt128 = 0
    /// The version up to which it has some: the first part of a slice was committed, the last was not.
    var uncertain: UInt128 = 0
    /// Values that were changed since the last call, by column.
    private var substitutions: [Int: Int] = [:]
    var refused: [(change: Int, error: SinkError)] = []
    var rehearsals = 0

    /// How many key changes that do not carry their row are written at once: what they lack is in memory.
    static let heavyLimit = 256

    /// What a call writes, and for whom.
    struct Context {
        let batch: CdcBatch
        let table: UInt32
        let mode: Mode
        /// Whether nothing is to stay.
        var isRehearsal = false
        /// `dbmazz_synced_at` of all rows.
        let now: String
        let deadline: ContinuousClock.Instant
        let state: StarRocksState
        /// Announces a slice of this table; nil where loads are not announced.
        let announce: ((StarRocksState.Load) throws(SinkError) -> String)?
        /// The transaction that loads belong to; nil for loads of their own.
        let transaction: Transaction?
    }

    /// How the batch's rows relate to those that are there.
    enum Mode {
        case copy
        case stream
        /// Changes out of order, which must not undo newer ones.
        case replay
    }

    /// A transaction of loads.
    struct Transaction {
        let label: String
        let isMulti: Bool
    }

    init(
        _ layout: StarRocksLayout,
        client: StarRocksClient,
        database: StarRocksDatabase,
        config: StarRocksConfig,
        version: StarRocksVersion,
        body: BodyWriter
    ) {
        mergesPartialUpdates = version >= .conditionalPartialUpdates
        self.layout = layout
        self.client = client
        self.database = database
        self.body = body
        deleteMode = config.deleteMode
        rows = StarRocksRowEncoder(layout, policy: config.policy, body: body)
    }

    /// What was changed since the last call, because the columns cannot hold it.
    func takeSubstitutions() -> [ValueSubstitution] {
        defer { substitutions.removeAll() }
        return substitutions.map { column, count in
            ValueSubstitution(table: layout.ref, column: layout.columns[column].name, count: count)
        }
    }

    /// Forgets what the table was before it was emptied.
    func beginCopy() {
        copied = 0
        isCopying = true
        applied = 0
        uncertain = 0
    }

    /// Says that the table has what committed before a position.
    func begin(at position: LSN) {
        applied = max(applied, RowVersion(commitLSN: position, ordinal: 0).number)
    }

    /// Takes in what is known of a load that was announced.
    ///
    /// - Parameters:
    ///   - load: which.
    ///   - first: whether its first part is committed.
    ///   - all: whether all of it is.
    func settle(_ load: StarRocksState.Load, first: Bool, all: Bool) {
        guard load.to > 0 else { return }
        applied = max(applied, all ? load.to : load.from)
        uncertain = max(uncertain, first && !all ? load.to : 0, load.uncertain)
    }

    // MARK: Slices

    /// A run of changes that is written as one, by their places in the batch, or a truncate.
    enum Slice {
        case rows(Range<Int>, last: UInt128)
        case truncate(RowVersion, place: Int)
    }

    /// The slice that begins at or behind a place; nil if the table has nothing more.
    func slice(from place: Int, _ context: Context) -> Slice? {
        let batch = context.batch
        let isStream = context.mode == .stream
        var index = batch.firstChange(ofTable: context.table)
        var first = -1
        var end = 0
        var heavy = 0
        var last: UInt128 = 0
        while index != .max {
            let change = batch.change(Int(index))
            defer { index = change.nextOfTable }
            guard Int(index) >= place else { continue }
            let version = batch.version(of: change)
            if isStream, version.number <= applied { continue }
            if change.kind == .truncate {
                return first < 0 ? .truncate(version, place: Int(index)) : .rows(first..<end, last: last)
            }
            // Whether a change is in is asked of the rows up to here, and of nothing beyond.
            if isStream, first >= 0, version.number > uncertain, last <= uncertain { break }
            if change.changesKey, change.isPartial {
                heavy += 1
                if heavy > Self.heavyLimit { break }
            }
            if first < 0 { first = Int(index) }
            end = Int(index) + 1
            last = version.number
        }
        return first < 0 ? nil : .rows(first..<end, last: last)
    }

    /// Writes what the batch has of the table.
    ///
    /// - Parameters:
    ///   - context: what, and for whom.
    ///   - fold: folds changes.
    ///   - announced: the label of the first slice, if that was announced before.
    /// - Returns: false, with nothing written, where the context's transaction does not take it.
    /// - Throws: a permanent error that names every change refused.
    @discardableResult
    func write(_ context: Context, _ fold: inout FoldIndex, announced: String?) throws(SinkError) -> Bool {
        // A rehearsal leaves nothing that a later slice could read back, and the batch is narrowed by whoever asks for it.
        if context.isRehearsal { return try write("", context, &fold) }
        var announced = announced
        var place = 0
        var isNarrowed = false
        defer { if isNarrowed { context.batch.widen() } }
        while let slice = slice(from: place, context) {
            switch slice {
            case .truncate(let version, let at):
                place = at + 1
                try truncate(version, context)
            case .rows(let range, let last):
                place = range.upperBound
                var label = announced ?? ""
                if announced == nil, let announce = context.announce {
                    label = try announce(load(to: last, context))
                }
                announced = nil
                // A table's only slice need not be cut out.
                isNarrowed = isNarrowed || !isWhole(range, context)
                if isNarrowed { context.batch.narrow(to: range) }
                guard try write(label, context, &fold) else { return false }
                if isNarrowed { context.batch.widen() }
                // In a transaction it is so only when that is committed.
                if context.mode == .stream, context.transaction == nil { applied = max(applied, last) }
            }
        }
        return true
    }

    /// Whether a slice is all that the batch has of the table.
    func isWhole(_ range: Range<Int>, _ context: Context) -> Bool {
        guard Int(context.batch.firstChange(ofTable: context.table)) >= range.lowerBound else { return false }
        return slice(from: range.upperBound, context) == nil
    }

    /// What is announced of a slice.
    func load(to last: UInt128, _ context: Context) -> StarRocksState.Load {
        StarRocksState.Load(
            table: layout.ref,
            label: "",
            from: context.mode == .stream ? applied : 0,
            to: context.mode == .stream ? last : 0,
            uncertain: context.mode == .stream ? uncertain : 0
        )
    }

    /// Writes the slice that the batch shows; false where a transaction over several tables does not take it.
    private func write(_ label: String, _ context: Context, _ fold: inout FoldIndex) throws(SinkError) -> Bool {
        guard layout.schema.hasKey else {
            build(&fold, context)
            try writeKeyless(label, context, fold)
            return true
        }
        let slice = try gather(context, &fold)
        var parts = slice.parts
        guard let final = parts.popLast() else { return true }
        // It has one plan for each table, and so no loads with different columns: `StreamLoadMultiStmtTask` of the front end.
        if context.transaction?.isMulti == true, !parts.isEmpty { return false }
        for (number, part) in parts.enumerated() {
            try send(part, slice, "\(label)_\(number)", context, fold)
        }
        try send(final, slice, "\(label)_end", context, fold)
        return true
    }

    private func build(_ fold: inout FoldIndex, _ context: Context) {
        refused.removeAll()
        fold.build(
            context.batch,
            table: context.table,
            folding: !context.batch.hasOnlyInserts(context.table),
            keepingDeletes: deleteMode == .soft
        )
    }

    /// Folds what the batch shows of a table with a key, and divides it into loads.
    func gather(_ context: Context, _ fold: inout FoldIndex) throws(SinkError) -> StarRocksSlice {
        build(&fold, context)
        let slice = try StarRocksSlice(self, context, fold)
        try throwRefused()
        return slice
    }

    func throwRefused() throws(SinkError) {
        guard !refused.isEmpty else { return }
        let sorted = refused.sorted { $0.change < $1.change }
        var error = sorted[0].error
        error.changes = sorted.map(\.change)
        refused.removeAll()
        throw error
    }

    // MARK: Bodies

    private func send(
        _ part: StarRocksSlice.Part,
        _ slice: StarRocksSlice,
        _ label: String,
        _ context: Context,
        _ fold: FoldIndex
    ) throws(SinkError) {
        guard let load = try encode(part, slice, label, context, fold) else { return }
        try send(load, part.lsn, context)
    }

    /// Fills the body with a part's rows; nil where there are none.
    func encode(
        _ part: StarRocksSlice.Part,
        _ slice: StarRocksSlice,
        _ label: String,
        _ context: Context,
        _ fold: FoldIndex
    ) throws(SinkError) -> StarRocksClient.Load? {
        let present = layout.columns.indices.filter { !part.absent.contains($0) }
        let isSoft = deleteMode == .soft
        return try encode(
            present: present,
            hasOperation: part.absent.isEmpty && part.hasDeletes,
            isPartial: !part.absent.isEmpty,
            label: label,
            lsn: part.lsn,
            context
        ) { rows in
            for row in part.rows { slice.append(row, present, to: &rows, context.batch, fold, isSoft) }
            return part.rows.count
        }
    }

    /// Fills the body with rows, with separators that are in none of their values.
    ///
    /// - Parameters:
    ///   - present: columns, by index, that every row has.
    ///   - hasOperation: whether a cell at the end says if the row is to go.
    ///   - isPartial: whether the columns that are not there stay as they are.
    ///   - label: of the load.
    ///   - lsn: of its last change, for errors.
    ///   - context: what is written, and for whom.
    ///   - append: appends the rows, and tells how many.
    /// - Returns: the load that the body is for; nil where there are no rows.
    /// - Throws: a permanent error that names every change refused.
    func encode(
        present: [Int],
        hasOperation: Bool,
        isPartial: Bool,
        label: String,
        lsn: LSN?,
        _ context: Context,
        rows append: (inout StarRocksRowEncoder) -> Int
    ) throws(SinkError) -> StarRocksClient.Load? {
        var isShifted = false
        var choice = 0
        while choice < StarRocksSeparators.all.count {
            rows.begin(
                StarRocksSeparators.all[choice],
                isShifted: isShifted,
                cells: present.count + StarRocksLayout.added(to: layout.schema).count + (hasOperation ? 1 : 0),
                hasOperation: hasOperation,
                now: context.now
            )
            let count = append(&rows)
            rows.finish()
            try throwRefused(context.batch)
            if rows.looksLikeNull {
                isShifted = true
                continue
            }
            guard rows.isClear else {
                choice += 1
                continue
            }
            for (column, changed) in rows.substitutions { substitutions[column, default: 0] += changed }
            guard count > 0 else { return nil }
            body.finish()
            return StarRocksClient.Load(
                table: layout.schema.sinkName,
                label: label,
                columns: layout.columnsHeader(present, isShifted: isShifted, hasOperation: hasOperation),
                separators: rows.separators,
                isPartial: isPartial,
                // Not for deletes. No load is older than the table, so that this is a second lock on the same door.
                mergeCondition: hasOperation || isPartial && !mergesPartialUpdates ? nil : AuditColumn.version.rawValue,
                compression: body.method,
                rows: count,
                columnNames: Set(layout.columns.map(\.name))
            )
        }
        throw SinkError(
            .permanent,
            operation: "encode rows",
            table: layout.ref,
            lsn: lsn,
            cause: "values have every separator in them that the sink knows",
            remedy: "report this as an error of dbmazz-sink"
        )
    }

    /// Throws for the rows of a body that cannot be written.
    private func throwRefused(_ batch: CdcBatch) throws(SinkError) {
        for (change, reason) in rows.refusals {
            let version = batch.version(of: batch.change(change))
            switch reason {
            case .value(let column, let problem): refuse(change, refusal(problem, column, version))
            case .missingRow: refuse(change, SinkError.missingRow(of: layout.schema, version))
            }
        }
        try throwRefused()
    }

    // MARK: Errors

    func refuse(_ change: Int, _ error: @autoclosure () -> SinkError) {
        guard refused.last?.change != change else { return }
        refused.append((change, error()))
    }

    private func refusal(_ problem: StarRocksEncoder.Problem, _ column: Int, _ version: RowVersion) -> SinkError {
        let source = layout.schema.columns[column]
        let name = "column \"\(source.name)\" (\(source.postgresType.name))"
        let type = layout.columns[column].type
        var remedy = "correct the row at the source, or set SINK_ON_UNREPRESENTABLE (see the connector's README)"
        let cause: String
        switch problem {
        case .outOfRange: cause = "\(name) holds a value beyond the range of \(type)"
        case .notANumber: cause = "\(name) holds NaN, which \(type) does not have"
        case .nullValue: cause = "\(name) is NULL, which a key does not have"
        case .malformed:
            cause = "\(name) holds what does not read as \(type)"
            remedy = "report this as an error of dbmazz-sink"
        }
        return SinkError(
            .permanent,
            operation: "encode row",
            table: layout.ref,
            lsn: version.commitLSN,
            cause: cause,
            remedy: remedy
        )
    }
}
