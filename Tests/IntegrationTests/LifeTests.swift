import Glibc
import Operations
import Settings
import TestSupport
import Testing

extension Integration {
    @Suite("A daemon that is watched") struct LifeTests {
        /// A rig with a service manager, an endpoint, and a short patience.
        private final class WatchedRig {
            let rig: Rig
            let listener: NotifyListener
            let address: HTTPAddress
            static let watchdog = Duration.seconds(1)

            init(_ environment: [String: String] = [:], patience: Int = 1000) throws {
                listener = try NotifyListener()
                address = HTTPAddress(host: "127.0.0.1", port: UInt16(try freePort()))
                var all = [
                    "NOTIFY_SOCKET": listener.path, "WATCHDOG_USEC": "\(Int(Self.watchdog / .microseconds(1)))",
                    "DBMAZZ_HTTP": "\(address)", "DBMAZZ_HANG_TIMEOUT_MS": "\(patience)",
                ]
                all.merge(environment) { $1 }
                rig = try Rig(all)
            }

            deinit { listener.stop() }

            /// The status code of a path; 0 without an answer.
            func ask(_ path: String) -> Int { (try? HTTPGet.get(path, from: address).status) ?? 0 }

            /// Expects that the watchdog was fed in time ever since.
            func expectFed(since instant: ContinuousClock.Instant, sourceLocation: SourceLocation = #_sourceLocation) {
                let gap = listener.longestGap(since: instant)
                #expect(gap < WatchedRig.watchdog, "not fed for \(gap)", sourceLocation: sourceLocation)
                #expect(ask("/healthz") == 200, sourceLocation: sourceLocation)
            }
        }

        @Test("says READY only once slot and sink are proven, and what it is at before and after, in order")
        func order() throws {
            let watched = try WatchedRig()
            let rig = watched.rig
            try rig.makeTable()
            try rig.server.stop()
            try rig.daemon.start()
            // Without a source it is alive, shows why it waits, and is not ready.
            #expect(watched.listener.wait(for: "STATUS=waiting for source") != nil)
            #expect(watched.listener.wait(for: "EXTEND_TIMEOUT_USEC=") != nil)
            #expect(watched.listener.wait(for: "WATCHDOG=1") != nil)
            sleepThread(.seconds(1))
            #expect(!watched.listener.messages.contains { $0.has("READY=1") })
            try rig.server.start()
            let ready = try #require(watched.listener.wait(for: "READY=1"))
            #expect(try rig.slots() == ["dbmazz_slot"])
            #expect(try rig.sink("SELECT count(*) FROM dbmazz_position") == [["INTEGER 1"]])
            try rig.awaitIDs([1, 2, 3])
            #expect(watched.listener.wait(for: "STATUS=streaming") != nil)
            try rig.stopDaemon()
            let stopping = try #require(watched.listener.wait(for: "STOPPING=1"))
            #expect(stopping.at > ready.at)
            let extensions = watched.listener.messages.filter { $0.has("EXTEND_TIMEOUT_USEC=") }
            #expect(extensions.allSatisfy { $0.at <= ready.at || $0.at >= stopping.at })
            #expect(watched.listener.messages.filter { $0.has("READY=1") }.count == 1)
        }

        @Test("that refuses to start never says READY")
        func refusal() throws {
            let watched = try WatchedRig(["SOURCE_TABLES": "public.missing"])
            try watched.rig.makeTable()
            try watched.rig.expectRefusal(2, "public.missing")
            #expect(!watched.listener.messages.contains { $0.has("READY=1") })
        }

