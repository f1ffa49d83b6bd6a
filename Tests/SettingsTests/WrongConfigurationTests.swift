import Testing

/// A wrong configuration and the whole text that the operator sees.
struct WrongConfiguration: CustomTestStringConvertible, Sendable {
    let variables: [String: String]
    let message: String

    init(_ variables: [String: String], _ message: String) {
        self.variables = variables
        self.message = message
    }

    var testDescription: String {
        variables.sorted { $0.key < $1.key }.map { "\($0)=\($1.prefix(40))" }.joined(separator: " ")
    }
}

@Suite("Wrong configurations") struct WrongConfigurationTests {
    @Test("one mistake gives exactly one line", arguments: WrongConfiguration.table)
    func oneMistake(_ wrong: WrongConfiguration) {
        #expect(problems(wrong.variables) == "1 problem in the configuration:\n  \(wrong.message)")
    }

    @Test("all mistakes are reported at once: values in the table's order, then names")
    func allAtOnce() {
        let text = problems([
            "SOURCE_URL": "",
            "SINK_BATCH_SIZE": "ten",
            "SINK_FLUSH_INTERVALL_MS": "5",
            "SINK_PASSWORD_FILE": "/does/not/exist",
            "LOG_LEVEL": "loud",
        ])
        #expect(
            text == """
                5 problems in the configuration:
                  SOURCE_URL is not set: \(WrongConfiguration.urlForms), for example \
                postgres://replicator@db.example.com:5432/shop
                  SINK_BATCH_SIZE="ten" is not a whole number: write 1 to 1000000, for example 10000
                  LOG_LEVEL="loud" is none of the choices: write trace, debug, info, notice, warning, error or critical
                  SINK_FLUSH_INTERVALL_MS is not a variable of dbmazz-sink: did you mean SINK_FLUSH_INTERVAL_MS?
                  SINK_PASSWORD_FILE="/does/not/exist" cannot be read (No such file or directory): write the path of \
                a file that holds the value of SINK_PASSWORD
                """
        )
    }

    @Test("every wrong name of a list is reported")
    func everyTable() {
        #expect(
            problemLines(["SOURCE_TABLES": "orders, public.items, sales., a.b.c"]) == [
                "SOURCE_TABLES=\"orders, public.items, sales., a.b.c\" has \"orders\" without a schema: "
                    + "write public.orders",
                "SOURCE_TABLES=\"orders, public.items, sales., a.b.c\" has \"sales.\" with an empty name: "
                    + "write SCHEMA.TABLE",
                "SOURCE_TABLES=\"orders, public.items, sales., a.b.c\" has \"a.b.c\" with 3 parts: "
                    + "write SCHEMA.TABLE",
            ]
        )
    }

    @Test("a secret never appears, whatever is wrong with it or around it")
    func secretsStayHidden() {
        let secret = "hunter2"
        let urls = [
            secret, "mysql://root:\(secret)@db/shop", "\"postgres://u:\(secret)@db/shop\"",
            "host=db password='\(secret)",
            "host=db password= \(secret) \(secret)", "postgres://u:\(secret)@db/x?replication=\(secret)",
            "postgres://u:\(secret) x@db/shop", "jdbc:postgresql://u:\(secret)@db/shop", "\u{FFFD}\(secret)=\(secret)",
        ]
        for url in urls {
            let text = problems(["SOURCE_URL": url, "SINK_PASSWORD": secret, "SINK_URL": "\u{1}\(secret)"])
            #expect(text != nil)
            #expect(text?.contains(secret) == false, "\(text ?? "")")
        }
    }

    @Test("a secret that could not be read is not also reported as not set")
    func unreadableURL() {
        #expect(
            problemLines(["SOURCE_URL": "", "SOURCE_URL_FILE": "/does/not/exist"]) == [
                "SOURCE_URL_FILE=\"/does/not/exist\" cannot be read (No such file or directory): "
                    + "write the path of a file that holds the value of SOURCE_URL"
            ]
        )
    }

    @Test("what the sink alone knows is reported with the rest")
    func sinkRefuses() {
        #expect(
            problemLines(["SINK_PORT": "5432", "SINK_RETRY_MAX_MS": "1s"]) == [
                "SINK_RETRY_MAX_MS=\"1s\" has a unit, but the value is a plain number of milliseconds: "
                    + "write 1 to 86400000, for example 1000",
                "SINK_TYPE=\"sqlite\" does not accept the settings (sqlite has no SINK_PORT: remove it): "
                    + "see the sink's README for its variables",
            ]
        )
    }

    @Test(
        "variables of other programs that begin like ours are overlooked",
        arguments: [
            ("SOURCE_DATE_EPOCH", "1700000000"), ("SINK_DB_SERVICE_HOST", "10.0.0.5"),
            ("SINK_DB_SERVICE_PORT_HTTP", "80"), ("SINK_DB_PORT", "tcp://10.0.0.5:80"),
            ("SINK_DB_PORT_80_TCP_ADDR", "10.0.0.5"), ("SINK_PORT", "tcp://10.0.0.5:80"), ("source_dir", "/src"),
            ("LOG_COLOUR", "no"), ("DBMAZZ_TEST_SECONDS", "1"),
        ]
    )
    func foreign(name: String, value: String) {
        #expect(problems([name: value]) == nil)
    }
}
