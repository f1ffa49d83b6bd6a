import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("Tables at a ClickHouse target") struct ClickHouseSetupTests {
        private static let audit =
            "dbmazz_op_type UInt8, dbmazz_is_deleted UInt8, dbmazz_synced_at DateTime64(3, 'UTC') DEFAULT now64(3), "
            + "dbmazz_cdc_version UInt128"

        @Test(
            "that cannot keep the promises are refused, each with why",
            arguments: [
                ("MergeTree ORDER BY id", "no ReplacingMergeTree"),
                ("ReplacingMergeTree ORDER BY id", "does not choose rows by dbmazz_cdc_version"),
                ("ReplacingMergeTree(dbmazz_cdc_version) ORDER BY id", "does not know deleted rows"),
                (
                    "ReplacingMergeTree(dbmazz_cdc_version, dbmazz_is_deleted) ORDER BY (id, dbmazz_op_type)",
                    "instead of (id)"
                ),
                (
                    "ReplacingMergeTree(dbmazz_cdc_version, dbmazz_is_deleted) ORDER BY id PARTITION BY id % 8",
                    "is partitioned by"
                ),
            ]
        )
        func refused(engine: String, why: String) throws {
            let rig = try ClickHouseRig()
            try rig.rig.makeTable()
            try rig.client.query("CREATE TABLE t (id Int32, v Nullable(String), \(Self.audit)) ENGINE = \(engine)")
            try rig.rig.expectRefusal(6, why)
            #expect(try rig.value("SELECT count() FROM t") == "0")
        }

        @Test("that are there are taken: text holds every value, more columns have their defaults")
        func adopted() throws {
            let rig = try ClickHouseRig()
            try rig.rig.sql(
                "CREATE TABLE public.t(id bigint PRIMARY KEY, d date, n numeric(5,2) NOT NULL)",
                "INSERT INTO public.t VALUES (1, 'infinity', 'NaN'), (2, NULL, 1.5)"
            )
            try rig.client.query(
                "CREATE TABLE t (id Int64, d Nullable(String), n String, more UInt8 DEFAULT id % 2, \(Self.audit)) ENGINE = "
                    + "ReplacingMergeTree(dbmazz_cdc_version, dbmazz_is_deleted) ORDER BY id"
            )
            try rig.rig.startStreaming()
            try rig.rig.sql(
                "INSERT INTO public.t VALUES (3, '0044-03-15 BC', -0.01)",
                "DELETE FROM public.t WHERE id = 2"
            )
            try rig.rig.catchUp()
            try rig.awaitIDs([1, 3])
            #expect(
                try rig.client.query("SELECT d, n, more FROM t FINAL ORDER BY id") == [
                    ["infinity", "NaN", "1"], ["0044-03-15 BC", "-0.01", "1"],
                ]
            )
            // It was not made with fsync.
            let warning = rig.daemon.logLines().first { $0.event == "target" }?["warning"] ?? ""
            #expect(warning.contains("MODIFY SETTING"), "\(rig.daemon.logTail())")
            try rig.rig.stopDaemon()
        }

        @Test("a new column stops the daemon with its statement; once it was run, nothing is lost")
        func newColumn() throws {
            let rig = try ClickHouseRig()
            try rig.rig.makeTable()
            try rig.rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.rig.sql("ALTER TABLE public.t ADD COLUMN w int", "INSERT INTO public.t VALUES (4, 'v4', 44)")
            rig.rig.expectEnd(6)
            let error = try rig.rig.expectRefusal(6, "column \"w\" is missing")
            let begin = try #require(error.firstRange(of: "ALTER TABLE"))
            let statement = error[begin.lowerBound...].prefix { $0 != ";" }
            try rig.client.query(String(statement))
            try rig.rig.startStreaming()
            try rig.rig.catchUp()
            try rig.awaitIDs([1, 2, 3, 4])
            #expect(try rig.value("SELECT w FROM t FINAL WHERE id = 4") == "44")
            try rig.rig.stopDaemon()
        }

        @Test("need of a user what the README grants, and no more", arguments: ["hard", "soft"])
        func privileges(deleteMode: String) throws {
            let readme = try #require(readText(Repository.path("Sources/Sinks/ClickHouse/README.md")))
            let line = try #require(readme.split(separator: "\n").first { $0.hasPrefix("GRANT ") })
            let granted = String(line.prefix(upTo: try #require(line.firstRange(of: " TO ")).lowerBound))
            // The front has bodies in files, and the test makes the database.
            let rig = try ClickHouseRig(
                [
                    "SINK_PIPELINE": "p", "SINK_DELETE_MODE": deleteMode, "SINK_ON_ERROR": "dead-letter",
                    "SINK_DEAD_LETTER_URL": "table",
                ],
                database: "shop",
                grants: [granted, "GRANT CREATE DATABASE, FILE ON *.*"]
            )
            let isHard = deleteMode == "hard"
            try rig.client.query(
                "CREATE TABLE t (id Int32, v Nullable(String), \(Self.audit), CONSTRAINT not_this CHECK id != 7) ENGINE = "
                    + "ReplacingMergeTree(dbmazz_cdc_version\(isHard ? ", dbmazz_is_deleted" : "")) ORDER BY id"
            )
            try rig.rig.makeTable()
            try rig.rig.sql("CREATE TABLE public.made(id int PRIMARY KEY)", "INSERT INTO public.made VALUES (1)")
            try rig.rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            // Searched for by rehearsals, and put into a table of its own.
            try rig.rig.insert(4...20)
            try rig.rig.catchUp()
            #expect(try DeadLetterTests.list(rig.daemon) == ["pending insert id='7'"])
            try rig.rig.sql(
                "UPDATE public.t SET v = 'new' WHERE id = 4",
                "DELETE FROM public.t WHERE id = 5",
                "TRUNCATE public.t",
                "INSERT INTO public.t VALUES (21, 'after')"
            )
            try rig.rig.catchUp()
            try rig.awaitValue("SELECT arrayStringConcat(groupArray(id), ',') FROM t_current", "21")
            try rig.awaitValue("SELECT id FROM made_current", "1")
            // What a truncate that is ended after a restart does, where newer rows are there.
            try rig.client.query("ALTER TABLE t DELETE WHERE id = 1 SETTINGS mutations_sync = 2")
            #expect(throws: (any Error).self) { try rig.client.query("ALTER TABLE t ADD COLUMN w Int32") }
            try rig.rig.stopDaemon()
        }

        @Test("with rows of somebody else, and those of another pipeline, are left alone")
        func foreign() throws {
            let rig = try ClickHouseRig()
            try rig.rig.makeTable()
            try rig.rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.rig.stopDaemon()
            rig.daemon.setEnvironment("SINK_PIPELINE", "other")
            try rig.rig.expectRefusal(2, "belongs to pipeline")
            try rig.client.query("TRUNCATE TABLE dbmazz_table")
            try rig.rig.expectRefusal(6, "has rows that this pipeline did not write")
            try rig.awaitIDs([1, 2, 3])
        }
    }
}
