import TestSupport
import Testing

extension Integration {
    @Suite("Tables that a PostgreSQL target has, and those it lacks") struct PostgresAdoptionTests {
        // MARK: What is made

        @Test("makes schemas, enums, domains and tables with their keys, and text where the target lacks a type")
        func makesWhatIsMissing() throws {
            let rig = try PostgresRig()
            try rig.rig.sql(
                "CREATE SCHEMA \"Odd schema\"",
                "CREATE SCHEMA types",
                "CREATE TYPE types.\"Mood\" AS ENUM ('sad', 'it''s', '')",
                "CREATE DOMAIN types.small AS int4 CHECK (VALUE < 100)",
                "CREATE DOMAIN types.mood_or_not AS types.\"Mood\" NOT NULL",
                "CREATE TYPE types.pair AS (a int4, b text)",
                "CREATE TYPE types.span AS RANGE (subtype = text)",
                """
                CREATE TABLE "Odd schema"."T ""1" ("b B" text, a types.small, m types."Mood", ms types."Mood"[],
                  dm types.mood_or_not DEFAULT 'sad', p types.pair, s types.span, vc varchar(7), n numeric(6, 2),
                  ts timestamp(3), g int4 GENERATED ALWAYS AS (1) STORED, PRIMARY KEY ("b B", a))
                """,
                "CREATE TABLE public.bag (n int4, t text)",
                "ALTER TABLE public.bag REPLICA IDENTITY FULL",
                "CREATE TABLE public.by_index (x text NOT NULL, id int4 PRIMARY KEY)",
                "CREATE UNIQUE INDEX identity ON public.by_index (x)",
                "ALTER TABLE public.by_index REPLICA IDENTITY USING INDEX identity"
            )
            let insert = """
                INSERT INTO "Odd schema"."T ""1" VALUES ('k', %, 'it''s', '{sad,""}', '', ROW(1, 'x'), '[a,b)', 'seven', 1.5,
                  '2024-02-29 12:34:56.789')
                """
            try rig.rig.sql(insert.replacing("%", with: "1"), "INSERT INTO public.bag VALUES (1, 'x'), (1, 'x')")
            try rig.rig.startStreaming()
            try rig.rig.sql(
                insert.replacing("%", with: "2"),
                "UPDATE \"Odd schema\".\"T \"\"1\" SET a = 3 WHERE a = 1",
                "DELETE FROM public.bag WHERE ctid = '(0,1)'",
                "INSERT INTO public.by_index VALUES ('x', 1)",
                "UPDATE public.by_index SET x = 'y'"
            )
            try rig.rig.catchUp()
            try rig.expectSame(["\"Odd schema\".\"T \"\"1\"", "public.bag", "public.by_index"], "streamed")
            let columns = try rig.rows(
                "SELECT attname || ' ' || format_type(atttypid, atttypmod) FROM pg_attribute "
                    + "WHERE attrelid = '\"Odd schema\".\"T \"\"1\"'::regclass AND attnum > 0 ORDER BY attnum"
            ).map { $0[0] ?? "" }
            #expect(
                columns == [
                    "b B text", "a types.small", "m types.\"Mood\"", "ms types.\"Mood\"[]", "dm types.mood_or_not",
                    "p text", "s text", "vc character varying(7)", "n numeric(6,2)",
                    "ts timestamp(3) without time zone",
                ]
            )
            let key =
                "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'p' AND conrelid = '%'::regclass"
            #expect(
                try rig.value(key.replacing("%", with: "\"Odd schema\".\"T \"\"1\"")) == "PRIMARY KEY (\"b B\", a)"
            )
            #expect(try rig.value(key.replacing("%", with: "public.by_index")) == "PRIMARY KEY (x)")
            #expect(try rig.value(key.replacing("%", with: "public.bag")) == nil)
            try rig.rig.stopDaemon()
        }

        @Test("keeps two tables of one name apart by their schemas, or names them by SINK_SCHEMA and SINK_TABLE_NAME")
        func names() throws {
            let rig = try PostgresRig()
            try rig.rig.makeTable()
            try rig.rig.sql(
                "CREATE SCHEMA other",
                "CREATE TABLE other.t (id int4 PRIMARY KEY)",
                "INSERT INTO other.t VALUES (70)"
            )
            try rig.rig.startStreaming()
            try rig.expectSame(["public.t", "other.t"], "kept")
            try rig.rig.stopDaemon()
            rig.daemon.setEnvironment("SOURCE_SLOT_NAME", "dbmazz_other")
            rig.daemon.setEnvironment("SINK_SCHEMA", "replica")
            try rig.rig.startStreaming()
            #expect(try rig.value("SELECT count(*) FROM replica.t") == "3")
            #expect(try rig.value("SELECT id FROM replica.other_t") == "70")
            try rig.rig.stopDaemon()
            // Names that are one, or too long, are told and nothing is made.
            rig.daemon.setEnvironment("SOURCE_SLOT_NAME", "dbmazz_third")
            rig.daemon.setEnvironment("SINK_SCHEMA", "third")
            rig.daemon.setEnvironment("SINK_TABLE_NAME", "{table}")
            try rig.rig.expectRefusal(2, "public.t", "other.t", "SINK_TABLE_NAME")
            let long = String(repeating: "n", count: 62)
            rig.daemon.setEnvironment("SINK_TABLE_NAME", "{schema}_{table}_" + long)
            try rig.rig.expectRefusal(2, "public.t", "other.t", "63 bytes", "SINK_TABLE_NAME")
            #expect(try rig.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'third'") == "0")
        }

        @Test("adds audit columns to a table that is there, and fills them", arguments: ["hard", "soft"])
        func auditColumns(mode: String) throws {
            let rig = try PostgresRig(["SINK_AUDIT_COLUMNS": "true", "SINK_DELETE_MODE": mode])
            try rig.rig.makeTable()
            try rig.run("CREATE TABLE public.t (v text, id int4 PRIMARY KEY)")
            try rig.rig.startStreaming()
            try rig.rig.sql(
                "UPDATE public.t SET v = 'two' WHERE id = 2",
                "DELETE FROM public.t WHERE id = 3",
                "INSERT INTO public.t VALUES (4, 'four')",
                "BEGIN; INSERT INTO public.t VALUES (6, 'gone'); DELETE FROM public.t WHERE id = 6; COMMIT",
                "UPDATE public.t SET id = 5 WHERE id = 4"
            )
            try rig.rig.catchUp()
            let rows = try rig.rows("SELECT id, v, dbmazz_op_type, dbmazz_is_deleted FROM public.t ORDER BY id").map {
                $0.map { $0 ?? "NULL" }.joined(separator: "|")
            }
            let marked = mode == "soft" ? ["3|v3|2|t", "5|four|1|f", "6|gone|2|t"] : ["5|four|1|f"]
            #expect(rows == ["1|v1|0|f", "2|two|1|f"] + marked)
            let odd = """
                SELECT count(*) FROM public.t WHERE dbmazz_cdc_version !~ '^[0-9a-f]{32}$' OR dbmazz_cdc_version IS NULL
                  OR dbmazz_synced_at NOT BETWEEN now() - interval '1 minute' AND now() + interval '1 minute'
                """
            #expect(try rig.value(odd) == "0")
            // Versions sort as the changes happened: copied rows first.
            let order = "SELECT string_agg(id::text, ',' ORDER BY dbmazz_cdc_version, id) FROM public.t"
            #expect(try rig.value(order) == (mode == "soft" ? "1,2,3,6,5" : "1,2,5"))
            // A key that comes back is alive again, and a TRUNCATE takes or marks every row.
            try rig.rig.sql("INSERT INTO public.t VALUES (3, 'again'), (6, 'again')")
            try rig.rig.catchUp()
            #expect(try rig.value("SELECT count(*) FROM public.t WHERE NOT dbmazz_is_deleted") == "5")
            try rig.rig.sql("TRUNCATE public.t")
            try rig.rig.catchUp()
            let left = "SELECT count(*), count(*) FILTER (WHERE dbmazz_is_deleted AND dbmazz_op_type = 2) FROM public.t"
            let kept = try rig.value("SELECT count(*) FROM public.t") ?? ""
            #expect(try rig.rows(left).first == [kept, kept])
            #expect(kept == (mode == "soft" ? "5" : "0"))
            try rig.rig.stopDaemon()
        }

        // MARK: What is there

        @Test("tells every difference of every table at once, and the statements it names mend them")
        func everyDifference() throws {
            let rig = try PostgresRig()
            try rig.rig.sql(
                "CREATE TYPE public.mood AS ENUM ('sad', 'ok', 'new')",
                "CREATE TABLE public.a (id int4 PRIMARY KEY, missing text, n int8, m public.mood, nullable text)",
                "CREATE TABLE public.b (k text, id int4, big numeric(10, 4), vc varchar(20), PRIMARY KEY (k, id))",
                "CREATE TABLE public.c (id int4 PRIMARY KEY, ident int4, v text)",
                "INSERT INTO public.a VALUES (1, 'x', 5000000000, 'new', NULL), (2, NULL, NULL, NULL, NULL)",
                "INSERT INTO public.b VALUES ('k', 1, 123456.7890, repeat('v', 20))",
                "INSERT INTO public.c VALUES (1, 7, 'v')"
            )
            try rig.run(
                "CREATE TYPE public.mood AS ENUM ('sad', 'ok')",
                """
                CREATE TABLE public.a (id int4 PRIMARY KEY, n int4, m public.mood, nullable text NOT NULL,
                  extra text NOT NULL, harmless text)
                """,
                "CREATE TABLE public.b (k text, id int4, big numeric(8, 2), vc varchar(10))",
                """
                CREATE TABLE public.c (id int4 GENERATED ALWAYS AS (ident) STORED PRIMARY KEY,
                  ident int4 GENERATED ALWAYS AS IDENTITY, v text)
                """
            )
            let validated = try rig.daemon.command("validate")
            #expect(validated.status == .exited(6), "\(validated)")
            let error = try rig.rig.expectRefusal(
                6,
                "public.a",
                "\"missing\"",
                "\"n\"",
                "'new'",
                "\"nullable\"",
                "\"extra\"",
                "public.b",
                "\"big\"",
                "\"vc\"",
                "unique index over the key (\"k\", \"id\")",
                "public.c",
                "\"id\" is generated",
                "\"ident\""
            )
            #expect(!error.contains("harmless"), "\(error)")
            #expect(try rig.rig.slots() == [], "nothing is made at the source")
            let statements = Self.statements(in: error)
            for statement in statements {
                #expect(validated.output.contains(statement), "validate does not name \(statement)")
                try rig.run(statement)
            }
            #expect(statements.count >= 10, "\(statements)")
            try rig.rig.startStreaming()
            try rig.rig.sql("UPDATE public.c SET id = 2, ident = 8", "UPDATE public.b SET big = -big")
            try rig.rig.catchUp()
            try rig.expectSame(["public.a", "public.b", "public.c"], "mended")
            try rig.rig.stopDaemon()
        }

        @Test("leaves what the target has of its own: columns, keys, generated columns, another order, partitions")
        func adopted() throws {
            let rig = try PostgresRig()
            try rig.rig.sql(
                "CREATE TABLE public.t (id int4 PRIMARY KEY, v text, n int4, big text)",
                "ALTER TABLE public.t ALTER big SET STORAGE EXTERNAL",
                "CREATE TABLE public.p (id int4 PRIMARY KEY, v text)",
                "INSERT INTO public.t SELECT i, 'v' || i, i, repeat('b', 4000) FROM generate_series(1, 200) i",
                "INSERT INTO public.p SELECT i, 'v' || i FROM generate_series(1, 200) i"
            )
            try rig.run(
                """
                CREATE TABLE public.t (big text, own bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text,
                  made timestamptz NOT NULL DEFAULT now(), loud text GENERATED ALWAYS AS (upper(v)) STORED,
                  note text, n numeric, id bigint NOT NULL UNIQUE)
                """,
                "CREATE TABLE public.p (id int4 PRIMARY KEY, v text) PARTITION BY RANGE (id)",
                "CREATE TABLE public.p_low PARTITION OF public.p FOR VALUES FROM (MINVALUE) TO (100)",
                "CREATE TABLE public.p_high PARTITION OF public.p FOR VALUES FROM (100) TO (MAXVALUE)"
            )
            try rig.rig.startStreaming()
            try rig.expectSame(["public.t", "public.p"], "copied")
            let owned = "SELECT string_agg(own::text, ',' ORDER BY own) FROM public.t WHERE id <= 3"
            let before = try rig.value(owned)
            try rig.run("UPDATE public.t SET note = 'mine' WHERE id <= 3")
            try rig.rig.sql(
                "UPDATE public.t SET v = 'new' || id, n = NULL WHERE id <= 3",
                "UPDATE public.t SET n = n + 1",
                "INSERT INTO public.t SELECT i, 'x', i, 'y' FROM generate_series(201, 400) i",
                "BEGIN; UPDATE public.t SET id = id + 1000 WHERE id % 10 = 0; DELETE FROM public.t WHERE id = 201; COMMIT",
                "UPDATE public.p SET id = id + 90 WHERE id BETWEEN 50 AND 60 AND id + 90 > 200",
                "UPDATE public.p SET id = 1000 - id WHERE id < 30",
                "DELETE FROM public.p WHERE id % 7 = 0"
            )
            try rig.rig.catchUp()
            try rig.expectSame(["public.t", "public.p"], "streamed")
            #expect(try rig.value(owned) == before)
            let kept = "SELECT count(*) FROM public.t WHERE id <= 3 AND note = 'mine' AND loud = 'NEW' || id"
            #expect(try rig.value(kept) == "3")
            try rig.rig.stopDaemon()
        }

        @Test("finds the one row among equal ones in a table that the target has in parts, and writes very wide rows")
        func partsAndWidth() throws {
            let rig = try PostgresRig()
            let wide = (1...700).map { "c\($0) \(["int4", "text", "numeric", "text[]"][$0 % 4])" }.joined(
                separator: ","
            )
            try rig.rig.sql(
                "CREATE TABLE public.bag (n int4, t text)",
                "ALTER TABLE public.bag REPLICA IDENTITY FULL",
                "INSERT INTO public.bag SELECT i % 4, 'same' FROM generate_series(1, 40) i",
                "CREATE TABLE public.wide (id int4 PRIMARY KEY, \(wide))",
                "INSERT INTO public.wide SELECT generate_series(1, 100)"
            )
            try rig.run(
                "CREATE TABLE public.bag (n int4, t text) PARTITION BY LIST (n)",
                "CREATE TABLE public.bag_even PARTITION OF public.bag FOR VALUES IN (0, 2)",
                "CREATE TABLE public.bag_odd PARTITION OF public.bag FOR VALUES IN (1, 3)"
            )
            try rig.rig.startStreaming()
            try rig.rig.sql(
                "DELETE FROM public.bag WHERE ctid IN (SELECT min(ctid) FROM public.bag GROUP BY n)",
                "UPDATE public.bag SET t = 'other' WHERE ctid IN (SELECT max(ctid) FROM public.bag GROUP BY n)",
                "UPDATE public.bag SET n = 3 - n WHERE t = 'other'",
                "UPDATE public.wide SET c1 = 'x', c2 = id, c700 = id WHERE id % 2 = 0",
                "UPDATE public.wide SET c3 = '{a,NULL}', c699 = '{}' WHERE id % 3 = 0",
                "INSERT INTO public.wide SELECT generate_series(101, 200)",
                "DELETE FROM public.wide WHERE id % 5 = 0"
            )
            try rig.rig.catchUp()
            try rig.expectSame(["public.bag", "public.wide"], "streamed")
            try rig.rig.stopDaemon()
        }

        @Test("refuses what is no table, and a table that another pipeline fills")
        func notOurs() throws {
            let rig = try PostgresRig(["SINK_PIPELINE": "one"])
            try rig.rig.makeTable()
            try rig.run("CREATE VIEW public.t AS SELECT 1 AS id, 'x'::text AS v")
            try rig.rig.expectRefusal(6, "public.t", "is no table")
            try rig.run("DROP VIEW public.t")
            try rig.rig.startStreaming()
            try rig.awaitIDs("1,2,3")
            try rig.rig.stopDaemon()
            rig.daemon.setEnvironment("SINK_PIPELINE", "two")
            rig.daemon.setEnvironment("SOURCE_SLOT_NAME", "dbmazz_two")
            try rig.rig.expectRefusal(6, "public.t", "pipeline \"one\"", "SINK_SCHEMA")
            try rig.awaitIDs("1,2,3")
            // Two pipelines in two schemas of one database do not know of each other.
            rig.daemon.setEnvironment("SINK_SCHEMA", "two")
            try rig.rig.startStreaming()
            #expect(try rig.value("SELECT count(*) FROM two.t") == "3")
            #expect(try rig.value("SELECT count(DISTINCT pipeline) FROM dbmazz.position WHERE lsn IS NOT NULL") == "2")
            try rig.rig.stopDaemon()
        }

        @Test("changes of the source's tables while it streams end it with the statement that mends the target")
        func schemaChanges() throws {
            let rig = try PostgresRig()
            try rig.rig.sql("CREATE TYPE public.mood AS ENUM ('sad')")
            try rig.rig.sql("CREATE TABLE public.t (id int4 PRIMARY KEY, v varchar(3), m public.mood)")
            try rig.rig.startStreaming()
            for (change, insert) in [
                (
                    "ALTER TABLE public.t ADD COLUMN more numeric(5, 1)",
                    "INSERT INTO public.t VALUES (1, 'a', 'sad', 1.5)"
                ),
                (
                    "ALTER TABLE public.t ALTER COLUMN v TYPE text",
                    "INSERT INTO public.t VALUES (2, 'longer', 'sad', 1)"
                ),
                ("ALTER TABLE public.t ALTER COLUMN id TYPE int8", "INSERT INTO public.t VALUES (5000000000, 'b')"),
            ] {
                try rig.rig.sql(change, insert)
                let error = rig.rig.expectEnd(6, "public.t", "ALTER TABLE")
                let statements = Self.statements(in: error)
                #expect(!statements.isEmpty, "\(error)")
                for statement in statements { try rig.run(statement) }
                try rig.rig.startStreaming()
                try rig.rig.catchUp()
                try rig.expectSame(["public.t"], "\(change)")
            }
            // An enum's new label comes with the row that has it; the next start names the statement.
            try rig.rig.sql("ALTER TYPE public.mood ADD VALUE 'new'", "INSERT INTO public.t VALUES (3, 'c', 'new', 2)")
            let ended = rig.rig.expectEnd(7, "public.t", "22P02")
            #expect(!ended.contains("'new'"))
            let error = try rig.rig.expectRefusal(6, "public.t", "'new'")
            for statement in Self.statements(in: error) { try rig.run(statement) }
            try rig.rig.startStreaming()
            try rig.rig.catchUp()
            try rig.expectSame(["public.t"], "new label")
            try rig.rig.stopDaemon()
        }

        // MARK: Helpers

        /// The SQL statements that an error names.
        static func statements(in error: String) -> [String] {
            error.split(separator: ";").compactMap { part in
                let begins = ["ALTER TABLE", "ALTER TYPE", "GRANT ", "CREATE SCHEMA"].compactMap {
                    part.firstRange(of: $0)
                }
                return begins.map(\.lowerBound).min().map { String(part[$0...]) + ";" }
            }
        }
    }
}
