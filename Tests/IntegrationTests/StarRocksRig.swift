import Glibc
import TestSupport
import Testing

/// A source, an emulated StarRocks of its own, and a daemon that writes from one into the other.
final class StarRocksRig: Sendable {
    let rig: Rig
    let target: StarRocksServer
    let database = "copy"

    var daemon: Daemon { rig.daemon }

    /// Starts the servers and prepares the daemon.
    ///
    /// - Parameters:
    ///   - environment: for the daemon.
    ///   - server: the target; a new one where it is nil.
    /// - Throws: what keeps a server from starting.
    init(_ environment: [String: String] = [:], server: StarRocksServer? = nil) throws {
        target = try server ?? StarRocksServer.started()
        try target.query("CREATE DATABASE IF NOT EXISTS \(database)")
        var all = [
            "SINK_TYPE": "starrocks", "SINK_URL": target.url, "SINK_PORT": "\(target.mysqlPort)",
            "SINK_DATABASE": database, "SINK_FLUSH_INTERVAL_MS": "50",
        ]
        all.merge(environment) { $1 }
        rig = try Rig(all)
    }

    deinit { target.remove() }

    /// What the workload compares.
    var workloadTarget: WorkloadTarget { .starrocks(StarRocksDatabase(target, database)) }

    /// Rows of a query at the target.
    func query(_ sql: String) throws -> [[String?]] { try target.query(sql, database: database) }

    /// Expects that the tables are the same at source and target.
    func expectSame(_ tables: [String], _ when: Comment, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let found = try compareWithSource(
            rig.server.connect(),
            starrocks: StarRocksDatabase(target, database),
            tables: tables
        )
        #expect(found == [], when, sourceLocation: sourceLocation)
    }

    /// Waits until `public.t` at the target shows exactly these ids.
    func awaitIDs(_ ids: [Int], within timeout: Duration = .seconds(20)) throws {
        let expected = ids.map(String.init)
        var last: [String?] = []
        let reached = eventually(within: timeout, every: .milliseconds(30)) {
            last = (try? query("SELECT id FROM t WHERE dbmazz_is_deleted = false ORDER BY id"))?.map { $0[0] } ?? []
            return last == expected
        }
        guard reached else { throw HarnessError("the ids are \(last), not \(expected)\n\(daemon.logTail())") }
    }

    /// Expects that the sink did nothing that StarRocks refuses or takes for something else, and used no label for other rows.
    func expectNoViolation(sourceLocation: SourceLocation = #_sourceLocation) throws {
        let found = try target.violations()
        #expect(found == [], sourceLocation: sourceLocation)
    }

    /// Expects that every load of rows was announced before, under a label of its own.
    func expectGuardedLoads(sourceLocation: SourceLocation = #_sourceLocation) throws {
        let loads = try target.log().filter { $0.kind == "load" }
        #expect(!loads.isEmpty, sourceLocation: sourceLocation)
        for load in loads {
            let headers = Dictionary(load.headers.map { ($0.lowercased(), $1) }) { first, _ in first }
            let isStrict =
                headers["max_filter_ratio"] == "0" && headers["strict_mode"] == "true" && headers["timezone"] == "UTC"
            #expect(isStrict && load.label.hasPrefix("dbmazz_"), "\(load)", sourceLocation: sourceLocation)
        }
    }

    /// The final comparison of a workload, and an orderly stop.
    func finish(_ workload: Workload, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try workload.stop()
        try awaitPosition(workload.lastCommit(), within: .seconds(120))
        let final = try workload.checkFinal(workloadTarget)
        print("seed \(Effort.seed), final \(final), \(workload.statistics)")
        #expect(final.commitsTotal > 0, sourceLocation: sourceLocation)
        try rig.stopDaemon(sourceLocation: sourceLocation)
    }
}

extension StarRocksRig {
    /// Waits until the target names a position that is not before `lsn`.
    func awaitPosition(_ lsn: UInt64, within timeout: Duration = .seconds(60)) throws {
        var last: UInt64?
        let reached = eventually(within: timeout, every: .milliseconds(50)) {
            last = try? position()
            return last.map { $0 >= lsn } ?? false || !daemon.isRunning
        }
        // One that has ended says why in its log; it need not be waited for.
        guard reached, last.map({ $0 >= lsn }) ?? false else {
            throw HarnessError(
                "the target's position is \(last.map(formatLSN) ?? "none"), not \(formatLSN(lsn))\n\(daemon.logTail())"
            )
        }
    }

    /// The position that the target names.
    func position() throws -> UInt64? {
        try query("SELECT lsn FROM dbmazz_position ORDER BY revision DESC LIMIT 1").first?[0].flatMap(parseLSN)
    }
}
