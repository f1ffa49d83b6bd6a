internal import CdcCore

/// How a batch is written: each mode expresses more than the one before, and costs more.
enum PostgresMode {
    /// New rows are copied straight into their tables, the rest in sets.
    case fast
    /// Everything in sets; rows that are there already are replaced.
    case merge
    /// Change by change, in the order of the source.
    case replay
}

/// Why a batch was not written.
struct PostgresWriteFailure: Error {
    enum Kind {
        case server(PostgresError)
        /// A command affected fewer rows than it had to.
        case missingRow
        /// A value came in a form that its column does not have.
        case wrongForm
        /// A row of a table without key is to change, and its old values did not come.
        case noOldRow
    }

    var kind: Kind
    var operation: String
    var table: TableRef?
    /// Whether copying straight into the table met it, which merging may avoid.
    var isDirectCopy = false
    /// The place of the change in the batch that the server refused, where it says which.
    var change: Int?

    /// Runs what may meet an error of the server.
    static func catching<Value>(
        _ operation: String,
        _ table: TableRef? = nil,
        _ body: () throws(PostgresError) -> Value
    ) throws(PostgresWriteFailure) -> Value {
        do throws(PostgresError) {
            return try body()
        } catch {
            throw PostgresWriteFailure(kind: .server(error), operation: operation, table: table)
        }
    }
}

/// Writes the changes of one table over one session: keeps its statements and turns rows into their parameters.
final class PostgresTableWriter {
    /// What all rows of a table's part of a batch have in common.
    struct Context {
        let batch: CdcBatch
        /// Index of the table in the batch.
        let table: UInt32
        let mode: PostgresMode
        let session: PostgresSession
    }

    let schema: TableSchema
    let layout: PostgresLayout
    private let sql: PostgresStatements
    private let config: PostgresConfig
    private let staging: String
    /// The columns in the layout's order, then the audit columns.
    private let wholeRow: [PostgresWire]
    private var statements: [StatementKey: Statement] = [:]

    private struct StatementKey: Hashable {
        let action: PostgresAction
        let source: PostgresSource
    }

    private final class Statement {
        let name: String
        let wires: [PostgresWire]
        let formats: [Int32]
        let generation: Int

        init(name: String, wires: [PostgresWire], generation: Int) {
            self.name = name
            self.wires = wires
            self.generation = generation
            formats = Array(repeating: 1, count: wires.count)
        }
    }

    // The places of items in the fold index that are applied together; kept from batch to batch.
    private var deletes: [Int] = []
    private var updates: [Int] = []
    private var upserts: [Int] = []
    private var inserts: [Int] = []
    private var partial: [UpdateShape: [Int]] = [:]
    private var shape: UpdateShape
    // Where the parameters of a statement begin, and what libpq is told of them; kept from row to row.
    private var starts: [Int] = []
    private var values: [UnsafePointer<CChar>?] = []
    private var lengths: [Int32] = []

    /// Fewer new rows than this go with the other statements: a COPY is a round trip of its own.
    private static let fewestToCopy = 50
    /// More rows than this are copied into a staging table instead of being sent as arrays.
    private static let mostInArrays = 5_000
    /// More rows than this are copied into a staging table instead of being sent one by one.
    private static let mostOneByOne = 64
    /// Commands in flight after which their results are read, so that neither side's buffers fill up.
    private static let mostInFlight = 256
    /// Bytes of COPY that are handed to libpq at once.
    private static let slice = 128 << 10
    /// Updates that differ in their unchanged columns each have a statement; beyond this many they begin anew.
    private static let statementLimit = 128

    init(_ layout: PostgresLayout, config: PostgresConfig) {
        schema = layout.schema
        self.layout = layout
        self.config = config
        sql = PostgresStatements(layout: layout, audit: config.audit)
        staging = "dbmazz_stage_\(layout.schema.oid)"
        wholeRow = sql.wires(sql.fields(.insert))
        shape = UpdateShape(columnCount: layout.columns.count)
    }

