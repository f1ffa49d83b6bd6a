import CdcCore
import MySQLClient
import TestSupport
import Testing

/// Who is let in, by which method, and what is said of those who are not.
@Suite("MySQL: authentication", .serialized) struct AuthenticationTests {
    let server: MariaDBServer

    init() throws {
        server = try Servers.plain.get()
        try server.sql(
            """
            CREATE OR REPLACE USER native IDENTIFIED VIA mysql_native_password USING PASSWORD('se''cret');
            CREATE OR REPLACE USER modern IDENTIFIED VIA ed25519 USING PASSWORD('s€cret');
            CREATE OR REPLACE USER empty IDENTIFIED VIA mysql_native_password USING '';
            CREATE OR REPLACE USER local IDENTIFIED VIA unix_socket;
            CREATE OR REPLACE USER old IDENTIFIED VIA mysql_old_password USING '5d2e19393cc5ef67';
            CREATE OR REPLACE USER locked IDENTIFIED VIA mysql_native_password USING PASSWORD('x') ACCOUNT LOCK;
            """
        )
    }

    @Test(
        "the right password",
        arguments: [("native", "se'cret"), ("modern", "s€cret"), ("empty", ""), ("empty", nil)]
    )
    func letIn(user: String, password: String?) throws {
        let connection = try connect(server) {
            $0.user = user
            $0.password = password.map { Secret($0) }
        }
        #expect(try connection.value("SELECT SUBSTRING_INDEX(USER(), '@', 1)") == user)
    }

    @Test(
        "a wrong one, none, an unknown user, a user of the socket only, a locked one, the method before 4.1",
        arguments: [
            ("native", "wrong"), ("native", nil), ("modern", "wrong"), ("empty", "wrong"), ("nobody", "x"),
            ("nobody", nil), ("local", "x"), ("locked", "x"), ("old", "password"),
        ]
    )
    func refused(user: String, password: String?) throws {
        let refusal = try #require(
            connectError(port: server.port) {
                $0.user = user
                $0.password = password.map { Secret($0) }
            }
        )
        #expect(refusal.kind == .authentication, "\(refusal)")
        #expect(refusal.code != 0)
        #expect(!refusal.mayHaveTakenEffect)
        #expect(!"\(refusal)".contains("wrong"))
    }

    @Test("an unknown database is the server's error, with its code and SQLSTATE")
    func unknownDatabase() throws {
        let refusal = try #require(connectError(port: server.port) { $0.database = "nowhere" })
        #expect(refusal.kind == .server)
        #expect(refusal.code == 1049)
        #expect(refusal.sqlState == "42000")
    }

    @Test("the database, the character set, and nothing that repeats")
    func session() throws {
        let connection = try connect(server) { $0.database = "mysql" }
        #expect(try connection.value("SELECT DATABASE()") == "mysql")
        let sets = "SELECT @@character_set_client, @@character_set_connection, @@character_set_results"
        #expect(try connection.rows(sets, deadline: .soon) == [["utf8mb4", "utf8mb4", "utf8mb4"]])
        #expect(try connection.value("SELECT CONNECTION_ID()") == "\(connection.connectionID)")
        #expect(connection.serverVersion.contains("MariaDB"))
    }

    @Test("what the library would misread is refused before it is asked")
    func invalidOptions() {
        for change: (inout MySQLOptions) -> Void in [
            { $0.host = "" }, { $0.host = "a,b" }, { $0.host = "host=a;user=b" }, { $0.host = "/tmp/s.sock" },
            { $0.port = 0 }, { $0.user = "" }, { $0.password = Secret("a\0b") }, { $0.packetLimit = 0 },
        ] {
            #expect(connectError(port: server.port, change)?.kind == .invalid)
        }
    }

    @Test("a password does not print")
    func secret() {
        let shown = "\(options(port: 1) { $0.password = Secret("hunter2") })"
        #expect(!shown.contains("hunter2"))
    }
}
