import Glibc
import TestSupport
import Testing

/// How long and with which seed generated workloads run; both printed, both settable.
enum Effort {
    static let seed: UInt64 =
        environmentVariable("DBMAZZ_TEST_SEED").flatMap { UInt64($0) } ?? UInt64.random(in: 1...999_999)
    static let seconds = environmentVariable("DBMAZZ_TEST_SECONDS").flatMap { Int($0) } ?? 20
}

extension Integration {
    @Suite("A generated workload") struct WorkloadTests {
        @Test("leaves SQLite, at every moment, in exactly the state of the commit that its position names")
        func everyStateIsACommit() throws {
            let rig = try Rig(["SOURCE_HEARTBEAT_INTERVAL_MS": "500"])
            var options = WorkloadOptions(seed: Effort.seed)
            options.largeEvery = 150
            let workload = Workload(server: rig.server, options: options)
            try workload.createSchema()
            rig.daemon.setEnvironment("SOURCE_TABLES", workload.tableNames.joined(separator: ","))
            rig.daemon.setEnvironment("SINK_BATCH_BYTES", "65536")
            try workload.start()
            try rig.daemon.start()
            defer { try? workload.close() }
            let end = ContinuousClock.now + .seconds(Effort.seconds)
            var checks = 0
            while ContinuousClock.now < end {
                sleepThread(.milliseconds(200))
                guard access(rig.file, F_OK) == 0 else { continue }
                let result = try workload.check(sqlitePath: rig.file)
                if result.lsn != nil { checks += 1 }
                try #require(rig.daemon.isRunning, "\(rig.daemon.logTail())")
            }
            let final = try workload.checkFinal(sqlitePath: rig.file)
            print("workload seed \(Effort.seed): \(checks) checks, final \(final), \(workload.statistics)")
            #expect(checks >= 5)
            #expect(final.commitsTotal > 100)
            #expect(try rig.daemon.terminate() == .exited(0))
        }
    }
}