    /// Writes the table's part of a batch; results of statements may still be in flight afterwards.
    func apply(
        _ context: Context,
        _ fold: inout FoldIndex,
        _ encoder: inout PostgresEncoder
    ) throws(PostgresWriteFailure) {
        let batch = context.batch
        let isAllNew = batch.hasOnlyInserts(context.table) && copiesDirectly(context)
        if isAllNew, let form = layout.directCopy,
            batch.hasChanges(context.table, atLeast: PostgresTableWriter.fewestToCopy)
        {
            return try copyAll(form, context, &encoder)
        }
        fold.build(batch, table: context.table, keepingDeletes: config.deleteMode == .soft)
        if !schema.hasKey { return try applyInOrder(context, fold, &encoder) }
        var ends = fold.runEnds[...]
        for place in fold.items.indices {
            if place == ends.first {
                ends.removeFirst()
                try flushSets(context, fold, &encoder)
            }
            let item = fold.items[place]
            switch item.outcome {
            case .upsert where item.isNew: inserts.append(place)
            case .upsert: upserts.append(place)
            case .update where item.isPartial:
                noteShape(item, fold, batch)
                partial[shape, default: []].append(place)
            case .update: updates.append(place)
            case .delete: deletes.append(place)
            case .changeKey, .truncate:
                try flushSets(context, fold, &encoder)
                try applyAlone(place, context, fold, &encoder)
            }
        }
        try flushSets(context, fold, &encoder)
    }

    /// After a failure the lists may still name items of the batch that failed.
    func forgetSets() {
        deletes.removeAll()
        updates.removeAll()
        upserts.removeAll()
        inserts.removeAll()
        partial.removeAll()
    }

    /// Whether a new row cannot meet one that is there: not where rows that are marked as deleted keep their keys.
    private func copiesDirectly(_ context: Context) -> Bool {
        context.mode == .fast && (!schema.hasKey || config.deleteMode == .hard || context.batch.isCopy)
    }

    // MARK: Sets

    /// Makes ``shape`` that of an item.
    private func noteShape(_ item: FoldIndex.Item, _ fold: FoldIndex, _ batch: CdcBatch) {
        shape.clear()
        guard item.isPartial else { return }
        for number in 0..<layout.columns.count
        where fold.cell(item, Int(wholeRow[number].source), in: batch).isUnchanged {
            shape.markUnchanged(number)
        }
    }

    /// Applies what was collected: rows that go first make room for those that come.
    private func flushSets(
        _ context: Context,
        _ fold: FoldIndex,
        _ encoder: inout PostgresEncoder
    ) throws(PostgresWriteFailure) {
        try run(config.deleteMode == .soft ? .mark : .delete, deletes, context, fold, &encoder)
        deletes.removeAll(keepingCapacity: true)
        try run(context.mode == .fast ? .update(unchanged: []) : .upsert, updates, context, fold, &encoder)
        updates.removeAll(keepingCapacity: true)
        if !partial.isEmpty {
            for (shape, places) in partial {
                try run(.update(unchanged: unchanged(shape)), places, context, fold, &encoder)
            }
            partial.removeAll(keepingCapacity: true)
        }
        try run(.upsert, upserts, context, fold, &encoder)
        upserts.removeAll(keepingCapacity: true)
        try flushNew(context, fold, &encoder)
    }

    /// Adds the new rows that were collected.
    private func flushNew(
        _ context: Context,
        _ fold: FoldIndex,
        _ encoder: inout PostgresEncoder
    ) throws(PostgresWriteFailure) {
        if inserts.count >= PostgresTableWriter.fewestToCopy, copiesDirectly(context), let form = layout.directCopy {
            func change(_ row: Int) -> Int? { row <= inserts.count ? Int(fold.items[inserts[row - 1]].change) : nil }
            try copy(form, context, &encoder, change) { (encoder, wires) throws(PostgresError) in
                try self.encode(self.inserts, form, wires, context, fold, &encoder)
            }
        } else {
            try run(schema.hasKey ? .upsert : .insert, inserts, context, fold, &encoder)
        }
        inserts.removeAll(keepingCapacity: true)
    }

    private func unchanged(_ shape: UpdateShape) -> [Int] { layout.columns.indices.filter(shape.isUnchanged) }

