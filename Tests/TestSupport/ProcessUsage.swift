import Glibc

/// What a process uses, from `/proc`.
public struct ProcessUsage: Sendable {
    /// Resident memory in bytes (VmRSS).
    public let resident: Int
    /// The private, file-less part of it in bytes (RssAnon).
    public let residentAnonymous: Int
    /// User plus system time since its start.
    public let cpuTime: Duration
    /// Threads.
    public let threads: Int

    /// Reads the figures; nil when there is no such process.
    public init?(pid: Int32) {
        guard let status = readText("/proc/\(pid)/status"), let stat = readText("/proc/\(pid)/stat") else { return nil }
        func field(_ name: String) -> Int {
            for line in status.split(separator: "\n") where line.hasPrefix(name + ":") {
                return line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0
            }
            return 0
        }
        resident = field("VmRSS") * 1024
        residentAnonymous = field("RssAnon") * 1024
        threads = field("Threads")
        // After the name in parentheses: fields 3…; utime and stime are 14 and 15, in clock ticks.
        guard let end = stat.lastIndex(of: ")") else { return nil }
        let rest = stat[stat.index(after: end)...].split(separator: " ")
        guard rest.count > 12, let user = Int(rest[11]), let system = Int(rest[12]) else { return nil }
        let ticks = max(1, sysconf(Int32(_SC_CLK_TCK)))
        cpuTime = .milliseconds((user + system) * 1000 / ticks)
    }
}
