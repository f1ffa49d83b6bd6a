internal import CdcCore

/// Transactions of loads over several tables.
///
/// See https://docs.starrocks.io/docs/loading/Stream_Load_transaction_interface/
extension StarRocksState {
    /// Begins a transaction over several tables.
    ///
    /// See https://docs.starrocks.io/docs/loading/Stream_Load_transaction_interface/
    func begin(_ label: String, deadline: ContinuousClock.Instant) throws(SinkError) {
        let reply = try client.run(.begin, label: label, table: nil, operation: "begin transaction", deadline: deadline)
        try require(reply, "begin transaction", nil, deadline)
    }

    /// Adds the pipeline's row to a transaction.
    func add(_ position: Position, _ label: String, deadline: ContinuousClock.Instant) throws(SinkError) {
        let rows = try rows([position])
        let load = StarRocksClient.Load(
            table: Self.positionTable,
            label: label,
            columns: Self.positionColumns.map(\.starRocksIdentifier).joined(separator: ","),
            separators: rows.separators,
            compression: .none,
            rows: rows.count
        )
        var failure: SinkError?
        rows.body.withUnsafeBytes { body in
            do throws(SinkError) {
                try client.addToTransaction(
                    body,
                    load,
                    isMulti: true,
                    operation: "store position",
                    table: nil,
                    lsn: position.position?.commitLSN,
                    deadline: deadline
                )
            } catch { failure = error.ofTarget }
        }
        if let failure { throw failure }
    }

    /// Commits a transaction, and waits until readers see it.
    func commit(_ label: String, _ lsn: LSN?, deadline: ContinuousClock.Instant) throws(SinkError) {
        let operation = "commit transaction"
        do throws(SinkError) {
            let reply = try client.run(.commit, label: label, table: nil, operation: operation, deadline: deadline)
            try require(reply, operation, lsn, deadline)
        } catch {
            var error = error
            if error.kind == .retriable { error.kind = .ambiguous }
            throw error
        }
        try awaitVisible(label, operation: operation, deadline: deadline)
    }

    /// Rolls a transaction back, if it is open.
    func rollBack(_ label: String, deadline: ContinuousClock.Instant) {
        _ = try? client.run(
            .rollback,
            label: label,
            table: nil,
            operation: "roll back",
            deadline: min(deadline, .now + .seconds(10))
        )
    }

    private func require(
        _ reply: StarRocksReply,
        _ operation: String,
        _ lsn: LSN?,
        _ deadline: ContinuousClock.Instant
    ) throws(SinkError) {
        let status = reply.status.lowercased().replacing("_", with: " ")
        guard status != "ok", status != "success", status != "publish timeout" else { return }
        // Of rows that the server does not take, it may tell only at the commit.
        throw client.failure(reply, [], operation, nil, lsn, deadline)
    }

    /// Whether nobody has written with this revision; a transaction that was left open is rolled back.
    func isUnused(_ revision: UInt64, deadline: ContinuousClock.Instant) throws(SinkError) -> Bool {
        let (label, operation) = (label(revision), "set up sink")
        if config.usesTransactions, try client.state(of: label, operation: operation, deadline: deadline) == .running {
            rollBack(label, deadline: deadline)
        }
        return try settled(label, operation: operation, deadline: deadline) == .unknown
    }
}