    /// Applies one action to a set of rows, in the way that suits their number.
    private func run(
        _ action: PostgresAction,
        _ places: [Int],
        _ context: Context,
        _ fold: FoldIndex,
        _ encoder: inout PostgresEncoder
    ) throws(PostgresWriteFailure) {
        guard !places.isEmpty else { return }
        let most = layout.fitsArrays ? PostgresTableWriter.mostInArrays : PostgresTableWriter.mostOneByOne
        if places.count > most, context.session.mayStage {
            try stage(action, places, context, fold, &encoder)
        } else if places.count > 1, layout.fitsArrays {
            try flyArrays(action, places, context, fold, &encoder)
        } else {
            for place in places { try flyRow(action, place, context, fold, &encoder) }
        }
    }

    // MARK: One by one

    private func applyInOrder(
        _ context: Context,
        _ fold: FoldIndex,
        _ encoder: inout PostgresEncoder
    ) throws(PostgresWriteFailure) {
        for place in fold.items.indices {
            let item = fold.items[place]
            // Rows without a key are never folded, but neighbouring new ones go together.
            if item.outcome == .upsert {
                inserts.append(place)
                continue
            }
            try flushNew(context, fold, &encoder)
            try applyAlone(place, context, fold, &encoder)
        }
        try flushNew(context, fold, &encoder)
    }

    /// Applies one item of an index by statements of its own.
    func applyAlone(
        _ place: Int,
        _ context: Context,
        _ fold: FoldIndex,
        _ encoder: inout PostgresEncoder
    ) throws(PostgresWriteFailure) {
        let item = fold.items[place]
        let isSoft = config.deleteMode == .soft
        switch item.outcome {
        case .upsert: try flyRow(schema.hasKey ? .upsert : .insert, place, context, fold, &encoder)
        case .update where !schema.hasKey:
            try requireOldRow(item, context)
            try flyRow(.updateCopy(nulls: nulls(item, context)), place, context, fold, &encoder)
        case .delete where !schema.hasKey:
            try requireOldRow(item, context)
            let nulls = nulls(item, context)
            try flyRow(isSoft ? .markCopy(nulls: nulls) : .deleteCopy(nulls: nulls), place, context, fold, &encoder)
        case .update where item.isPartial:
            try flyRow(.update(unchanged: unchanged(item, context, fold)), place, context, fold, &encoder)
        case .update: try flyRow(.upsert, place, context, fold, &encoder)
        case .delete: try flyRow(isSoft ? .mark : .delete, place, context, fold, &encoder)
        case .changeKey:
            // A row that the source deleted keeps its key here until another takes it.
            if isSoft { try flyRow(.clearMarked, place, context, fold, &encoder) }
            let unchanged = unchanged(item, context, fold)
            try flyRow(.changeKey(unchanged: unchanged), place, context, fold, &encoder)
        case .truncate: try truncate(place, context, fold, &encoder)
        }
    }

    private func unchanged(_ item: FoldIndex.Item, _ context: Context, _ fold: FoldIndex) -> [Int] {
        noteShape(item, fold, context.batch)
        return unchanged(shape)
    }

    private func nulls(_ item: FoldIndex.Item, _ context: Context) -> [Int] {
        let change = context.batch.change(Int(item.change))
        return sql.indexable.filter { context.batch.oldCell(change, layout.columns[$0].source).isNull }
    }

    private func requireOldRow(_ item: FoldIndex.Item, _ context: Context) throws(PostgresWriteFailure) {
        guard context.batch.change(Int(item.change)).oldTuple == .full else {
            throw PostgresWriteFailure(
                kind: .noOldRow,
                operation: "change by values",
                table: schema.ref
            )
        }
    }

    private func truncate(
        _ place: Int,
        _ context: Context,
        _ fold: FoldIndex,
        _ encoder: inout PostgresEncoder
    ) throws(PostgresWriteFailure) {
        let text = sql.truncate(config.deleteMode, config.truncate)
        let fields = config.deleteMode == .soft ? config.audit.map(PostgresField.audit) : []
        // Unnamed: truncates are rare.
        let statement = try prepare("", text, fields, "truncate", context)
        try send(statement, "truncate", nil, place, context, fold, &encoder)
        try land(context)
        Failpoint.truncateApplied.pass()
    }

    // MARK: Sending

    private func expectation(_ operation: String, _ context: Context, rows: Int?) -> PostgresClient.Expectation {
        PostgresClient.Expectation(operation: operation, table: context.table, rows: rows)
    }

