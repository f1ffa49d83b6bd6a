import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("A PostgreSQL target") struct PostgresWorkloadTests {
        /// What a run of the workload is like.
        struct Case: CustomTestStringConvertible, Sendable {
            let name: String
            let environment: [String: String]
            var role: String?
            var hasTraps = false
            /// Whether a reader sees one commit's state: not across a TRUNCATE, which every snapshot sees.
            var isSnapshotSafe = true
            var testDescription: String { name }
        }

        static let cases = [
            Case(name: "hard deletes", environment: [:]),
            Case(name: "soft deletes", environment: ["SINK_DELETE_MODE": "soft"]),
            Case(
                name: "audit columns, small parts",
                environment: ["SINK_AUDIT_COLUMNS": "true", "SINK_BATCH_BYTES": "65536", "SINK_MEMORY_LIMIT_MB": "4"]
            ),
            Case(name: "TRUNCATE", environment: ["SINK_POSTGRES_TRUNCATE": "truncate"], isSnapshotSafe: false),
            Case(name: "constraints and triggers at the target", environment: [:], hasTraps: true),
            Case(
                name: "soft deletes, constraints and triggers at the target",
                environment: ["SINK_DELETE_MODE": "soft"],
                hasTraps: true
            ),
            Case(name: "a role without rights", environment: [:], role: "plain", hasTraps: true),
        ]

        @Test("is at every moment in exactly the state of the commit that its position names", arguments: cases)
        func everyStateIsACommit(_ one: Case) throws {
            var environment = one.environment
            environment["SOURCE_HEARTBEAT_INTERVAL_MS"] = "500"
            environment["DBMAZZ_HTTP"] = "127.0.0.1:\(try freePort())"
            let rig = try PostgresRig(environment, role: one.role)
            let workload = try rig.rig.workload { $0.largeEvery = 100 }
            defer { try? workload.close() }
            try rig.rig.startStreaming()
            if one.hasTraps { try Self.setTraps(rig, workload) }
            try workload.start()
            let end = ContinuousClock.now + .seconds(max(4, Effort.seconds / 4))
            var checks = 0
            while ContinuousClock.now < end {
                sleepThread(.milliseconds(150))
                if try !one.isSnapshotSafe || workload.check(rig.workloadTarget).lsn != nil { checks += 1 }
                try #require(rig.daemon.isRunning, "\(rig.daemon.logTail())")
            }
            print(
                "\(one.name): \(checks) checks, merges \(try rig.fallbacks("merge")), replays \(try rig.fallbacks("replay"))"
            )
            #expect(checks >= 3)
            if one.hasTraps {
                #expect(try rig.fallbacks("replay") > 0)
                let fired = try #require(try rig.value("SELECT count(*) FROM public.fired").flatMap { Int($0) })
                // session_replication_role=replica keeps triggers from firing, where the role may set it.
                #expect(one.role == nil ? fired == 0 : fired > 0)
            }
            try rig.finish(workload)
        }

        /// What a target of its own life may have: triggers on every table, and the source's foreign keys.
        private static func setTraps(_ rig: PostgresRig, _ workload: Workload) throws {
            let client = try rig.connect()
            try client.execute(
                """
                CREATE TABLE public.fired (what text);
                GRANT INSERT ON public.fired TO PUBLIC;
                CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS
                  $$ BEGIN INSERT INTO public.fired VALUES (TG_TABLE_NAME); RETURN NULL; END $$
                """
            )
            for name in workload.tableNames {
                let table = name.split(separator: ".").map { quoteIdentifier(String($0)) }.joined(separator: ".")
                try client.execute(
                    "CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON \(table) FOR EACH STATEMENT "
                        + "EXECUTE FUNCTION public.note()"
                )
            }
            let keys = try rig.rig.server.connect().query(
                """
                SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))
                FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
                WHERE k.contype IN ('f', 'u') AND NOT c.relispartition AND k.conparentid = 0
                  AND k.connamespace::regnamespace::text IN ('public', 'other')
                """
            )
            for key in keys.compactMap({ $0[0] }) where !rig.isSoft || !key.contains("UNIQUE") {
                try client.execute(key)
            }
            // A row that is marked as deleted keeps its values: only live ones are unique.
            if rig.isSoft {
                try client.execute("CREATE UNIQUE INDEX ON public.t_unique (u) WHERE NOT dbmazz_is_deleted")
            }
        }
    }

    @Suite("A value of every type, PostgreSQL to PostgreSQL") struct PostgresTypeTests {
        @Test(
            "arrives byte for byte, by the copy and by the stream, in tables that were made or adopted",
            arguments: [false, true]
        )
        func roundTrip(adopted: Bool) throws {
            let rig = try PostgresRig()
            let client = try rig.rig.server.connect()
            let matrix = try TypeMatrix(creating: client)
            // Extensions are the operator's to make; what is missing becomes text.
            let there = try rig.connect()
            if adopted {
                _ = try TypeMatrix(creating: there)
            } else {
                for name in ["hstore", "ltree"] {
                    try there.execute("CREATE EXTENSION IF NOT EXISTS \(name) SCHEMA public")
                }
            }
            for statement in TypeMatrix.hostileRole { try rig.run(statement) }
            try rig.run(
                "ALTER ROLE reader SET default_transaction_isolation = 'serializable'",
                "ALTER ROLE reader SET synchronous_commit = 'off'"
            )
            rig.daemon.setEnvironment("SINK_URL", rig.target.url(database: rig.database, user: "reader"))
            try Self.carry(matrix, rig)
            print("types: \(matrix.entries.count), tables: \(matrix.tables.count), adopted: \(adopted)")
        }

        /// Every value by the copy, and every operation by the stream.
        static func carry(_ matrix: TypeMatrix, _ rig: PostgresRig) throws {
            let client = try rig.rig.server.connect()
            try matrix.insert(client)
            try rig.rig.startStreaming()
            try rig.expectSame(matrix.tables, "copy")
            try matrix.insert(client, firstID: 1_000)
            try rig.rig.catchUp()
            try rig.expectSame(matrix.tables, "insert")
            try matrix.update(client)
            try rig.rig.catchUp()
            try rig.expectSame(matrix.tables, "update")
            try matrix.deleteHalf(client)
            try rig.rig.catchUp()
            try rig.expectSame(matrix.tables, "delete")
            try rig.rig.stopDaemon()
        }

        @Test("goes in binary form where every type has one that means the same at the target")
        func binary() throws {
            let rig = try PostgresRig()
            let client = try rig.rig.server.connect()
            let matrix = try TypeMatrix(creating: client)
            // These send OIDs, do not read what they send, or are made at the source alone.
            let textual = try client.query(
                """
                SELECT DISTINCT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'v'
                JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type e ON e.oid = t.typelem
                WHERE c.relkind = 'r' AND (t.typtype = 'c' OR e.typtype = 'c' OR t.typname LIKE 'reg%' OR t.typname = 'textrange' OR t.typname IN ('int2vector', 'oidvector', 'tsquery'))
                """
            ).compactMap { $0[0] }
            let tables = matrix.tables.filter { name in !textual.contains { name.hasSuffix(".\($0)") } }
            try rig.connect().execute(
                "CREATE EXTENSION hstore SCHEMA public; CREATE EXTENSION ltree SCHEMA public; CREATE EXTENSION citext SCHEMA public"
            )
            rig.daemon.setEnvironment("SOURCE_TABLES", tables.joined(separator: ","))
            try matrix.insert(client)
            let streaming = try rig.rig.startStreaming()
            let warnings = rig.daemon.logLines().compactMap { $0["warning"] }
            #expect(streaming["format"] == "binary", "\(warnings)")
            try rig.expectSame(tables, "copy")
            try matrix.insert(client, firstID: 1_000)
            try matrix.update(client)
            try matrix.deleteHalf(client)
            try rig.rig.catchUp()
            try rig.expectSame(tables, "stream")
            print("binary tables: \(tables.count) of \(matrix.tables.count)")
            try rig.rig.stopDaemon()
        }
    }

    @Suite("Between versions of PostgreSQL") struct PostgresVersionTests {
        @Test("the workload arrives", arguments: [(15, 18), (18, 15)])
        func workload(source: Int, target: Int) throws {
            let rig = try PostgresRig(source: source, target: target)
            let workload = try rig.rig.workload()
            defer { try? workload.close() }
            try rig.rig.start(workload)
            sleepThread(.seconds(3))
            try workload.check(rig.workloadTarget)
            try rig.finish(workload)
        }

        @Test("the values of every type that both have arrive", arguments: [(15, 18), (18, 15)])
        func types(source: Int, target: Int) throws {
            let rig = try PostgresRig(source: source, target: target)
            let matrix = try TypeMatrix(creating: rig.rig.server.connect(), newest: 15)
            for name in ["hstore", "ltree", "citext"] {
                try rig.run("CREATE EXTENSION IF NOT EXISTS \(name) SCHEMA public")
            }
            try PostgresTypeTests.carry(matrix, rig)
        }
    }
}
