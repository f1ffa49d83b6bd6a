internal import Glibc

/// The daemon's clock, in forms that sinks write.
enum Timestamp {
    /// 2000-01-01 UTC, from which PostgreSQL counts, in milliseconds since 1970.
    static let postgresEpoch: Int64 = 946_684_800_000

    /// Milliseconds since 1970-01-01 UTC.
    static func nowMilliseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// ISO 8601 in UTC with milliseconds, for example `2026-11-22T10:00:00.000Z`.
    static func iso(milliseconds: Int64) -> String {
        var seconds = time_t(milliseconds / 1000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        let date =
            "\(padded(Int(parts.tm_year) + 1900, 4))-\(padded(Int(parts.tm_mon) + 1, 2))-\(padded(Int(parts.tm_mday), 2))"
        let time = "\(padded(Int(parts.tm_hour), 2)):\(padded(Int(parts.tm_min), 2)):\(padded(Int(parts.tm_sec), 2))"
        return "\(date)T\(time).\(padded(Int(milliseconds % 1000), 3))Z"
    }

    /// Now in UTC as StarRocks reads a DATETIME, for example `2026-11-22 10:00:00.000`.
    static func starRocks() -> String {
        var text = iso(milliseconds: nowMilliseconds())
        text.removeLast()
        return text.replacing("T", with: " ")
    }

    private static func padded(_ value: Int, _ width: Int) -> String {
        let digits = String(value)
        return String(repeating: "0", count: max(0, width - digits.utf8.count)) + digits
    }
}
