import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("The daemon") struct DaemonTests {
        @Test("that is stopped under load ends with 0, and goes on without a gap or a repetition")
        func stopUnderLoad() throws {
            let rig = try Rig()
            let workload = try rig.workload { $0.largeEvery = 40 }
            defer { try? workload.close() }
            try rig.start(workload)
            for _ in 0..<4 {
                sleepThread(.milliseconds(500))
                try rig.stopDaemon()
                let stored = try #require(try storedPosition(rig.file))
                // What was acknowledged is in the file, and nothing that is in the file was left unacknowledged.
                #expect(try rig.confirmedFlush() <= stored)
                try workload.check(sqlitePath: rig.file)
                try rig.startStreaming()
                #expect(!rig.daemon.logLines().contains { $0.event == "copy begins" })
            }
            try rig.awaitProgress()
            try rig.finish(workload)
        }

        @Test("acknowledges what it has written before it ends")
        func acknowledgesAtTheEnd() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.startStreaming()
            try rig.insert(4...4)
            try rig.awaitIDs([1, 2, 3, 4])
            kill(try #require(rig.daemon.pid), SIGINT)
            #expect(rig.daemon.waitForExit() == .exited(0))
            let position = try #require(try storedPosition(rig.file))
            #expect(try eventually(within: .seconds(5)) { try rig.confirmedFlush() == position })
        }

        @Test("lets the slot of an idle database follow what others write")
        func idle() throws {
            let rig = try Rig(["SOURCE_HEARTBEAT_INTERVAL_MS": "200"])
            try rig.makeTable()
            try rig.sql("CREATE DATABASE other")
            try rig.startStreaming()
            let other = try rig.server.connect(database: "other")
            try other.execute(
                "CREATE TABLE public.x AS SELECT i, repeat('x', 500) FROM generate_series(1, 20000) i"
            )
            let target = try #require(try rig.source("SELECT pg_current_wal_lsn()").flatMap(parseLSN))
            // The file is written to about every ten seconds only, and nothing is acknowledged that it does not know.
            #expect(
                try eventually(within: .seconds(20), every: .milliseconds(200)) { try rig.confirmedFlush() >= target }
            )
            #expect(try #require(try storedPosition(rig.file)) >= rig.confirmedFlush())
            try rig.stopDaemon()
        }

        @Test("does not write to the file for every heartbeat")
        func idleWrites() throws {
            let rig = try Rig(["SOURCE_HEARTBEAT_INTERVAL_MS": "100"])
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            sleepThread(.milliseconds(500))
            let first = try rig.position()
            var changes = 0
            var last = first
            for _ in 0..<20 {
                sleepThread(.milliseconds(100))
                let position = try rig.position()
                if position != last { changes += 1 }
                last = position
            }
            #expect(changes <= 1)
            try rig.stopDaemon()
        }

        @Test("keeps secrets out of its logs at any level, of /proc, and values out of its logs")
        func secrets() throws {
            let rig = try Rig(["LOG_LEVEL": "trace", "SINK_MAX_RETRIES": "1"])
            let secret = "s3cr3t-p4ssw0rd"
            let value = "m4rk3r-v4lu3"
            try rig.sql("CREATE ROLE reader LOGIN SUPERUSER PASSWORD '\(secret)'")
            try rig.server.requirePassword(of: "reader")
            rig.daemon.setEnvironment("SOURCE_URL", rig.server.url(user: "reader:\(secret)"))
            try rig.sql(
                "CREATE TABLE public.t (id text PRIMARY KEY, v text)",
                "INSERT INTO public.t VALUES ('\(value) 1', '\(value)')"
            )
            try rig.startStreaming()
            try rig.sql(
                "INSERT INTO public.t VALUES ('\(value) 2', '\(value)')",
                "UPDATE public.t SET v = '\(value) changed'",
                "UPDATE public.t SET id = '\(value) 3' WHERE id LIKE '% 2'"
            )
            try rig.catchUp()
            let pid = try #require(rig.daemon.pid)
            for file in ["environ", "cmdline"] {
                let text = readText("/proc/\(pid)/\(file)") ?? ""
                #expect(!text.contains(secret), "\(file)")
            }
            // Errors name tables and rows' places, never what is in them: at the source, and at the sink.
            try rig.server.restart()
            try rig.sql("DELETE FROM public.t WHERE id LIKE '% 3'")
            try rig.catchUp()
            try SQLiteFile(rig.file).execute("DROP TABLE t; CREATE TABLE t(id INTEGER PRIMARY KEY, v INTEGER) STRICT")
            try rig.sql("INSERT INTO public.t VALUES ('\(value) 4', '\(value)')")
            #expect(rig.daemon.waitForExit() == .exited(7), "\(rig.daemon.logTail())")
            let log = readText(rig.daemon.standardErrorFile) ?? ""
            #expect(log.contains("streaming"))
            #expect(!log.contains(secret))
            #expect(!log.contains(value), "\(log)")
        }

        @Test("says its version and its help, and refuses what it does not know")
        func commandLine() throws {
            #expect(try runProgram(Rig.executable, ["--version"]).contains("."))
            let help = try runProgram(Rig.executable, ["--help"])
            #expect(help.contains("SOURCE_URL") && help.contains("--env-file"))
            #expect(throws: HarnessError.self) { try runProgram(Rig.executable, ["--nonsense"]) }
        }
    }
}
