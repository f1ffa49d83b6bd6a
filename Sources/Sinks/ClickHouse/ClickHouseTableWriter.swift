internal import CdcCore
internal import HTTPClient

/// Writes the changes of one table: folded by key, whole rows with their versions, one insert a segment.
///
/// A row that comes again has the same version and the same content, so that nothing depends on whether it was there.
/// What a change does not carry is taken from an earlier change of the same batch, else from the row that the target has.
final class ClickHouseTableWriter {
    let layout: ClickHouseLayout
    let client: ClickHouseClient
    let encoder: ClickHouseEncoder
    let deleteMode: DeleteMode
    let cluster: String?
    let statement: String
    private let body: BodyWriter
    var row = RowBuffer()
    private var substitutions: [Int: Int] = [:]
    /// Copied rows of a table without a key, which have no other number.
    var copied: UInt64 = 0
    /// The version up to which the table has the stream's changes.
    ///
    /// Changes come again after a restart or a failure. A table's inserts are written in the stream's order, each as a whole,
    /// so it has all changes up to the newest version in it. Those are left out: the rows that they were about may be gone,
    /// or be others by now, and what a later change does not carry is in the row as it is now.
    var applied: UInt128 = 0
    /// Whether ``applied`` has to be asked for: changes were sent, and nobody knows whether they arrived.
    private var isUncertain: Bool
    /// Whether rows go to a table that forgets them.
    var isRehearsal = false
    /// How many changes that do not carry their row are written at once; follows the size of the rows.
    var sliceSize = 64

    /// What a call writes, and for whom.
    struct Context {
        let batch: CdcBatch
        let table: UInt32
        let pipeline: String
        let state: ClickHouseState
        /// Distinguishes attempts to copy, which may send the same rows into a table that was emptied in between.
        let attempt: UInt64
        /// The target's position: it has what committed before it.
        let position: LSN
        let deadline: ContinuousClock.Instant

        var isStream: Bool { batch.isStreamed }
    }

    init(
        _ layout: ClickHouseLayout,
        client: ClickHouseClient,
        config: ClickHouseConfig,
        encoder: ClickHouseEncoder,
        body: BodyWriter,
        isUncertain: Bool
    ) {
        self.isUncertain = isUncertain
        self.layout = layout
        self.client = client
        self.encoder = encoder
        self.body = body
        deleteMode = config.deleteMode
        cluster = config.cluster
        statement = layout.insertStatement
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
        applied = 0
        isUncertain = false
    }

    // MARK: Segments

    private struct Insert {
        var rows = 0
        var first: RowVersion?
        var last: RowVersion?
        var newest = RowVersion(commitLSN: .zero, ordinal: 0)
        var hash: UInt64 = 0
        var number = 0
    }

    private var insert = Insert()
    private var refused: [(change: Int, error: SinkError)] = []

    /// Writes what the batch has of the table.
    ///
    /// - Throws: a permanent error that names every change refused, before any of its rows was sent.
    func write(_ context: Context, _ fold: inout FoldIndex) throws(SinkError) {
        if isUncertain, context.isStream { try findApplied(context) }
        insert = Insert()
        refused.removeAll()
        row.reset()
        body.reset()
        // A rehearsal leaves nothing that a later slice could read back.
        guard !isRehearsal, incompleteChanges(context, atMost: sliceSize + 1) > sliceSize else {
            return try writeSlice(context, &fold)
        }
        try writeInSlices(context, &fold)
    }

    /// Changes that do not carry their row, counted up to a limit.
    private func incompleteChanges(_ context: Context, atMost limit: Int) -> Int {
        guard layout.schema.hasKey else { return 0 }
        var count = 0
        var index = context.batch.firstChange(ofTable: context.table)
        while index != .max, count < limit {
            let change = context.batch.change(Int(index))
            if isIncomplete(change) { count += 1 }
            index = change.nextOfTable
        }
        return count
    }

    private func isIncomplete(_ change: Change) -> Bool {
        change.isPartial || (deleteMode == .soft && change.kind == .delete && change.oldTuple != .full)
    }

    /// Writes one run of changes after the other, each as if it were the batch: the rows that are read back for a run are in
    /// memory at once, and they may be much larger than the changes.
    private func writeInSlices(_ context: Context, _ fold: inout FoldIndex) throws(SinkError) {
        let batch = context.batch
        var places: [Int] = []
        var index = batch.firstChange(ofTable: context.table)
        while index != .max {
            places.append(Int(index))
            index = batch.change(Int(index)).nextOfTable
        }
        defer { batch.widen() }
        var begin = 0
        while begin < places.count {
            var end = begin
            var incomplete = 0
            while end < places.count, incomplete < sliceSize {
                if isIncomplete(batch.change(places[end])) { incomplete += 1 }
                end += 1
            }
            batch.narrow(to: places[begin]..<places[end - 1] + 1)
            try writeSlice(context, &fold)
            begin = end
        }
    }

