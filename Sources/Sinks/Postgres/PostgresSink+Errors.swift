internal import CdcCore

/// What the session's errors mean for the pipeline.
extension PostgresSink {
    func perform<Value>(
        _ operation: String,
        _ body: () throws(PostgresError) -> Value
    ) throws(SinkError) -> Value {
        do throws(PostgresError) {
            return try body()
        } catch {
            if error.endsSession { drop() }
            throw error.sinkError(operation)
        }
    }

    func sinkError(_ failure: PostgresSetupFailure) -> SinkError {
        switch failure {
        case .server(let error, let operation):
            if error.endsSession { drop() }
            return error.sinkError(operation)
        case .differs(let error): return error
        }
    }

    func sinkError(_ failure: PostgresWriteFailure, _ batch: CdcBatch) -> SinkError {
        let lsn = batch.position?.commitLSN
        switch failure.kind {
        case .server(let error):
            var found = error.sinkError(failure.operation, table: failure.table, lsn: lsn)
            if let change = failure.change { found.changes = [change] }
            return found
        case .wrongForm:
            return SinkError(
                .permanent,
                operation: failure.operation,
                table: failure.table,
                lsn: lsn,
                cause: "a value came in a form that its column does not have in this session",
                remedy: "restart the daemon; if it happens again, report it with the table's definition"
            )
            .ofTarget
        case .noOldRow:
            return SinkError(
                .permanent,
                operation: failure.operation,
                table: failure.table,
                lsn: lsn,
                cause: "the table has no key and no old row came",
                remedy:
                    "ALTER TABLE \(failure.table?.description ?? "…") REPLICA IDENTITY FULL, and copy the table anew"
            )
        case .missingRow where failure.operation == PostgresSink.moveOperation: return movedByOthers(lsn)
        case .missingRow:
            return SinkError(
                .permanent,
                operation: failure.operation,
                table: failure.table,
                lsn: lsn,
                cause: "the row to change is not in the table at the target",
                remedy: "somebody else has changed the table: stop, empty it, and have it copied anew by "
                    + "DELETE FROM \(PostgresState.tableTable) WHERE pipeline = \((pipeline?.name ?? "").quotedLiteral) "
                    + "AND source_schema = \((failure.table?.schema ?? "").quotedLiteral) "
                    + "AND source_table = \((failure.table?.name ?? "").quotedLiteral);"
            )
        }
    }

    /// The position is not where this process left it: told apart by ``durablePosition()``.
    private func movedByOthers(_ lsn: LSN?) -> SinkError {
        SinkError(
            .ambiguous,
            operation: PostgresSink.moveOperation,
            lsn: lsn,
            cause: "the stored position is not the one that this daemon stored last",
            remedy: "reading it again"
        )
    }
}
