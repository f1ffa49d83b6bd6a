public import CdcCore

/// How the permanent slot stands at the source, and how much WAL it keeps there: what the WAL guard looks at.
///
/// See https://www.postgresql.org/docs/current/view-pg-replication-slots.html
public struct SlotReport: Sendable, Equatable {
    /// The end of the source's WAL, or of what a standby has replayed.
    public var walEnd: LSN
    /// WAL from here on is kept for the slot; nil once it is invalidated.
    public var restartLSN: LSN?
    /// What the daemon has acknowledged.
    public var confirmedFlush: LSN?
    /// `reserved`, `extended`, `unreserved` or `lost`.
    public var walStatus: String?
    /// Bytes of WAL that may still be written before the slot is in danger; nil without `max_slot_wal_keep_size`.
    public var safeWALBytes: Int?
    /// `max_slot_wal_keep_size` in bytes; nil for no limit.
    public var limitBytes: Int?
    /// Why PostgreSQL has invalidated the slot (17 and later), for example `wal_removed`.
    public var invalidationReason: String?
    /// Transactions that logical decoding wrote to the source's disk because they were larger than
    /// `logical_decoding_work_mem`, since the slot's statistics were reset.
    public var spilledTransactions: Int
    /// Bytes written that way.
    public var spilledBytes: Int

    /// Makes a report.
    public init(
        walEnd: LSN,
        restartLSN: LSN? = nil,
        confirmedFlush: LSN? = nil,
        walStatus: String? = nil,
        safeWALBytes: Int? = nil,
        limitBytes: Int? = nil,
        invalidationReason: String? = nil,
        spilledTransactions: Int = 0,
        spilledBytes: Int = 0
    ) {
        self.walEnd = walEnd
        self.restartLSN = restartLSN
        self.confirmedFlush = confirmedFlush
        self.walStatus = walStatus
        self.safeWALBytes = safeWALBytes
        self.limitBytes = limitBytes
        self.invalidationReason = invalidationReason
        self.spilledTransactions = spilledTransactions
        self.spilledBytes = spilledBytes
    }

    /// Bytes of WAL that the source keeps for the slot.
    public var retainedBytes: Int {
        restartLSN.map { walEnd > $0 ? Int(clamping: walEnd.rawValue - $0.rawValue) : 0 } ?? 0
    }

    /// The query for ``init(row:)``; one statement without parameters, so that it can be sent without waiting.
    ///
    /// The column `invalidation_reason` is read through JSON because versions before 17 lack it.
    public static func query(slot: String) -> String {
        """
        SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
               ELSE pg_catalog.pg_current_wal_lsn() END,
          s.restart_lsn, s.confirmed_flush_lsn, s.wal_status, s.safe_wal_size,
          (SELECT setting::pg_catalog.int8 FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size'),
          pg_catalog.to_jsonb(s) OPERATOR(pg_catalog.->>) 'invalidation_reason', t.spill_txns, t.spill_bytes
        FROM pg_catalog.pg_replication_slots s
        LEFT JOIN pg_catalog.pg_stat_replication_slots t ON t.slot_name = s.slot_name
        WHERE s.slot_name = \(PostgresConnection.quote(literal: slot))
        """
    }

    /// Takes the query's row; nil if it has no WAL position.
    public init?(row: [String?]) {
        guard row.count >= 9, let walEnd = row[0].flatMap({ LSN($0) }) else { return nil }
        // max_slot_wal_keep_size counts MiB; -1 is no limit.
        let limit = row[5].flatMap { Int($0) } ?? -1
        self.init(
            walEnd: walEnd,
            restartLSN: row[1].flatMap { LSN($0) },
            confirmedFlush: row[2].flatMap { LSN($0) },
            walStatus: row[3],
            safeWALBytes: row[4].flatMap { Int($0) },
            limitBytes: limit < 0 ? nil : limit << 20,
            invalidationReason: row[6],
            spilledTransactions: row[7].flatMap { Int($0) } ?? 0,
            spilledBytes: row[8].flatMap { Int($0) } ?? 0
        )
    }
}
