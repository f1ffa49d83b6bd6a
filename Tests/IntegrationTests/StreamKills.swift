import Glibc
import TestSupport
import Testing

/// Kills of a daemon at the failpoints that lie on the way of the stream, in a random order, each as often as wanted.
struct StreamKills {
    static let failpoints = [
        "sink-committed", "before-sink-commit", "unit-part-written", "truncate-applied", "status-sent",
        "stream-started",
        "reconnecting",
    ]
    /// How often a failpoint is to be hit.
    let wanted: Int
    private(set) var hits: [String: Int] = [:]

    init(wanted: Int) { self.wanted = wanted }

    var pending: [String] { Self.failpoints.filter { hits[$0, default: 0] < wanted } }

    /// Starts the daemon with a failpoint that is still wanted, and waits until it is killed there.
    ///
    /// How soon the stream comes by depends on the workload: a failpoint that is not reached in time stays wanted, and the
    /// daemon is killed where it stands.
    mutating func kill(_ rig: Rig, using random: inout SeededRandom) throws {
        guard let failpoint = pending.randomElement(using: &random) else { return }
        let isOncePerStream = failpoint == "stream-started" || failpoint == "reconnecting"
        let pass = isOncePerStream ? 1 : Int.random(in: 1...4, using: &random)
        try rig.daemon.start(failpoint: "\(failpoint)@\(pass)")
        if failpoint == "reconnecting" { try Self.endWalsenders(of: rig) }
        let status = rig.daemon.waitForExit(timeout: .seconds(15))
        try #require(status == nil || status == .signaled(SIGKILL), "ended by itself: \(rig.daemon.logTail())")
        if status == nil { rig.daemon.killAndWait() } else { hits[failpoint, default: 0] += 1 }
    }

    /// Waits for the daemon's stream and has the server end it.
    private static func endWalsenders(of rig: Rig) throws {
        guard rig.daemon.waitForLog(event: "streaming", timeout: .seconds(10)) != nil else { return }
        try rig.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = 'dbmazz-sink'"
        )
    }
}
