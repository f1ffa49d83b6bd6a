internal import CdcCore

/// Truncates, which are barriers: the version tells what they leave.
extension ClickHouseTableWriter {
    /// Empties the table of what is older than the truncate, once.
    func truncate(_ version: RowVersion, _ context: Context) throws(SinkError) {
        guard !isApplied(version, context), !isRehearsal else { return }
        try client.awaitGivenUpInserts(operation: "truncate", table: layout.ref, deadline: context.deadline)
        try context.state.announceTruncate(of: layout.schema, version, context.pipeline)
        try removeRows(before: version.number, deadline: context.deadline)
        Failpoint.truncateApplied.pass()
    }

    /// Ends a truncate that was announced, perhaps by a daemon that is gone.
    func removeRows(before version: UInt128, deadline: ContinuousClock.Instant) throws(SinkError) {
        guard version > 0 else { return }
        let operation = "truncate"
        let column = AuditColumn.version.rawValue
        let isDeleted = AuditColumn.isDeleted.rawValue
        // A bare number of that size would be read as a Float64.
        let number = "toUInt128('\(version)')"
        let isSoft = deleteMode == .soft
        let older = "\(column) < \(number)\(isSoft ? " AND \(isDeleted) = 0" : "")"
        func has(_ condition: String) throws(SinkError) -> Bool {
            let rows = try client.rows(
                "SELECT 1 FROM \(layout.name)\(isSoft ? " FINAL" : "") WHERE \(condition) LIMIT 1",
                operation: operation,
                table: layout.ref
            )
            return !rows.isEmpty
        }
        if try has(older) {
            let cluster = ClickHouseLayout.onCluster(cluster)
            let statement: String
            if isSoft {
                statement = markStatement(number, older)
            } else if try has("\(column) > \(number)") {
                statement = "ALTER TABLE \(layout.name)\(cluster) DELETE WHERE \(older) SETTINGS mutations_sync = 2"
            } else {
                statement = "TRUNCATE TABLE \(layout.name)\(cluster)"
            }
            try client.run(statement, operation: operation, table: layout.ref, deadline: deadline)
        }
        applied = max(applied, version)
    }

    /// Marks the rows that are there as deleted by the truncate.
    private func markStatement(_ number: String, _ older: String) -> String {
        let ids = layout.schema.hasKey ? [] : [ClickHouseLayout.rowID, ClickHouseLayout.rowHash]
        let kept = (layout.columns.map(\.name) + ids).map(\.clickhouseIdentifier).joined(separator: ", ")
        return "\(statement) SELECT \(kept), 2, 1, \(number) FROM \(layout.name) FINAL WHERE \(older)"
    }
}
