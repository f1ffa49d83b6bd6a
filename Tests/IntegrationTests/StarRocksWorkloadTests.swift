import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("A StarRocks target") struct StarRocksWorkloadTests {
        /// What a run of the workload is like.
        struct Case: CustomTestStringConvertible, Sendable {
            let name: String
            let environment: [String: String]
            var version = "3.3.5"
            var testDescription: String { name }
        }

        static let cases = [
            Case(
                name: "hard deletes",
                environment: ["SINK_ON_UNREPRESENTABLE": "text", "SINK_STARROCKS_COMPRESSION": "lz4"]
            ),
            Case(
                name: "soft deletes, small loads",
                environment: [
                    "SINK_DELETE_MODE": "soft", "SINK_ON_UNREPRESENTABLE": "text", "SINK_BATCH_BYTES": "262144",
                    "SINK_MEMORY_LIMIT_MB": "4", "SINK_STARROCKS_COMPRESSION": "gzip",
                ]
            ),
            Case(
                name: "transactions",
                environment: ["SINK_ON_UNREPRESENTABLE": "text", "SINK_STARROCKS_TRANSACTIONS": "on"],
                version: "4.0.1"
            ),
        ]

        @Test("shows what the source has whenever the daemon has caught up", arguments: cases)
        func arrives(_ one: Case) throws {
            let rig = try StarRocksRig(one.environment, server: .started(version: one.version))
            let workload = try rig.rig.workload {
                $0.largeEvery = 150
                $0.largeRows = 500...1_500
                $0.hasLongKeys = false
                $0.thinkTime = .milliseconds(20)
            }
            defer { try? workload.close() }
            try rig.rig.start(workload)
            for _ in 0..<2 {
                let end = ContinuousClock.now + .seconds(max(2, Effort.seconds / 10))
                while ContinuousClock.now < end {
                    sleepThread(.milliseconds(100))
                    try #require(rig.daemon.isRunning, "\(rig.daemon.logTail())")
                }
                try workload.pause()
                try rig.awaitPosition(workload.lastCommit())
                try workload.check(rig.workloadTarget)
                workload.resume()
            }
            try rig.finish(workload)
            try rig.expectNoViolation()
            try rig.expectGuardedLoads()
        }

        @Test("loses nothing while daemon, StarRocks and source are killed", arguments: ["off", "on"])
        func kills(transactions: String) throws {
            let rig = try StarRocksRig(
                [
                    "SINK_BATCH_BYTES": "262144", "SINK_MEMORY_LIMIT_MB": "4", "SINK_ON_UNREPRESENTABLE": "text",
                    "SINK_STARROCKS_TRANSACTIONS": transactions,
                ],
                server: .started(version: "4.0.1")
            )
            let workload = try rig.rig.workload {
                $0.largeEvery = 60
                $0.largeRows = 500...2_000
                $0.truncateEvery = 60
                // What piles up while everything is killed has to be caught up with at the end.
                $0.hasLongKeys = false
                $0.thinkTime = .milliseconds(40)
            }
            defer { try? workload.close() }
            try rig.rig.start(workload)
            var random = SeededRandom(seed: Effort.seed)
            for round in 0..<6 {
                if !rig.daemon.isRunning {
                    let failpoint = ["load-announced", "load-sent", "before-sink-commit", nil].randomElement(
                        using: &random
                    )
                    try rig.daemon.start(failpoint: (failpoint ?? nil).map { "\($0)@\(round % 3 + 1)" })
                }
                sleepThread(.milliseconds(Int.random(in: 200...1_500, using: &random)))
                switch round {
                case 1, 4: try rig.target.restart(killed: true)
                case 3: try rig.rig.server.restart(.immediate)
                case 5:
                    rig.daemon.killAndWait()
                    try rig.target.restart(killed: true)
                default: rig.daemon.killAndWait()
                }
                let status = rig.daemon.exitStatus
                try #require(status == nil || status == .signaled(SIGKILL), "\(rig.daemon.logTail())")
            }
            if !rig.daemon.isRunning { try rig.daemon.start() }
            print("\(rig.daemon.runs) runs")
            try rig.finish(workload)
            try rig.expectNoViolation()
        }

        @Test("holds every value of every type, by the copy and by the stream")
        func types() throws {
            let rig = try StarRocksRig(["SINK_ON_UNREPRESENTABLE": "text"])
            let client = try rig.rig.server.connect()
            let matrix = try TypeMatrix(creating: client)
            let tables = matrix.tables
            // A key has at most 128 bytes at StarRocks.
            try client.execute(
                """
                CREATE FUNCTION public.skip_long() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN IF octet_length(NEW.v::text) > 120 THEN RETURN NULL; END IF; RETURN NEW; END $$
                """
            )
            for table in tables where table.hasPrefix("public.k_") {
                try client.execute(
                    "CREATE TRIGGER skip BEFORE INSERT ON \(table) FOR EACH ROW EXECUTE FUNCTION public.skip_long()"
                )
            }
            rig.daemon.setEnvironment("SOURCE_TABLES", tables.joined(separator: ","))
            try matrix.insert(client)
            try rig.rig.startStreaming()
            try rig.expectSame(tables, "copy")
            try matrix.insert(client, firstID: 1_000)
            try matrix.update(client)
            try matrix.deleteHalf(client)
            try rig.rig.catchUp()
            try rig.expectSame(tables, "stream")
            print("types: \(matrix.entries.count), tables: \(tables.count)")
            try rig.rig.stopDaemon()
            try rig.expectNoViolation()
        }
    }
}
