internal import CSQLite
internal import CdcCore

/// Writes the changes of one table over one connection: keeps its statements and turns rows into their parameters.
final class SQLiteTableWriter {
    let schema: TableSchema
    private let connection: SQLiteConnection
    private let sql: SQLiteStatements
    private let binder: SQLiteBinder
    private let encodings: [SQLiteEncoding]
    private let isKey: [Bool]
    private var substitutes: SQLiteSubstitutes
    private var refusals: SQLiteRefusals

    private var insert: SQLiteStatement?
    private var upsert: SQLiteStatement?
    private var delete: SQLiteStatement?
    private var clearDeleted: SQLiteStatement?
    private var byValues: [ChangeKind: SQLiteStatement] = [:]
    private var truncate: SQLiteStatement?
    private var updates: [UpdateShape: SQLiteStatement] = [:]
    private var lastUpdate: (shape: UpdateShape, statement: SQLiteStatement)?
    private var shape: UpdateShape
    private var order = KeyOrder()
    /// The key's first column, where it is no number: SQLite's own row number grows with the rows as they come.
    private let scatteredKey: Int?

    /// Updates that differ in their unchanged columns each have a statement; beyond this many they begin anew.
    private static let statementLimit = 64

    init(_ schema: TableSchema, connection: SQLiteConnection, binder: SQLiteBinder, config: SQLiteConfig) {
        self.schema = schema
        self.connection = connection
        self.binder = binder
        sql = SQLiteStatements(schema: schema, hasAudit: config.auditColumns, deleteMode: config.deleteMode)
        encodings = schema.columns.indices.map {
            SQLiteEncoding(schema.columns[$0].type, isKey: schema.key.contains($0), config.onUnrepresentable)
        }
        isKey = schema.columns.indices.map { schema.key.contains($0) }
        scatteredKey = schema.key.first.flatMap { [encodings] column in
            switch encodings[column] {
            case .integer, .boolean: nil
            case .text, .ascii, .blob, .real: column
            }
        }
        shape = UpdateShape(columnCount: schema.columns.count)
        substitutes = SQLiteSubstitutes(config.onUnrepresentable, schema)
        refusals = SQLiteRefusals(areWanted: config.findsAllRefusals)
    }

    /// What was changed since this was asked last.
    func takeSubstitutions() -> [ValueSubstitution] { substitutes.take() }

    /// What every row of a batch has in common.
    struct Context {
        let batch: CdcBatch
        let fold: FoldIndex
        /// When the batch is written: `dbmazz_synced_at`.
        ///
        /// Lent for the batch.
        let syncedAt: UnsafeRawBufferPointer
    }

    /// Does what the fold index says, in its order, or with neighbouring keys together where the order is free.
    func apply(_ context: Context) throws(SinkError) {
        if let column = scatteredKey, order.build(context.fold, of: context.batch, column: column) {
            for place in order.places { try attempt(context.fold.items[Int(place)], context) }
        } else {
            for item in context.fold.items { try attempt(item, context) }
        }
        try refusals.finish()
    }

    /// Applies an item; where rows may be given up, one that is refused does not keep the others from being looked at.
    @inline(__always)
    private func attempt(_ item: FoldIndex.Item, _ context: Context) throws(SinkError) {
        do throws(SinkError) {
            try apply(item, context)
        } catch {
            try refusals.note(error, connection)
        }
    }

    @inline(__always)
    private func apply(_ item: FoldIndex.Item, _ context: Context) throws(SinkError) {
        switch item.outcome {
        case .upsert:
            // A row that was only inserted is new: the plain insert is cheaper than looking first.
            if item.changes == 1, try insertNew(item, context) { return }
            try replace(item, context)
        case .update where !schema.hasKey: try changeByValues(item, .update, context)
        case .delete where !schema.hasKey: try changeByValues(item, .delete, context)
        case .update: try update(item, context)
        case .delete: try remove(item, context)
        case .changeKey: try changeKey(item, context)
        case .truncate: try removeAll(item, context)
        }
    }

