import Glibc

/// A moment, split into what a log line shows, always in UTC.
public struct LogTime: Sendable {
    /// Seconds since 1970.
    public var seconds: Int
    /// Nanoseconds within the second.
    public var nanoseconds: Int

    /// Makes a moment.
    public init(seconds: Int, nanoseconds: Int) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    /// The system clock's now.
    public static func now() -> LogTime {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return LogTime(seconds: time.tv_sec, nanoseconds: time.tv_nsec)
    }

    /// The form `2026-11-22T10:00:00.123456Z`.
    var iso8601: String {
        let (date, time) = parts
        return "\(date)T\(time).\(Self.digits(nanoseconds / 1000, 6))Z"
    }

    /// The form `2026-11-22 10:00:00.123`.
    public var forPeople: String {
        let (date, time) = parts
        return "\(date) \(time).\(Self.digits(nanoseconds / 1_000_000, 3))"
    }

    private var parts: (date: String, time: String) {
        var seconds = seconds
        var calendar = tm()
        gmtime_r(&seconds, &calendar)
        let year = Self.digits(Int(calendar.tm_year) + 1900, 4)
        let date = "\(year)-\(Self.digits(Int(calendar.tm_mon) + 1, 2))-\(Self.digits(Int(calendar.tm_mday), 2))"
        let minutes = "\(Self.digits(Int(calendar.tm_hour), 2)):\(Self.digits(Int(calendar.tm_min), 2))"
        return (date, "\(minutes):\(Self.digits(Int(calendar.tm_sec), 2))")
    }

    private static func digits(_ number: Int, _ width: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
    }
}
