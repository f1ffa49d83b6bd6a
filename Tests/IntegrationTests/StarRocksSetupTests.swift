import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("Tables at a StarRocks target") struct StarRocksSetupTests {
        static let audit =
            "dbmazz_op_type TINYINT NULL, dbmazz_is_deleted BOOLEAN NULL, dbmazz_synced_at DATETIME NULL, "
            + "dbmazz_cdc_version LARGEINT NULL"

        @Test(
            "are made as primary-key tables, with the properties that the server's version knows",
            arguments: ["3.1.5", "3.3.5"]
        )
        func made(version: String) throws {
            let rig = try StarRocksRig(
                ["SINK_STARROCKS_REPLICATION_NUM": "3"],
                server: StarRocksServer.started(version: version)
            )
            try rig.rig.sql(
                "CREATE TABLE public.t (v text, b int, a uuid, n numeric(10,2), PRIMARY KEY (a, b))",
                "CREATE TABLE public.k (v bytea)",
                "ALTER TABLE public.k REPLICA IDENTITY FULL"
            )
            try rig.rig.startStreaming()
            try rig.rig.sql(
                "INSERT INTO public.t VALUES ('x', 1, gen_random_uuid(), 1.5)",
                "INSERT INTO public.k VALUES ('\\x00')"
            )
            try rig.rig.catchUp()
            try rig.expectSame(["public.t", "public.k"], "made")
            let isFast = version.hasPrefix("3.3")
            for (table, key) in [
                ("t", "`a`, `b`"), ("k", "`dbmazz_row_id`"), ("dbmazz_position", "`pipeline_id`, `revision`"),
            ] {
                let made = try rig.query("SHOW CREATE TABLE \(table)").first?[1] ?? ""
                #expect(made.contains("PRIMARY KEY(\(key))"), "\(made)")
                #expect(
                    made.contains("\"replication_num\" = \"3\"")
                        && made.contains("\"enable_persistent_index\" = \"true\""),
                    "\(made)"
                )
                #expect(made.contains("\"fast_schema_evolution\"") == isFast, "\(made)")
            }
            let columns = try rig.query(
                "SELECT COLUMN_NAME, IS_NULLABLE FROM information_schema.columns WHERE TABLE_SCHEMA = 'copy' AND TABLE_NAME = 't' "
                    + "ORDER BY ORDINAL_POSITION"
            )
            // The key's columns first, and all others may be NULL: a delete carries the key alone.
            #expect(columns.prefix(4) == [["a", "NO"], ["b", "NO"], ["v", "YES"], ["n", "YES"]], "\(columns)")
            #expect(columns.dropFirst(2).allSatisfy { $0[1] == "YES" }, "\(columns)")
            try rig.rig.stopDaemon()
            try rig.expectNoViolation()
        }

        /// A table for a source of `(id int, v text)`, and why it is refused; empty for one that is taken.
        static let others: [(table: String, why: [String])] = [
            (
                "(id INT NOT NULL, v STRING NULL, \(audit)) DUPLICATE KEY (id)",
                ["DUP_KEYS, no primary-key table", "rename it"]
            ),
            (
                "(v VARCHAR(20) NOT NULL, id INT NULL, \(audit)) PRIMARY KEY (v)",
                ["its primary key is (v) instead of (id)"]
            ),
            (
                "(id INT NOT NULL, v STRING NOT NULL, \(audit)) PRIMARY KEY (id)",
                ["column \"v\" is NOT NULL", "MODIFY COLUMN `v`"]
            ),
            (
                "(id INT NOT NULL, v INT NULL, \(audit)) PRIMARY KEY (id)",
                ["column \"v\" is int", "instead of VARCHAR(1048576)"]
            ),
            (
                "(id SMALLINT NOT NULL, v STRING NULL, \(audit)) PRIMARY KEY (id)",
                ["column \"id\" is smallint", "DROP TABLE"]
            ),
            (
                "(id INT NOT NULL, v STRING NULL, w INT NULL, \(audit)) PRIMARY KEY (id)",
                ["column \"w\" is not in the source", "DROP COLUMN `w`"]
            ),
            (
                "(id INT NOT NULL, v STRING NULL, \(audit.replacing("LARGEINT", with: "BIGINT"))) PRIMARY KEY (id)",
                ["column \"dbmazz_cdc_version\" is bigint"]
            ),
        ]

        @Test(
            "that cannot keep the promises are refused, each with why; views and rows of somebody else are left alone"
        )
        func refused() throws {
            let rig = try StarRocksRig()
            try rig.rig.makeTable()
            for (table, why) in Self.others {
                _ = try rig.query("CREATE TABLE t \(table)")
                let validated = try rig.daemon.command("validate")
                #expect(validated.status == .exited(6), "\(table): \(validated)")
                let error = try rig.rig.expectRefusal(6)
                for text in why {
                    #expect(error.contains(text), "\(text) is not in \(error)")
                    #expect(validated.output.contains(text), "\(text) is not in \(validated)")
                }
                #expect(try rig.query("SELECT count(*) FROM t") == [["0"]])
                _ = try rig.query("DROP TABLE t")
            }
            _ = try rig.query("CREATE TABLE base (id INT NOT NULL) PRIMARY KEY (id)")
            _ = try rig.query("CREATE VIEW t AS SELECT id FROM base")
            try rig.rig.expectRefusal(6, "is no table")
            _ = try rig.query("DROP VIEW t")
            _ = try rig.query("CREATE TABLE t (id INT NOT NULL, v STRING NULL, \(Self.audit)) PRIMARY KEY (id)")
            _ = try rig.query("INSERT INTO t (id, v) VALUES (77, 'mine')")
            try rig.rig.expectRefusal(6, "has rows that this pipeline did not write")
            #expect(try rig.query("SELECT id, v FROM t") == [["77", "mine"]])
            // Nothing was made, and no slot holds WAL.
            #expect(
                try rig.query(
                    "SELECT TABLE_NAME FROM information_schema.tables WHERE TABLE_SCHEMA = 'copy' AND TABLE_NAME LIKE 'dbmazz%'"
                ) == []
            )
            #expect(try rig.rig.slots() == [])
            _ = try rig.query("DELETE FROM t WHERE id = 77")
            try rig.rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.rig.stopDaemon()
            rig.daemon.setEnvironment("SINK_PIPELINE", "other")
            try rig.rig.expectRefusal(2, "belongs to pipeline")
            rig.daemon.setEnvironment("SINK_PIPELINE", nil)
            _ = try rig.query("DROP TABLE t")
            try rig.rig.expectRefusal(6, "table \"t\", which was copied, is gone", "DELETE FROM `copy`.`dbmazz_table`")
        }

        @Test(
            "columns that are missing are added, at once or by a job; a job that was cancelled does not count for ever",
            arguments: ["3.1.5", "3.3.5"]
        )
        func newColumns(version: String) throws {
            let rig = try StarRocksRig(server: StarRocksServer.started(version: version))
            try rig.rig.makeTable()
            try rig.rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.target.control("POST", "/settings", "{\"alter_seconds\": 5}")
            try rig.rig.sql(
                "ALTER TABLE public.t ADD COLUMN w int, ADD COLUMN \"Wé`x\" date",
                "INSERT INTO public.t VALUES (4, 'v4', 44, '2024-02-29')"
            )
            if version.hasPrefix("3.1") {
                func awaitJobs(_ count: Int) {
                    let jobs = "SHOW ALTER TABLE COLUMN"
                    #expect(eventually(within: .seconds(10)) { (try? rig.query(jobs))?.count == count })
                }
                let cancel = "CANCEL ALTER TABLE COLUMN FROM t"
                // Killed in the middle of the job, the daemon waits for its end, whatever that is.
                awaitJobs(1)
                rig.daemon.killAndWait()
                let validated = try rig.daemon.command("validate")
                #expect(validated.output.contains("ADD COLUMN (`w` INT NULL"), "\(validated)")
                try rig.daemon.start()
                try rig.rig.awaitLog("start decided")
                _ = try rig.query(cancel)
                awaitJobs(2)
                _ = try rig.query(cancel)
                rig.rig.expectEnd(2, "StarRocks cancelled it: user cancelled")
                try rig.target.control("POST", "/settings", "{\"alter_seconds\": 1}")
                try rig.rig.startStreaming()
            }
            try rig.rig.catchUp()
            try rig.awaitIDs([1, 2, 3, 4])
            try rig.expectSame(["public.t"], "with the columns")
            try rig.rig.stopDaemon()
            try rig.expectNoViolation()
        }

        @Test("whose names do not go together are told, all at once")
        func names() throws {
            let rig = try StarRocksRig()
            try rig.rig.sql(
                "CREATE SCHEMA other",
                "CREATE TABLE public.one (id int PRIMARY KEY, v int, \"V\" int)",
                "CREATE TABLE public.two (id int PRIMARY KEY, __op int)",
                "CREATE TABLE public.three (id int PRIMARY KEY, \"dbmazz_OP_type\" int)",
                "CREATE TABLE public.four (id int PRIMARY KEY, \"a\tb\" int)",
                "CREATE TABLE other.four (id int PRIMARY KEY)"
            )
            rig.daemon.setEnvironment("SINK_TABLE_NAME", "{table}")
            rig.daemon.setEnvironment(
                "SOURCE_TABLES",
                "public.one,public.two,public.three,public.four,other.four"
            )
            let error = try rig.rig.expectRefusal(2)
            for text in [
                "columns \"v\" and \"V\" have one name", "column \"__op\" has a name that the sink needs",
                "column \"dbmazz_OP_type\" has a name", "control character", "has the name \"four\" at the sink, too",
            ] { #expect(error.contains(text), "\(text) is not in \(error)") }
            #expect(try rig.query("SELECT TABLE_NAME FROM information_schema.tables WHERE TABLE_SCHEMA = 'copy'") == [])
        }

        @Test("plan and validate change nothing")
        func looking() throws {
            let rig = try StarRocksRig()
            try rig.rig.makeTable()
            let validated = try rig.daemon.command("validate")
            #expect(validated.status == .exited(0), "\(validated)")
            for text in ["id", "integer -> INT", "text -> VARCHAR(1048576)", "will run: CREATE TABLE IF NOT EXISTS"] {
                #expect(validated.output.contains(text), "\(text) is not in \(validated)")
            }
            let log = try rig.target.log()
            #expect(!log.contains { $0.kind == "load" || $0.kind == "transaction" || $0.kind == "redirect" }, "\(log)")
            #expect(
                log.filter { $0.kind == "sql" }.allSatisfy {
                    ["SELECT", "SET", "SYNC"].contains(where: $0.sql.hasPrefix)
                },
                "\(log)"
            )
            #expect(try rig.query("SELECT TABLE_NAME FROM information_schema.tables WHERE TABLE_SCHEMA = 'copy'") == [])
        }
    }
}