    // MARK: Rows with a key

    /// False if the key is taken.
    @inline(__always)
    private func insertNew(_ item: FoldIndex.Item, _ context: Context) throws(SinkError) -> Bool {
        let statement = try prepared(&insert, sql.insert)
        try bindRow(statement, item, context)
        let code = step(statement)
        if code == SQLITE_DONE { return true }
        guard schema.hasKey, SQLiteError.isKeyTaken(code) else { throw failure("insert", item, context) }
        return false
    }

    private func replace(_ item: FoldIndex.Item, _ context: Context) throws(SinkError) {
        guard schema.hasKey else {
            _ = try insertNew(item, context)
            return
        }
        let statement = try prepared(&upsert, sql.upsert)
        try bindRow(statement, item, context)
        guard step(statement) == SQLITE_DONE else { throw failure("upsert", item, context) }
    }

    private func update(_ item: FoldIndex.Item, _ context: Context) throws(SinkError) {
        guard item.isPartial else { return try replace(item, context) }
        let statement = try bindUpdate(item, context)
        guard step(statement) == SQLITE_DONE else { throw failure("update", item, context) }
        guard connection.changes > 0 else { throw missingRow("update", item, context) }
    }

    private func changeKey(_ item: FoldIndex.Item, _ context: Context) throws(SinkError) {
        if sql.deleteMode == .soft {
            // A row that the source deleted keeps its key here until another takes it.
            let statement = try prepared(&clearDeleted, sql.clearDeleted)
            binder.beginRow()
            try bindKey(statement, item, context)
            guard step(statement) == SQLITE_DONE else { throw failure("change key", item, context) }
        }
        let statement = try bindUpdate(item, context)
        let change = context.batch.change(Int(item.change))
        for column in schema.key {
            try bind(
                statement,
                sql.oldParameter(column),
                context.batch.oldCell(change, column),
                column,
                item,
                context
            )
        }
        guard step(statement) == SQLITE_DONE else { throw failure("change key", item, context) }
        if connection.changes > 0 { return }
        guard !item.isPartial else { throw missingRow("change key", item, context) }
        try replace(item, context)
    }

    private func remove(_ item: FoldIndex.Item, _ context: Context) throws(SinkError) {
        let statement = try prepared(&delete, sql.delete)
        binder.beginRow()
        try bindKey(statement, item, context)
        try bindMark(statement, item, context)
        guard step(statement) == SQLITE_DONE else { throw failure("delete", item, context) }
    }

    // MARK: Rows without a key

    private func changeByValues(_ item: FoldIndex.Item, _ kind: ChangeKind, _ context: Context) throws(SinkError) {
        let operation = kind == .update ? "update by values" : "delete by values"
        let change = context.batch.change(Int(item.change))
        guard change.oldTuple == .full else {
            throw error(
                .permanent,
                operation,
                item,
                context,
                cause: "the table has no key and no old row came",
                remedy: "ALTER TABLE \(schema.ref) REPLICA IDENTITY FULL, and copy the table anew"
            )
        }
        let statement = try prepared(
            &byValues[kind],
            kind == .update ? sql.updateByValues : sql.deleteByValues
        )
        if kind == .update {
            try bindRow(statement, item, context)
        } else {
            binder.beginRow()
            try bindMark(statement, item, context)
        }
        for column in encodings.indices {
            try bind(
                statement,
                sql.oldParameter(column),
                context.batch.oldCell(change, column),
                column,
                item,
                context
            )
        }
        guard step(statement) == SQLITE_DONE else { throw failure(operation, item, context) }
        guard connection.changes > 0 else { throw missingRow(operation, item, context) }
    }

    private func removeAll(_ item: FoldIndex.Item, _ context: Context) throws(SinkError) {
        let statement = try prepared(&truncate, sql.truncate)
        binder.beginRow()
        try bindMark(statement, item, context)
        guard step(statement) == SQLITE_DONE else { throw failure("truncate", item, context) }
        Failpoint.truncateApplied.pass()
    }

    // MARK: Statements

