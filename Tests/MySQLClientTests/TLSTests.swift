import CdcCore
import Glibc
import MySQLClient
import TestSupport
import Testing

/// Which servers are trusted, and that nothing is said to the others.
@Suite("MySQL: TLS", .serialized) struct TLSTests {
    let server: MariaDBServer
    let certificates: TestCertificates

    init() throws {
        server = try Servers.encrypted.get()
        certificates = try #require(server.certificates)
    }

    @Test("a trusted server, by address and by name", arguments: ["127.0.0.1", "localhost"])
    func trusted(host: String) throws {
        let connection = try connect(server) {
            $0.host = host
            $0.encryption = .required
            $0.certificateAuthority = certificates.path("ca.crt")
        }
        let row = try #require(try connection.rows("SHOW STATUS LIKE 'Ssl_version'", deadline: .soon).first)
        #expect(row[1] == "TLSv1.3")
    }

    @Test("without TLS it stays without, although the server offers it")
    func off() throws {
        let connection = try connect(server)
        let row = try #require(try connection.rows("SHOW STATUS LIKE 'Ssl_version'", deadline: .soon).first)
        #expect(row[1] == "")
    }

    @Test("an authority that is not trusted, another one or the system's", arguments: ["other-ca.crt", nil])
    func untrusted(authority: String?) throws {
        let refusal = try #require(
            connectError(port: server.port) {
                $0.encryption = .required
                $0.certificateAuthority = authority.map { certificates.path($0) }
            }
        )
        #expect(refusal.kind == .tls, "\(refusal)")
        #expect(refusal.message.contains("certificate"), "\(refusal)")
    }

    @Test("a certificate for another host")
    func elsewhere() throws {
        let other = try MariaDBServer.started(certificate: "elsewhere")
        defer { other.remove() }
        let authority = try #require(other.certificates).path("ca.crt")
        for host in ["127.0.0.1", "localhost"] {
            let refusal = connectError(port: other.port) {
                $0.host = host
                $0.encryption = .required
                $0.certificateAuthority = authority
            }
            #expect(refusal?.kind == .tls, "\(String(describing: refusal))")
        }
    }

    @Test("a server without TLS hears neither user nor password")
    func noTLS() throws {
        let fake = try FakeServer { peer in
            peer.send(FakeServer.greeting())
            return peer.read(until: .seconds(2))
        }
        let refusal = try #require(
            connectError(port: fake.port) {
                $0.user = "somebody"
                $0.password = Secret("hunter2")
                $0.encryption = .required
                $0.certificateAuthority = certificates.path("ca.crt")
            }
        )
        #expect(refusal.kind == .tls, "\(refusal)")
        let heard = String(decoding: fake.result(), as: UTF8.self)
        #expect(!heard.contains("somebody"), "\(heard)")
        let real = connectError(port: try Servers.plain.get().port) { $0.encryption = .required }
        #expect(real?.kind == .tls)
    }

    @Test("a server that demands a certificate")
    func mutual() throws {
        try server.sql("CREATE OR REPLACE USER mutual REQUIRE X509")
        func change(_ options: inout MySQLOptions) {
            options.user = "mutual"
            options.encryption = .required
            options.certificateAuthority = certificates.path("ca.crt")
        }
        #expect(connectError(port: server.port, change)?.kind == .authentication)
        let connection = try connect(server) {
            change(&$0)
            $0.certificate = certificates.path("client.crt")
            $0.key = certificates.path("client.key")
        }
        #expect(try connection.value("SELECT 1") == "1")
    }

    @Test("files that are not there or not what they should be")
    func files() throws {
        func kind(_ change: @escaping (inout MySQLOptions) -> Void) -> MySQLError? {
            connectError(port: server.port) {
                $0.encryption = .required
                $0.certificateAuthority = certificates.path("ca.crt")
                change(&$0)
            }
        }
        #expect(kind { $0.certificateAuthority = "/nowhere" }?.kind == .invalid)
        #expect(kind { $0.certificate = "/nowhere" }?.kind == .invalid)
        #expect(kind { $0.certificateAuthority = certificates.path("ca.key") }?.kind == .tls)
        #expect(
            kind {
                $0.certificate = certificates.path("client.crt")
                $0.key = certificates.path("server.key")
            }?.kind == .tls
        )
    }

    @Test("large statements and results go through TLS, with a slow reader at the other end")
    func large() throws {
        let connection = try connect(server) {
            $0.encryption = .required
            $0.certificateAuthority = certificates.path("ca.crt")
        }
        let text = String(repeating: "0123456789abcdef", count: 1 << 20)
        #expect(try connection.value("SELECT MD5('\(text)')")?.count == 32)
        var bytes = 0
        try connection.query("SELECT REPEAT('x', 1000) FROM mysql.seq_1_to_50000", deadline: .soon) {
            bytes += $0.byteCount(0)
        }
        #expect(bytes == 50_000_000)
    }

    @Test("a handshake that stalls, and a write into a connection that is gone")
    func handshakeStalls() throws {
        let proxy = try TcpProxy(target: server.port)
        defer { proxy.stop() }
        func change(_ options: inout MySQLOptions) {
            options.encryption = .required
            options.certificateAuthority = certificates.path("ca.crt")
            options.connectTimeout = .milliseconds(700)
        }
        // A server that asks for TLS and then says nothing more.
        let fake = try FakeServer { peer in
            peer.send(FakeServer.greeting(capabilities: FakeServer.withTLS))
            return peer.read(until: .seconds(3))
        }
        let start = ContinuousClock.now
        let refusal = connectError(port: fake.port, change)
        #expect(refusal?.kind == .timeout, "\(String(describing: refusal))")
        #expect(ContinuousClock.now - start < .seconds(2))

        let connection = try MySQLConnection(options(port: proxy.port, change), cancellation: Cancellation())
        #expect(try connection.value("SELECT 1") == "1")
        proxy.cut()
        let lost = error { () throws(MySQLError) in
            _ = try connection.value("SELECT '\(String(repeating: "x", count: 10 << 20))'")
        }
        #expect(lost?.kind == .lost, "\(String(describing: lost))")
        #expect(!connection.isUsable)
    }

    @Test("a statement that a stalled server does not take ends at its deadline", arguments: [1, 30 << 20])
    func stalls(size: Int) throws {
        let proxy = try TcpProxy(target: server.port)
        defer { proxy.stop() }
        let connection = try connect(server) {
            $0.port = UInt16(proxy.port)
            $0.encryption = .required
            $0.certificateAuthority = certificates.path("ca.crt")
        }
        proxy.stall()
        let sql = "SELECT MD5('\(String(repeating: "x", count: size))')"
        let start = ContinuousClock.now
        let late = error { () throws(MySQLError) in
            _ = try connection.rows(sql, deadline: .now + .milliseconds(500))
        }
        #expect(late?.kind == .timeout)
        #expect(late?.mayHaveTakenEffect == true)
        #expect(ContinuousClock.now - start < .seconds(2))
    }
}
