import CdcCore
import Glibc
import TestSupport
import Testing

@testable import Sinks

private let items = TableSchema("items", [ColumnDef("id", .int32), ColumnDef("v", .text)])

@Suite("SQLite sink: setup")
struct SQLiteSetupTests {
    private func error(of tables: TableSchema..., in file: SQLiteFixture) async -> SinkError? {
        await sinkError { try await file.sink.setup(tables, for: SQLiteFixture.pipeline) }
    }

    @Test("tables are STRICT, types keep every value, and a single integer key is SQLite's row number")
    func tables() async throws {
        let columns = [
            ColumnDef("id", .int64), ColumnDef("b", .boolean), ColumnDef("o", .uint32), ColumnDef("x", .uint64),
            ColumnDef("f", .float32), ColumnDef("n", .decimal(precision: 5, scale: 2)), ColumnDef("y", .bytes),
            ColumnDef("t", .timestampTz), ColumnDef("j", .jsonb), ColumnDef("a", .other),
        ]
        let composite = TableSchema(
            "composite",
            [ColumnDef("f", .float64), ColumnDef("n", .int16), ColumnDef("g", .float64)],
            key: [1, 0]
        )
        let keyless = TableSchema("keyless", [ColumnDef("t", .text), ColumnDef("d", .date)], key: [], identity: .full)
        let appended = TableSchema("appended", [ColumnDef("d", .date)], key: [], identity: .nothing)
        let file = try SQLiteFixture()
        try await file.start(TableSchema("types", columns), composite, keyless, appended)
        #expect(
            try file.rows(
                "SELECT sql FROM sqlite_schema WHERE name NOT LIKE 'dbmazz_position%' AND name NOT LIKE 'dbmazz_table%' AND sql IS NOT NULL"
            ) == [
                #"CREATE TABLE "types"("id" INTEGER NOT NULL, "b" INTEGER, "o" INTEGER, "x" TEXT, "f" ANY, "n" TEXT, "#
                    + #""y" BLOB, "t" TEXT, "j" TEXT, "a" TEXT, PRIMARY KEY("id")) STRICT"#,
                #"CREATE TABLE "composite"("f" TEXT NOT NULL, "n" INTEGER NOT NULL, "g" ANY, PRIMARY KEY("n", "f")) STRICT"#,
                #"CREATE TABLE "keyless"("t" TEXT, "d" TEXT) STRICT"#,
                #"CREATE INDEX "dbmazz_old_row_keyless" ON "keyless"("d")"#,
                #"CREATE TABLE "appended"("d" TEXT) STRICT"#,
            ]
        )
        #expect(try file.rows("SELECT count(*) FROM pragma_index_list('types')") == ["0"])
        #expect(
            try file.rows("SELECT * FROM dbmazz_table ORDER BY source_table") == [
                "shop|public|appended|appended|NULL|0", "shop|public|composite|composite|NULL|0",
                "shop|public|keyless|keyless|NULL|0", "shop|public|types|types|NULL|0",
            ]
        )
    }

    @Test("audit columns come last")
    func auditColumns() async throws {
        let file = try SQLiteFixture { $0.auditColumns = true }
        try await file.start(items)
        #expect(
            try file.rows("SELECT name, type FROM pragma_table_info('items')") == [
                "id|INTEGER", "v|TEXT", "dbmazz_op_type|INTEGER", "dbmazz_is_deleted|INTEGER", "dbmazz_synced_at|TEXT",
                "dbmazz_cdc_version|TEXT",
            ]
        )
    }

    @Test(
        "every difference of every table is told at once, with the statements that are missing, and nothing is changed"
    )
    func differences() async throws {
        let file = try SQLiteFixture()
        let wide = TableSchema(
            "wide",
            [ColumnDef("id", .int32), ColumnDef("A", .text), ColumnDef("f", .float64), ColumnDef("gone", .text)]
        )
        try await file.start(items, wide)
        try await file.restart()
        let changed = TableSchema(
            "wide",
            [ColumnDef("id", .int32), ColumnDef("a", .bytes), ColumnDef("f", .float64), ColumnDef("new \"x\"", .date)],
            key: [2]
        )
        let grown = TableSchema("items", items.columns + [ColumnDef("w", .int64)])
        let error = await error(of: grown, changed, TableSchema("fresh", items.columns), in: file)
        #expect(error?.kind == .schemaMismatch)
        #expect(error?.table == nil)
        #expect(
            error?.cause == #"public.items: column "w" is missing; public.wide: column "a" is TEXT instead of BLOB; "#
                + #"public.wide: column "f" is ANY instead of TEXT; public.wide: column "new ""x""" is missing; "#
                + #"public.wide: column "gone" is not in the source; "#
                + #"public.wide: it has the key ("id") instead of the key ("f")"#
        )
        #expect(
            error?.remedy == #"ALTER TABLE "items" ADD COLUMN "w" INTEGER; "#
                + #"DROP TABLE "wide"; DELETE FROM dbmazz_table WHERE pipeline='shop' AND source_schema='public' "#
                + #"AND source_table='wide'; (the next start copies the table anew) "#
                + #"ALTER TABLE "wide" ADD COLUMN "new ""x""" TEXT; ALTER TABLE "wide" DROP COLUMN "gone";"#
        )
        #expect(try file.rows("SELECT name FROM sqlite_schema WHERE name='fresh'").isEmpty)
    }

    @Test("the statements of a difference, once run, are what was missing")
    func remedyWorks() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        try await file.write { $0.insert("1", "a") }
        try await file.restart()
        let changed = TableSchema("items", [ColumnDef("id", .int32), ColumnDef("w", .text)])
        let error = await error(of: changed, in: file)
        #expect(error?.table == items.ref)
        #expect(error?.cause == #"column "w" is missing; column "v" is not in the source"#)
        try SQLiteFile(file.path).execute(error?.remedy ?? "")
        try await file.start(changed)
        #expect(try file.rows("SELECT * FROM items") == ["1|NULL"])
    }

    @Test("a table that is not STRICT, a view, and a NOT NULL where the source has NULLs are refused")
    func wrongKind() async throws {
        let file = try SQLiteFixture()
        let editor = try SQLiteFile(file.path, create: true)
        try editor.execute(
            "CREATE TABLE loose(id INTEGER PRIMARY KEY, v TEXT); CREATE VIEW seen AS SELECT 1 AS id, 2 AS v"
        )
        try editor.execute("CREATE TABLE narrow(id INTEGER PRIMARY KEY, v TEXT NOT NULL) STRICT")
        let error = await error(
            of: TableSchema("loose", items.columns),
            TableSchema("seen", items.columns),
            TableSchema("narrow", items.columns),
            in: file
        )
        #expect(
            error?.cause == "public.loose: \"loose\" at the sink is a table that is not STRICT; "
                + "public.seen: \"seen\" at the sink is no table; public.narrow: column \"v\" is NOT NULL"
        )
    }

    @Test("an existing table that fits is adopted while it is empty, and refused when it has rows")
    func adoption() async throws {
        let file = try SQLiteFixture()
        let editor = try SQLiteFile(file.path, create: true)
        try editor.execute(
            "CREATE TABLE ITEMS(ID INTEGER PRIMARY KEY, V text) STRICT; INSERT INTO items VALUES(1, 'mine')"
        )
        let error = await error(of: items, in: file)
        #expect(error?.kind == .schemaMismatch)
        #expect(error?.cause == "table \"items\" has rows that this pipeline did not write")
        #expect(error?.remedy == "rename or empty it, or set SINK_TABLE_NAME")
        try editor.execute("DELETE FROM items")
        try await file.start(items)
        try await file.write { $0.insert("1", "a") }
        #expect(try file.rows("SELECT * FROM items") == ["1|a"])
        try await file.restart()
        try await file.start(items)
    }

    @Test("a table of another pipeline is refused even while it is empty")
    func owned() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        let other = try SQLiteFixture.makeSink(file.path)
        let error = await sinkError {
            try await other.setup([items], for: PipelineIdentity(name: "second", source: SQLiteFixture.identity))
        }
        #expect(error?.cause == "table \"items\" belongs to pipeline \"shop\"")
    }

    @Test("a table that gets another name at the sink is told with the statements that rename it")
    func renamed() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        try await file.write { $0.insert("1", "a") }
        try await file.restart()
        let moved = TableSchema("items", items.columns, sinkName: "shop's items")
        let error = await error(of: moved, in: file)
        #expect(error?.cause == "it was copied to table \"items\", and is now to be \"shop's items\"")
        try SQLiteFile(file.path).execute(error?.remedy ?? "")
        try await file.start(moved)
        #expect(try file.rows("SELECT * FROM \"shop's items\"") == ["1|a"])
    }

    @Test("a table that was copied and is gone is not made anew in silence")
    func lost() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        try await file.sink.finishCopy(of: [items], at: LSN(rawValue: 1), position: nil)
        try await file.restart()
        let editor = try SQLiteFile(file.path)
        try editor.execute("DROP TABLE items")
        let error = await error(of: items, in: file)
        #expect(error?.cause == "table \"items\", which was copied, is gone")
        try editor.execute(String(error?.remedy.dropFirst("to copy it again: ".count) ?? ""))
        try await file.start(items)
        #expect(try await file.sink.loadState(of: "shop")?.copies == [:])
    }

    @Test("names that SQLite does not tell apart, or keeps, are refused, all at once")
    func names() async throws {
        let file = try SQLiteFixture { $0.auditColumns = true }
        let error = await error(
            of: items,
            TableSchema("Items", items.columns),
            TableSchema("sqlite_x", items.columns),
            TableSchema("DBMAZZ_position", items.columns),
            TableSchema("a", [ColumnDef("id", .int32), ColumnDef("ID", .int32)]),
            TableSchema("b", [ColumnDef("id", .int32), ColumnDef("dbmazz_OP_type", .int32)]),
            TableSchema("c", [], key: []),
            TableSchema("d", [ColumnDef("é", .text), ColumnDef("É", .text)]),
            TableSchema(
                "e",
                [ColumnDef("rowid", .text), ColumnDef("OID", .text), ColumnDef("_rowid_", .text)],
                key: []
            ),
            in: file
        )
        #expect(error?.kind == .configuration)
        #expect(
            error?.cause.split(separator: "; ").map(String.init) == [
                "public.Items: it and public.items have one name at the sink (\"Items\" and \"items\", without regard to case)",
                "public.sqlite_x: the name \"sqlite_x\" begins with sqlite_, which SQLite reserves",
                "public.DBMAZZ_position: the name \"DBMAZZ_position\" is that of the sink's own table",
                "public.a: columns \"id\" and \"ID\" have one name at the sink, without regard to case",
                "public.b: column \"dbmazz_OP_type\" has the name of an audit column",
                "public.c: it has no columns, and SQLite has no such tables",
                "public.e: it has no key, and columns \"rowid\", \"_rowid_\" and \"oid\" hide SQLite's row number",
            ]
        )
    }

    @Test("files that are no database, directories and missing directories are refused before anything is made")
    func wrongFiles() async throws {
        let file = try SQLiteFixture()
        func cause(_ path: String) async throws -> String? {
            let sink = try SQLiteFixture.makeSink(path)
            let error = await sinkError { try await sink.validateConnection() }
            #expect(error?.kind == .configuration)
            return error?.cause
        }
        let text = file.directory + "/text"
        let handle = fopen(text, "w")
        fputs(String(repeating: "no database\n", count: 1000), handle)
        fclose(handle)
        #expect(try await cause(text) == "SQLITE_NOTADB (26): file is not a database")
        mkdir(file.directory + "/sub", 0o700)
        #expect(try await cause(file.directory + "/sub") == "\(file.directory)/sub is not a regular file")
        #expect(
            try await cause(file.directory + "/none/x.db")
                == "directory \(file.directory)/none: No such file or directory"
        )
        #expect(try await cause(text + "/x.db") == "\(text) is not a directory")
    }

    @Test("an empty file is an empty database")
    func emptyFile() async throws {
        let file = try SQLiteFixture()
        fclose(fopen(file.path, "w"))
        try await file.start(items)
        try await file.write { $0.insert("1", "a") }
        #expect(try file.rows("SELECT * FROM items") == ["1|a"])
    }
}

