import CdcCore
import PostgresSource
import TestSupport
import Testing

extension Integration {
    @Suite("The source's catalog") struct CatalogTests {
        private static let statements = [
            "SET search_path = public",
            #"CREATE SCHEMA "Odd schema""#,
            #"CREATE TYPE "Odd schema"."Mood ""x""" AS ENUM ('sad', 'o''k', 'a"b\c', 'ü', 'happy')"#,
            #"ALTER TYPE "Odd schema"."Mood ""x""" ADD VALUE 'first' BEFORE 'sad'"#,
            #"ALTER TYPE "Odd schema"."Mood ""x""" ADD VALUE 'middle' AFTER 'ü'"#,
            "CREATE DOMAIN codes AS varchar(20)[] CONSTRAINT few CHECK (cardinality(VALUE) < 5)",
            #"CREATE DOMAIN strict_codes AS codes NOT NULL CONSTRAINT "b some" CHECK (VALUE <> '{}')"#,
            "ALTER DOMAIN strict_codes ADD CONSTRAINT a_one CHECK (VALUE[1] ~ 'x')",
            "CREATE DOMAIN price AS numeric(12, 3) DEFAULT 1 CHECK (VALUE > 0)",
            "CREATE TYPE pair AS (a int4, p price, more text[])",
            "CREATE TYPE acl_pair AS (a int4, acl aclitem[])",
            "CREATE TYPE prices AS RANGE (subtype = numeric)",
            "CREATE EXTENSION hstore",
            #"CREATE TABLE t (id int8 PRIMARY KEY, name varchar(20) NOT NULL, names varchar(20)[], "#
                + #"mood "Odd schema"."Mood ""x""", moods "Odd schema"."Mood ""x"""[], codes codes, "#
                + "strict strict_codes, price price, prices_ prices, days datemultirange, pair pair, pairs pair[], "
                + "h hstore, v int2vector, o oidvector, xs numeric(8, 2)[], bits bit(7)[], gone int4)",
            "ALTER TABLE t DROP COLUMN gone",
            "CREATE TABLE u (id int4 PRIMARY KEY, name varchar(20), acl aclitem, mine acl_pair)",
            "CREATE PUBLICATION p FOR TABLE t, u",
        ]

        private struct Found {
            let columns: [String: ColumnDef]
            let leftOut: [String]
            let endsBinaryStream: Bool

            func type(_ name: String) throws -> PostgresType { try #require(columns[name]).postgresType }
            func kind(_ name: String) throws -> PostgresType.Kind { try type(name).kind }
        }

        private func read(_ server: PostgresServer, _ table: String) throws -> Found {
            let source = SourceConfig(url: Secret(server.url()))
            let session = try PostgresConnection(ConnectionParameters(source), replication: false, stop: StopSignal())
            let tables = try SourceCatalog(session).publishedTables("p")
            let found = try #require(tables.first { $0.ref.name == table })
            return Found(
                columns: Dictionary(uniqueKeysWithValues: found.columns.map { ($0.name, $0) }),
                leftOut: found.leftOut,
                endsBinaryStream: found.endsBinaryStream
            )
        }

