import Glibc
import TestSupport
import Testing

extension Integration {
    /// Errors of the target that pass, and errors that do not.
    @Suite("A PostgreSQL target that says no") struct PostgresConflictTests {
        // MARK: By SQLSTATE

        /// A trigger, which no session setting switches off, that raises what `public.mood` says.
        private static func makeMoody(_ rig: PostgresRig) throws {
            try rig.run(
                "CREATE TABLE public.t (id int4 PRIMARY KEY, v text)",
                "CREATE TABLE public.mood (state text)",
                """
                CREATE FUNCTION public.raise() RETURNS trigger LANGUAGE plpgsql AS $$
                  DECLARE s text; BEGIN SELECT state INTO s FROM public.mood;
                  IF FOUND THEN RAISE EXCEPTION 'a secret value' USING ERRCODE = s; END IF; RETURN NEW; END $$
                """,
                "CREATE TRIGGER moody BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.raise()",
                "ALTER TABLE public.t ENABLE ALWAYS TRIGGER moody"
            )
        }

        @Test("is waited for where waiting helps: serialization, deadlock, resources, locks, cancellation, read-only")
        func retriable() throws {
            let rig = try PostgresRig()
            try rig.rig.makeTable()
            try Self.makeMoody(rig)
            try rig.rig.startStreaming()
            var id = 10
            for state in ["40001", "40P01", "53100", "53200", "53300", "55P03", "57014", "57P01", "25006", "58030"] {
                try rig.run("INSERT INTO public.mood VALUES ('\(state)')")
                try rig.rig.insert(id...id)
                let line = try rig.rig.awaitLog("sink waits") { $0["cause"]?.contains(state) == true }
                #expect(line["table"] == "public.t", "\(line)")
                #expect(rig.daemon.isRunning, "\(state)")
                try rig.run("DELETE FROM public.mood")
                try rig.rig.catchUp()
                id += 1
            }
            try rig.expectSame(["public.t"], "afterwards")
            #expect(!(readText(rig.daemon.standardErrorFile) ?? "").contains("secret"))
            try rig.rig.stopDaemon()
        }

        @Test("ends the daemon where waiting does not help, without the row's values, and a start goes on")
        func permanent() throws {
            let rig = try PostgresRig()
            try rig.rig.makeTable()
            try Self.makeMoody(rig)
            try rig.rig.startStreaming()
            var id = 10
            for state in ["22003", "23514", "23502", "P0001", "42883", "0A000", "XX000"] {
                try rig.run("INSERT INTO public.mood VALUES ('\(state)')")
                let position = try rig.value("SELECT lsn FROM dbmazz.position")
                try rig.rig.insert(id...id)
                rig.rig.expectEnd(7, "public.t", state)
                #expect(!(readText(rig.daemon.standardErrorFile) ?? "").contains("secret"), "\(state)")
                #expect(try rig.value("SELECT count(*) FROM public.t WHERE id = \(id)") == "0")
                #expect(position != nil)
                try rig.run("DELETE FROM public.mood")
                try rig.rig.startStreaming()
                try rig.rig.catchUp()
                id += 1
            }
            try rig.expectSame(["public.t"], "afterwards")
            try rig.rig.stopDaemon()
        }