    private func writeSlice(_ context: Context, _ fold: inout FoldIndex) throws(SinkError) {
        let batch = context.batch
        let isSoft = deleteMode == .soft
        fold.build(
            batch,
            table: context.table,
            folding: !batch.hasOnlyInserts(context.table),
            keepingDeletes: isSoft
        )
        var begin = 0
        while begin < fold.items.count {
            var end = begin
            while end < fold.items.count, fold.items[end].outcome != .truncate { end += 1 }
            if end > begin { try write(begin..<end, context, fold) }
            if end < fold.items.count {
                try truncate(batch.version(of: batch.change(Int(fold.items[end].change))), context)
            }
            begin = end + 1
        }
        if batch.isCopy, !layout.schema.hasKey, !isRehearsal { copied += UInt64(fold.items.count) }
    }

    /// Has the server look at the rows and forget them: into a table of the same columns and constraints.
    func rehearse(_ context: Context, _ fold: inout FoldIndex) throws(SinkError) {
        let name = rehearsalName
        let operation = "rehearse"
        isRehearsal = true
        defer { isRehearsal = false }
        try client.run("DROP TABLE IF EXISTS \(name)", operation: operation, table: layout.ref)
        try client.run(
            "CREATE TABLE IF NOT EXISTS \(name) AS \(layout.name) ENGINE = Null",
            operation: operation,
            table: layout.ref
        )
        do throws(SinkError) {
            try write(context, &fold)
        } catch {
            // Why the rows were refused is what matters.
            try? client.run("DROP TABLE IF EXISTS \(name)", operation: operation, table: layout.ref)
            throw error
        }
        try client.run("DROP TABLE IF EXISTS \(name)", operation: operation, table: layout.ref)
    }

    private var rehearsalName: String {
        "\(layout.database.clickhouseIdentifier).\("dbmazz_rehearsal_\(client.queryPrefix)".clickhouseIdentifier)"
    }

    /// Asks for the newest version, once no insert is on its way any more.
    private func findApplied(_ context: Context) throws(SinkError) {
        let operation = "find what is written"
        try client.awaitGivenUpInserts(operation: operation, table: layout.ref, deadline: context.deadline)
        let rows = try client.rows(
            "SELECT max(\(AuditColumn.version.rawValue)) FROM \(layout.name)",
            operation: operation,
            table: layout.ref
        )
        applied = max(applied, rows.first?.first?.flatMap { UInt128($0) } ?? 0)
        isUncertain = false
    }

    /// Whether the table has the change.
    @inline(__always)
    func isApplied(_ version: RowVersion, _ context: Context) -> Bool {
        context.isStream && (version.number <= applied || version.commitLSN < context.position)
    }

    private func write(_ items: Range<Int>, _ context: Context, _ fold: FoldIndex) throws(SinkError) {
        if layout.schema.hasKey {
            try writeKeyed(items, context, fold)
        } else {
            try writeKeyless(items, context, fold)
        }
        guard refused.isEmpty else {
            let sorted = refused.sorted { $0.change < $1.change }
            var error = sorted[0].error
            error.changes = sorted.map(\.change)
            refused.removeAll()
            throw error
        }
        try finishInsert(context)
    }

    // MARK: Rows with a key

    private func writeKeyed(_ items: Range<Int>, _ context: Context, _ fold: FoldIndex) throws(SinkError) {
        let lookup = try lookup(items, context, fold)
        for index in items {
            let item = fold.items[index]
            let change = context.batch.change(Int(item.change))
            let version = context.batch.version(of: change)
            if isApplied(version, context) { continue }
            if item.outcome == .changeKey { tombstone(ofOldKey: change, version, context) }
            let isDeletion = item.outcome == .delete
            let begin = row.count
            var isWhole = true
            for column in layout.columns.indices {
                let cell = fold.cell(item, column, in: context.batch)
                if isDeletion, deleteMode == .hard, !layout.schema.key.contains(column) {
                    encoder.appendNothing(as: layout.columns[column].encoding, to: &row)
                } else if isDeletion, lookup != nil, !layout.schema.key.contains(column), change.oldTuple != .full {
                    _ = appendKept(column, of: index, lookup, context, fold, item)
                } else if cell.isUnchanged {
                    isWhole = appendKept(column, of: index, lookup, context, fold, item) && isWhole
                } else {
                    append(cell, column, item, context)
                }
            }
            guard isWhole else {
                row.truncate(to: begin)
                refuse(item, SinkError.missingRow(of: layout.schema, version))
                continue
            }
            finishRow(change.kind, isDeletion, version)
            if row.count >= 64 << 10 { moveToBody() }
        }
    }

