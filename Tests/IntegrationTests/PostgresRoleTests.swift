import TestSupport
import Testing

extension Integration {
    /// What the role of SINK_URL may and may not, and what the operator is told of it.
    @Suite("The role at a PostgreSQL target") struct PostgresRoleTests {
        @Test("that may not set session_replication_role works, and validate names what will fire")
        func firing() throws {
            let rig = try PostgresRig(role: "plain")
            try rig.rig.sql(
                "CREATE TABLE public.a_parent (id int4 PRIMARY KEY)",
                "CREATE TABLE public.b_child (id int4 PRIMARY KEY, parent int4 REFERENCES public.a_parent)",
                "INSERT INTO public.a_parent VALUES (1), (2)",
                "INSERT INTO public.b_child VALUES (1, 1), (2, 2)"
            )
            try rig.run(
                "CREATE TABLE public.a_parent (id int4 PRIMARY KEY)",
                "CREATE TABLE public.b_child (id int4 PRIMARY KEY, parent int4)",
                "ALTER TABLE public.b_child ADD CONSTRAINT child_parent FOREIGN KEY (parent) REFERENCES public.a_parent",
                "CREATE TABLE public.fired (what text)",
                """
                CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
                  $$ BEGIN INSERT INTO public.fired VALUES (TG_OP); RETURN NEW; END $$
                """,
                "CREATE TRIGGER \"noted here\" BEFORE INSERT ON public.b_child FOR EACH ROW EXECUTE FUNCTION public.note()",
                "CREATE TRIGGER sleeping BEFORE INSERT ON public.b_child FOR EACH ROW EXECUTE FUNCTION public.note()",
                "ALTER TABLE public.b_child DISABLE TRIGGER sleeping",
                "ALTER TABLE public.a_parent OWNER TO plain",
                "ALTER TABLE public.b_child OWNER TO plain"
            )
            let validated = try rig.daemon.command("validate")
            #expect(validated.status == .exited(0), "\(validated)")
            for text in ["trigger noted here", "foreign key child_parent", "session_replication_role"] {
                #expect(validated.output.contains(text), "\(text) is not in \(validated)")
            }
            #expect(!validated.output.contains("sleeping"), "\(validated)")
            try rig.rig.startStreaming()
            #expect(rig.daemon.logLines().contains { $0["warning"]?.contains("public.b_child") == true })
            // The children go first where they are deleted, the parents where they are made.
            try rig.rig.sql(
                "BEGIN; INSERT INTO public.a_parent VALUES (3); INSERT INTO public.b_child VALUES (3, 3); COMMIT",
                "BEGIN; DELETE FROM public.b_child WHERE id = 1; DELETE FROM public.a_parent WHERE id = 1; COMMIT",
                """
                BEGIN; INSERT INTO public.a_parent SELECT generate_series(10, 500);
                  INSERT INTO public.b_child SELECT i, i FROM generate_series(10, 500) i; COMMIT
                """
            )
            try rig.rig.catchUp()
            try rig.expectSame(["public.a_parent", "public.b_child"], "in order")
            let fired = try #require(try rig.value("SELECT count(*) FROM public.fired").flatMap { Int($0) })
            #expect(fired >= 494)
            try rig.rig.stopDaemon()
            // Granted what the log advised, nothing fires.
            guard rig.target.majorVersion >= 15 else { return }
            try rig.run("GRANT SET ON PARAMETER session_replication_role TO plain")
            let granted = try rig.daemon.command("validate")
            #expect(!granted.output.contains("noted here"), "\(granted)")
            try rig.rig.startStreaming()
            try rig.rig.sql("INSERT INTO public.b_child VALUES (4, 3)")
            try rig.rig.catchUp()
            try rig.expectSame(["public.b_child"], "granted")
            #expect(try rig.value("SELECT count(*) FROM public.fired") == "\(fired)")
            #expect(!rig.daemon.logLines().contains { $0["warning"]?.contains("public.b_child") == true })
            try rig.rig.stopDaemon()
        }

        @Test("under foreign keys that fire copies parents first, or says before the copy that it cannot")
        func copyOrder() throws {
            let rig = try PostgresRig(role: "plain")
            let tables = [
                "CREATE TABLE public.z_parent (id int4 PRIMARY KEY)",
                "CREATE TABLE public.a_child (id int4 PRIMARY KEY, parent int4 REFERENCES public.z_parent)",
            ]
            try rig.rig.sql(tables[0], tables[1])
            try rig.rig.sql("INSERT INTO public.z_parent VALUES (1)", "INSERT INTO public.a_child VALUES (1, 1)")
            try PgClient(rig.target.url(database: rig.database, user: "plain")).execute(
                tables.joined(separator: ";")
            )
            try rig.daemon.start()
            if rig.daemon.waitForLog(event: "streaming", timeout: .seconds(10)) != nil {
                try rig.expectSame(["public.a_child", "public.z_parent"], "parents first")
                try rig.rig.stopDaemon()
            } else {
                let error = rig.daemon.logLines().last { $0.event == "ended" }?["error"] ?? ""
                #expect(error.contains("foreign key a_child_parent_fkey"), "\(error)")
                #expect(try rig.rig.slots() == [], "told before anything was made: \(error)")
            }
        }

