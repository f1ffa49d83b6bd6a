import CdcCore
import Libpq
import Testing

@testable import Sinks

private func settings(_ url: String?, _ change: (inout SinkConfig) -> Void = { _ in }) throws -> PostgresConfig {
    var config = SinkConfig(type: "postgres", url: url, capabilities: PostgresSink.capabilities)
    change(&config)
    return try PostgresConfig(config)
}

@Suite("Settings of the postgres sink")
struct PostgresConfigTests {
    @Test("a URL is taken apart by libpq, and what it lacks comes from the other variables")
    func url() throws {
        let config = try settings("postgres://loader@db.example.com/shop?sslmode=verify-full") {
            $0.port = 6432
            $0.user = "somebody else"
            $0.password = Secret("s3cret")
        }
        #expect(config.value("host") == "db.example.com")
        #expect(config.value("user") == "loader")
        #expect(config.value("port") == "6432")
        #expect(config.value("sslmode") == "verify-full")
        #expect(config.value("application_name") == "dbmazz-sink")
        #expect(config.value("client_encoding") == "UTF8")
        #expect(config.conninfo.keywords.contains { $0 == ("password", "s3cret") })
        #expect(config.value("password") == nil)
    }

    @Test("the sink's name for its target has no secret")
    func target() throws {
        var config = SinkConfig(type: "postgres", capabilities: PostgresSink.capabilities)
        config.url = "postgres://loader:s3cret@db.example.com:6432/shop"
        #expect(try PostgresSink(config).target == "postgres db.example.com:6432/shop")
    }

    @Test(
        "what libpq does not understand is refused, without the part that may hold the password",
        arguments: ["postgres://u:s3cret@[::1/x", "postgres://u:s3%zzcret@host/x", "host=x s3cret", nil]
    )
    func refused(url: String?) {
        let error = #expect(throws: SinkError.self) { try settings(url) }
        #expect(error?.kind == .configuration)
        #expect(error?.description.contains("SINK_URL") == true)
        #expect(error?.description.contains("s3cret") == false)
        #expect(error?.description.contains("postgres://USER@HOST:PORT/DATABASE") == true)
    }

    @Test("policies for values that it cannot hold are refused: there are none", arguments: ["null", "clamp", "text"])
    func policies(name: String) {
        let error = #expect(throws: SinkError.self) {
            try settings("postgres://x/y") { $0.onUnrepresentable = UnrepresentablePolicy(rawValue: name) ?? .error }
        }
        #expect(error?.cause == "postgres holds every value exactly: remove SINK_ON_UNREPRESENTABLE=\(name)")
    }

    @Test("soft deletes without audit columns, and a schema's name that is too long, are refused together")
    func contradictions() {
        let error = #expect(throws: SinkError.self) {
            try settings("postgres://x/y") {
                $0.deleteMode = .soft
                $0.auditColumns = false
                $0.schema = String(repeating: "s", count: 64)
            }
        }
        #expect(error?.cause.contains("SINK_AUDIT_COLUMNS=true") == true)
        #expect(error?.cause.contains("SINK_SCHEMA") == true)
    }
}

@Suite("Errors of a PostgreSQL target")
struct PostgresErrorTests {
    private func server(_ sqlState: String) -> PostgresError {
        var error = PostgresError(.server, "something")
        error.sqlState = sqlState
        return error
    }

    @Test(
        "what waiting may mend is repeated",
        arguments: [
            "08006", "40001", "40P01", "53100", "53300", "55P03", "57P01", "57P02", "57P03", "57014", "25006", "58030",
            "25P03",
        ]
    )
    func retriable(sqlState: String) {
        #expect(server(sqlState).sinkError("write").kind == .retriable)
    }

    @Test(
        "what never works ends the daemon",
        arguments: ["22003", "22P02", "23502", "23505", "23514", "42P01", "42703", "428C9", "0A000", "XX000", "P0001"]
    )
    func permanent(sqlState: String) {
        #expect(server(sqlState).sinkError("write").kind == .permanent)
    }

    @Test("what the operator has to mend is told as such", arguments: ["28P01", "28000", "3D000", "42501"])
    func configuration(sqlState: String) {
        #expect(server(sqlState).sinkError("write").kind == .configuration)
    }

    @Test("a session that is lost or silent is tried again, and not used again")
    func lost() {
        for reason in [PostgresError.Reason.lost, .timeout] {
            let error = PostgresError(reason, "gone")
            #expect(error.endsSession)
            #expect(error.sinkError("write").kind == .retriable)
        }
        #expect(!server("23505").endsSession)
        #expect(server("57P01").endsSession)
    }

    @Test("only constraints that hold after each statement of the source are worth another order")
    func order() {
        for sqlState in ["23505", "23503", "23P01", "21000"] { #expect(server(sqlState).mayPassInOrder) }
        for sqlState in ["23502", "23514", "22003", "40P01"] { #expect(!server(sqlState).mayPassInOrder) }
    }

    @Test("the schema of a type's name is found, whatever is quoted")
    func schemas() {
        #expect(PostgresSetup.schema(of: "public.mood") == "public")
        #expect(PostgresSetup.schema(of: "\"My.Schema\".\"a.b\"") == "My.Schema")
        #expect(PostgresSetup.schema(of: "integer") == nil)
    }
}
