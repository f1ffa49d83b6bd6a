import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("A daemon that writes to PostgreSQL and is killed") struct PostgresKillTests {
        @Test("at random moments and at every failpoint, while source and target restart, loses and repeats nothing")
        func streamSurvives() throws {
            let rig = try PostgresRig(["SINK_BATCH_BYTES": "65536", "SINK_MEMORY_LIMIT_MB": "4"])
            let workload = try rig.rig.workload {
                $0.largeEvery = 40
                $0.largeRows = 1_000...4_000
                $0.truncateEvery = 40
            }
            try workload.start()
            defer { try? workload.close() }
            var random = SeededRandom(seed: Effort.seed)
            var atFailpoints = StreamKills(wanted: 1)
            for kill in 0..<60 where kill < 14 || !atFailpoints.pending.isEmpty {
                if !atFailpoints.pending.isEmpty && (kill % 2 == 0 || kill >= 14) {
                    try atFailpoints.kill(rig.rig, using: &random)
                } else {
                    try rig.daemon.start()
                    sleepThread(.milliseconds(Int.random(in: 30...600, using: &random)))
                    switch kill % 10 {
                    case 3: try rig.target.restart(.immediate)
                    case 7:
                        try rig.run(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dbmazz-sink'"
                        )
                    case 9: try rig.rig.server.restart(.fast)
                    default: break
                    }
                    #expect(rig.daemon.exitStatus == nil, "ended by itself: \(rig.daemon.logTail())")
                    rig.daemon.killAndWait()
                }
                if kill % 10 == 0 { try workload.check(rig.workloadTarget) }
            }
            try rig.daemon.start()
            print("kills at failpoints: \(atFailpoints.hits)")
            #expect(atFailpoints.pending.isEmpty, "\(atFailpoints.hits)")
            try rig.finish(workload)
        }

        @Test("during the copy, at each of its failpoints, begins it anew and loses nothing")
        func copySurvives() throws {
            let rig = try PostgresRig(["SINK_BATCH_BYTES": "65536", "SINK_MEMORY_LIMIT_MB": "4"])
            let workload = try rig.rig.workload { $0.seedRows = 200 }
            try workload.start()
            defer { try? workload.close() }
            // The copy is over once it is finished: the last two begin with nothing.
            for failpoint in ["copy-part-written", "copy-rows-written", "copy-finished", "slot-created"] {
                for round in 1...3 {
                    if ["copy-finished", "slot-created"].contains(failpoint) { try Self.forgetPipeline(rig) }
                    try rig.daemon.start(failpoint: "\(failpoint)@\(failpoint == "copy-part-written" ? round : 1)")
                    let status = rig.daemon.waitForExit(timeout: .seconds(20))
                    #expect(status == .signaled(SIGKILL), "\(failpoint): \(rig.daemon.logTail())")
                }
            }
            try rig.rig.startStreaming()
            try rig.finish(workload)
        }

        private static func forgetPipeline(_ rig: PostgresRig) throws {
            let client = try rig.target.connect()
            try client.execute("DROP DATABASE copy WITH (FORCE)")
            try client.execute("CREATE DATABASE copy")
            let source = try rig.rig.server.connect()
            let isGone = eventually(within: .seconds(10)) {
                (try? source.execute(
                    "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'dbmazz_slot'"
                )) != nil
            }
            #expect(isGone)
        }
    }

    @Suite("A bank, PostgreSQL to PostgreSQL") struct PostgresBankTests {
        /// How long pgbench runs: DBMAZZ_TEST_BANK_SECONDS, 300 for the whole proof.
        static let seconds = environmentVariable("DBMAZZ_TEST_BANK_SECONDS").flatMap { Int($0) } ?? 20

        @Test(
            "has the same sum in accounts, tellers, branches and history in every snapshot, whatever is killed meanwhile"
        )
        func sums() throws {
            let rig = try PostgresRig()
            let bin = rig.rig.server.binDirectory
            let url = rig.rig.server.url()
            try runProgram(bin + "/pgbench", ["-i", "-q", "-s", "2", url])
            try rig.rig.sql("ALTER TABLE public.pgbench_history REPLICA IDENTITY FULL")
            try rig.rig.startStreaming()
            // pgbench ends with the first connection that it loses.
            let load = try ChildProcess(
                executable: "/bin/bash",
                arguments: [
                    "-c",
                    "while (( SECONDS < $1 )); do \"$2\" -n -c 4 -j 2 -T $(( $1 - SECONDS )) -M prepared \"$3\" || sleep 0.1; done",
                    "load", "\(Self.seconds)", bin + "/pgbench", url,
                ],
                environment: ["PATH": "/usr/bin:/bin"],
                standardOutput: rig.rig.directory + "/pgbench.out",
                standardError: rig.rig.directory + "/pgbench.err"
            )
            let reader = SnapshotReader(rig)
            var random = SeededRandom(seed: Effort.seed)
            var done: [String: Int] = [:]
            let end = ContinuousClock.now + .seconds(Self.seconds)
            while ContinuousClock.now < end {
                sleepThread(.milliseconds(Int.random(in: 100...1200, using: &random)))
                switch Int.random(in: 0..<10, using: &random) {
                case 0...1:
                    done["target", default: 0] += 1
                    try rig.target.restart(.immediate)
                case 2:
                    done["source", default: 0] += 1
                    try rig.rig.server.restart(Bool.random(using: &random) ? .immediate : .fast)
                case 3...6:
                    let failpoint = StreamKills.failpoints.filter { $0 != "truncate-applied" }.randomElement(
                        using: &random
                    )
                    rig.daemon.killAndWait()
                    try rig.daemon.start(failpoint: failpoint.map { "\($0)@\(Int.random(in: 1...5, using: &random))" })
                default:
                    done["daemon", default: 0] += 1
                    rig.daemon.killAndWait()
                }
                let status = rig.daemon.exitStatus
                try #require(status == nil || status == .signaled(SIGKILL), "\(rig.daemon.logTail())")
                if status != nil { try rig.daemon.start() }
            }
            #expect(load.waitForExit(timeout: .seconds(30)) != nil)
            let seen = reader.stop()
            rig.daemon.killAndWait()
            try rig.rig.startStreaming()
            try rig.rig.catchUp(within: .seconds(60))
            print(
                "seed \(Effort.seed): ends \(done), runs \(rig.daemon.runs), \(seen.count) snapshots of \(Set(seen.map(\.position)).count) positions"
            )
            #expect(seen.count > 20 && Set(seen.map(\.position)).count > 5)
            let wrong = seen.filter { Set($0.sums).count != 1 }
            #expect(wrong.isEmpty, "\(wrong.prefix(3))")
            try rig.expectSame(
                ["pgbench_accounts", "pgbench_tellers", "pgbench_branches", "pgbench_history"].map { "public." + $0 },
                "end"
            )
            try rig.rig.stopDaemon()
        }

        /// Takes snapshots of the target one after the other, over its restarts, on a thread of its own.
        final class SnapshotReader: Sendable {
            struct Seen: Sendable {
                let position: String
                let sums: [String]
            }

            private let seen = SharedList<Seen>()
            private let thread: WorkerThread

            init(_ rig: PostgresRig) {
                let seen = seen
                let url = rig.target.url(database: rig.database)
                thread = WorkerThread {
                    var client: PgClient?
                    while !seen.isClosed {
                        client = client ?? (try? PgClient(url))
                        guard let open = client, let row = try? Self.look(open) else {
                            client = nil
                            sleepThread(.milliseconds(50))
                            continue
                        }
                        seen.append(row)
                    }
                }
            }

            private static func look(_ client: PgClient) throws -> Seen {
                try client.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                let row = try client.query(
                    """
                    SELECT (SELECT lsn FROM dbmazz.position), (SELECT sum(abalance) FROM public.pgbench_accounts),
                      (SELECT sum(tbalance) FROM public.pgbench_tellers), (SELECT sum(bbalance) FROM public.pgbench_branches),
                      (SELECT coalesce(sum(delta), 0) FROM public.pgbench_history)
                    """
                )
                try client.execute("COMMIT")
                let values = row.first.map { $0.map { $0 ?? "NULL" } } ?? []
                return Seen(position: values.first ?? "", sums: Array(values.dropFirst()))
            }

            func stop() -> [Seen] {
                seen.close()
                thread.join()
                return seen.all
            }
        }
    }

    @Suite("Trouble with a PostgreSQL target") struct PostgresTroubleTests {
        @Test("a connection that is cut again and again, also around COMMIT, loses and repeats nothing")
        func cuts() throws {
            let rig = try PostgresRig()
            let proxy = try rig.proxied()
            defer { proxy.stop() }
            let workload = try rig.rig.workload()
            try rig.rig.start(workload)
            defer { try? workload.close() }
            var random = SeededRandom(seed: Effort.seed)
            for _ in 0..<80 {
                sleepThread(.milliseconds(Int.random(in: 1...120, using: &random)))
                proxy.cut(reset: Bool.random(using: &random))
            }
            try workload.check(rig.workloadTarget)
            print("cuts: 80, waits: \(rig.daemon.logLines().filter { $0.event == "sink waits" }.count)")
            try rig.finish(workload)
        }

        @Test("a target that is away, read-only, or locked by somebody is waited for, and the row is written once")
        func waits() throws {
            // Longer than the two seconds after which the sink gives a lock up by itself.
            let rig = try PostgresRig(["DBMAZZ_HANG_TIMEOUT_MS": "5000"])
            try rig.rig.makeTable()
            try rig.rig.startStreaming()
            try rig.target.stop(.fast)
            try rig.rig.insert(10...12)
            try rig.rig.awaitLog("sink waits")
            sleepThread(.seconds(1))
            try rig.target.start()
            try rig.awaitIDs("1,2,3,10,11,12")

            try rig.run("ALTER DATABASE copy SET default_transaction_read_only = on")
            try rig.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dbmazz-sink'")
            try rig.rig.insert(13...13)
            try rig.rig.awaitLog("sink waits") { $0["cause"]?.contains("25006") == true }
            let client = try rig.connect()
            try client.execute("SET default_transaction_read_only = off")
            try client.execute("ALTER DATABASE copy RESET default_transaction_read_only")
            try rig.awaitIDs("1,2,3,10,11,12,13")

            try client.execute("BEGIN; SELECT * FROM public.t WHERE id = 3 FOR UPDATE")
            try rig.rig.sql("UPDATE public.t SET v = 'changed' WHERE id = 3")
            try rig.rig.awaitLog("sink waits") { $0["cause"]?.contains("55P03") == true }
            try client.execute("COMMIT")
            let changed = try eventually(within: .seconds(20)) {
                try rig.value("SELECT v FROM public.t WHERE id = 3") == "changed"
            }
            #expect(changed, "\(rig.daemon.logTail())")
            #expect(rig.daemon.isRunning)
            try rig.rig.stopDaemon()
        }

        @Test("a commit whose answer does not come is looked up, and written again only if it did not take place")
        func unknownCommits() throws {
            // Commits take long, so that a stall is likely to hit one.
            let rig = try PostgresRig(
                ["DBMAZZ_HANG_TIMEOUT_MS": "500"],
                targetSettings: ["commit_delay": "30000", "commit_siblings": "0"]
            )
            let proxy = try rig.proxied()
            defer { proxy.stop() }
            let workload = try rig.rig.workload()
            try rig.rig.start(workload)
            defer { try? workload.close() }
            var random = SeededRandom(seed: Effort.seed)
            for _ in 0..<12 {
                sleepThread(.milliseconds(Int.random(in: 50...300, using: &random)))
                proxy.stall()
                sleepThread(.milliseconds(900))
                proxy.resume()
                try workload.check(rig.workloadTarget)
            }
            let unknown = rig.daemon.logLines().filter { $0.event == "sink waits" && $0["operation"] == "commit" }.count
            let took = rig.daemon.logLines().filter { $0.event == "ambiguous commit was durable" }.count
            print("commits without an answer: \(unknown), of which had taken place: \(took)")
            #expect(unknown + took > 0)
            try rig.finish(workload)
        }

        @Test("a fence that another process has taken ends the daemon before it writes anything more")
        func fence() throws {
            let rig = try PostgresRig(["SINK_PIPELINE": "one"])
            try rig.rig.makeTable()
            try rig.rig.startStreaming()
            try rig.run("UPDATE dbmazz.position SET fence = fence + 1")
            try rig.rig.insert(10...12)
            rig.rig.expectEnd(7, "another daemon has taken pipeline \"one\" over")
            #expect(try rig.value("SELECT count(*) FROM public.t") == "3")
            // The one that starts last has it.
            try rig.rig.startStreaming()
            try rig.awaitIDs("1,2,3,10,11,12")
            try rig.rig.stopDaemon()
        }

        @Test("a target that has lost what it confirmed is told, and what is lost is read again if it is there")
        func lostPosition() throws {
            let rig = try PostgresRig()
            try rig.rig.makeTable()
            try rig.rig.startStreaming()
            try rig.rig.insert(10...12)
            try rig.awaitIDs("1,2,3,10,11,12")
            // As a failover to a standby does that lagged behind.
            try rig.run("DELETE FROM public.t WHERE id > 3; UPDATE dbmazz.position SET lsn = lsn - 4000")
            try rig.rig.insert(13...13)
            rig.rig.expectEnd(7, "it has lost commits")
        }

        @Test("a row that the target refuses ends the daemon with table, column and code, without its value")
        func refusedRow() throws {
            let rig = try PostgresRig()
            try rig.rig.makeTable()
            try rig.rig.startStreaming()
            try rig.run("ALTER TABLE public.t ADD CONSTRAINT short CHECK (length(v) < 10)")
            let before = try rig.value("SELECT lsn FROM dbmazz.position")
            try rig.rig.sql("INSERT INTO public.t VALUES (50, 'a secret that is too long')")
            let error = rig.rig.expectEnd(7, "public.t", "SQLSTATE 23514", "short")
            #expect(!error.contains("secret"))
            #expect(try rig.value("SELECT count(*) FROM public.t WHERE id = 50") == "0")
            #expect(before != nil)
            // Mended, it goes on from there.
            try rig.run("ALTER TABLE public.t DROP CONSTRAINT short")
            try rig.rig.startStreaming()
            try rig.awaitIDs("1,2,3,50")
            try rig.rig.stopDaemon()
        }
    }

    @Suite("Where the postgres sink leaves its fast way") struct PostgresFallbackTests {
        private func rig(_ role: String? = nil) throws -> PostgresRig {
            try PostgresRig(["DBMAZZ_HTTP": "127.0.0.1:\(try freePort())"], role: role)
        }

        @Test("new rows of which one is there already are merged")
        func merge() throws {
            let rig = try rig()
            try rig.rig.makeTable()
            try rig.rig.startStreaming()
            try rig.run("INSERT INTO public.t VALUES (77, 'stray')")
            try rig.rig.insert(10...200)
            try rig.rig.catchUp()
            try rig.expectSame(["public.t"], "merged")
            #expect(try rig.fallbacks("merge") == 1)
            #expect(try rig.fallbacks("replay") == 0)
            // In a later part of a transaction, which a savepoint brings back.
            try rig.rig.stopDaemon()
            rig.daemon.setEnvironment("SINK_BATCH_BYTES", "65536")
            try rig.rig.startStreaming()
            try rig.run("INSERT INTO public.t VALUES (9000, 'stray')")
            try rig.rig.insert(1_000...9_500)
            try rig.rig.catchUp()
            try rig.expectSame(["public.t"], "merged in parts")
            #expect(try rig.fallbacks("merge") == 1)
            try rig.rig.stopDaemon()
        }

        @Test("unique values that are swapped are replayed in the source's order")
        func replay() throws {
            let rig = try rig()
            try rig.rig.sql(
                "CREATE TABLE public.u (id int PRIMARY KEY, e text UNIQUE, v text)",
                "INSERT INTO public.u SELECT i, 'e' || i, 'v' FROM generate_series(1, 100) i"
            )
            try rig.rig.startStreaming()
            try rig.run("ALTER TABLE public.u ADD UNIQUE (e)")
            try rig.rig.sql(
                "BEGIN; UPDATE public.u SET e = 'x' WHERE id = 1; UPDATE public.u SET e = 'e1' WHERE id = 2; "
                    + "UPDATE public.u SET e = 'e2' WHERE id = 1; COMMIT"
            )
            try rig.rig.catchUp()
            try rig.expectSame(["public.u"], "swapped")
            #expect(try rig.fallbacks("replay") == 1)
            try rig.rig.stopDaemon()
        }

        @Test("a deferred constraint is checked at the commit, where the source checked it")
        func deferred() throws {
            let rig = try rig("plain")
            try rig.rig.sql(
                "CREATE TABLE public.p (id int PRIMARY KEY)",
                "CREATE TABLE public.c (id int PRIMARY KEY, p int REFERENCES public.p DEFERRABLE)"
            )
            try rig.rig.startStreaming()
            try rig.run("ALTER TABLE public.c ADD FOREIGN KEY (p) REFERENCES public.p DEFERRABLE")
            try rig.rig.sql(
                "BEGIN; SET CONSTRAINTS ALL DEFERRED; INSERT INTO public.c VALUES (1, 1); INSERT INTO public.p VALUES (1); COMMIT"
            )
            try rig.rig.catchUp()
            try rig.expectSame(["public.p", "public.c"], "deferred")
            #expect(try rig.fallbacks("replay") == 1)
            try rig.rig.stopDaemon()
        }

        @Test("a column without binary form, and columns of other types at the target, take what the source has")
        func textColumns() throws {
            let rig = try rig()
            let definition = "(id int PRIMARY KEY, n int, s smallint, a aclitem, v varchar(10), e public.mood)"
            try rig.rig.sql("CREATE TYPE public.mood AS ENUM ('sad', 'ok')", "CREATE TABLE public.w \(definition)")
            try rig.run(
                "CREATE TABLE public.w (id bigint PRIMARY KEY, n text, s numeric, a text, v text, e text, mine text)"
            )
            let rows = "SELECT i, i, i, 'postgres=r/postgres'::aclitem, 'v' || i, 'ok' FROM generate_series"
            try rig.rig.sql("INSERT INTO public.w \(rows)(1, 300) i")
            let streaming = try rig.rig.startStreaming()
            #expect(streaming["format"] == "binary")
            try rig.expectSame(["public.w"], "copied")
            try rig.rig.sql(
                "INSERT INTO public.w \(rows)(301, 600) i",
                "UPDATE public.w SET n = -n, e = 'sad' WHERE id % 3 = 0",
                "UPDATE public.w SET id = id + 1000 WHERE id % 50 = 0",
                "DELETE FROM public.w WHERE id % 7 = 0"
            )
            try rig.rig.catchUp()
            try rig.expectSame(["public.w"], "streamed")
            try rig.rig.stopDaemon()
        }

        @Test("sets of every size are written: one row, arrays, staging", arguments: [1, 2, 60, 6_000])
        func sizes(rows: Int) throws {
            let rig = try rig()
            try rig.rig.sql(
                "CREATE TABLE public.a (id int PRIMARY KEY, v text, tags text[], big text)",
                "ALTER TABLE public.a ALTER big SET STORAGE EXTERNAL",
                "CREATE TABLE public.b (id int PRIMARY KEY, v text, n numeric)",
                "INSERT INTO public.a SELECT i, 'v' || i, ARRAY['x', NULL, i::text], repeat('b', 3000) FROM generate_series(1, \(rows)) i",
                "INSERT INTO public.b SELECT i, 'v' || i, i / 3.0 FROM generate_series(1, \(rows)) i"
            )
            try rig.rig.startStreaming()
            try rig.rig.sql(
                "BEGIN; UPDATE public.a SET v = 'new' || id; UPDATE public.b SET v = NULL, n = -n; "
                    + "INSERT INTO public.b SELECT i + 100000, 'x', 1 FROM generate_series(1, \(rows)) i; "
                    + "UPDATE public.a SET tags = '{}', big = 'short' WHERE id % 2 = 0; COMMIT",
                "BEGIN; DELETE FROM public.a WHERE id % 2 = 1; DELETE FROM public.b WHERE id > 100000; "
                    + "INSERT INTO public.a SELECT i, 'again', NULL, NULL FROM generate_series(1, \(rows)) i WHERE i % 2 = 1; COMMIT"
            )
            try rig.rig.catchUp()
            try rig.expectSame(["public.a", "public.b"], "written")
            #expect(try rig.fallbacks("merge") == 0 && rig.fallbacks("replay") == 0)
            try rig.rig.stopDaemon()
        }
    }
}
