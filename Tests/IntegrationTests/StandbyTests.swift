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
