import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("Dead letters") struct DeadLetterTests {
        /// Settings of every test here.
        static let settings = ["SINK_ON_ERROR": "dead-letter", "SINK_PIPELINE": "p"]

        /// Runs `dlq list --json` and gives `state kind key cause` of each letter.
        static func list(_ daemon: Daemon) throws -> [String] {
            let result = try daemon.command("dlq", "list", "--json")
            guard result.status == .exited(0) else { throw HarnessError("dlq list: \(result.error)") }
            // One member a line or all on one: names are unique either way.
            return result.output.split(separator: "}").compactMap { entry in
                func member(_ name: String) -> String? {
                    guard let begin = entry.firstRange(of: "\"\(name)\"") else { return nil }
                    let rest = entry[begin.upperBound...].drop { $0 == ":" || $0 == " " }
                    return rest.first == "\""
                        ? String(rest.dropFirst().prefix { $0 != "\"" }) : String(rest.prefix { $0 != "," })
                }
                guard let state = member("state"), let kind = member("kind"), let key = member("key") else {
                    return nil
                }
                return "\(state) \(kind) \(key)"
            }
        }

        static func replay(_ daemon: Daemon, _ code: Int32, _ text: String) throws {
            let result = try daemon.command("dlq", "replay", "--all")
            #expect(result.status == .exited(code), "\(result.error)")
            #expect(result.error.contains(text), "\(result.error)")
        }

        private static let refuse =
            "CREATE TRIGGER no BEFORE INSERT ON t WHEN new.id = 50000 BEGIN SELECT RAISE(ABORT, 'not this'); END"

        @Test(
            "of 100 000 rows in one transaction, SQLite refuses one: the others arrive, it is replayed after the mend"
        )
        func sqliteStream() throws {
            let rig = try Rig(Self.settings)
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try SQLiteFile(rig.file).execute(Self.refuse)
            try rig.insert(4...100_000)
            try rig.catchUp()
            try rig.waitForSink("SELECT count(*), sum(id) FROM t", [["INTEGER 99999", "INTEGER 5000000000"]])
            #expect(try Self.list(rig.daemon) == ["pending insert id='50000'"])
            // Later changes of the row follow it, those of others go on.
            try rig.sql(
                "UPDATE public.t SET v = 'later' WHERE id IN (3, 50000)",
                "UPDATE public.t SET id = 200000 WHERE id = 50000"
            )
            try rig.catchUp()
            try rig.waitForSink("SELECT v FROM t WHERE id = 3", [["TEXT \"later\""]])
            #expect(
                try Self.list(rig.daemon) == [
                    "pending insert id='50000'", "pending update id='50000'", "pending update id='50000'",
                ]
            )
            let warnings = rig.daemon.logLines().filter { $0.event == "dead letters" && $0.level == "warning" }
            #expect(warnings.count == 2, "\(rig.daemon.logTail())")
            #expect(warnings.first?["cause"]?.contains("not this") == true)
            try Self.replay(rig.daemon, 11, "stop it first")
            try rig.stopDaemon()
            try Self.replay(rig.daemon, 7, "not this")
            #expect(try Self.list(rig.daemon).allSatisfy { $0.hasPrefix("pending") })
            let shown = try rig.daemon.command("dlq", "show", "1")
            #expect(shown.output.contains("'v50000' (text)"), "\(shown.output)\(shown.error)")
            try SQLiteFile(rig.file).execute("DROP TRIGGER no")
            try Self.replay(rig.daemon, 0, "3 replayed")
            #expect(
                try rig.sink("SELECT id, v FROM t WHERE id >= 50000 AND v = 'later'") == [
                    ["INTEGER 200000", "TEXT \"later\""]
                ]
            )
            #expect(try rig.sink("SELECT count(*) FROM t") == [["INTEGER 100000"]])
            try Self.replay(rig.daemon, 0, "nothing to replay")
            try rig.startStreaming()
            try rig.sql("UPDATE public.t SET v = 'last' WHERE id = 200000")
            try rig.waitForSink("SELECT v FROM t WHERE id = 200000", [["TEXT \"last\""]])
            try rig.stopDaemon()
        }

        @Test("of 100 000 copied rows, SQLite refuses one; letters in the file's own table", arguments: [false, true])
        func sqliteCopy(inTable: Bool) throws {
            let rig = try Rig(Self.settings.merging(inTable ? ["SINK_DEAD_LETTER_URL": "table"] : [:]) { $1 })
            try rig.makeTable(rows: 100_000)
            try runProgram(
                "/usr/bin/sqlite3",
                [rig.file, "CREATE TABLE t(id INTEGER NOT NULL, v TEXT, PRIMARY KEY(id)) STRICT; \(Self.refuse)"]
            )
            try rig.startStreaming()
            try rig.sql("DELETE FROM public.t WHERE id = 50000", "INSERT INTO public.t VALUES (50000, 'again')")
            try rig.catchUp()
            try rig.waitForSink("SELECT count(*) FROM t", [["INTEGER 99999"]])
            #expect(
                try Self.list(rig.daemon) == [
                    "pending insert id='50000'", "pending delete id='50000'", "pending insert id='50000'",
                ]
            )
            if inTable { #expect(try rig.sink("SELECT count(*) FROM dbmazz_dead_letter") == [["INTEGER 3"]]) }
            try rig.stopDaemon()
            try SQLiteFile(rig.file).execute("DROP TRIGGER no")
            try Self.replay(rig.daemon, 0, "3 replayed")
            #expect(try rig.sink("SELECT count(*), sum(id) FROM t") == [["INTEGER 100000", "INTEGER 5000050000"]])
            #expect(try rig.sink("SELECT v FROM t WHERE id = 50000") == [["TEXT \"again\""]])
        }

        @Test("of 100 000 rows in one transaction that goes in parts, PostgreSQL refuses two; letters in its own table")
        func postgresStream() throws {
            let more = [
                "SINK_DEAD_LETTER_URL": "table", "SINK_BATCH_BYTES": "262144", "SINK_MEMORY_LIMIT_MB": "4",
            ]
            let rig = try PostgresRig(Self.settings.merging(more) { $1 })
            try rig.rig.makeTable()
            try rig.rig.startStreaming()
            try rig.awaitIDs("1,2,3")
            try rig.run("ALTER TABLE public.t ADD CONSTRAINT no CHECK (id NOT IN (50000, 90000))")
            try rig.rig.insert(4...100_000)
            try rig.rig.sql("UPDATE public.t SET v = 'later' WHERE id IN (3, 50000)")
            try rig.rig.catchUp(within: .seconds(60))
            let sums = try rig.rows("SELECT count(*), sum(id) FROM public.t")
            #expect(sums == [["99998", "4999910000"]], "\(rig.daemon.logTail())")
            #expect(
                try Self.list(rig.daemon) == [
                    "pending insert id='50000'", "pending insert id='90000'", "pending update id='50000'",
                ]
            )
            #expect(try rig.value("SELECT count(*) FROM dbmazz.dead_letter") == "3")
            try rig.rig.stopDaemon()
            try Self.replay(rig.daemon, 7, "23514")
            try rig.run("ALTER TABLE public.t DROP CONSTRAINT no")
            try Self.replay(rig.daemon, 0, "3 replayed")
            try rig.expectSame(["public.t"], "after the replay")
        }

        @Test("of 100 000 copied rows, PostgreSQL refuses one")
        func postgresCopy() throws {
            let rig = try PostgresRig(Self.settings)
            try rig.rig.makeTable(rows: 100_000)
            try rig.run("CREATE TABLE public.t (id int4 PRIMARY KEY, v text CHECK (v <> 'v50000'))")
            try rig.rig.startStreaming(within: .seconds(60))
            #expect(try rig.value("SELECT count(*) FROM public.t") == "99999")
            #expect(try Self.list(rig.daemon) == ["pending insert id='50000'"])
            try rig.rig.stopDaemon()
            try rig.run("ALTER TABLE public.t DROP CONSTRAINT t_v_check")
            try Self.replay(rig.daemon, 0, "1 replayed")
            try rig.expectSame(["public.t"], "after the replay")
        }

        @Test("of updates that go in sets, PostgreSQL refuses two, one of them beside another row")
        func postgresSets() throws {
            let rig = try PostgresRig(Self.settings)
            try rig.rig.makeTable(rows: 2_000)
            try rig.rig.startStreaming()
            try rig.run("ALTER TABLE public.t ADD CHECK (v <> 'no')", "ALTER TABLE public.t ADD UNIQUE (v)")
            try rig.rig.sql(
                "UPDATE public.t SET v = CASE id WHEN 700 THEN 'no' WHEN 1500 THEN 'v3' ELSE 'w' || id END WHERE id > 10"
            )
            try rig.rig.catchUp()
            #expect(try Self.list(rig.daemon) == ["pending update id='700'", "pending update id='1500'"])
            #expect(try rig.value("SELECT count(*) FROM public.t WHERE v LIKE 'w%'") == "1988")
            #expect(
                try rig.value("SELECT string_agg(v, ',' ORDER BY id) FROM public.t WHERE id IN (700, 1500)")
                    == "v700,v1500"
            )
            try rig.rig.stopDaemon()
        }

        @Test("what PostgreSQL refuses at the commit alone is found as well")
        func deferred() throws {
            // A superuser's session has the deferred checks off.
            let rig = try PostgresRig(Self.settings, role: "writer")
            try rig.rig.makeTable()
            try rig.rig.startStreaming()
            try rig.awaitIDs("1,2,3")
            try rig.run("ALTER TABLE public.t ADD CONSTRAINT one UNIQUE (v) DEFERRABLE INITIALLY DEFERRED")
            try rig.rig.sql(
                "INSERT INTO public.t SELECT i, CASE WHEN i = 500 THEN 'v2' ELSE 'w' || i END FROM generate_series(4, 1000) i"
            )
            try rig.rig.catchUp()
            let count = try rig.value("SELECT count(*) FROM public.t")
            #expect(count == "999", "\(rig.daemon.logTail())")
            #expect(try Self.list(rig.daemon) == ["pending insert id='500'"])
            try rig.rig.stopDaemon()
        }

        @Test(
            "a kill between a letter and the commit makes one letter, and loses nothing; in parts, with letters in the file",
            arguments: [false, true]
        )
        func killed(inParts: Bool) throws {
            let limits = [
                "SINK_BATCH_BYTES": "65536", "SINK_MEMORY_LIMIT_MB": "4", "SINK_DEAD_LETTER_URL": "table",
            ]
            let rig = try Rig(Self.settings.merging(inParts ? limits : [:]) { $1 })
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.stopDaemon()
            try SQLiteFile(rig.file).execute(
                "CREATE TRIGGER no BEFORE INSERT ON t WHEN new.id IN (4000, 6000) BEGIN SELECT RAISE(ABORT, 'not this'); END"
            )
            try rig.insert(4...8_000)
            try rig.sql("UPDATE public.t SET v = 'later' WHERE id = 4000")
            // Both letters of the row are found in one attempt each.
            for _ in 1...2 {
                try rig.daemon.start(failpoint: "dead-letters-written")
                let status = rig.daemon.waitForExit(timeout: .seconds(10))
                #expect(status == .signaled(SIGKILL), "\(rig.daemon.logTail())")
            }
            try rig.startStreaming()
            try rig.catchUp()
            #expect(try rig.sink("SELECT count(*) FROM t") == [["INTEGER 7998"]])
            #expect(
                try Self.list(rig.daemon).sorted() == [
                    "pending insert id='4000'", "pending insert id='6000'", "pending update id='4000'",
                ]
            )
            try rig.stopDaemon()
            try SQLiteFile(rig.file).execute("DROP TRIGGER no")
            try Self.replay(rig.daemon, 0, "3 replayed")
            #expect(try rig.sink("SELECT count(*) FROM t") == [["INTEGER 8000"]])
            #expect(try rig.sink("SELECT v FROM t WHERE id = 4000") == [["TEXT \"later\""]])
        }

        @Test("with SINK_ON_ERROR=stop the daemon ends with code 7, and nothing is acknowledged beyond")
        func stop() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try SQLiteFile(rig.file).execute(Self.refuse)
            try rig.insert(49_999...50_001)
            rig.expectEnd(7, "public.t", "not this")
            #expect(try rig.confirmedFlush() <= #require(try storedPosition(rig.file)))
            try rig.awaitIDs([1, 2, 3])
            try SQLiteFile(rig.file).execute("DROP TRIGGER no")
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3, 49_999, 50_000, 50_001])
            try rig.stopDaemon()
        }

        @Test(
            "while their disk is full nothing is acknowledged; with room again everything goes on",
            .enabled(if: SinkTroubleTests.canMount)
        )
        func fullDisk() throws {
            let directory = try makeTemporaryDirectory("dbmazz-letters")
            defer { removeTree(directory) }
            try runProgram("/bin/mount", ["-t", "tmpfs", "-o", "size=64k", "none", directory])
            defer { _ = try? runProgram("/bin/umount", ["-l", directory]) }
            let rig = try Rig(Self.settings.merging(["SINK_DEAD_LETTER_URL": directory]) { $1 })
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try SQLiteFile(rig.file).execute(Self.refuse)
            try SinkTroubleTests.fill(directory + "/filler")
            try rig.insert(50_000...50_001)
            let line = try rig.awaitLog("sink waits")
            #expect(line["cause"]?.contains("No space left") == true, "\(line)")
            try rig.awaitIDs([1, 2, 3])
            unlink(directory + "/filler")
            try rig.awaitIDs([1, 2, 3, 50_001])
            #expect(try Self.list(rig.daemon) == ["pending insert id='50000'"])
            try rig.stopDaemon()
        }

        @Test("a sink without tables refuses SINK_DEAD_LETTER_URL=table")
        func noTable() throws {
            let rig = try Rig(["SINK_TYPE": "null", "SINK_DEAD_LETTER_URL": "table"])
            rig.daemon.setEnvironment("SINK_URL", nil)
            try rig.makeTable()
            try rig.expectRefusal(2, "SINK_DEAD_LETTER_URL")
        }
    }
}
