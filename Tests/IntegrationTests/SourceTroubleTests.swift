import TestSupport
import Testing

extension Integration {
    @Suite("A source in trouble") struct SourceTroubleTests {
        @Test("that is restarted, fast and immediate in turn, loses and repeats nothing")
        func restarts() throws {
            let rig = try Rig()
            let workload = try rig.workload()
            defer { try? workload.close() }
            try rig.start(workload)
            for round in 0..<6 {
                sleepThread(.milliseconds(200))
                try rig.server.restart(round % 2 == 0 ? .fast : .immediate)
                try rig.awaitProgress()
                try workload.check(sqlitePath: rig.file)
            }
            try rig.finish(workload)
        }

        @Test("whose network cuts, stalls and refuses connections, loses and repeats nothing")
        func badNetwork() throws {
            // The stall is longer than the server waits: it gives the connection up meanwhile.
            let rig = try Rig(settings: ["wal_sender_timeout": "3s"])
            let proxy = try TcpProxy(target: rig.server.port)
            defer { proxy.stop() }
            rig.daemon.setEnvironment("SOURCE_URL", rig.server.url(port: proxy.port))
            let workload = try rig.workload()
            defer { try? workload.close() }
            try rig.start(workload)
            for round in 0..<8 {
                sleepThread(.milliseconds(200))
                proxy.cut(reset: round % 2 == 0)
                try rig.awaitProgress()
                try workload.check(sqlitePath: rig.file)
            }
            for seconds in [1, 5] {
                proxy.stall()
                sleepThread(.seconds(seconds))
                proxy.resume()
                try rig.awaitProgress()
                try workload.check(sqlitePath: rig.file)
            }
            let waits = rig.daemon.logLines().filter { $0.event == "waiting for source" }.count
            proxy.refuse()
            sleepThread(.seconds(2))
            #expect(rig.daemon.isRunning)
            #expect(rig.daemon.logLines().filter { $0.event == "waiting for source" }.count > waits)
            proxy.resume()
            try rig.awaitProgress()
            try rig.finish(workload)
        }

        @Test("that ends single sessions of the daemon loses and repeats nothing")
        func endedSessions() throws {
            let rig = try Rig()
            let workload = try rig.workload()
            defer { try? workload.close() }
            try rig.start(workload)
            for kind in ["walsender", "client backend", "walsender", "client backend", "%"] {
                try rig.sql(
                    """
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE application_name = 'dbmazz-sink' AND backend_type LIKE '\(kind)'
                    """
                )
                try rig.awaitProgress()
                sleepThread(.milliseconds(300))
                try workload.check(sqlitePath: rig.file)
            }
            // The side session is back: without it a shutdown would not be noticed.
            let isBack = try eventually(within: .seconds(15)) {
                try rig.source(
                    """
                    SELECT count(*) FROM pg_stat_activity
                    WHERE application_name = 'dbmazz-sink' AND backend_type = 'client backend'
                    """
                ) == "1"
            }
            #expect(isBack)
            try rig.finish(workload)
        }

        @Test("can be stopped fast while the sink hangs; afterwards everything arrives")
        func stopWhileTheSinkHangs() throws {
            let rig = try Rig(["SOURCE_HEARTBEAT_INTERVAL_MS": "500", "SINK_BATCH_BYTES": "65536"])
            let workload = try rig.workload()
            defer { try? workload.close() }
            try rig.start(workload)
            try rig.awaitProgress()
            let lock = try SQLiteFile(rig.file)
            try lock.lockExclusively()
            try rig.awaitLog("sink waits")
            sleepThread(.seconds(1))
            try Self.expectQuickStop(rig)
            #expect(rig.daemon.isRunning)
            try rig.server.start()
            sleepThread(.seconds(1))
            try lock.unlock()
            try rig.awaitProgress()
            try workload.check(sqlitePath: rig.file)
            try rig.finish(workload)
        }

        @Test("that is idle stops fast, and the daemon goes on after its start")
        func stopWhileIdle() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try Self.expectQuickStop(rig)
            try rig.awaitLog("waiting for source")
            try rig.server.start()
            try rig.insert(4...5)
            try rig.awaitIDs([1, 2, 3, 4, 5])
            try rig.stopDaemon()
        }

        @Test("whose slot somebody else reads is waited for, and the log names the reader")
        func slotInUse() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.stopDaemon()
            var reader: PgClient? = try PgClient(rig.server.url() + "?replication=database", pinned: false)
            try reader?.execute(
                "START_REPLICATION SLOT dbmazz_slot LOGICAL 0/0 (proto_version '1', publication_names 'dbmazz_pub')"
            )
            let pid = try #require(reader?.backendPID)
            try rig.insert(4...4)
            try rig.daemon.start()
            let line = try rig.awaitLog("standing by")
            #expect(line["held_by"]?.contains("PID \(pid)") == true, "\(line)")
            sleepThread(.milliseconds(500))
            #expect(rig.daemon.isRunning)
            reader = nil
            try rig.awaitIDs([1, 2, 3, 4])
            try rig.stopDaemon()
        }

        @Test("that loses the connection in the middle of a copy whose rows the sink has not taken copies again")
        func cutDuringCopy() throws {
            let rig = try Rig()
            try rig.makeTable(rows: 300_000)
            let proxy = try TcpProxy(target: rig.server.port)
            defer { proxy.stop() }
            rig.daemon.setEnvironment("SOURCE_URL", rig.server.url(port: proxy.port))
            try rig.daemon.start()
            for attempt in 1...3 {
                #expect(
                    eventually(within: .seconds(20)) {
                        rig.daemon.logLines().filter { $0.event == "copy begins" }.count >= attempt
                    }
                )
                // A batch is on its way to a file that another process holds.
                let lock = try SQLiteFile(rig.file)
                #expect(eventually(within: .seconds(10)) { (try? lock.lockExclusively()) != nil })
                _ = rig.daemon.waitForLog(event: "sink waits", timeout: .seconds(5))
                proxy.cut()
                sleepThread(.milliseconds(300))
                try lock.unlock()
            }
            try rig.awaitLog("streaming", within: .seconds(60))
            try rig.waitForSink("SELECT count(*), sum(id) FROM t", [["INTEGER 300000", "INTEGER 45000150000"]])
            try rig.insert(300_001...300_001)
            try rig.waitForSink("SELECT count(*) FROM t", [["INTEGER 300001"]])
            try rig.stopDaemon()
        }

        /// Stops the server and expects that nothing holds it up.
        private static func expectQuickStop(_ rig: Rig) throws {
            let begin = ContinuousClock.now
            rig.server.requestStop(.fast)
            let stopped = rig.server.waitForStop(timeout: .seconds(30))
            let took = ContinuousClock.now - begin
            print("the server stopped after \(took)")
            #expect(stopped && took < .seconds(6), "after \(took): \(rig.daemon.logTail())")
            if !stopped { try rig.server.stop(.immediate) }
        }
    }
}
