/// The columns that a sink adds to tell where a row came from (`SINK_AUDIT_COLUMNS`).
public enum AuditColumn: String, CaseIterable, Sendable {
    /// 0 insert, 1 update, 2 delete.
    case operation = "dbmazz_op_type"
    /// Whether the source has deleted the row (`SINK_DELETE_MODE=soft`).
    case isDeleted = "dbmazz_is_deleted"
    /// When the row was written at the sink, by the daemon's clock.
    case syncedAt = "dbmazz_synced_at"
    /// The row's version, see ``RowVersion``.
    case version = "dbmazz_cdc_version"
}