    /// How many rows an action must find; nil where none may be there.
    private static func wanted(_ action: PostgresAction, _ count: Int) -> Int? {
        switch action {
        case .update, .changeKey, .updateCopy, .deleteCopy, .markCopy: count
        case .insert, .upsert, .delete, .mark, .clearMarked: nil
        }
    }

    private static func operation(_ action: PostgresAction) -> String {
        switch action {
        case .insert: "insert"
        case .upsert: "upsert"
        case .update: "update"
        case .delete: "delete"
        case .mark: "mark as deleted"
        case .changeKey: "change key"
        case .clearMarked: "clear marked row"
        case .updateCopy: "update by values"
        case .deleteCopy: "delete by values"
        case .markCopy: "mark by values"
        }
    }

    private func statement(
        _ action: PostgresAction,
        _ source: PostgresSource,
        _ context: Context
    ) throws(PostgresWriteFailure) -> Statement {
        let key = StatementKey(action: action, source: source)
        let session = context.session
        if let known = statements[key], known.generation == session.generation { return known }
        if statements.count >= PostgresTableWriter.statementLimit { try forgetStatements(context) }
        let text = sql.sql(action, from: source, staging: staging)
        let made = try prepare(session.nextName(), text, sql.fields(action), "prepare statement", context)
        statements[key] = made
        return made
    }

    private func prepare(
        _ name: String,
        _ text: String,
        _ fields: [PostgresField],
        _ operation: String,
        _ context: Context
    ) throws(PostgresWriteFailure) -> Statement {
        let session = context.session
        try context.session.fly(operation, schema.ref) { () throws(PostgresError) in
            try session.client.flyPrepare(name, text, expectation(operation, context, rows: nil))
        }
        return Statement(name: name, wires: sql.wires(fields), generation: session.generation)
    }

    private func forgetStatements(_ context: Context) throws(PostgresWriteFailure) {
        let old = statements.values.filter { $0.generation == context.session.generation }
        statements.removeAll()
        try context.session.fly("forget statements", schema.ref) { () throws(PostgresError) in
            for statement in old {
                try context.session.client.fly(
                    "DEALLOCATE \(statement.name)",
                    expectation("forget statements", context, rows: nil)
                )
            }
        }
    }

    private func flyRow(
        _ action: PostgresAction,
        _ place: Int,
        _ context: Context,
        _ fold: FoldIndex,
        _ encoder: inout PostgresEncoder
    ) throws(PostgresWriteFailure) {
        let statement = try statement(action, .row, context)
        let operation = PostgresTableWriter.operation(action)
        let wanted = PostgresTableWriter.wanted(action, 1)
        try send(statement, operation, wanted, place, context, fold, &encoder)
    }

    /// Sends one row as parameters.
    private func send(
        _ statement: Statement,
        _ operation: String,
        _ wanted: Int?,
        _ place: Int,
        _ context: Context,
        _ fold: FoldIndex,
        _ encoder: inout PostgresEncoder
    ) throws(PostgresWriteFailure) {
        let item = fold.items[place]
        let change = context.batch.change(Int(item.change))
        encoder.buffer.reset()
        starts.removeAll(keepingCapacity: true)
        for wire in statement.wires {
            starts.append(encoder.buffer.count)
            encoder.append(wire, change, new: fold.cell(item, Int(wire.source), in: context.batch), context.batch)
        }
        try flyValues(statement, operation, wanted, hasLengths: true, context, &encoder)
    }

    /// Sends rows as one array a field.
    private func flyArrays(
        _ action: PostgresAction,
        _ places: [Int],
        _ context: Context,
        _ fold: FoldIndex,
        _ encoder: inout PostgresEncoder
    ) throws(PostgresWriteFailure) {
        let statement = try statement(action, .arrays, context)
        encoder.buffer.reset()
        starts.removeAll(keepingCapacity: true)
        for wire in statement.wires {
            starts.append(encoder.buffer.count)
            encoder.beginArray(of: wire.oid, count: places.count)
            for place in places {
                let item = fold.items[place]
                let change = context.batch.change(Int(item.change))
                encoder.append(wire, change, new: fold.cell(item, Int(wire.source), in: context.batch), context.batch)
            }
        }
        let operation = PostgresTableWriter.operation(action)
        let wanted = PostgresTableWriter.wanted(action, places.count)
        try flyValues(statement, operation, wanted, hasLengths: false, context, &encoder)
    }

