import CdcCore
import Logging
import Pipeline
import PostgresSource
import TestSupport
import Testing

extension Integration {
    /// No sink of the daemon asks for binary values where values are compared with the source: a sink of the tests does.
    @Suite("Binary values") struct BinaryTests {
        /// Runs a pipeline in this process while `body` looks on.
        private func run(
            _ server: PostgresServer,
            _ recording: Recording,
            tables: [TablePattern] = [],
            _ body: (Recording) async throws -> Void
        ) async throws {
            var source = SourceConfig(url: Secret(server.url()))
            source.tables = tables
            let config = PipelineConfig(
                source: source,
                sink: SinkConfig(type: RecordingSink.name, capabilities: RecordingSink.capabilities),
                capabilities: RecordingSink.capabilities,
                logger: Logger(label: "test", factory: { _ in RecordingLogHandler(recording) })
            )
            let pipeline = Pipeline(config) { RecordingSink(recording) }
            let stop = StopSignal(health: pipeline.monitor.sourceHealth)
            async let end: Void = pipeline.run(stop: stop)
            do {
                try await wait("the stream") { recording.event("streaming") != nil }
                try await body(recording)
            } catch {
                stop.stop()
                try await end
                throw error
            }
            stop.stop()
            try await end
        }

        private func wait(_ what: String, until condition: () throws -> Bool) async throws {
            let deadline = ContinuousClock.now + .seconds(30)
            while try !condition() {
                guard .now < deadline else { throw HarnessError("\(what) does not come") }
                try await Task.sleep(for: .milliseconds(10))
            }
        }

        /// Binary output by the types' own send functions, as hexadecimal digits, by id; text output where there is none.
        private func expected(_ client: PgClient, _ entry: TypeMatrix.Entry) throws -> (
            hex: [Int: String?], isText: Bool
        ) {
            let table = "public.m_\(entry.name)"
            let send = try client.value(
                "SELECT p.oid::regproc || '(v' || CASE t.typtype WHEN 'd' THEN '::' || t.typbasetype::regtype ELSE '' END "
                    + "|| CASE a.typtype WHEN 'p' THEN '' ELSE '::' || a.typnamespace::regnamespace || '.' || quote_ident(a.typname) END || ')' "
                    + "FROM pg_attribute c JOIN pg_type t ON t.oid = c.atttypid JOIN pg_proc p ON p.oid = t.typsend "
                    + "JOIN pg_type a ON a.oid = p.proargtypes[0] WHERE c.attrelid = $1::regclass AND c.attname = 'v'",
                [table]
            )
            let bytes = send ?? "convert_to(format('%s', v), 'UTF8')"
            let rows = try client.query(
                "SELECT id, CASE WHEN num_nulls(v) = 0 THEN encode(\(bytes), 'hex') END FROM \(table)"
            )
            let pairs = rows.compactMap { row in row[0].flatMap { Int($0) }.map { ($0, row[1]) } }
            return (Dictionary(uniqueKeysWithValues: pairs), send == nil)
        }

        private func hex(_ bytes: [UInt8]) -> String {
            bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }

        @Test("of every type are what its send function gives, by the copy and by the stream")
        func everyType() async throws {
            let server = try PostgresServer.started()
            defer { server.remove() }
            let client = try server.connect()
            let matrix = try TypeMatrix(creating: client)
            try matrix.insert(client)
            try await run(server, Recording(.binary)) { recording in
                #expect(recording.event("streaming")?["format"] == "binary")
                try matrix.insert(client, firstID: 1000)
                let total = matrix.entries.reduce(0) { $0 + 2 * ($1.values.count + 1) }
                try await wait("the last row") {
                    recording.rows.count { $0.table.hasPrefix("m_") } >= total
                }
                let rows = Dictionary(grouping: recording.rows, by: \.table)
                for entry in matrix.entries {
                    let (bytes, isText) = try expected(client, entry)
                    let found = rows["m_\(entry.name)"] ?? []
                    #expect(found.count == bytes.count, "\(entry.name)")
                    #expect(found.count { $0.isCopy } * 2 == found.count, "\(entry.name)")
                    for row in found {
                        #expect(row.cells[0] == .binary, "\(entry.name)")
                        let id = row.values[0].reduce(0) { $0 << 8 | Int($1) }
                        let value = bytes[id] ?? nil
                        let kind = value == nil ? Cell.Kind.null : isText ? .text : .binary
                        #expect(row.cells[1] == kind, "\(entry.name), id \(id)")
                        let isSame = hex(row.values[1]) == value ?? ""
                        #expect(isSame, "\(entry.name), id \(id), \(row.isCopy ? "copy" : "stream")")
                    }
                }
            }
        }

        @Test("do not come where a type's part has no binary output, which would end the stream")
        func textOnly() async throws {
            let server = try PostgresServer.started()
            defer { server.remove() }
            let client = try server.connect()
            try client.execute("CREATE TABLE public.t (id int4 PRIMARY KEY, v aclitem[])")
            try client.execute("INSERT INTO public.t VALUES (1, '{=r/postgres}')")
            #expect(throws: PgError.self) { try client.execute("SELECT array_send(v) FROM public.t") }
            try await run(server, Recording(.binary)) { recording in
                #expect(recording.event("streaming")?["format"] == "text")
                #expect(recording.columns.allSatisfy { !$0.postgresType.hasBinaryOutput })
                let reason = "values come as text: a column's type has a binary form, but a part of it has none"
                #expect(recording.event(reason)?["tables"] == "public.t")
                try client.execute("INSERT INTO public.t VALUES (2, '{=r/postgres}')")
                try await wait("the row") { recording.rows.count == 2 }
                for row in recording.rows {
                    #expect(row.cells == [.text, .text])
                    #expect(row.values[1] == Array("{=r/postgres}".utf8))
                }
            }
        }

