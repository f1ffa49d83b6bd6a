internal import CdcCore

/// COPY, into the table or into the staging table that a set of changes is taken from.
extension PostgresTableWriter {
    /// Bytes of COPY that are handed to libpq at once.
    private static let slice = 128 << 10

    /// Encodes rows and sends them slice by slice; the last slice stays in the buffer.
    typealias Rows = (inout PostgresEncoder, UnsafeBufferPointer<PostgresWire>) throws(PostgresError) -> Int

    /// Copies all the table's changes, which are inserts, straight into it.
    func copyAll(
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

    func encode(
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
    func copy(
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
    func stage(
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
