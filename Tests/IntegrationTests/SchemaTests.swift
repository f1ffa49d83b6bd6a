import TestSupport
import Testing

extension Integration {
    @Suite("A schema that changes") struct SchemaTests {
        @Test("generated columns are left out by copy and stream alike, also where the publication was there before")
        func generatedColumns() throws {
            let rig = try Rig()
            try rig.sql(
                "CREATE TABLE public.t (id int4 PRIMARY KEY, a int4, b int4 GENERATED ALWAYS AS (a * 2) STORED)",
                "INSERT INTO public.t VALUES (1, 2)",
                "CREATE PUBLICATION dbmazz_pub FOR TABLE public.t"
            )
            try rig.startStreaming()
            try rig.sql("UPDATE public.t SET a = 7 WHERE id = 1", "INSERT INTO public.t VALUES (2, 5)")
            try rig.waitForSink(
                "SELECT * FROM t ORDER BY id",
                [["INTEGER 1", "INTEGER 7"], ["INTEGER 2", "INTEGER 5"]]
            )
            #expect(!rig.daemon.logLines().contains { $0.event == "reading WAL from before a schema change" })
            try rig.stopDaemon()
        }

        @Test("by a new column stops the daemon with the missing statement; once it was run, nothing is lost")
        func addColumn() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.startStreaming()
            try rig.insert(4...4)
            try rig.awaitIDs([1, 2, 3, 4])
            try rig.sql(
                "INSERT INTO public.t VALUES (5, 'before')",
                "ALTER TABLE public.t ADD COLUMN \"Extra \"\"x\" numeric(10,2)",
                "INSERT INTO public.t VALUES (6, 'after', 1.10)",
                "UPDATE public.t SET v = 'changed' WHERE id = 1"
            )
            let error = rig.expectEnd(6, "public.t", "missing")
            let statement = try #require(Self.statement(in: error))
            #expect(statement.hasPrefix("ALTER TABLE \"t\" ADD COLUMN \"Extra \"\"x\" "), "\(statement)")
            // Without the statement it does not go on either.
            try rig.expectRefusal(6, statement)
            try SQLiteFile(rig.file).execute(statement)
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3, 4, 5, 6])
            try rig.catchUp()
            #expect(try Self.differences(rig, ["public.t"]) == [])
            try rig.stopDaemon()
        }

        @Test("by a dropped column stops the daemon with the statement; rows from before the change arrive without it")
        func dropColumn() throws {
            let rig = try Rig()
            try rig.sql(
                "CREATE TABLE public.t (id int4 PRIMARY KEY, v text, gone int8, w text)",
                "INSERT INTO public.t VALUES (1, 'v1', 1, 'w1'), (2, 'v2', 2, 'w2')"
            )
            try rig.startStreaming()
            try rig.awaitIDs([1, 2])
            try rig.stopDaemon()
            try rig.sql(
                "INSERT INTO public.t VALUES (3, 'v3', 3, 'w3')",
                "ALTER TABLE public.t DROP COLUMN gone",
                "INSERT INTO public.t VALUES (4, 'v4', 'w4')",
                "UPDATE public.t SET w = 'changed' WHERE id = 2"
            )
            let error = try rig.expectRefusal(6, "public.t", "not in the source")
            let statement = try #require(Self.statement(in: error))
            #expect(statement == "ALTER TABLE \"t\" DROP COLUMN \"gone\";")
            try SQLiteFile(rig.file).execute(statement)
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3, 4])
            try rig.catchUp()
            #expect(try Self.differences(rig, ["public.t"]) == [])
            try rig.stopDaemon()
        }

        @Test("by a renamed column does not lose the column's values")
        func renameColumn() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.sql("ALTER TABLE public.t RENAME COLUMN v TO w", "UPDATE public.t SET w = 'changed' WHERE id = 2")
            rig.expectEnd(6, "public.t")
            #expect(try rig.sink("SELECT v FROM t WHERE id = 2") == [["TEXT \"v2\""]])
        }

        @Test("by a table that joins the publication takes it up: rows from before, meanwhile and after")
        func newTable() throws {
            let rig = try Rig(["SOURCE_TABLES": "public.*"])
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.sql(
                "CREATE TABLE public.n (id int4 PRIMARY KEY, v text)",
                "INSERT INTO public.n SELECT i, 'n' || i FROM generate_series(1, 5000) i",
                "ALTER PUBLICATION dbmazz_pub ADD TABLE public.n"
            )
            let pid = rig.daemon.pid
            // Both tables are written to while the new one is copied.
            let client = try rig.server.connect()
            for id in 5001...5400 {
                try client.execute(
                    """
                    BEGIN; INSERT INTO public.n VALUES (\(id), 'live'); UPDATE public.n SET v = 'u\(id)' WHERE id = \(id - 5000);
                    UPDATE public.t SET v = 'u\(id)' WHERE id = \(id % 3 + 1); COMMIT
                    """
                )
            }
            try client.execute("DELETE FROM public.n WHERE id % 7 = 0")
            try rig.catchUp()
            #expect(rig.daemon.pid == pid && rig.daemon.isRunning)
            #expect(try Self.differences(rig, ["public.t", "public.n"]) == [])
            let copied = rig.daemon.logLines().filter { $0.event == "table copied" }.compactMap { $0["table"] }
            #expect(copied == ["public.t", "public.n"])
            try rig.stopDaemon()
        }

        @Test("by a table that is dropped and made anew stops the daemon: its old rows are still at the sink")
        func tableMadeAnew() throws {
            let rig = try Rig(["SOURCE_TABLES": "public.*"])
            try rig.makeTable()
            try rig.sql("CREATE TABLE public.other (id int4 PRIMARY KEY)")
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.sql(
                "DROP TABLE public.t",
                "CREATE TABLE public.t (id int4 PRIMARY KEY, v text)",
                "ALTER PUBLICATION dbmazz_pub ADD TABLE public.t",
                "INSERT INTO public.t VALUES (9, 'new')"
            )
            rig.expectEnd(6, "public.t", "dropped and made anew", "SOURCE_SNAPSHOT=only")
            #expect(try rig.sink("SELECT count(*) FROM t") == [["INTEGER 3"]])
            // A start tells it as well, from the OID that the copy was made of.
            try rig.expectRefusal(6, "public.t", "dropped and made anew", "SOURCE_SNAPSHOT=only")
            // The remedy.
            rig.daemon.setEnvironment("SOURCE_SNAPSHOT", "only")
            try rig.daemon.start()
            #expect(rig.daemon.waitForExit() == .exited(0), "\(rig.daemon.logTail())")
            rig.daemon.setEnvironment("SOURCE_SNAPSHOT", nil)
            try rig.insert(10...11)
            try rig.startStreaming()
            try rig.awaitIDs([9, 10, 11])
            try rig.stopDaemon()
        }

        // MARK: Tables that are not the pipeline's

        @Test("A table with rows that the pipeline did not write is refused and left alone")
        func foreignTable() throws {
            let rig = try Rig()
            try rig.makeTable()
            try SQLiteFile(rig.file, create: true).execute(
                "CREATE TABLE t(id INTEGER NOT NULL PRIMARY KEY, v TEXT) STRICT; INSERT INTO t VALUES (77, 'mine')"
            )
            try rig.expectRefusal(6, "public.t", "did not write", "SINK_TABLE_NAME")
            #expect(try rig.sink("SELECT id FROM t") == [["INTEGER 77"]])
        }

        @Test("Two source tables with one name at the sink are refused, by SQLite's rule of equality")
        func equalNames() throws {
            let rig = try Rig()
            try rig.sql(
                "CREATE TABLE public.orders (id int4 PRIMARY KEY)",
                "CREATE TABLE public.\"ORDERS\" (id int4 PRIMARY KEY)"
            )
            try rig.expectRefusal(2, "orders", "ORDERS", "SINK_TABLE_NAME")
            rig.daemon.setEnvironment("SOURCE_TABLES", "public.orders")
            try rig.startStreaming()
            try rig.stopDaemon()
        }

        @Test("SINK_TABLE_NAME names the tables, and two schemas with equal table names stay apart")
        func tableNames() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.sql(
                "CREATE SCHEMA other",
                "CREATE TABLE other.t (id int4 PRIMARY KEY)",
                "INSERT INTO other.t VALUES (70)"
            )
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.waitForSink("SELECT id FROM other_t", [["INTEGER 70"]])
            try rig.stopDaemon()
            let named = try Rig(["SOURCE_URL": rig.server.url(), "SINK_TABLE_NAME": "{schema}__{table}_x"])
            named.daemon.setEnvironment("SOURCE_SLOT_NAME", "dbmazz_named")
            try named.startStreaming()
            #expect(try named.sink("SELECT count(*) FROM public__t_x") == [["INTEGER 3"]])
            #expect(try named.sink("SELECT id FROM other__t_x") == [["INTEGER 70"]])
            try named.stopDaemon()
        }

        // MARK: Helpers

        private static func differences(_ rig: Rig, _ tables: [String]) throws -> [String] {
            try compareWithSource(rig.server.connect(), sqlite: rig.file, tables: tables)
        }

        /// The first SQL statement that an error names.
        private static func statement(in error: String) -> String? {
            guard let begin = error.firstRange(of: "ALTER TABLE")?.lowerBound else { return nil }
            return error[begin...].firstIndex(of: ";").map { String(error[begin...$0]) }
        }
    }
}