        @Test("needs no right over the database where schema and tables were made for it")
        func leastPrivileges() throws {
            let rig = try PostgresRig()
            try rig.rig.makeTable(rows: 10_000)
            try rig.run(
                "CREATE ROLE writer LOGIN",
                "REVOKE ALL ON DATABASE copy FROM PUBLIC",
                "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
                "GRANT CONNECT ON DATABASE copy TO writer",
                "CREATE TABLE public.t (id int4 PRIMARY KEY, v text)"
            )
            rig.daemon.setEnvironment("SINK_URL", rig.target.url(database: rig.database, user: "writer"))
            // Everything that is missing is told before the first row is written, by validate too.
            let validated = try rig.daemon.command("validate")
            #expect(validated.status == .exited(2), "\(validated)")
            try rig.rig.expectRefusal(2, "may not make the schema dbmazz", "GRANT CREATE ON DATABASE")
            // To look into a schema is not to make tables in it.
            try rig.run("CREATE SCHEMA dbmazz", "GRANT USAGE ON SCHEMA dbmazz, public TO writer")
            #expect(try rig.daemon.command("validate").status == .exited(2))
            try rig.run("ALTER SCHEMA dbmazz OWNER TO writer")
            try rig.rig.expectRefusal(2, "public.t")
            #expect(try rig.rig.slots() == [], "refused before anything is made at the source")
            try rig.run(
                "GRANT SELECT, INSERT, UPDATE, DELETE ON public.t TO writer",
                "GRANT TEMPORARY ON DATABASE copy TO writer"
            )
            try rig.rig.startStreaming()
            try rig.rig.sql(
                "BEGIN; UPDATE public.t SET v = 'x' WHERE id % 2 = 0; DELETE FROM public.t WHERE id % 3 = 0; COMMIT",
                "TRUNCATE public.t",
                "INSERT INTO public.t VALUES (1, 'y')"
            )
            try rig.rig.catchUp()
            try rig.expectSame(["public.t"], "by a role that may only write")
            try rig.rig.stopDaemon()
            // TRUNCATE is a privilege of its own.
            rig.daemon.setEnvironment("SINK_POSTGRES_TRUNCATE", "truncate")
            try rig.rig.expectRefusal(2, "TRUNCATE", "public.t")
            try rig.run("GRANT TRUNCATE ON public.t TO writer")
            try rig.rig.startStreaming()
            try rig.rig.sql("TRUNCATE public.t", "INSERT INTO public.t VALUES (2, 'z')")
            try rig.rig.catchUp()
            try rig.expectSame(["public.t"], "truncated")
            try rig.rig.stopDaemon()
        }

        @Test("that may not make temporary tables is told so before rows need them")
        func noTemporaryTables() throws {
            let rig = try PostgresRig(role: "plain")
            try rig.rig.makeTable(rows: 20_000)
            try rig.run(
                "REVOKE TEMPORARY ON DATABASE copy FROM PUBLIC",
                "REVOKE TEMPORARY ON DATABASE copy FROM plain",
                "GRANT CREATE ON SCHEMA public TO plain"
            )
            try rig.daemon.start()
            // Either it does without them, or it says before the copy what is missing.
            if rig.daemon.waitForLog(event: "streaming", timeout: .seconds(20)) != nil {
                try rig.rig.sql("UPDATE public.t SET v = 'x'")
                try rig.rig.catchUp()
                try rig.expectSame(["public.t"], "without temporary tables")
                try rig.rig.stopDaemon()
            } else {
                rig.rig.expectEnd(2, "TEMPORARY")
                #expect(try rig.rig.slots() == [])
            }
        }

        @Test("whose password is wrong, or whose database is missing, is told without the password")
        func credentials() throws {
            let rig = try PostgresRig(["LOG_LEVEL": "trace"])
            try rig.rig.makeTable()
            try rig.target.connect().execute("CREATE ROLE reader LOGIN SUPERUSER PASSWORD 'right-secret'")
            try rig.target.requirePassword(of: "reader")
            rig.daemon.setEnvironment("SINK_URL", rig.target.url(database: rig.database, user: "reader:wrong-secret"))
            try rig.rig.expectRefusal(2, "28P01", "SINK_PASSWORD")
            #expect(!(readText(rig.daemon.standardErrorFile) ?? "").contains("wrong-secret"))
            rig.daemon.setEnvironment("SINK_URL", rig.target.url(database: "nowhere"))
            try rig.rig.expectRefusal(2, "nowhere", "3D000")
            rig.daemon.setEnvironment("SINK_URL", rig.target.url(database: rig.database, user: "reader"))
            rig.daemon.setEnvironment("SINK_PASSWORD", "right-secret")
            try rig.rig.startStreaming()
            try rig.awaitIDs("1,2,3")
            try rig.rig.stopDaemon()
        }

        @Test("under row security that would hide rows from it is refused rather than served half")
        func rowSecurity() throws {
            let rig = try PostgresRig(role: "plain")
            try rig.rig.makeTable()
            try rig.run(
                "CREATE TABLE public.t (id int4 PRIMARY KEY, v text)",
                "GRANT ALL ON public.t TO plain",
                "GRANT CREATE ON SCHEMA public TO plain",
                "ALTER TABLE public.t ENABLE ROW LEVEL SECURITY",
                "CREATE POLICY partly ON public.t USING (id > 1)"
            )
            try rig.daemon.start()
            let error = rig.rig.expectEnd(2, "row-level security")
            #expect(error.contains("\"t\"") || error.contains("public.t"), "\(error)")
            #expect(try rig.value("SELECT count(*) FROM public.t") == "0")
        }
    }
}
