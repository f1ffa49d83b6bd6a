import TestSupport
import Testing

extension Integration {
    /// The comparison itself: a check that cannot fail proves nothing.
    @Suite("The workload's comparison with a PostgreSQL target") struct WorkloadTargetTests {
        /// Statements that break a copy, and the table that the comparison has to name.
        private static let plants = [
            (
                "t_types",
                "UPDATE public.t_types SET f8 = '-0' WHERE ctid = (SELECT ctid FROM public.t_types WHERE f8::text <> '-0' LIMIT 1)"
            ),
            ("t_types", "DELETE FROM public.t_types WHERE ctid = (SELECT ctid FROM public.t_types LIMIT 1)"),
            ("t_comp", "UPDATE public.t_comp SET big = 'x' WHERE ctid = (SELECT ctid FROM public.t_comp LIMIT 1)"),
            ("t_bag", "INSERT INTO public.t_bag SELECT * FROM public.t_bag LIMIT 1"),
            ("t_bag", "DELETE FROM public.t_bag WHERE ctid = (SELECT ctid FROM public.t_bag LIMIT 1)"),
            ("other_t_x", "INSERT INTO other.t_x VALUES (999)"), ("t_bulk", "INSERT INTO public.t_bulk VALUES (1)"),
            ("note", "ALTER TABLE public.t_text DROP COLUMN note"), ("t_index", "DROP TABLE public.t_index"),
            ("went back", "UPDATE dbmazz.position SET lsn = '0/1'"),
        ]

        @Test("finds every planted difference, and none where there is none")
        func planted() throws {
            let server = try PostgresServer.started()
            defer { server.remove() }
            var options = WorkloadOptions(seed: Effort.seed)
            // A table that is empty at the moment has nothing to plant a difference in.
            options.truncateEvery = 0
            let workload = Workload(server: server, options: options, publication: nil)
            try workload.createSchema()
            defer { try? workload.close() }
            try workload.start()
            sleepThread(.seconds(1))
            try workload.stop()
            let last = try workload.lastCommit()
            // A copy by the server's own means, which nobody may look at meanwhile, and a position made by hand.
            try workload.close()
            let admin = try server.connect(database: "template1")
            let target = WorkloadTarget.postgres(server.url(database: "copy"))
            try Self.copy(admin, "postgres", to: "copy")
            try Self.run(server, "copy", "CREATE SCHEMA dbmazz")
            #expect(try workload.check(target).lsn == nil, "no table yet")
            try Self.run(server, "copy", "CREATE TABLE dbmazz.position (pipeline text, lsn pg_lsn)")
            try Self.run(server, "copy", "INSERT INTO dbmazz.position VALUES ('p', NULL)")
            #expect(try workload.check(target).lsn == nil, "an unfinished copy")
            try Self.run(server, "copy", "UPDATE dbmazz.position SET lsn = '\(formatLSN(last))'")
            let equal = try workload.check(target)
            #expect(equal.rows > 100 && equal.commits > 10, "\(equal)")
            for (text, statement) in Self.plants {
                try Self.copy(admin, "copy", to: "broken")
                try Self.run(server, "broken", statement)
                let broken = WorkloadTarget.postgres(server.url(database: "broken"))
                let error = #expect(throws: (any Error).self, "\(statement)") { try workload.check(broken) }
                let found = error.map { "\($0)".contains(text) } ?? false
                #expect(found, "\(statement): \(error.map { "\($0)" } ?? "nothing")")
            }
            try workload.check(target)
        }

        private static func run(_ server: PostgresServer, _ database: String, _ statement: String) throws {
            try server.connect(database: database).execute(statement)
        }

        /// Copies a database, over whoever looks at it.
        private static func copy(_ admin: PgClient, _ database: String, to name: String) throws {
            try admin.execute("DROP DATABASE IF EXISTS \(name) WITH (FORCE)")
            let isCopied = eventually(within: .seconds(10)) {
                (try? admin.execute("CREATE DATABASE \(name) TEMPLATE \(database)")) != nil
            }
            guard isCopied else { throw HarnessError("database \(database) is never without a session") }
        }
    }
}