        @Test(
            "and has a lane that hangs is fed no more, and /healthz says which",
            arguments: [
                ("sink-committed", "hang", "sink"), ("before-sink-commit", "hang", "sink"),
                ("status-sent", "hang", "source"),
                ("status-sent", "exit-thread", "source"), ("sink-committed", "exit-thread", "sink"),
            ]
        )
        func hangs(point: String, action: String, lane: String) throws {
            let watched = try WatchedRig()
            let rig = watched.rig
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.stopDaemon()
            try rig.daemon.start(failpoint: "\(point)@1:\(action)")
            try rig.awaitLog("streaming")
            #expect(watched.ask("/healthz") == 200)
            try rig.insert(4...4)
            let line = try rig.awaitLog("lane hangs", within: .seconds(15))
            #expect(line.level == "error")
            #expect(line["lanes"]?.contains("\(lane): hung") == true, "\(line)")
            let hung = ContinuousClock.now
            let answer = try HTTPGet.get("/healthz", from: watched.address)
            #expect(answer.status == 503)
            #expect(answer.body.contains("\(lane): hung"), "\(answer.body)")
            #expect(watched.ask("/readyz") == 503)
            sleepThread(WatchedRig.watchdog * 2)
            #expect(watched.listener.feedings(since: hung) == 0)
            // What systemd does next loses nothing.
            rig.daemon.killAndWait()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3, 4])
            try rig.stopDaemon()
        }

        @Test("is fed while its target is down for ten times as long as a lane may hang")
        func targetDown() throws {
            let watched = try WatchedRig(["SINK_RETRY_MAX_MS": "60000"], patience: 1000)
            let rig = watched.rig
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            let lock = try SQLiteFile(rig.file)
            try lock.lockExclusively()
            let begin = ContinuousClock.now
            try rig.insert(4...4)
            try rig.awaitLog("sink waits")
            sleepThread(.seconds(10))
            watched.expectFed(since: begin)
            try lock.unlock()
            watched.expectFed(since: begin)
            rig.daemon.killAndWait()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3, 4])
            try rig.stopDaemon()
        }

        @Test("is fed while a long copy runs and while a transaction of two million rows is written and committed")
        func largeWork() throws {
            let watched = try WatchedRig(patience: 1000)
            let rig = watched.rig
            try rig.sql(
                "CREATE TABLE public.t (id int4 PRIMARY KEY)",
                "INSERT INTO public.t SELECT i FROM generate_series(-1000000, -1) i"
            )
            let begin = ContinuousClock.now
            try rig.startStreaming(within: .seconds(120))
            watched.expectFed(since: begin + .seconds(1))
            try rig.sql("INSERT INTO public.t SELECT i FROM generate_series(1, 2000000) i")
            try rig.waitForSink("SELECT count(*) FROM t", [["INTEGER 3000000"]], within: .seconds(240))
            watched.expectFed(since: begin + .seconds(1))
            #expect(!rig.daemon.logLines().contains { $0.event == "lane hangs" })
            try rig.stopDaemon()
        }

        @Test("reads its file again on SIGHUP, takes over limits and level, and says what it ignored")
        func reload() throws {
            let watched = try WatchedRig(["LOG_LEVEL": ""])
            let rig = watched.rig
            try rig.makeTable()
            let file = rig.directory + "/daemon.env"
            func write(_ text: String) throws { try writeText(text, to: file, mode: 0o600) }
            rig.daemon.setArguments(["--env-file", file])
            try write("LOG_LEVEL=info\nSINK_BATCH_SIZE=1000\nSINK_DELETE_MODE=hard\n")
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try write("LOG_LEVEL=debug\nSINK_BATCH_SIZE=2000\nSINK_DELETE_MODE=soft\nSINK_AUDIT_COLUMNS=true\n")
            rig.daemon.kill(SIGHUP)
            let line = try rig.awaitLog("settings read again")
            #expect(line["applied"] == "SINK_BATCH_SIZE,LOG_LEVEL", "\(line)")
            #expect(line["ignored"] == "SINK_DELETE_MODE,SINK_AUDIT_COLUMNS", "\(line)")
            #expect(watched.listener.wait(for: "RELOADING=1") != nil)
            #expect(
                eventually(within: .seconds(5)) { watched.listener.messages.filter { $0.has("READY=1") }.count == 2 }
            )
            // A mistake in the file changes nothing.
            try write("SINK_BATCH_SIZE=many\n")
            rig.daemon.kill(SIGHUP)
            let refused = try rig.awaitLog("settings not read again")
            #expect(refused["cause"]?.contains("SINK_BATCH_SIZE") == true, "\(refused)")
            try rig.insert(4...4)
            try rig.awaitIDs([1, 2, 3, 4])
            try rig.stopDaemon()
        }
    }
}
