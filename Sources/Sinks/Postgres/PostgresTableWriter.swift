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
    let sql: PostgresStatements
    private let config: PostgresConfig
    let staging: String
    /// The columns in the layout's order, then the audit columns.
    let wholeRow: [PostgresWire]
    var statements: [StatementKey: Statement] = [:]

    struct StatementKey: Hashable {
        let action: PostgresAction
        let source: PostgresSource
    }

    final class Statement {
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
    var starts: [Int] = []
    var values: [UnsafePointer<CChar>?] = []
    var lengths: [Int32] = []

    /// Fewer new rows than this go with the other statements: a COPY is a round trip of its own.
    private static let fewestToCopy = 50
    /// More rows than this are copied into a staging table instead of being sent as arrays.
    private static let mostInArrays = 5_000
    /// More rows than this are copied into a staging table instead of being sent one by one.
    private static let mostOneByOne = 64

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
}