        @Test("knows of every type what another database needs to make it")
        func kinds() throws {
            let server = try PostgresServer.started()
            defer { server.remove() }
            let client = try server.connect()
            for statement in Self.statements { try client.execute(statement) }
            let t = try read(server, "t")
            let mood = PostgresType.Kind.enumeration(["first", "sad", "o'k", #"a"b\c"#, "ü", "middle", "happy"])
            #expect(try t.kind("id") == .base)
            #expect(try t.type("name").name == "character varying(20)")
            #expect(try t.kind("mood") == mood)
            #expect(try t.type("mood").name == #""Odd schema"."Mood ""x""""#)
            #expect(try t.kind("moods") == .array(t.type("mood")))
            guard case .array(let name) = try t.kind("names") else { throw HarnessError("names is no array") }
            #expect(try name == t.type("name"))
            #expect(try t.kind("v") == .base)
            #expect(try t.kind("o") == .base)
            #expect(try t.kind("h") == .base)
            #expect(try t.type("h").name == "public.hstore")
            #expect(try t.kind("pair") == .composite)
            #expect(try t.kind("pairs") == .array(t.type("pair")))
            #expect(try t.kind("prices_") == .range)
            #expect(try t.kind("days") == .range)
            guard case .array(let rounded) = try t.kind("xs") else { throw HarnessError("xs is no array") }
            #expect(rounded.name == "numeric(8,2)")
            guard case .array(let bits) = try t.kind("bits") else { throw HarnessError("bits is no array") }
            #expect(bits.name == "bit(7)")
            #expect(t.columns["gone"] == nil)
            #expect(t.columns.values.allSatisfy { $0.postgresType.hasBinaryOutput })
            #expect(!t.endsBinaryStream)
        }

        @Test("takes domains apart, one below the other, with their checks in order of their names")
        func domains() throws {
            let server = try PostgresServer.started()
            defer { server.remove() }
            let client = try server.connect()
            for statement in Self.statements { try client.execute(statement) }
            let t = try read(server, "t")
            guard case .domain(let strict) = try t.kind("strict"), case .domain(let codes) = try t.kind("codes"),
                case .domain(let price) = try t.kind("price")
            else { throw HarnessError("a domain is none") }
            #expect(try strict.base == t.type("codes"))
            #expect(strict.isNotNull)
            #expect(strict.checks.map(\.name) == ["a_one", "b some"])
            #expect(strict.checks.map(\.definition).allSatisfy { $0.hasPrefix("CHECK (") })
            #expect(try codes.base == t.type("names"))
            #expect(!codes.isNotNull)
            #expect(codes.checks == [.init(name: "few", definition: "CHECK ((cardinality(VALUE) < 5))")])
            #expect(price.base.name == "numeric(12,3)")
            #expect(t.columns["price"]?.type == .decimal(precision: 12, scale: 3))
            #expect(t.columns["strict"]?.type == .other)
        }

        @Test("takes of each table the columns that are published")
        func columns() throws {
            let server = try PostgresServer.started()
            defer { server.remove() }
            let client = try server.connect()
            for name in ["whole", "shrunk", "listed"] {
                try client.execute(
                    "CREATE TABLE public.\(name) (id int4 PRIMARY KEY, gone int4, a text, \"B b\" text, "
                        + "g int4 GENERATED ALWAYS AS (1) STORED)"
                )
            }
            try client.execute("ALTER TABLE public.shrunk DROP COLUMN gone")
            let list = server.majorVersion >= 15 ? " (id, \"B b\")" : ""
            try client.execute("CREATE PUBLICATION p FOR TABLE public.whole, public.shrunk, public.listed\(list)")
            func names(_ table: String) throws -> [[String]] {
                let found = try read(server, table)
                return [found.columns.keys.sorted(), found.leftOut]
            }
            #expect(try names("whole") == [["B b", "a", "gone", "id"], ["g"]])
            #expect(try names("shrunk") == [["B b", "a", "id"], ["g"]])
            guard server.majorVersion >= 15 else { return }
            #expect(try names("listed") == [["B b", "id"], ["gone", "a", "g"]])
            guard server.majorVersion >= 18 else { return }
            try client.execute("ALTER PUBLICATION p SET (publish_generated_columns = stored)")
            #expect(try names("whole") == [["B b", "a", "g", "gone", "id"], []])
            #expect(try names("shrunk") == [["B b", "a", "g", "id"], []])
        }

        @Test("says what has no binary form, and which tables would end a binary stream")
        func binary() throws {
            let server = try PostgresServer.started()
            defer { server.remove() }
            let client = try server.connect()
            for statement in Self.statements { try client.execute(statement) }
            let u = try read(server, "u")
            #expect(try !u.type("acl").hasBinaryOutput)
            #expect(try !u.type("mine").hasBinaryOutput)
            #expect(try u.type("name").hasBinaryOutput)
            #expect(u.endsBinaryStream)
            try client.execute("ALTER TABLE u DROP COLUMN mine")
            #expect(try !read(server, "u").endsBinaryStream)
        }
    }
}