        @Test("exhausts SINK_MAX_RETRIES, and does not keep the daemon from stopping")
        func retriesAndStop() throws {
            let rig = try PostgresRig(["SINK_MAX_RETRIES": "2", "SINK_RETRY_MAX_MS": "100"])
            try rig.rig.makeTable()
            try Self.makeMoody(rig)
            try rig.rig.startStreaming()
            try rig.run("INSERT INTO public.mood VALUES ('40001')")
            try rig.rig.insert(4...4)
            rig.rig.expectEnd(8, "40001", "2 retries")
            rig.daemon.setEnvironment("SINK_MAX_RETRIES", nil)
            rig.daemon.setEnvironment("SINK_SHUTDOWN_TIMEOUT_MS", "2000")
            try rig.rig.startStreaming()
            try rig.rig.awaitLog("sink waits")
            let begin = ContinuousClock.now
            try rig.rig.stopDaemon()
            #expect(ContinuousClock.now - begin < .seconds(4))
            // A lock held by somebody else does not either: the daemon waits inside of a call.
            try rig.run("DELETE FROM public.mood")
            let other = try rig.connect()
            try other.execute("BEGIN; LOCK TABLE public.t IN ACCESS EXCLUSIVE MODE")
            try rig.daemon.start()
            let waits = try eventually(within: .seconds(20)) { try Self.isWaiting(rig) }
            #expect(waits, "\(rig.daemon.logTail())")
            let locked = ContinuousClock.now
            #expect(try rig.daemon.terminate() == .exited(0), "\(rig.daemon.logTail())")
            #expect(ContinuousClock.now - locked < .seconds(6), "\(rig.daemon.logTail())")
            let left = try eventually(within: .seconds(20)) { try !Self.isWaiting(rig) }
            #expect(left && ContinuousClock.now - locked < .seconds(6), "\(ContinuousClock.now - locked)")
            try other.execute("ROLLBACK")
            try rig.rig.startStreaming()
            try rig.awaitIDs("1,2,3,4")
            try rig.rig.stopDaemon()
        }

        // MARK: Other sessions

        /// Whether the daemon's session waits for somebody's lock.
        private static func isWaiting(_ rig: PostgresRig) throws -> Bool {
            try rig.value(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dbmazz-sink' AND wait_event_type = 'Lock'"
            ) != "0"
        }

        @Test("loses a deadlock with a user's transaction, and writes the unit again")
        func deadlock() throws {
            // The one whose deadlock_timeout ends first is the victim.
            let rig = try PostgresRig(targetSettings: ["deadlock_timeout": "1s"])
            try rig.rig.makeTable()
            try rig.rig.startStreaming()
            try rig.awaitIDs("1,2,3")
            let user = try rig.connect()
            try user.execute("SET deadlock_timeout = '1h'; BEGIN; SELECT FROM dbmazz.position FOR UPDATE")
            try rig.rig.sql("UPDATE public.t SET v = 'source' WHERE id = 1", "INSERT INTO public.t VALUES (4, 'v4')")
            let waits = try eventually(within: .seconds(10)) { try Self.isWaiting(rig) }
            #expect(waits)
            try user.execute("UPDATE public.t SET v = 'user' WHERE id = 1")
            let line = try rig.rig.awaitLog("sink waits")
            #expect(line["cause"]?.contains("40P01") == true, "\(line)")
            try user.execute("COMMIT")
            try rig.rig.catchUp()
            try rig.expectSame(["public.t"], "written again")
            try rig.rig.stopDaemon()
        }

        @Test("keeps what a user changes beside it from being overwritten unasked, and tells a row that is missing")
        func changedByUsers() throws {
            let rig = try PostgresRig()
            try rig.rig.sql(
                "CREATE TABLE public.t (id int4 PRIMARY KEY, v text, big text)",
                "ALTER TABLE public.t ALTER big SET STORAGE EXTERNAL",
                "INSERT INTO public.t SELECT i, 'v' || i, repeat('b', 5000) FROM generate_series(1, 10) i"
            )
            try rig.rig.startStreaming()
            // Gone rows: a delete has nothing to do, a whole row comes back, a part of one cannot.
            try rig.run("DELETE FROM public.t WHERE id <= 3")
            try rig.rig.sql("DELETE FROM public.t WHERE id = 1", "UPDATE public.t SET v = 'x', big = 'y' WHERE id = 2")
            try rig.rig.catchUp()
            #expect(try rig.value("SELECT string_agg(id::text, ',' ORDER BY id) FROM public.t WHERE id <= 3") == "2")
            try rig.rig.sql("UPDATE public.t SET v = 'part' WHERE id = 3")
            rig.rig.expectEnd(7, "public.t", "not in the table")
            try rig.run("INSERT INTO public.t VALUES (3, 'mine', repeat('b', 5000))")
            try rig.rig.startStreaming()
            try rig.rig.catchUp()
            try rig.expectSame(["public.t"], "mended")
            // A column of the target's own that comes while the daemon runs is no reason to stop.
            try rig.run("ALTER TABLE public.t ADD COLUMN note text", "CREATE INDEX ON public.t (v)")
            try rig.rig.sql("UPDATE public.t SET v = v || '!'", "INSERT INTO public.t VALUES (20, 'new', 'x')")
            try rig.rig.catchUp()
            try rig.expectSame(["public.t"], "with a column more")
            // A table that goes is.
            try rig.run("DROP TABLE public.t")
            try rig.rig.sql("UPDATE public.t SET v = 'gone'")
            rig.rig.expectEnd(7, "public.t")
            try rig.rig.expectRefusal(6, "public.t", "is gone", "DELETE FROM dbmazz.source_table")
            try rig.run("DELETE FROM dbmazz.source_table")
            try rig.rig.startStreaming()
            try rig.expectSame(["public.t"], "copied again")
            try rig.rig.stopDaemon()
        }

