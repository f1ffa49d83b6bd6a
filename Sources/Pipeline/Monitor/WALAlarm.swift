public import PostgresSource

/// The WAL guard: how near the slot is to losing its WAL, or the source's disk to being filled by it.
public enum WALAlarm: Int, Sendable, Codable, Comparable {
    /// Nothing to worry about.
    case none
    /// Somebody should look within hours.
    case warning
    /// PostgreSQL is about to invalidate the slot, or has done so.
    case critical

    /// The level in words.
    public var words: String {
        switch self {
        case .none: "none"
        case .warning: "warning"
        case .critical: "critical"
        }
    }

    /// Orders by urgency.
    public static func < (left: WALAlarm, right: WALAlarm) -> Bool { left.rawValue < right.rawValue }

    /// Judges a slot.
    ///
    /// With `max_slot_wal_keep_size` the room that is left counts: a warning below one half, critical below a tenth or once
    /// `wal_status` is `unreserved`. Without it nothing bounds what the slot keeps but the disk, so the operator's own
    /// threshold counts.
    ///
    /// - Parameters:
    ///   - report: what the source says of the slot.
    ///   - threshold: `SOURCE_WAL_ALARM_MB` in bytes; nil for none.
    /// - Returns: the level, and why and what to do in one sentence; empty for ``none``.
    public static func judge(_ report: SlotReport, threshold: Int?) -> (level: WALAlarm, text: String) {
        let kept = mebibytes(report.retainedBytes)
        if report.walStatus == "lost" || report.invalidationReason != nil {
            let reason = report.invalidationReason.map { " (\($0))" } ?? ""
            return (.critical, "PostgreSQL has invalidated the slot\(reason): changes are lost; \(resync)")
        }
        if report.walStatus == "unreserved" {
            return (
                .critical,
                "the slot's WAL may be removed at the next checkpoint, \(kept) are kept; let the daemon catch up now, or "
                    + "raise max_slot_wal_keep_size and reload the source"
            )
        }
        if let limit = report.limitBytes, limit > 0, let safe = report.safeWALBytes {
            let left = "\(mebibytes(max(0, safe))) of max_slot_wal_keep_size are left, \(kept) are kept; "
            if safe < limit / 10 { return (.critical, left + remedy) }
            if safe < limit / 2 { return (.warning, left + remedy) }
        }
        if let threshold, report.retainedBytes > threshold {
            return (
                .warning,
                "the slot keeps \(kept) of WAL at the source, more than SOURCE_WAL_ALARM_MB; \(look), and watch the source's disk"
            )
        }
        return (.none, "")
    }

    private static let look = "see why the daemon is behind (target, long transactions at the source)"
    private static let remedy = "\(look), or raise max_slot_wal_keep_size"
    private static let resync = "the daemon will end with exit code 4, see \"Copy everything anew\" in the README"

    private static func mebibytes(_ bytes: Int) -> String { "\(bytes >> 20) MiB" }
}