    @inline(__always)
    private func prepared(_ statement: inout SQLiteStatement?, _ text: @autoclosure () -> String) throws(SinkError)
        -> OpaquePointer
    {
        if let statement { return statement.handle }
        return try prepare(&statement, text())
    }

    @inline(never)
    private func prepare(_ statement: inout SQLiteStatement?, _ text: String) throws(SinkError) -> OpaquePointer {
        do throws(SinkError) {
            let made = try connection.prepare(text, operation: "prepare statement")
            statement = made
            return made.handle
        } catch {
            var error = error
            error.table = schema.ref
            throw error
        }
    }

    /// The statement of an update's shape, with the new row bound.
    private func bindUpdate(_ item: FoldIndex.Item, _ context: Context) throws(SinkError) -> OpaquePointer {
        shape.clear()
        shape.changesKey = item.outcome == .changeKey
        if item.isPartial {
            for column in encodings.indices where context.fold.cell(item, column, in: context.batch).isUnchanged {
                shape.markUnchanged(column)
            }
        }
        let statement = try updateStatement()
        binder.beginRow()
        for column in encodings.indices where !shape.isUnchanged(column) {
            try bind(
                statement,
                Int32(column + 1),
                context.fold.cell(item, column, in: context.batch),
                column,
                item,
                context
            )
        }
        try bindAudit(statement, item, context)
        return statement
    }

    private func updateStatement() throws(SinkError) -> OpaquePointer {
        if let lastUpdate, lastUpdate.shape == shape { return lastUpdate.statement.handle }
        var statement = updates[shape]
        if statement == nil {
            if updates.count >= SQLiteTableWriter.statementLimit { updates.removeAll() }
            _ = try prepare(&statement, sql.update(shape))
            updates[shape] = statement
        }
        guard let statement else { preconditionFailure("prepared above") }
        lastUpdate = (shape, statement)
        return statement.handle
    }

    /// Runs the statement and gives it free: the batch's bytes may go from here on.
    @inline(__always)
    private func step(_ statement: OpaquePointer) -> Int32 {
        let code = sqlite3_step(statement)
        if code == SQLITE_DONE {
            sqlite3_reset(statement)
            return code
        }
        // After a failure, reset returns the extended code and keeps the message.
        return sqlite3_reset(statement)
    }

    // MARK: Parameters

    @inline(__always)
    private func bindRow(_ statement: OpaquePointer, _ item: FoldIndex.Item, _ context: Context) throws(SinkError) {
        binder.beginRow()
        for column in encodings.indices {
            try bind(
                statement,
                Int32(truncatingIfNeeded: column + 1),
                context.fold.cell(item, column, in: context.batch),
                column,
                item,
                context
            )
        }
        try bindAudit(statement, item, context)
    }

    private func bindKey(_ statement: OpaquePointer, _ item: FoldIndex.Item, _ context: Context) throws(SinkError) {
        for column in schema.key {
            try bind(
                statement,
                sql.newParameter(column),
                context.fold.cell(item, column, in: context.batch),
                column,
                item,
                context
            )
        }
    }

    @inline(__always)
    private func bind(
        _ statement: OpaquePointer,
        _ parameter: Int32,
        _ cell: Cell,
        _ column: Int,
        _ item: FoldIndex.Item,
        _ context: Context
    ) throws(SinkError) {
        do throws(SQLiteBinder.Problem) {
            // SQLite would make up a number for an INTEGER PRIMARY KEY that is NULL.
            if isKey[column] && cell.isNull { throw .nullKey }
            try binder.bind(statement, parameter, cell, encodings[column], of: context.batch)
        } catch {
            if substitutes.bind(error, statement, parameter, column) { return }
            throw unbound(error, column, item, context)
        }
    }

    @inline(__always)
    private func bindAudit(_ statement: OpaquePointer, _ item: FoldIndex.Item, _ context: Context) throws(SinkError) {
        if sql.hasAudit { try bindAuditColumns(statement, item, context) }
    }