        @Test("do not come either where such a table is published and left out: the server sends its rows all the same")
        func textOnlyLeftOut() async throws {
            let server = try PostgresServer.started()
            defer { server.remove() }
            let client = try server.connect()
            try client.execute("CREATE TABLE public.t (id int4 PRIMARY KEY)")
            try client.execute("CREATE TABLE public.other (id int4 PRIMARY KEY, v aclitem[])")
            try client.execute("CREATE PUBLICATION dbmazz_pub FOR TABLE public.t, public.other")
            let wanted = [TablePattern(schema: "public", name: "t")]
            try await run(server, Recording(.binary), tables: wanted) { recording in
                #expect(recording.event("streaming")?["format"] == "text")
                #expect(recording.columns.map(\.postgresType.hasBinaryOutput) == [false])
                try client.execute("INSERT INTO public.other VALUES (1, '{=r/postgres}')")
                try client.execute("INSERT INTO public.t VALUES (2)")
                try await wait("the row") { recording.rows.count == 1 }
                #expect(recording.rows.first?.cells == [.text])
            }
        }

        @Test("give way to text when such a table joins the publication, or was one when the WAL was written")
        func textOnlyLater() async throws {
            let server = try PostgresServer.started()
            defer { server.remove() }
            let client = try server.connect()
            try client.execute("CREATE TABLE public.t (id int4 PRIMARY KEY)")
            try client.execute("CREATE PUBLICATION dbmazz_pub FOR ALL TABLES")
            try await run(server, Recording(.binary)) { recording in
                #expect(recording.event("streaming")?["format"] == "binary")
                try client.execute("INSERT INTO public.t VALUES (1)")
                try await wait("the first row") { recording.rows.count == 1 }
                try client.execute(
                    "BEGIN; CREATE TABLE public.u (id int4 PRIMARY KEY, v aclitem[]); "
                        + "INSERT INTO public.u VALUES (2, '{=r/postgres}'); INSERT INTO public.t VALUES (3); COMMIT; "
                        + "ALTER TABLE public.u DROP COLUMN v"
                )
                try await wait("the last row") { recording.rows.contains { $0.table == "t" && $0.cells == [.text] } }
                #expect(recording.event("streaming")?["format"] == "text")
                let reason = recording.event("session begins again")?["reason"]?.description ?? ""
                #expect(reason.hasPrefix("values have to come as text: "), "\(reason)")
                let rows = recording.rows.filter { $0.table == "t" }
                #expect(rows.map(\.values) == [[[0, 0, 0, 1]], [Array("3".utf8)]])
            }
        }

        @Test("the copy reads what has no binary output as the stream does, whatever casts there are")
        func casts() async throws {
            let server = try PostgresServer.started()
            defer { server.remove() }
            let client = try server.connect()
            try client.execute("CREATE FUNCTION public.lie(aclitem) RETURNS text LANGUAGE sql AS $$ SELECT 'lie' $$")
            try client.execute("CREATE CAST (aclitem AS text) WITH FUNCTION public.lie(aclitem)")
            try client.execute("CREATE TABLE public.t (id int4 PRIMARY KEY, v aclitem)")
            try client.execute("INSERT INTO public.t VALUES (1, '=r/postgres'), (2, NULL)")
            try await run(server, Recording(.binary)) { recording in
                try client.execute("INSERT INTO public.t VALUES (3, '=r/postgres'), (4, NULL)")
                try await wait("the rows") { recording.rows.count == 4 }
                let text = Array("=r/postgres".utf8)
                #expect(recording.rows.map(\.values[1]) == [text, [], text, []])
                #expect(recording.rows.map(\.cells[1]) == [.text, .null, .text, .null])
            }
        }

        @Test("a sink that asks for text gets text")
        func text() async throws {
            let server = try PostgresServer.started()
            defer { server.remove() }
            let client = try server.connect()
            try client.execute("CREATE TABLE public.t (id int4 PRIMARY KEY)")
            try client.execute("INSERT INTO public.t VALUES (1)")
            try await run(server, Recording(.text)) { recording in
                #expect(recording.event("streaming")?["format"] == "text")
                try client.execute("INSERT INTO public.t VALUES (2)")
                try await wait("the row") { recording.rows.count == 2 }
                #expect(recording.rows.map(\.values) == [[Array("1".utf8)], [Array("2".utf8)]])
                #expect(recording.rows.allSatisfy { $0.cells == [.text] })
            }
        }

        @Test("many rows of several tables arrive complete")
        func bulk() async throws {
            let server = try PostgresServer.started()
            defer { server.remove() }
            let client = try server.connect()
            try client.execute("CREATE TABLE public.a (id int4 PRIMARY KEY, v text)")
            try client.execute("CREATE TABLE public.empty (id int4 PRIMARY KEY)")
            try client.execute("CREATE TABLE public.z (id int4 PRIMARY KEY, v text)")
            for table in ["a", "z"] {
                try client.execute(
                    "INSERT INTO public.\(table) SELECT i, repeat('x', i % 500) FROM generate_series(1, 20000) i"
                )
            }
            try await run(server, Recording(.binary)) { recording in
                for table in ["a", "z"] {
                    let lengths = recording.rows.filter { $0.table == table }.map { row in
                        (id: row.values[0].reduce(0) { $0 << 8 | Int($1) }, length: row.values[1].count)
                    }
                    #expect(lengths.map(\.id).sorted() == Array(1...20000))
                    #expect(lengths.allSatisfy { $0.length == $0.id % 500 })
                }
                #expect(recording.rows.count == 40000)
            }
        }
    }
}
