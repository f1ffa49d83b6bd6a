/// What the names mean, and which buckets suit a histogram: the texts behind `# HELP`.
enum MetricCatalog {
    /// The meaning of a metric; its name where nobody wrote one.
    static func help(_ name: String) -> String { texts[name] ?? name }

    /// Upper bounds of a histogram's buckets.
    static func buckets(_ name: String) -> [Double] {
        switch name {
        case "dbmazz_batch_rows": [1, 10, 100, 1000, 10_000, 100_000]
        case "dbmazz_batch_bytes": [1024, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216]
        case "dbmazz_commit_to_durable_seconds": [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30, 300]
        default: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30]
        }
    }

    private static let texts: [String: String] = [
        "dbmazz_build_info": "Version and sink of the daemon; always 1.",
        "dbmazz_pipeline_state": "What the pipeline is at: 1 for the state that holds.",
        "dbmazz_healthy": "Whether every lane is alive by the watchdog's rule.",
        "dbmazz_ready": "Whether the pipeline streams and its lag is below DBMAZZ_READY_MAX_LAG.",
        "dbmazz_lane_alive": "Whether a lane is alive by its own rule.",
        "dbmazz_source_wal_lsn_bytes": "End of the source's WAL, as a byte position.",
        "dbmazz_received_lsn_bytes": "How far the source has sent, as a byte position.",
        "dbmazz_flushed_lsn_bytes": "How far the target is durable, as a byte position.",
        "dbmazz_confirmed_lsn_bytes": "What the source was told, as a byte position.",
        "dbmazz_lag_bytes": "WAL between the durable position and the end of the source's WAL.",
        "dbmazz_lag_seconds": "Age of the target's state; 0 while it has everything.",
        "dbmazz_slot_retained_wal_bytes": "WAL that the source keeps for the slot.",
        "dbmazz_slot_safe_wal_bytes": "WAL that may be written before the slot is in danger.",
        "dbmazz_slot_wal_limit_bytes": "max_slot_wal_keep_size of the source.",
        "dbmazz_slot_wal_status": "The slot's wal_status: 1 for the one that holds.",
        "dbmazz_slot_spilled_transactions_total": "Transactions that decoding wrote to the source's disk.",
        "dbmazz_slot_spilled_bytes_total": "Bytes that decoding wrote to the source's disk.",
        "dbmazz_wal_alarm": "The WAL guard: 0 none, 1 warning, 2 critical.",
        "dbmazz_memory_budget_bytes": "What all batches together may take (SINK_MEMORY_LIMIT_MB).",
        "dbmazz_memory_used_bytes": "What batches take now.",
        "dbmazz_copy_tables": "Tables of the copy that runs or ran last.",
        "dbmazz_copy_tables_done": "Tables of it that are complete.",
        "dbmazz_copy_rows": "Rows of it that are written.",
        "dbmazz_copy_rows_expected": "Rows of it by the source's statistics; 0 where unknown.",
        "dbmazz_rows_total": "Changes and copied rows written to the target; what has to be repeated counts again.",
        "dbmazz_row_bytes_total": "Bytes of their column values.",
        "dbmazz_transactions_total": "Source transactions that are durable at the target.",
        "dbmazz_batches_total": "Batches written.",
        "dbmazz_batch_rows": "Rows in a batch.",
        "dbmazz_batch_bytes": "Bytes of tuples in a batch.",
        "dbmazz_batch_write_seconds": "How long the target took for a batch.",
        "dbmazz_commit_to_durable_seconds":
            "From a commit at the source to its durability at the target, the oldest commit of each unit.",
        "dbmazz_sink_fallbacks_total":
            "Batches that left the target's fastest way: inserts merged with rows that were there, or sets replayed one by one.",
        "dbmazz_sink_retries_total": "Writes that failed and were repeated.",
        "dbmazz_source_reconnects_total": "Sessions with the source that failed and were begun again.",
        "dbmazz_errors_total": "Errors that were repeated, by side and class.",
        "dbmazz_heartbeats_total": "Heartbeats written to the source's WAL.",
        "dbmazz_sink_dead_letters_total": "Changes that the target refused and that became dead letters.",
        "dbmazz_sink_values_substituted_total":
            "Values that the target cannot hold and SINK_ON_UNREPRESENTABLE changed.",
        "process_cpu_seconds_total": "Processor time of the daemon.",
        "process_resident_memory_bytes": "Resident memory of the daemon.",
        "process_start_time_seconds": "When the daemon started, in seconds since 1970.",
        "process_open_fds": "Open file descriptors of the daemon.",
    ]

    /// Every name that the daemon can show.
    static var names: [String] { texts.keys.sorted() }
}
