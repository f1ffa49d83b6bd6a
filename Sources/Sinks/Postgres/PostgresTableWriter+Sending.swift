internal import CdcCore

/// Statements with parameters, prepared once and sent without waiting for each answer.
extension PostgresTableWriter {
    /// Commands in flight after which their results are read, so that neither side's buffers fill up.
    private static let mostInFlight = 256
    /// Updates that differ in their unchanged columns each have a statement; beyond this many they begin anew.
    private static let statementLimit = 128

    private func expectation(_ operation: String, _ context: Context, rows: Int?) -> PostgresClient.Expectation {
        PostgresClient.Expectation(operation: operation, table: context.table, rows: rows)
    }

    /// How many rows an action must find; nil where none may be there.
    static func wanted(_ action: PostgresAction, _ count: Int) -> Int? {
        switch action {
        case .update, .changeKey, .updateCopy, .deleteCopy, .markCopy: count
        case .insert, .upsert, .delete, .mark, .clearMarked: nil
        }
    }

    static func operation(_ action: PostgresAction) -> String {
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

    func prepare(
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

    func flyRow(
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
    func send(
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
    func flyArrays(
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

    func checkForm(_ encoder: borrowing PostgresEncoder, _ operation: String) throws(PostgresWriteFailure) {
        guard encoder.hasWrongForm else { return }
        throw PostgresWriteFailure(kind: .wrongForm, operation: operation, table: schema.ref)
    }

    func land(_ context: Context) throws(PostgresWriteFailure) {
        try context.session.land { context.batch.tables[Int($0)].ref }
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
