import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("A daemon that is killed") struct KillTests {
        /// Failpoints that lie before the stream: each needs a pipeline that begins anew.
        static let copying = ["slot-created", "copy-part-written", "copy-rows-written", "copy-finished"]

        @Test("at random moments and at every failpoint, 20 times, loses and repeats nothing")
        func streamSurvives() throws {
            let rig = try Rig(["SINK_BATCH_BYTES": "65536", "SINK_MEMORY_LIMIT_MB": "4"])
            let workload = try rig.workload {
                $0.largeEvery = 40
                $0.largeRows = 1_000...4_000
                $0.truncateEvery = 40
            }
            try workload.start()
            defer { try? workload.close() }
            var random = SeededRandom(seed: Effort.seed)
            var atFailpoints = StreamKills(wanted: 2)
            var kills = 0
            while kills < 20 || !atFailpoints.pending.isEmpty && kills < 100 {
                if !atFailpoints.pending.isEmpty && (kills % 2 == 0 || kills >= 20) {
                    try atFailpoints.kill(rig, using: &random)
                } else {
                    try rig.daemon.start()
                    sleepThread(.milliseconds(Int.random(in: 30...600, using: &random)))
                    #expect(rig.daemon.exitStatus == nil, "ended by itself: \(rig.daemon.logTail())")
                    rig.daemon.killAndWait()
                }
                kills += 1
                if kills % 10 == 0, access(rig.file, F_OK) == 0 { try workload.check(sqlitePath: rig.file) }
            }
            try rig.daemon.start()
            let final = try workload.checkFinal(sqlitePath: rig.file)
            print(
                "kills: \(kills), seed \(Effort.seed), failpoints hit \(atFailpoints.hits), final \(final), \(workload.statistics)"
            )
            #expect(atFailpoints.pending.isEmpty, "\(atFailpoints.hits)")
            #expect(try rig.daemon.terminate() == .exited(0))
        }

        @Test(
            "during the copy, twice at each of its failpoints, begins it anew and loses nothing",
            arguments: copying
        )
        func copySurvives(failpoint: String) throws {
            let rig = try Rig(["SINK_BATCH_BYTES": "65536", "SINK_MEMORY_LIMIT_MB": "4"])
            let workload = try rig.workload {
                $0.seedRows = 200
                $0.thinkTime = .milliseconds(20)
            }
            try workload.start()
            defer { try? workload.close() }
            for round in 0..<2 {
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
