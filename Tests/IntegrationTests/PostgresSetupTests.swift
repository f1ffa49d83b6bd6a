import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("Tables at a PostgreSQL target") struct PostgresSetupTests {
        @Test("schemas, enums, domains, keys and audit columns that are missing are made")
        func creation() throws {
            let rig = try PostgresRig(["SINK_AUDIT_COLUMNS": "true"])
            try rig.rig.sql(
                "CREATE SCHEMA \"My Shop\"",
                "CREATE TYPE \"My Shop\".\"a mood\" AS ENUM ('sad', 'it''s ok')",
                "CREATE DOMAIN \"My Shop\".positive AS numeric(10, 2) NOT NULL DEFAULT 1 CHECK (VALUE > 0)",
                "CREATE DOMAIN \"My Shop\".more AS \"My Shop\".positive CHECK (VALUE > 5)",
                """
                CREATE TABLE "My Shop"."T" ("Id" int, b text, m "My Shop"."a mood", ms "My Shop"."a mood"[],
                  p "My Shop".more, PRIMARY KEY (b, "Id"))
                """,
                "INSERT INTO \"My Shop\".\"T\" VALUES (1, 'x', 'it''s ok', ARRAY['sad', NULL]::\"My Shop\".\"a mood\"[], 6)"
            )
            let streaming = try rig.rig.startStreaming()
            #expect(streaming["format"] == "binary")
            try rig.expectSame(["\"My Shop\".\"T\""], "copied")
            try rig.rig.sql(
                "INSERT INTO \"My Shop\".\"T\" SELECT i, 'y', 'sad', '{sad,sad}', i FROM generate_series(6, 100) i",
                "UPDATE \"My Shop\".\"T\" SET ms = NULL, m = 'sad' WHERE \"Id\" = 1"
            )
            try rig.rig.catchUp()
            try rig.expectSame(["\"My Shop\".\"T\""], "streamed")
            let definition = try rig.rows(
                """
                SELECT a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
                WHERE a.attrelid = '"My Shop"."T"'::regclass AND a.attnum > 0 ORDER BY a.attnum
                """
            )
            #expect(
                definition.map { $0.compactMap(\.self) } == [
                    ["Id", "integer"], ["b", "text"], ["m", "\"My Shop\".\"a mood\""],
                    ["ms", "\"My Shop\".\"a mood\"[]"],
                    ["p", "\"My Shop\".more"], ["dbmazz_op_type", "smallint"], ["dbmazz_is_deleted", "boolean"],
                    ["dbmazz_synced_at", "timestamp with time zone"], ["dbmazz_cdc_version", "text"],
                ]
            )
            let key = try rig.value(
                "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = '\"My Shop\".\"T\"'::regclass AND contype = 'p'"
            )
            #expect(key == "PRIMARY KEY (b, \"Id\")")
            let operations = try rig.rows(
                "SELECT dbmazz_op_type, count(*), bool_or(dbmazz_is_deleted), min(length(dbmazz_cdc_version)) FROM \"My Shop\".\"T\" GROUP BY 1 ORDER BY 1"
            )
            #expect(operations.map { $0.compactMap(\.self) } == [["0", "95", "f", "32"], ["1", "1", "f", "32"]])
            try rig.rig.stopDaemon()
        }

        @Test("rows that the pipeline did not write are not removed by a copy, and taken as they are without one")
        func foreignRows() throws {
            let rig = try PostgresRig()
            try rig.rig.makeTable()
            try rig.run(
                "CREATE TABLE public.t (id int PRIMARY KEY, v text)",
                "INSERT INTO public.t VALUES (1, 'v1'), (2, 'v2'), (3, 'v3')"
            )
            try rig.rig.expectRefusal(
                2,
                "public.t at the target has rows that this pipeline did not write",
                "SOURCE_SNAPSHOT=never"
            )
            #expect(try rig.value("SELECT count(*) FROM public.t") == "3")
            rig.daemon.setEnvironment("SOURCE_SNAPSHOT", "never")
            try rig.rig.startStreaming()
            try rig.rig.sql("UPDATE public.t SET v = 'two' WHERE id = 2", "DELETE FROM public.t WHERE id = 1")
            try rig.rig.catchUp()
            try rig.expectSame(["public.t"], "adopted")
            try rig.rig.stopDaemon()
        }

        @Test("audit columns are added to a table that lacks them")
        func auditColumns() throws {
            let rig = try PostgresRig(["SINK_DELETE_MODE": "soft"])
            try rig.rig.makeTable()
            try rig.run("CREATE TABLE public.t (id int PRIMARY KEY, v text)")
            try rig.rig.startStreaming()
            try rig.rig.sql("DELETE FROM public.t WHERE id = 2")
            try rig.rig.catchUp()
            let rows = try rig.rows("SELECT id, dbmazz_op_type, dbmazz_is_deleted FROM public.t ORDER BY id").map {
                $0.compactMap(\.self)
            }
            #expect(rows == [["1", "0", "f"], ["2", "2", "t"], ["3", "0", "f"]])
            try rig.rig.stopDaemon()
            // Without its mark a deleted row would live again.
            rig.daemon.setEnvironment("SINK_DELETE_MODE", "hard")
            rig.daemon.setEnvironment("SINK_AUDIT_COLUMNS", "false")
            try rig.rig.expectRefusal(6, "marks deleted rows, and SINK_AUDIT_COLUMNS is false")
        }

        @Test(
            "what is written carries the pipeline's origin, so that a reader of the target can leave it out"
        )
        func origin() throws {
            let rig = try PostgresRig()
            try rig.rig.makeTable()
            try rig.rig.startStreaming()
            try rig.rig.insert(10...12)
            try rig.rig.catchUp()
            // What is written here carries the pipeline's origin: a reader of the target can leave it out.
            let origins = try rig.rows("SELECT roname FROM pg_replication_origin").compactMap { $0[0] }
            #expect(origins.count == 1 && origins[0].hasPrefix("dbmazz_"))
            try rig.run("SELECT pg_create_logical_replication_slot('look', 'test_decoding')")
            try rig.rig.insert(13...13)
            try rig.rig.catchUp()
            let all = try rig.rows(
                "SELECT data FROM pg_logical_slot_peek_changes('look', NULL, NULL) WHERE data LIKE '%public.t:%'"
            )
            let local = try rig.rows(
                "SELECT data FROM pg_logical_slot_peek_changes('look', NULL, NULL, 'only-local', '1') WHERE data LIKE '%public.t:%'"
            )
            #expect(all.count == 1 && local.isEmpty)
            try rig.rig.stopDaemon()
        }
    }
}