    /// Sends the execution of a statement whose parameters lie in the encoder's buffer.
    ///
    /// Each begins with its own length where `hasLengths` says so, -1 for NULL.
    private func flyValues(
        _ statement: Statement,
        _ operation: String,
        _ wanted: Int?,
        hasLengths: Bool,
        _ context: Context,
        _ encoder: inout PostgresEncoder
    ) throws(PostgresWriteFailure) {
        try checkForm(encoder, operation)
        encoder.buffer.parameters(startingAt: starts, hasLengths: hasLengths, &values, &lengths)
        let client = context.session.client
        try context.session.fly(operation, schema.ref) { () throws(PostgresError) in
            try client.flyExecute(
                statement.name,
                values: values,
                lengths: lengths,
                formats: statement.formats,
                expectation(operation, context, rows: wanted)
            )
        }
        if client.commandsInFlight >= PostgresTableWriter.mostInFlight { try land(context) }
    }

    private func checkForm(_ encoder: borrowing PostgresEncoder, _ operation: String) throws(PostgresWriteFailure) {
        guard encoder.hasWrongForm else { return }
        throw PostgresWriteFailure(kind: .wrongForm, operation: operation, table: schema.ref)
    }

    private func land(_ context: Context) throws(PostgresWriteFailure) {
        try context.session.land { context.batch.tables[Int($0)].ref }
    }

    // MARK: COPY

    /// Encodes rows and sends them slice by slice; the last slice stays in the buffer.
    private typealias Rows = (inout PostgresEncoder, UnsafeBufferPointer<PostgresWire>) throws(PostgresError) -> Int

    /// Copies all the table's changes, which are inserts, straight into it.
    private func copyAll(
        _ form: PostgresLayout.DirectCopy,
        _ context: Context,
        _ encoder: inout PostgresEncoder
    ) throws(PostgresWriteFailure) {
        let batch = context.batch
        // The chain is walked again only for a row that was refused.
        func change(_ row: Int) -> Int? {
            var index = batch.firstChange(ofTable: context.table)
            for _ in 1..<row where index != .max { index = batch.change(Int(index)).nextOfTable }
            return index == .max ? nil : Int(index)
        }
        try copy(form, context, &encoder, change) { (encoder, wires) throws(PostgresError) in
            var count = 0
            var index = batch.firstChange(ofTable: context.table)
            while index != .max {
                let change = batch.change(Int(index))
                encoder.appendRow(form, wires, change, batch) { batch.newCell(change, $0) }
                try self.sendSlice(&encoder, context)
                count += 1
                index = change.nextOfTable
            }
            return count
        }
    }

    private func encode(
        _ places: [Int],
        _ form: PostgresLayout.DirectCopy,
        _ wires: UnsafeBufferPointer<PostgresWire>,
        _ context: Context,
        _ fold: FoldIndex,
        _ encoder: inout PostgresEncoder
    ) throws(PostgresError) -> Int {
        let batch = context.batch
        for place in places {
            let item = fold.items[place]
            encoder.appendRow(form, wires, batch.change(Int(item.change)), batch) { fold.cell(item, $0, in: batch) }
            try sendSlice(&encoder, context)
        }
        return places.count
    }

    private func sendSlice(_ encoder: inout PostgresEncoder, _ context: Context) throws(PostgresError) {
        guard encoder.buffer.count >= PostgresTableWriter.slice else { return }
        try context.session.client.sendCopyData(encoder.buffer.bytes)
        encoder.buffer.reset()
    }

    /// Copies rows straight into the table; `change` tells a row's place in the batch by its number from 1.
    private func copy(
        _ form: PostgresLayout.DirectCopy,
        _ context: Context,
        _ encoder: inout PostgresEncoder,
        _ change: (Int) -> Int?,
        _ rows: Rows
    ) throws(PostgresWriteFailure) {
        let copy = sql.directCopy(form)
        let (sent, counts): (Int, [Int?])
        do throws(PostgresWriteFailure) {
            (sent, counts) = try run([copy], "copy", form, wholeRow, context, &encoder, isDirectCopy: true, rows)
        } catch {
            var error = error
            if case .server(let answer) = error.kind, let row = answer.copiedRow, row > 0 { error.change = change(row) }
            throw error
        }
        let loaded = counts.first ?? nil
        // A trigger of the target may leave rows out where it fires; else what was sent is there.
        guard context.session.isReplica, let loaded, loaded != sent else { return }
        let error = PostgresError(.lost, "\(sent) rows were copied, \(loaded) arrived")
        throw PostgresWriteFailure(kind: .server(error), operation: "copy", table: schema.ref, isDirectCopy: true)
    }

