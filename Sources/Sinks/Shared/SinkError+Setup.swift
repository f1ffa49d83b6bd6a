internal import CdcCore

/// Errors that every sink with tables has.
extension SinkError {
    /// Writing before ``Sink/setup(_:for:)``.
    static var notSetUp: SinkError {
        SinkError(
            .permanent,
            operation: "write",
            cause: "the sink was not set up",
            remedy: "call setup first"
        ).ofTarget
    }

    /// Writing to a table that ``Sink/setup(_:for:)`` was not told of.
    static func notSetUp(_ table: TableRef) -> SinkError {
        SinkError(
            .permanent,
            operation: "write",
            table: table,
            cause: "the table was not set up",
            remedy: "restart the daemon"
        ).ofTarget
    }

    /// A change of a row that the target does not have.
    static func missingRow(of table: TableSchema, _ version: RowVersion) -> SinkError {
        SinkError(
            .permanent,
            operation: "write row",
            table: table.ref,
            lsn: version.commitLSN,
            cause: "the row to change is not in table \"\(table.sinkName)\" at the sink",
            remedy: "somebody else changed the sink's table: copy it anew"
        )
    }

    /// A write of the pipeline's state that finds the state of somebody else.
    static func movedPosition(
        of pipeline: String,
        in database: String,
        operation: String,
        lsn: LSN?
    ) -> SinkError {
        SinkError(
            .permanent,
            operation: operation,
            lsn: lsn,
            cause: "somebody else moved the position of pipeline \"\(pipeline)\" in database \(database)",
            remedy: "stop the other daemon that writes there, or set SINK_PIPELINE to another name"
        ).ofTarget
    }

    /// A row of the pipeline's state that cannot be read.
    static func corruptState(of pipeline: String, in table: String) -> SinkError {
        SinkError(
            .permanent,
            operation: "read position",
            cause: "the row of pipeline \"\(pipeline)\" in \(table) is not as it was written",
            remedy: "restore the database from a backup, or drop its tables and the slot and copy anew"
        ).ofTarget
    }
}