@Suite("SQLite sink: settings")
struct SQLiteConfigTests {
    private func config(_ url: String?, _ change: (inout SinkConfig) -> Void = { _ in }) throws -> SQLiteConfig {
        var config = SinkConfig(
            type: "sqlite",
            url: url,
            capabilities: SQLiteSink.capabilities,
            stateDirectory: "/var/lib/dbmazz-sink"
        )
        change(&config)
        return try SQLiteConfig(config)
    }

    @Test(
        "SINK_URL is a path or sqlite:// with an absolute path; without it the state directory is used",
        arguments: [
            (nil, "/var/lib/dbmazz-sink/dbmazz-sink.db", "/var/lib/dbmazz-sink"),
            ("sqlite:///data/a.db", "/data/a.db", "/data"), ("/data/a.db", "/data/a.db", "/data"),
            ("a.db", "a.db", "."), ("./x/a.db", "./x/a.db", "./x"), ("/a.db", "/a.db", "/"), ("a:b.db", "a:b.db", "."),
        ] as [(String?, String, String)]
    )
    func paths(url: String?, path: String, directory: String) throws {
        let config = try config(url)
        #expect(config.path == path)
        #expect(config.directory == directory)
    }

    @Test(
        "a SINK_URL that means something else is refused",
        arguments: [
            ("sqlite://a.db", "SINK_URL has two slashes and a relative path"),
            ("postgres://u:hunter2@h/d", "SINK_URL has the scheme \"postgres\""),
            (
                "sqlite:///a.db?mode=ro",
                "SINK_URL has parameters, which sqlite does not take"
            ),
            ("sqlite:a.db", "SINK_URL is no path"), ("file:a.db", "SINK_URL is no path"),
            (":memory:", "SINK_URL would be lost with the process"), ("", "SINK_URL names no file"),
            ("/data/", "SINK_URL names no file"),
        ]
    )
    func wrongPaths(url: String, cause: String) throws {
        let error = #expect(throws: SinkError.self) { _ = try config(url) }
        #expect(error?.kind == .configuration)
        #expect(error?.cause.hasPrefix(cause) == true)
        #expect(error?.cause.hasSuffix("write sqlite:///absolute/path.db or a path") == true)
    }

