import CdcCore
import Logging
import Testing

@testable import Pipeline
@testable import PostgresSource

@Suite("SINK_TABLE_NAME")
struct SinkNameTests {
    private func name(_ template: String?, schema: String, table: String) -> String {
        let capabilities = ScriptedSink.capabilities
        var sink = SinkConfig(type: "scripted", capabilities: capabilities)
        sink.tableName = template
        return PipelineConfig(
            source: SourceConfig(url: Secret("")),
            sink: sink,
            capabilities: capabilities,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        ).sinkName(TableRef(schema: schema, name: table))
    }

    @Test("by default tables of schema public keep their name, others have their schema in front")
    func defaults() {
        #expect(name(nil, schema: "public", table: "orders") == "orders")
        #expect(name(nil, schema: "sales", table: "orders") == "sales_orders")
        #expect(name(nil, schema: "Public", table: "orders") == "Public_orders")
    }

    @Test("a template counts for every schema")
    func template() {
        #expect(name("{schema}.{table}", schema: "public", table: "orders") == "public.orders")
        #expect(name("raw_{table}", schema: "sales", table: "orders") == "raw_orders")
        #expect(name("{table}_{schema}_{table}", schema: "s", table: "t") == "t_s_t")
        #expect(name("all", schema: "s", table: "t") == "all")
    }

    @Test("names that look like a placeholder are not replaced again")
    func placeholdersInNames() {
        #expect(name("{schema}_{table}", schema: "{table}", table: "t") == "{table}_t")
        #expect(name("{schema}_{table}", schema: "s", table: "{schema}") == "s_{schema}")
        #expect(name("{table}", schema: "s", table: "{table}{schema}") == "{table}{schema}")
    }
}

@Suite("InitialCopy")
struct InitialCopyStatementTests {
    @Test("a table is read without its children, column by column")
    func ordinary() {
        let table = Relations.sourceTable([Relations.id, Relations.name])
        #expect(
            InitialCopy.statement(table, .text)
                == #"COPY (SELECT "id", "name" FROM ONLY "public"."orders") TO STDOUT"#
        )
    }

    @Test("a partitioned table is read with its partitions")
    func partitioned() {
        var table = Relations.sourceTable([Relations.id])
        table.isPartitioned = true
        #expect(InitialCopy.statement(table, .text) == #"COPY (SELECT "id" FROM "public"."orders") TO STDOUT"#)
    }

    @Test("the publication's row filter counts")
    func rowFilter() {
        var table = Relations.sourceTable([Relations.id])
        table.rowFilter = "(id > 5)"
        #expect(
            InitialCopy.statement(table, .text)
                == #"COPY (SELECT "id" FROM ONLY "public"."orders" WHERE (id > 5)) TO STDOUT"#
        )
    }

    @Test("a binary copy reads as text what has no binary output")
    func binary() {
        var table = Relations.sourceTable([Relations.id, Relations.name])
        table.columns[1].postgresType.hasBinaryOutput = false
        #expect(
            InitialCopy.statement(table, .binary)
                == #"COPY (SELECT "id", CASE WHEN pg_catalog.num_nulls("name") = 0 "#
                + #"THEN pg_catalog.format('%s', "name") END FROM ONLY "public"."orders") TO STDOUT (FORMAT binary)"#
        )
    }

    @Test("names are quoted, and quotes in them doubled")
    func quoting() {
        let table = Relations.sourceTable(
            [.init(name: "Order \"Nr\"")],
            ref: TableRef(schema: "My Schema", name: "semi;colon")
        )
        #expect(
            InitialCopy.statement(table, .text)
                == #"COPY (SELECT "Order ""Nr""" FROM ONLY "My Schema"."semi;colon") TO STDOUT"#
        )
    }
}

@Suite("SourceCatalog")
struct SourceCatalogTests {
    @Test(
        "the strings of a JSON array are read as array_to_json writes them",
        arguments: [
            (#"[]"#, []), (#"["id"]"#, ["id"]), (#"["id","name"]"#, ["id", "name"]), (#"["", "a"]"#, ["", "a"]),
            (#"["a\"b","c\\d"]"#, [#"a"b"#, #"c\d"#]), (#"["a,b","[c]"]"#, ["a,b", "[c]"]),
            (#"["\n\t\r\b\f\/"]"#, ["\n\t\r\u{8}\u{C}/"]), (#"["\u0001x","\u00e9"]"#, ["\u{1}x", "\u{E9}"]),
            (#"["käse","日本"]"#, ["käse", "日本"]), ("[\"e\u{301}\"]", ["e\u{301}"]),
        ]
    )
    func strings(json: String, expected: [String]) {
        let strings = SourceCatalog.strings(json: json)
        #expect(strings.map { Array($0.utf8) } == expected.map { Array($0.utf8) })
    }
}