        @Test("ends a session of its own that the server does not know to be broken, and repeats nothing")
        func orphanedSession() throws {
            let rig = try PostgresRig()
            let proxy = try rig.proxied()
            defer { proxy.stop() }
            try rig.rig.sql("CREATE TABLE public.bag (n int4)", "ALTER TABLE public.bag REPLICA IDENTITY FULL")
            try rig.rig.startStreaming()
            let user = try rig.connect()
            for round in 1...3 {
                try user.execute("BEGIN; LOCK TABLE public.bag IN SHARE MODE")
                try rig.rig.sql("INSERT INTO public.bag VALUES (\(round)), (\(round))")
                #expect(try eventually(within: .seconds(10)) { try Self.isWaiting(rig) })
                proxy.orphan()
                try rig.rig.awaitLog("sink waits")
                sleepThread(.milliseconds(300))
                try user.execute("COMMIT")
                try rig.rig.catchUp()
                try rig.expectSame(["public.bag"], "round \(round)")
            }
            try rig.rig.stopDaemon()
        }

        @Test("that takes long over a commit whose daemon is killed meanwhile has it once when the next one starts")
        func killedInCommit() throws {
            let rig = try PostgresRig()
            try rig.rig.sql("CREATE TABLE public.bag (n int4)", "ALTER TABLE public.bag REPLICA IDENTITY FULL")
            try rig.rig.startStreaming()
            // A commit waits for a standby that is not there.
            try rig.run("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
            try rig.run("SELECT pg_reload_conf()")
            sleepThread(.milliseconds(300))
            try rig.rig.sql("INSERT INTO public.bag VALUES (1), (1)")
            let hangs = try eventually(within: .seconds(10)) {
                try rig.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "1"
            }
            #expect(hangs, "\(rig.daemon.logTail())")
            rig.daemon.killAndWait()
            try rig.daemon.start()
            sleepThread(.seconds(1))
            let admin = try rig.target.connect()
            try admin.execute("SET synchronous_commit = local")
            try admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
            try admin.execute("SELECT pg_reload_conf()")
            try rig.rig.awaitLog("streaming")
            try rig.rig.sql("INSERT INTO public.bag VALUES (2)")
            try rig.rig.catchUp()
            try rig.expectSame(["public.bag"], "once")
            try rig.rig.stopDaemon()
        }

        // MARK: The server

        @Test(
            "whose disk is full is waited for until there is room",
            .enabled(if: SinkTroubleTests.canMount)
        )
        func fullDisk() throws {
            let rig = try PostgresRig()
            let directory = try makeTemporaryDirectory("dbmazz-full")
            defer { removeTree(directory) }
            try runProgram("/bin/mount", ["-t", "tmpfs", "-o", "size=16m,mode=1777", "none", directory])
            defer { _ = try? runProgram("/bin/umount", ["-l", directory]) }
            try runProgram("/bin/mkdir", ["-m", "700", directory + "/space"])
            try runProgram("/bin/chown", ["--reference=\(rig.target.dataDirectory)", directory + "/space"])
            try rig.rig.makeTable()
            try rig.run(
                "CREATE TABLESPACE small LOCATION '\(directory)/space'",
                "CREATE TABLE public.t (id int4 PRIMARY KEY, v text) TABLESPACE small"
            )
            try rig.rig.startStreaming()
            try rig.awaitIDs("1,2,3")
            try SinkTroubleTests.fill(directory + "/filler")
            try rig.rig.sql("INSERT INTO public.t SELECT i, repeat('x', 500) FROM generate_series(10, 5000) i")
            let line = try rig.rig.awaitLog("sink waits")
            #expect(line["cause"]?.contains("53100") == true, "\(line)")
            sleepThread(.seconds(1))
            #expect(rig.daemon.isRunning)
            unlink(directory + "/filler")
            try rig.rig.awaitLog("sink works again")
            try rig.rig.catchUp()
            try rig.expectSame(["public.t"], "with room")
            try rig.rig.stopDaemon()
            try rig.run("DROP TABLE public.t", "DROP TABLESPACE small")
        }

        @Test("needs no replication slots, senders or logical WAL, nor a place for another replication origin")
        func plainServer() throws {
            let rig = try PostgresRig(
                targetSettings: ["wal_level": "minimal", "max_wal_senders": "0", "max_replication_slots": "0"]
            )
            try rig.rig.makeTable()
            try rig.rig.startStreaming()
            try rig.rig.insert(4...500)
            try rig.rig.catchUp()
            try rig.expectSame(["public.t"], "written")
            try rig.rig.stopDaemon()
        }

        @Test(
            "is reached by the second host of SINK_URL, and followed when it fails over, with nothing lost or repeated"
        )
        func failover() throws {
            let rig = try PostgresRig(targetSettings: ["wal_keep_size": "256MB"])
            let standby = try PostgresServer(standbyOf: rig.target)
            defer { standby.remove() }
            try standby.start()
            try rig.run("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
            rig.daemon.setEnvironment(
                "SINK_URL",
                "postgresql://postgres@127.0.0.1:\(standby.port),127.0.0.1:\(rig.target.port)/\(rig.database)"
                    + "?target_session_attrs=read-write"
            )
            let workload = try rig.rig.workload()
            defer { try? workload.close() }
            try rig.rig.start(workload)
            sleepThread(.seconds(2))
            try workload.check(rig.workloadTarget)
            try rig.target.stop(.immediate)
            sleepThread(.milliseconds(500))
            try standby.connect().execute("SELECT pg_promote()")
            let new = WorkloadTarget.postgres(standby.url(database: rig.database))
            let final = try workload.checkFinal(new)
            print("seed \(Effort.seed), after the failover \(final)")
            #expect(rig.daemon.isRunning, "\(rig.daemon.logTail())")
            try rig.rig.stopDaemon()
        }

        @Test(
            "that fails over to a standby without the last commits is told, not written on as if nothing were missing"
        )
        func lossyFailover() throws {
            let rig = try PostgresRig()
            let standby = try PostgresServer(standbyOf: rig.target)
            defer { standby.remove() }
            try rig.rig.makeTable()
            let url = "127.0.0.1:\(rig.target.port),127.0.0.1:\(standby.port)/\(rig.database)"
            rig.daemon.setEnvironment("SINK_URL", "postgresql://postgres@\(url)?target_session_attrs=read-write")
            try rig.rig.startStreaming()
            try rig.rig.insert(4...4)
            try rig.rig.catchUp()
            try standby.start()
            let caughtUp = try eventually(within: .seconds(20)) {
                let lsn = try rig.value("SELECT pg_current_wal_lsn()") ?? ""
                return try standby.connect().value("SELECT pg_last_wal_replay_lsn() >= '\(lsn)'") == "t"
            }
            #expect(caughtUp)
            try standby.stop()
            try rig.rig.insert(5...5)
            try rig.rig.catchUp()
            try rig.target.stop(.immediate)
            try standby.start()
            try standby.connect().execute("SELECT pg_promote()")
            try rig.rig.insert(6...6)
            rig.rig.expectEnd(7, "it has lost commits")
            // The source has let the changes go: the next start says that a copy is needed.
            try rig.rig.expectRefusal(3)
        }
    }
}