    @Test("settings that sqlite does not have are all named at once, without their values")
    func unused() throws {
        let error = #expect(throws: SinkError.self) {
            _ = try config("a.db") {
                $0.port = 5432
                $0.database = "d"
                $0.schema = "s"
                $0.user = "u"
                $0.password = Secret("hunter2")
                $0.postgresTruncate = .delete
                $0.deleteMode = .soft
            }
        }
        #expect(
            error?.cause == "sqlite has no SINK_PORT: remove it; sqlite has no SINK_DATABASE: remove it; "
                + "sqlite has no SINK_SCHEMA: remove it; sqlite has no SINK_USER: remove it; "
                + "sqlite has no SINK_PASSWORD: remove it; sqlite has no SINK_POSTGRES_TRUNCATE: remove it; "
                + "SINK_DELETE_MODE=soft marks rows in an audit column: set SINK_AUDIT_COLUMNS=true"
        )
    }

    @Test("SINK_TYPE selects the sink; an unknown one names those there are")
    func registry() throws {
        let config = SinkConfig(type: "sqlite", url: "/tmp/x.db", capabilities: SQLiteSink.capabilities)
        #expect(try createSink(config) is SQLiteSink)
        var other = config
        other.type = "sqlight"
        let error = #expect(throws: SinkError.self) { _ = try createSink(other) }
        #expect(error?.cause == "there is no SINK_TYPE \"sqlight\"")
        #expect(error?.remedy == "set it to one of sqlite, postgres, clickhouse, starrocks, stdout, null")
        for type in SinkRegistry.all { #expect(SinkRegistry.type(named: type.name) == type) }
    }
}
