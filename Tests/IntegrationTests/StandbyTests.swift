import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("A second daemon of one pipeline") struct StandbyTests {
        private func second(_ rig: Rig, _ environment: [String: String] = [:]) throws -> Daemon {
            let directory = rig.directory + "/second"
            mkdir(directory, 0o700)
            var all = [
                "SOURCE_URL": rig.server.url(), "SINK_URL": rig.file, "STATE_DIRECTORY": directory,
                "DBMAZZ_HTTP": "off",
                "SINK_RETRY_INITIAL_MS": "20", "SINK_RETRY_MAX_MS": "500",
            ]
            all.merge(environment) { $1 }
            return Daemon(executable: Rig.executable, environment: all, directory: directory)
        }

        @Test("stands by, takes over when the first is killed, and the workload's model holds")
        func takesOver() throws {
            let rig = try Rig()
            let workload = try rig.workload()
            defer { try? workload.close() }
            try rig.start(workload)
            let tables = ["SOURCE_TABLES": workload.tableNames.joined(separator: ",")]
            let standby = try second(rig, tables)
            defer { standby.killAndWait() }
            try standby.start()
            let line = try #require(standby.waitForLog(event: "standing by"), "\(standby.logTail())")
            #expect(line["held_by"]?.contains("PID") == true, "\(line)")
            #expect(line["held_by"]?.contains("dbmazz-sink") == true, "\(line)")
            sleepThread(.seconds(2))
            try rig.awaitProgress()
            #expect(!standby.logLines().contains { $0.event == "streaming" || $0.event == "copy begins" })
            rig.daemon.killAndWait()
            #expect(standby.waitForLog(event: "taking over") != nil, "\(standby.logTail())")
            #expect(standby.waitForLog(event: "streaming") != nil, "\(standby.logTail())")
            try rig.awaitProgress()
            try workload.check(sqlitePath: rig.file)
            let final = try workload.checkFinal(sqlitePath: rig.file)
            print("seed \(Effort.seed), after the take-over \(final)")
            #expect(final.commitsTotal > 0)
            #expect(try standby.terminate() == .exited(0))
        }

        @Test("stands by during the first one's copy, too")
        func duringCopy() throws {
            let rig = try Rig()
            try rig.makeTable(rows: 400_000)
            try rig.daemon.start()
            try rig.awaitLog("copy begins")
            let standby = try second(rig)
            defer { standby.killAndWait() }
            try standby.start()
            #expect(standby.waitForLog(event: "standing by") != nil, "\(standby.logTail())")
            try rig.awaitLog("streaming", within: .seconds(60))
            #expect(!standby.logLines().contains { $0.event == "copy begins" })
            #expect(try standby.terminate() == .exited(0))
            try rig.waitForSink("SELECT count(*) FROM t", [["INTEGER 400000"]])
            try rig.stopDaemon()
        }

        @Test("does not get at the tables when the first one loses its lock during the copy")
        func lockLostDuringCopy() throws {
            let rig = try Rig()
            try rig.makeTable(rows: 600_000)
            try rig.daemon.start()
            try rig.awaitLog("copy begins")
            let ended = try rig.source(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"
            )
            #expect(ended == "1")
            let line = try rig.awaitLog("waiting for source")
            #expect(line["operation"] == "hold the pipeline's lock", "\(line)")
            try rig.awaitLog("streaming", within: .seconds(60))
            #expect(rig.daemon.logLines().filter { $0.event == "copy begins" }.count == 2)
            try rig.waitForSink("SELECT count(*), sum(id) FROM t", [["INTEGER 600000", "INTEGER 180000300000"]])
            // While it streams, the same costs nothing: the slot is held, and the lock comes back.
            _ = try rig.source(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2"
            )
            try rig.insert(600_001...600_001)
            try rig.waitForSink("SELECT count(*) FROM t", [["INTEGER 600001"]])
            #expect(
                try eventually(within: .seconds(15)) {
                    try rig.source("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2") == "1"
                }
            )
            #expect(rig.daemon.logLines().filter { $0.event == "streaming" }.count == 1)
            try rig.stopDaemon()
        }

        @Test("a copy for its own sake into a target that a daemon fills is refused")
        func onlyBesideDaemon() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            let copy = try second(rig, ["SOURCE_SNAPSHOT": "only"])
            try copy.start()
            #expect(copy.waitForExit(timeout: .seconds(40)) == .exited(11), "\(copy.logTail())")
            try rig.awaitIDs([1, 2, 3])
            // Into another file it is nobody's business.
            let other = try second(rig, ["SOURCE_SNAPSHOT": "only", "SINK_URL": rig.directory + "/other.db"])
            try other.start()
            #expect(other.waitForExit(timeout: .seconds(40)) == .exited(0), "\(other.logTail())")
            try rig.stopDaemon()
        }

        @Test("ends with its own code where it is not to wait, and says for whom")
        func refuses() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.startStreaming()
            let refusing = try second(rig, ["SINK_STANDBY": "refuse"])
            try refusing.start()
            #expect(refusing.waitForExit(timeout: .seconds(40)) == .exited(11), "\(refusing.logTail())")
            let error = refusing.logLines().last { $0.event == "ended" }?["error"] ?? ""
            #expect(error.contains("slot dbmazz_slot is in use by PID"), "\(error)")
            #expect(error.contains("SINK_STANDBY=wait"), "\(error)")
            try rig.stopDaemon()
        }

        @Test("a session that the server does not know to be broken does not lock its own daemon out")
        func ownSession() throws {
            let rig = try Rig()
            try rig.makeTable()
            let proxy = try TcpProxy(target: rig.server.port)
            defer { proxy.stop() }
            rig.daemon.setEnvironment("SOURCE_URL", rig.server.url(port: proxy.port))
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            proxy.orphan()
            try rig.insert(4...4)
            try rig.awaitIDs([1, 2, 3, 4], within: .seconds(30))
            #expect(!rig.daemon.logLines().contains { $0.event == "standing by" })
            try rig.stopDaemon()
        }
    }
}
