import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("Dead letters of a StarRocks target") struct StarRocksDeadLetterTests {
        private static let audit =
            "dbmazz_op_type TINYINT NULL, dbmazz_is_deleted BOOLEAN NULL, dbmazz_synced_at DATETIME NULL, "
            + "dbmazz_cdc_version LARGEINT NULL"

        /// Expects that nothing the daemon wrote, in any run, has any of these texts.
        private func expectNowhere(_ texts: [String], _ daemon: Daemon) {
            for run in 1...daemon.runs {
                let log = readText("\(daemon.directory)/stderr.\(run).log") ?? ""
                for text in texts { #expect(!log.contains(text), "run \(run) tells \(text)") }
            }
        }

        private static let values = ["geheim!", "98765.43", "kkkkkkkk"]

        /// One too long text, one decimal out of range and one long key in the middle of others.
        private func insertBad(_ rig: StarRocksRig) throws {
            try rig.rig.sql(
                """
                INSERT INTO public.t
                SELECT i, CASE i WHEN 1000 THEN 'geheim!' ELSE 'v' || i % 100 END, CASE i WHEN 2000 THEN 98765.43 ELSE 1.5 END
                FROM generate_series(1, 3000) i;
                INSERT INTO public.k
                SELECT CASE i WHEN 700 THEN repeat('k', 129) ELSE 'key' || i END, i FROM generate_series(1, 1000) i
                """
            )
        }

        private func madeRig(_ environment: [String: String], version: String = "3.3.5") throws -> StarRocksRig {
            let rig = try StarRocksRig(
                environment.merging(["SINK_PIPELINE": "p"]) { $1 },
                server: .started(version: version)
            )
            try rig.rig.sql(
                "CREATE TABLE public.t (id int PRIMARY KEY, v text, n numeric(10,2))",
                "CREATE TABLE public.k (id text PRIMARY KEY, n int)"
            )
            _ = try rig.query(
                "CREATE TABLE t (id INT NOT NULL, v VARCHAR(5) NULL, n DECIMAL(4,2) NULL, \(Self.audit)) PRIMARY KEY (id)"
            )
            return rig
        }

        @Test("the others arrive, letters have the server's words without values, and replay once the columns are wide")
        func letters() throws {
            let rig = try madeRig(["SINK_ON_ERROR": "dead-letter"])
            try rig.rig.startStreaming()
            let warnings = rig.daemon.logLines().filter { $0.event == "target" }.compactMap { $0["warning"] }
            #expect(warnings.contains { $0.contains("column \"v\" is varchar(5)") }, "\(warnings)")
            #expect(warnings.contains { $0.contains("column \"n\" is decimal") }, "\(warnings)")
            try insertBad(rig)
            try rig.rig.catchUp(within: .seconds(60))
            #expect(try rig.query("SELECT count(*), sum(id) FROM t") == [["2998", "4498500"]])
            #expect(try rig.query("SELECT count(*), sum(n) FROM k") == [["999", "499800"]])
            let list = try rig.daemon.command("dlq", "list").output
            let lines = list.split(separator: "\n").dropFirst()
            // The ordinal is the place in the transaction; the cause has the server's words, and not the value.
            func expectLetter(_ parts: String..., sourceLocation: SourceLocation = #_sourceLocation) {
                let isThere = lines.contains { line in parts.allSatisfy { line.contains($0) } }
                #expect(isThere, "\(parts) is not in \(list)", sourceLocation: sourceLocation)
            }
            #expect(lines.count == 3, "\(list)")
            expectLetter(" 1000 ", "public.t", "id='1000'", "name = v", "Type: VARCHAR(5), Value length: 7")
            expectLetter(" 2000 ", "public.t", "id='2000'", "Decimal '***' is out of range. The type of 'n'")
            expectLetter(" 3700 ", "public.k", "id='kkkkkk", "primary key size exceed the limit")
            #expect(!list.contains("geheim!") && !list.contains("98765.43"), "\(list)")
            let shown = try rig.daemon.command("dlq", "show", "1")
            #expect(shown.output.contains("geheim!") && shown.output.contains("change 1000 of"), "\(shown.output)")
            // What follows in the row follows it, and what is newer by then stays.
            try rig.rig.sql("UPDATE public.t SET v = 'later' WHERE id IN (5, 1000)")
            try rig.rig.catchUp()
            #expect(try DeadLetterTests.list(rig.daemon).contains("pending update id='1000'"))
            #expect(try rig.query("SELECT v FROM t WHERE id = 5") == [["later"]])
            try rig.rig.stopDaemon()
            try DeadLetterTests.replay(rig.daemon, 7, "StarRocks says")
            _ = try rig.query("ALTER TABLE t MODIFY COLUMN v VARCHAR(100) NULL")
            #expect(
                eventually(within: .seconds(10)) {
                    (try? rig.target.columnTypes(of: "t", database: "copy")["v"]) == "varchar(100)"
                }
            )
            _ = try rig.query("ALTER TABLE t MODIFY COLUMN n DECIMAL(10,2) NULL")
            #expect(
                eventually(within: .seconds(10)) {
                    (try? rig.target.columnTypes(of: "t", database: "copy")["n"])?.hasPrefix("decimal(10") == true
                }
            )
            _ = try rig.query(
                "INSERT INTO t VALUES (2000, 'new', 2.5, 1, false, '2024-01-01 00:00:00', 170141183460469231731687303715884105727)"
            )
            let result = try rig.daemon.command("dlq", "replay", "--table", "public.t", "--all")
            #expect(result.status == .exited(0) && result.error.contains("3 replayed"), "\(result.error)")
            #expect(try rig.query("SELECT v, n FROM t WHERE id = 1000") == [["later", "1.50"]])
            #expect(try rig.query("SELECT v FROM t WHERE id = 2000") == [["new"]], "a newer row is undone")
            try DeadLetterTests.replay(rig.daemon, 7, "primary key size exceed")
            try rig.rig.startStreaming()
            try rig.rig.stopDaemon()
            expectNowhere(Self.values, rig.daemon)
            try rig.expectNoViolation()
        }

        @Test("are found where a transaction tells of them at its commit")
        func transactions() throws {
            let rig = try madeRig(
                ["SINK_ON_ERROR": "dead-letter", "SINK_STARROCKS_TRANSACTIONS": "on"],
                version: "4.0.1"
            )
            try rig.rig.startStreaming()
            try insertBad(rig)
            try rig.rig.catchUp(within: .seconds(60))
            #expect(try rig.query("SELECT count(*), sum(id) FROM t") == [["2998", "4498500"]])
            #expect(try rig.query("SELECT count(*), sum(n) FROM k") == [["999", "499800"]])
            let list = try rig.daemon.command("dlq", "list").output
            #expect(list.split(separator: "\n").count == 4, "\(list)")
            let commits = try rig.target.log().filter { $0.kind == "transaction" }
            #expect(!commits.isEmpty)
            try rig.rig.stopDaemon()
            expectNowhere(Self.values, rig.daemon)
            try rig.expectNoViolation()
        }

        @Test("with SINK_ON_ERROR=stop the daemon ends with 7, tells no value, and acknowledges nothing beyond")
        func stops() throws {
            let rig = try madeRig([:])
            try rig.rig.startStreaming()
            try rig.rig.catchUp()
            let before = try #require(try rig.rig.source("SELECT pg_current_wal_lsn()").flatMap(parseLSN))
            try insertBad(rig)
            rig.rig.expectEnd(7, "public.t", "StarRocks says: too many filtered rows", "name = v")
            #expect(try rig.rig.confirmedFlush() <= before + 4096)
            #expect(try rig.position() ?? 0 <= before + 4096)
            let errors = rig.daemon.logLines().last { $0.event == "ended" }
            expectNowhere(Self.values, rig.daemon)
            #expect(errors != nil)
        }

        @Test("in the target's own table, also a letter longer than a column may be")
        func table() throws {
            let rig = try madeRig(["SINK_ON_ERROR": "dead-letter", "SINK_DEAD_LETTER_URL": "table"])
            try rig.rig.sql("CREATE TABLE public.long (id int PRIMARY KEY, v text)")
            try rig.rig.startStreaming()
            try rig.rig.sql(
                "INSERT INTO public.long SELECT i, CASE i WHEN 7 THEN repeat('ä', 600000) ELSE 'v' END FROM generate_series(1, 8) i"
            )
            try rig.rig.catchUp(within: .seconds(60))
            #expect(try rig.query("SELECT count(*) FROM `long`") == [["7"]])
            #expect(try DeadLetterTests.list(rig.daemon).count == 1)
            let pieces = try rig.query(
                "SELECT number, count(*) FROM dbmazz_dead_letter GROUP BY number ORDER BY number"
            )
            #expect(pieces.count == 1 && Int(pieces[0][1] ?? "") ?? 0 > 1, "\(pieces)")
            try rig.rig.stopDaemon()
            let shown = try rig.daemon.command("dlq", "show", "1")
            #expect(shown.output.contains(String(repeating: "ä", count: 600_000)), "\(shown.output.prefix(300))")
            // A restart reads them.
            try rig.rig.startStreaming()
            try rig.rig.sql("UPDATE public.long SET v = 'short' WHERE id = 7")
            try rig.rig.catchUp()
            #expect(try DeadLetterTests.list(rig.daemon).last == "pending update id='7'")
            try rig.rig.stopDaemon()
            try rig.expectNoViolation()
        }

        @Test("copied rows of a table without a key replay beside each other, equal ones too")
        func keyless() throws {
            let rig = try StarRocksRig(["SINK_ON_ERROR": "dead-letter", "SINK_PIPELINE": "p"])
            try rig.rig.sql(
                "CREATE TABLE public.k (v text)",
                "ALTER TABLE public.k REPLICA IDENTITY FULL",
                "INSERT INTO public.k VALUES ('fits'), ('does not'), ('does not'), ('neither'), ('fits')"
            )
            _ = try rig.query(
                "CREATE TABLE k (dbmazz_row_id LARGEINT NOT NULL, v VARCHAR(5) NULL, dbmazz_row_hash LARGEINT NULL, "
                    + "\(Self.audit)) PRIMARY KEY (dbmazz_row_id)"
            )
            try rig.rig.startStreaming()
            #expect(try rig.query("SELECT v FROM k") == [["fits"], ["fits"]])
            try rig.rig.sql("INSERT INTO public.k VALUES ('new'), ('does not')")
            try rig.rig.catchUp()
            #expect(try DeadLetterTests.list(rig.daemon).count == 4)
            try rig.rig.stopDaemon()
            _ = try rig.query("ALTER TABLE k MODIFY COLUMN v VARCHAR(50) NULL")
            let isWide = eventually(within: .seconds(10)) {
                (try? rig.target.columnTypes(of: "k", database: "copy")["v"]) == "varchar(50)"
            }
            #expect(isWide)
            try DeadLetterTests.replay(rig.daemon, 0, "4 replayed")
            try rig.expectSame(["public.k"], "after the replay")
            try rig.rig.startStreaming()
            try rig.rig.sql(
                "DELETE FROM public.k WHERE v = 'does not'",
                "UPDATE public.k SET v = 'other' WHERE v = 'neither'"
            )
            try rig.rig.catchUp()
            try rig.expectSame(["public.k"], "changed after the replay")
            try rig.rig.stopDaemon()
            try rig.expectNoViolation()
        }

        @Test(
            "values that StarRocks has no form for are nulls, the nearest, or text, as the policy says",
            arguments: ["null", "clamp", "text"]
        )
        func policies(policy: String) throws {
            let rig = try StarRocksRig(["SINK_ON_UNREPRESENTABLE": policy, "SINK_ON_ERROR": "dead-letter"])
            try rig.rig.sql(
                "CREATE TABLE public.p (id int PRIMARY KEY, d date, t timestamp, z timestamptz, f float8, n numeric(6,2))",
                "INSERT INTO public.p VALUES (1, 'infinity', '-infinity', '10000-01-01 00:00:00+00', NULL, NULL)"
            )
            try rig.rig.startStreaming()
            try rig.rig.sql(
                "INSERT INTO public.p VALUES (2, '0044-03-15 BC', 'infinity', '-infinity', NULL, NULL)",
                "INSERT INTO public.p VALUES (3, '0001-01-01', '9999-12-31 23:59:59.999999', '0001-01-01 00:00:00+00', 'NaN', 'NaN')",
                "INSERT INTO public.p VALUES (4, NULL, NULL, NULL, '-Infinity', 1.25)"
            )
            try rig.rig.catchUp()
            let rows = try rig.query("SELECT id, d, t, z, f, n FROM p ORDER BY id")
            let letters = try DeadLetterTests.list(rig.daemon)
            let edges: [String?] = ["3", "0001-01-01", "9999-12-31 23:59:59.999999", "0001-01-01 00:00:00"]
            switch policy {
            case "null":
                #expect(letters == [])
                #expect(
                    rows == [
                        ["1", nil, nil, nil, nil, nil], ["2", nil, nil, nil, nil, nil], edges + [nil, nil],
                        ["4", nil, nil, nil, nil, "1.25"],
                    ]
                )
            case "clamp":
                // There is no nearest number.
                #expect(letters == ["pending insert id='3'", "pending insert id='4'"])
                #expect(
                    rows == [
                        ["1", "9999-12-31", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999", nil, nil],
                        ["2", "0001-01-01", "9999-12-31 23:59:59.999999", "0001-01-01 00:00:00", nil, nil],
                    ]
                )
            default:
                #expect(letters == [])
                try rig.expectSame(["public.p"], "text")
            }
            try rig.rig.stopDaemon()
            try rig.expectNoViolation()
        }
    }
}
