import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("A daemon that is killed") struct KillTests {
        /// Failpoints that lie on the way of the stream: each is hit at least twice.
        static let streaming = [
            "sink-committed", "before-sink-commit", "unit-part-written", "truncate-applied", "status-sent",
            "stream-started",
            "reconnecting",
        ]
        /// Failpoints that lie before the stream: each needs a pipeline that begins anew.
        static let copying = ["slot-created", "copy-part-written", "copy-rows-written", "copy-finished"]

        @Test("at random moments and at every failpoint, 40 times, loses and repeats nothing")
        func streamSurvives() throws {
            let rig = try Rig(["SINK_BATCH_BYTES": "65536", "SINK_MEMORY_LIMIT_MB": "4"])
            var options = WorkloadOptions(seed: Effort.seed)
            options.largeEvery = 40
            options.largeRows = 1_000...4_000
            options.truncateEvery = 40
            options.thinkTime = .milliseconds(2)
            let workload = Workload(server: rig.server, options: options)
            try workload.createSchema()
            rig.daemon.setEnvironment("SOURCE_TABLES", workload.tableNames.joined(separator: ","))
            try workload.start()
            defer { try? workload.close() }
            var random = SeededRandom(seed: Effort.seed)
            var hits: [String: Int] = [:]
            var kills = 0
            while kills < 40 {
                let pending = Self.streaming.filter { hits[$0, default: 0] < 2 }
                let failpoint = kills % 2 == 0 ? pending.randomElement(using: &random) : nil
                let pass =
                    failpoint == "stream-started" || failpoint == "reconnecting"
                    ? 1 : Int.random(in: 1...4, using: &random)
                try rig.daemon.start(failpoint: failpoint.map { "\($0)@\(pass)" })
                let status: TestSupport.ExitStatus?
                if let failpoint {
                    if failpoint == "reconnecting" { try Self.endWalsenders(of: rig) }
                    status = rig.daemon.waitForExit(timeout: .seconds(6))
                    if status == .signaled(SIGKILL) { hits[failpoint, default: 0] += 1 }
                } else {
                    sleepThread(.milliseconds(Int.random(in: 30...600, using: &random)))
                    status = rig.daemon.exitStatus
                }
                if status == nil { rig.daemon.killAndWait() }
                try #require(status == nil || status == .signaled(SIGKILL), "ended by itself: \(rig.daemon.logTail())")
                kills += 1
                if kills % 10 == 0, access(rig.file, F_OK) == 0 { try workload.check(sqlitePath: rig.file) }
            }
            try rig.daemon.start()
            let final = try workload.checkFinal(sqlitePath: rig.file)
            print(
                "kills: \(kills), seed \(Effort.seed), failpoints hit \(hits), final \(final), \(workload.statistics)"
            )
            for failpoint in Self.streaming { #expect(hits[failpoint, default: 0] >= 2, "\(failpoint)") }
            #expect(try rig.daemon.terminate() == .exited(0))
        }

        /// Waits for the daemon's stream and has the server end it.
        static func endWalsenders(of rig: Rig) throws {
            guard rig.daemon.waitForLog(event: "streaming", timeout: .seconds(10)) != nil else { return }
            try rig.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_replication WHERE application_name = 'dbmazz-sink'"
            )
        }

        @Test(
            "during the copy, three times at each of its failpoints, begins it anew and loses nothing",
            arguments: copying
        )
        func copySurvives(failpoint: String) throws {
            let rig = try Rig(["SINK_BATCH_BYTES": "65536", "SINK_MEMORY_LIMIT_MB": "4"])
            var options = WorkloadOptions(seed: Effort.seed)
            options.seedRows = 200
            options.thinkTime = .milliseconds(5)
            let workload = Workload(server: rig.server, options: options)
            try workload.createSchema()
            rig.daemon.setEnvironment("SOURCE_TABLES", workload.tableNames.joined(separator: ","))
            try workload.start()
            defer { try? workload.close() }
            for round in 0..<3 {
                // The copy is over once it is finished: every round of that failpoint begins with nothing.
                if failpoint == "copy-finished" || failpoint == "slot-created" { try Self.forgetPipeline(rig) }
                let pass = failpoint == "copy-part-written" ? 1 + round % 3 : 1
                try rig.daemon.start(failpoint: "\(failpoint)@\(pass)")
                let status = rig.daemon.waitForExit(timeout: .seconds(30))
                try #require(status == .signaled(SIGKILL), "not killed: \(rig.daemon.logTail())")
            }
            try rig.daemon.start()
            try #require(rig.daemon.waitForLog(event: "streaming", timeout: .seconds(30)) != nil)
            sleepThread(.seconds(1))
            try workload.checkFinal(sqlitePath: rig.file)
            #expect(try rig.daemon.terminate() == .exited(0))
        }

        private static func forgetPipeline(_ rig: Rig) throws {
            for suffix in ["", "-wal", "-shm"] { unlink(rig.file + suffix) }
            let client = try rig.server.connect()
            _ = eventually(within: .seconds(10)) {
                (try? client.execute(
                    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'dbmazz_slot'"
                ))
                    != nil
            }
        }
    }
}