    /// What a delete writes: nothing where the row goes.
    private func bindMark(_ statement: OpaquePointer, _ item: FoldIndex.Item, _ context: Context) throws(SinkError) {
        if sql.deleteMode == .soft { try bindAuditColumns(statement, item, context) }
    }

    private func bindAuditColumns(_ statement: OpaquePointer, _ item: FoldIndex.Item, _ context: Context)
        throws(SinkError)
    {
        let change = context.batch.change(Int(item.change))
        let operation: Int64 =
            switch change.kind {
            case .insert: 0
            case .update: 1
            case .delete, .truncate: 2
            }
        let first = sql.auditParameter(.operation)
        sqlite3_bind_int64(statement, first, operation)
        sqlite3_bind_int64(statement, first + 1, operation == 2 ? 1 : 0)
        _ = binder.bindText(statement, first + 2, context.syncedAt)
        do throws(SQLiteBinder.Problem) {
            try binder.bindVersion(statement, first + 3, context.batch.version(of: change))
        } catch {
            throw failure("bind version", item, context)
        }
    }

    // MARK: Errors

    private func lsn(_ item: FoldIndex.Item, _ context: Context) -> LSN {
        context.batch.version(of: context.batch.change(Int(item.change))).commitLSN
    }

    private func failure(_ operation: String, _ item: FoldIndex.Item, _ context: Context) -> SinkError {
        var error = connection.error(operation, table: schema.ref, lsn: lsn(item, context))
        error.changes = [Int(item.change)]
        return error
    }

    private func error(
        _ kind: SinkError.Kind,
        _ operation: String,
        _ item: FoldIndex.Item,
        _ context: Context,
        cause: String,
        remedy: String
    ) -> SinkError {
        var error = SinkError(
            kind,
            operation: operation,
            table: schema.ref,
            lsn: lsn(item, context),
            cause: cause,
            remedy: remedy
        )
        error.changes = [Int(item.change)]
        return error
    }

    private func missingRow(_ operation: String, _ item: FoldIndex.Item, _ context: Context) -> SinkError {
        error(
            .permanent,
            operation,
            item,
            context,
            cause: "the row to change is not in table \"\(schema.sinkName)\" at the sink",
            remedy: "somebody else changed the sink's table: copy it anew"
        )
    }

    @inline(never)
    private func unbound(
        _ problem: SQLiteBinder.Problem,
        _ column: Int,
        _ item: FoldIndex.Item,
        _ context: Context
    ) -> SinkError {
        let name = schema.columns[column].name
        let type = schema.columns[column].postgresType.name
        func refused(_ cause: String, _ remedy: String) -> SinkError {
            error(.permanent, "bind value", item, context, cause: cause, remedy: remedy)
        }
        let policy =
            "SINK_ON_UNREPRESENTABLE=\(substitutes.policy.rawValue) refuses the row: correct it at the source, or leave the column out of "
        return switch problem {
        case .notANumber:
            refused(
                "column \"\(name)\" (\(type)) holds NaN, which is no number here",
                policy + "the publication; null, or text before the table is made, hold it"
            )
        case .negativeZero:
            refused(
                "column \"\(name)\" (\(type)) holds -0, which is 0 here",
                policy + "the publication; clamp makes it 0"
            )
        case .notUTF8:
            refused("column \"\(name)\" (\(type)) holds bytes that are not UTF-8", policy + "the publication")
        case .tooLong:
            refused("column \"\(name)\" (\(type)) holds more than SQLite's 1 GB", policy + "the publication")
        case .unreadable(let what):
            refused("column \"\(name)\" (\(type)) holds \(what)", "report this as an error of dbmazz-sink")
        case .nullKey:
            refused("key column \"\(name)\" (\(type)) is NULL", "compare the key at the sink with the source's")
        case .unchanged:
            refused(
                "column \"\(name)\" (\(type)) came without its value",
                "ALTER TABLE \(schema.ref) REPLICA IDENTITY FULL"
            )
        case .sqlite:
            failure("bind value", item, context)
        }
    }
}
