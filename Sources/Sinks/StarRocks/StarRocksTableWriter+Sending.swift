internal import CdcCore
internal import HTTPClient

/// What goes to the server: loads, rehearsals, which it forgets, and truncates.
extension StarRocksTableWriter {
    func send(_ load: StarRocksClient.Load, _ lsn: LSN?, _ context: Context) throws(SinkError) {
        let operation = "load"
        if let transaction = context.transaction {
            guard !context.isRehearsal else { return try rehearse(load, as: transaction.label, lsn, context) }
            return try client.addToTransaction(
                body.bytes,
                load.labelled(transaction.label),
                isMulti: transaction.isMulti,
                operation: operation,
                table: layout.ref,
                lsn: lsn,
                deadline: context.deadline
            )
        }
        Failpoint.loadAnnounced.pass()
        switch client.send(
            body.bytes,
            load,
            operation: operation,
            table: layout.ref,
            lsn: lsn,
            deadline: context.deadline
        ) {
        case .loaded(true): break
        case .loaded(false):
            // What comes next may have to read it.
            try context.state.awaitVisible(load.label, operation: operation, deadline: context.deadline)
        case .failed(let error): throw error
        case .unknown(let error): throw error
        case .labelExists:
            throw SinkError(
                .permanent,
                operation: operation,
                table: layout.ref,
                lsn: lsn,
                cause: "the label \(load.label) was used by somebody else",
                remedy: "stop the other daemon that writes there, or set SINK_PIPELINE to another name"
            ).ofTarget
        }
        Failpoint.loadSent.pass()
    }

    /// Has the server look at a body, in a transaction of its own: all loads of one have the same columns.
    ///
    /// What it thinks of the rows it says only when the transaction is prepared; see `TransactionMgr::_commit_transaction` of
    /// the BE.
    private func rehearse(_ load: StarRocksClient.Load, as label: String, _ lsn: LSN?, _ context: Context)
        throws(SinkError)
    {
        let operation = "rehearse"
        rehearsals += 1
        let load = load.labelled("\(label)_\(rehearsals)")
        func run(_ step: StarRocksClient.Step) throws(SinkError) -> StarRocksReply {
            try client.run(step, label: load.label, table: load.table, operation: operation, deadline: context.deadline)
        }
        let begun = try run(.begin)
        guard begun.status.uppercased() == "OK" else {
            throw StarRocksError.failure(begun.message, operation: operation, table: layout.ref, lsn: nil)
        }
        var refusal: SinkError?
        do throws(SinkError) {
            try client.addToTransaction(
                body.bytes,
                load,
                isMulti: false,
                operation: operation,
                table: layout.ref,
                lsn: lsn,
                deadline: context.deadline
            )
            try client.prepare(load, operation: operation, table: layout.ref, lsn: lsn, deadline: context.deadline)
        } catch { refusal = error }
        // Why the rows were refused is what matters; one that failed is rolled back already.
        _ = try? run(.rollback)
        if let refusal { throw refusal }
    }

    /// Removes what is older than the truncate: what is newer stays, whenever the statement gets to run.
    func truncate(_ version: RowVersion, _ context: Context) throws(SinkError) {
        let column = AuditColumn.version.rawValue
        let older = "\(column) < \(version.number)"
        let statement =
            deleteMode == .hard
            ? "DELETE FROM \(layout.name) WHERE \(older)"
            : "UPDATE \(layout.name) SET \(AuditColumn.isDeleted.rawValue) = true, \(AuditColumn.operation.rawValue) = 2, "
                + "\(AuditColumn.syncedAt.rawValue) = \(context.now.starRocksLiteral), \(column) = \(version.number) "
                + "WHERE \(older) AND \(AuditColumn.isDeleted.rawValue) = false"
        try database.run(statement, operation: "truncate", table: layout.ref)
        if context.mode == .stream { applied = max(applied, version.number) }
        Failpoint.truncateApplied.pass()
    }
}