    /// Copies rows into the staging table and applies them from there.
    private func stage(
        _ action: PostgresAction,
        _ places: [Int],
        _ context: Context,
        _ fold: FoldIndex,
        _ encoder: inout PostgresEncoder
    ) throws(PostgresWriteFailure) {
        context.session.stages()
        let statements = [
            sql.createStaging(staging), sql.copyStaging(action, staging),
            sql.sql(action, from: .staging, staging: staging), "TRUNCATE pg_temp.\(staging)",
        ]
        let operation = PostgresTableWriter.operation(action)
        let wires = sql.wires(sql.fields(action))
        let (_, counts) = try run(statements, operation, .binary, wires, context, &encoder, isDirectCopy: false) {
            (encoder, wires) throws(PostgresError) in
            try self.encode(places, .binary, wires, context, fold, &encoder)
        }
        guard let wanted = PostgresTableWriter.wanted(action, places.count) else { return }
        if counts.count < 3 || counts[2] != wanted {
            throw PostgresWriteFailure(kind: .missingRow, operation: operation, table: schema.ref)
        }
    }

    /// Runs statements of which one is a COPY.
    ///
    /// - Returns: how many rows were sent, and how many each statement affected.
    private func run(
        _ statements: [String],
        _ operation: String,
        _ form: PostgresLayout.DirectCopy,
        _ wires: [PostgresWire],
        _ context: Context,
        _ encoder: inout PostgresEncoder,
        isDirectCopy: Bool,
        _ rows: Rows
    ) throws(PostgresWriteFailure) -> (sent: Int, counts: [Int?]) {
        try land(context)
        let client = context.session.client
        let prologue = context.session.takePrologue()
        var sent = 0
        do throws(PostgresError) {
            let counts = try client.copy((prologue + statements).joined(separator: ";")) { () throws(PostgresError) in
                encoder.buffer.reset()
                if form == .binary { encoder.beginCopy() }
                sent = try wires.withUnsafeBufferPointer { (wires) throws(PostgresError) in try rows(&encoder, wires) }
                if form == .binary { encoder.endCopy() }
                // The session is given up: COPY has no way back from here but an error, which this is.
                if encoder.hasWrongForm { throw PostgresError(.lost, "value in an unexpected form") }
                try client.sendCopyData(encoder.buffer.bytes)
            }
            return (sent, Array(counts.dropFirst(prologue.count)))
        } catch {
            try checkForm(encoder, operation)
            throw PostgresWriteFailure(
                kind: .server(error),
                operation: operation,
                table: schema.ref,
                isDirectCopy: isDirectCopy
            )
        }
    }
}

extension PostgresSession {
    /// Sends commands, behind what begins the transaction.
    func fly(
        _ operation: String,
        _ table: TableRef? = nil,
        _ body: () throws(PostgresError) -> Void
    ) throws(PostgresWriteFailure) {
        try PostgresWriteFailure.catching(operation, table) { () throws(PostgresError) in
            try flyPrologue()
            try body()
        }
    }

    /// Reads the results of everything in flight.
    ///
    /// - Parameter table: the name of a table by its index in the batch.
    /// - Throws: ``PostgresWriteFailure`` with the first error, or the first command that found too few rows.
    func land(_ table: (UInt32) -> TableRef?) throws(PostgresWriteFailure) {
        let mismatch: PostgresClient.Expectation?
        do throws(PostgresClient.FlightError) {
            mismatch = try client.land()
        } catch {
            throw PostgresWriteFailure(
                kind: .server(error.error),
                operation: error.expectation?.operation ?? "write",
                table: error.expectation?.table.flatMap(table)
            )
        }
        guard let mismatch else { return }
        throw PostgresWriteFailure(
            kind: .missingRow,
            operation: mismatch.operation,
            table: mismatch.table.flatMap(table)
        )
    }
}
