internal import CdcCore

/// The position, which moves in the transaction of the rows.
extension PostgresSink {
    static let withoutOrigin =
        "what is written is not marked as replicated, because the role may not use replication origins or max_replication_slots "
        + "leaves none: a daemon that reads the target with SOURCE_ORIGIN=none would send it back; GRANT EXECUTE ON FUNCTION "
        + "pg_replication_origin_create(text), pg_replication_origin_oid(text), pg_replication_origin_session_setup(text)"

    private static let moveName = "move_position"
    static let moveOperation = "store position"

    private func moveParameters(_ position: SourcePosition) -> [String?] {
        [
            pipeline?.name, position.endLSN.description, position.commitLSN.description, fence.map(String.init),
            stored?.endLSN.description,
        ]
    }

    func flyMove(to position: SourcePosition, _ session: PostgresSession) throws(PostgresWriteFailure) {
        let parameters = moveParameters(position)
        try session.fly(PostgresSink.moveOperation) { () throws(PostgresError) in
            let expectation = PostgresClient.Expectation(operation: PostgresSink.moveOperation, rows: 1)
            if session.needsPreparation(of: PostgresSink.moveName) {
                let preparation = PostgresClient.Expectation(operation: "prepare statement")
                try session.client.flyPrepare(PostgresSink.moveName, PostgresState.moveSQL, preparation)
            }
            try session.client.flyExecute(PostgresSink.moveName, parameters, expectation)
        }
    }

    func move(to position: SourcePosition, _ session: PostgresSession) throws(PostgresError) {
        let rows = try session.client.query(PostgresState.moveSQL + " RETURNING 1", moveParameters(position))
        guard rows.count == 1 else { throw PostgresError(.server, "the position was moved by somebody else") }
    }

    func commit(_ batch: CdcBatch, _ session: PostgresSession) throws(SinkError) {
        Failpoint.beforeSinkCommit.pass()
        do throws(PostgresError) {
            try session.client.commit()
        } catch {
            var failure = error.sinkError("commit", lsn: batch.position?.commitLSN)
            if error.endsSession {
                failure.kind = .ambiguous
                failure.remedy = "the stored position tells whether it was written"
            }
            throw failure
        }
    }

    /// Rolls back what is open.
    public func discardOpenUnit() async {
        abandonUnit()
    }

    /// Rolls back what is open and ends the session.
    public func close() async {
        abandonUnit()
        session = nil
    }

    /// Ends what is open; a session that cannot be brought back to rest is given up.
    func abandonUnit() {
        guard isUnitOpen else { return }
        isUnitOpen = false
        unit.forgetSets()
        guard let session else { return }
        session.prologue.removeAll()
        session.client.deadline = min(session.client.deadline, .now + .seconds(5))
        do throws(PostgresError) {
            guard session.client.isUsable else { throw PostgresError(.lost, "") }
            if session.client.isInTransaction { try session.client.execute("ROLLBACK") }
            try session.forgetStatements()
        } catch {
            drop()
        }
    }

    func inTransaction(
        _ operation: String,
        _ body: () throws(PostgresError) -> Void
    ) throws(SinkError) {
        guard let session else { return }
        isUnitOpen = true
        do throws(PostgresError) {
            if session.client.isInTransaction { try session.client.execute("ROLLBACK") }
            try session.client.execute("BEGIN")
            try body()
            try session.client.commit()
            isUnitOpen = false
        } catch {
            abandonUnit()
            throw error.sinkError(operation)
        }
    }
}