    func append(_ cell: Cell, _ column: Int, _ item: FoldIndex.Item, _ context: Context) {
        let text = cell.hasBytes ? context.batch.bytes(of: cell) : nil
        switch encoder.append(text, as: layout.columns[column].encoding, to: &row) {
        case .written: break
        case .substituted: substitutions[column, default: 0] += 1
        case .refused(let problem):
            let version = context.batch.version(of: context.batch.change(Int(item.change)))
            refuse(item, refusal(problem, column, version))
        }
    }

    /// The row under the old key is gone with the same version as that under the new one.
    private func tombstone(ofOldKey change: Change, _ version: RowVersion, _ context: Context) {
        for column in layout.columns.indices {
            let encoding = layout.columns[column].encoding
            if layout.schema.key.contains(column) {
                let cell = context.batch.oldCell(change, column)
                let text = cell.hasBytes ? context.batch.bytes(of: cell) : nil
                if case .refused = encoder.append(text, as: encoding, to: &row) {
                    encoder.appendNothing(as: encoding, to: &row)
                }
            } else {
                encoder.appendNothing(as: encoding, to: &row)
            }
        }
        finishRow(.delete, true, version)
    }

    func finishRow(_ kind: ChangeKind, _ isDeletion: Bool, _ version: RowVersion) {
        let code: UInt8 = isDeletion ? 2 : kind == .insert ? 0 : 1
        row.append(code)
        row.append(isDeletion ? 1 : 0 as UInt8)
        row.append(version.ordinal)
        row.append(version.commitLSN.rawValue)
        insert.rows += 1
        insert.first = insert.first ?? version
        insert.last = version
        insert.newest = max(insert.newest, version)
    }

    // MARK: Sending

    func moveToBody() {
        insert.hash = row.bytes.hashed(into: insert.hash)
        body.append(row.bytes)
        row.reset()
    }

    /// Sends what was encoded: all that a segment has, as one insert.
    private func finishInsert(_ context: Context) throws(SinkError) {
        moveToBody()
        defer {
            body.reset()
            insert = Insert(number: insert.number + 1)
        }
        guard insert.rows > 0, let first = insert.first, let last = insert.last else { return }
        body.finish()
        // Of what is sent, never of a clock: the same rows have the same token, and others never have it.
        let attempt = context.batch.isCopy ? ":\(context.attempt)" : ""
        do throws(SinkError) {
            try client.insert(
                isRehearsal ? layout.insertStatement(into: rehearsalName) : statement,
                body.bytes,
                body.method,
                token: "\(context.pipeline):\(layout.ref):\(first.hexadecimal)-\(last.hexadecimal):\(insert.rows):"
                    + "\(insert.number):\(String(insert.hash, radix: 16))\(attempt)",
                operation: "insert",
                table: layout.ref,
                lsn: last.commitLSN,
                deadline: context.deadline
            )
        } catch {
            isUncertain = isUncertain || !isRehearsal
            throw error
        }
        if context.isStream, !isRehearsal { applied = max(applied, insert.newest.number) }
    }

    // MARK: Errors

    func refuse(_ item: FoldIndex.Item, _ error: @autoclosure () -> SinkError) {
        guard refused.last?.change != Int(item.change) else { return }
        refused.append((Int(item.change), error()))
    }

    private func refusal(_ problem: ClickHouseEncoder.Problem, _ column: Int, _ version: RowVersion) -> SinkError {
        let source = layout.schema.columns[column]
        let name = "column \"\(source.name)\" (\(source.postgresType.name))"
        let type = layout.columns[column].type
        let cause: String
        var remedy = "correct the row at the source, or set SINK_ON_UNREPRESENTABLE (see the connector's README)"
        switch problem {
        case .outOfRange: cause = "\(name) holds a value beyond the range of \(type)"
        case .notANumber: cause = "\(name) holds NaN, which \(type) does not have"
        case .arrayShape:
            cause = "\(name) holds an array of several dimensions or with bounds, which \(type) does not have"
        case .nullValue:
            cause = "\(name) is NULL, which \(type) does not have"
            remedy = "ALTER TABLE \(layout.name) MODIFY COLUMN \(source.name.clickhouseIdentifier) Nullable(\(type));"
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
