import CdcCore
import Glibc
import MySQLClient
import TestSupport
import Testing

/// What is no MySQL server, or one that asks for what it must not have, or talks nonsense.
@Suite("MySQL: hostile servers", .serialized) struct HostileTests {
    /// The error of connecting to a server that says this, and what it heard.
    private func meet(
        seconds: Int = 5,
        _ change: @escaping (inout MySQLOptions) -> Void = { _ in },
        _ body: @escaping @Sendable (FakeServer.Peer) -> [UInt8]
    ) throws -> (error: MySQLError?, heard: String) {
        let fake = try FakeServer(body)
        let failure = connectError(port: fake.port) {
            $0.password = Secret("hunter2")
            $0.connectTimeout = .seconds(seconds)
            change(&$0)
        }
        return (failure, String(decoding: fake.result(), as: UTF8.self))
    }

    @Test(
        "greetings that are none",
        arguments: [
            Array("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".utf8), Array("SSH-2.0-OpenSSH_9.2\r\n".utf8),
            [],
            [0], [0, 0, 0, 0], [0xFF, 0xFF, 0xFF, 0], FakeServer.packet(0, [10]),
            FakeServer.packet(0, [9] + [1, 2, 3]),
            FakeServer.packet(0, [UInt8](repeating: 0xEE, count: 300)), FakeServer.packet(0, [10, 0x38]),
            FakeServer.packet(7, [10]), Array(FakeServer.greeting().prefix(30)),
            FakeServer.packet(0, [10] + [UInt8](repeating: 0x41, count: 5000)),
        ] as [[UInt8]]
    )
    func garbage(greeting: [UInt8]) throws {
        let (failure, heard) = try meet { peer in
            peer.send(greeting)
            return []
        }
        #expect(failure != nil)
        // The library takes a greeting that ends early for one of a server before 4.1, whose method is not allowed.
        let kinds: [MySQLError.Kind] = [.unreachable, .protocol, .server, .authentication]
        #expect(kinds.contains { $0 == failure?.kind }, "\(String(describing: failure))")
        #expect(heard.isEmpty)
    }

    @Test("a greeting that comes a byte at a time and never ends")
    func trickle() throws {
        let start = ContinuousClock.now
        let (failure, _) = try meet(seconds: 1) { peer in
            for byte in FakeServer.greeting().dropLast(2) {
                peer.send([byte])
                if peer.readSome(.now + .milliseconds(50)) == nil { break }
            }
            return peer.read(until: .seconds(3))
        }
        #expect(failure?.kind == .timeout)
        #expect(ContinuousClock.now - start < .seconds(6))
    }

    @Test("a server that refuses in its greeting: too many connections, a host that is blocked")
    func refusals() throws {
        for (code, text) in [(1040, "#08004Too many connections"), (1129, "Host '127.0.0.1' is blocked")] {
            let (failure, _) = try meet { peer in
                peer.send(FakeServer.packet(0, [0xFF, UInt8(code & 255), UInt8(code >> 8)] + Array(text.utf8)))
                return []
            }
            #expect(failure?.code == UInt32(code), "\(String(describing: failure))")
            #expect(failure?.kind == .server)
        }
    }

    @Test(
        "methods that would show the password, or ask somebody who is not there",
        arguments: [
            "mysql_clear_password", "dialog", "mysql_old_password", "caching_sha2_password", "sha256_password",
            "auth_gssapi_client", "../../../../tmp/evil", "zstd", "",
        ]
    )
    func methods(plugin: String) throws {
        let (failure, heard) = try meet { peer in
            peer.send(FakeServer.greeting())
            _ = peer.readSome()
            let challenge = Array("01234567890123456789".utf8) + [0]
            peer.send(FakeServer.packet(2, [0xFE] + Array(plugin.utf8) + [0] + challenge))
            return peer.read(until: .seconds(1))
        }
        #expect(failure?.kind == .authentication, "\(String(describing: failure))")
        #expect(!heard.contains("hunter2"))
    }

    @Test("the same methods as the greeting's own", arguments: ["mysql_clear_password", "dialog", "sha256_password"])
    func defaultMethods(plugin: String) throws {
        let (failure, heard) = try meet { peer in
            peer.send(FakeServer.greeting(plugin: plugin))
            return peer.read(until: .seconds(1))
        }
        #expect(failure != nil)
        #expect(!heard.contains("hunter2"))
    }

    @Test("the switch to the method before 4.1")
    func oldMethod() throws {
        let (failure, _) = try meet { peer in
            peer.send(FakeServer.greeting())
            _ = peer.readSome()
            peer.send(FakeServer.packet(2, [0xFE]))
            return peer.read(until: .seconds(1))
        }
        #expect(failure?.kind == .authentication, "\(String(describing: failure))")
    }

    @Test("a server that asks for a file instead of answering does not get it")
    func localInfile() throws {
        let secret = try makeTemporaryDirectory("dbmazz-infile") + "/secret"
        defer { removeTree(String(secret.dropLast(7))) }
        let file = open(secret, O_WRONLY | O_CREAT, 0o600)
        _ = write(file, "topsecret", 9)
        close(file)
        let fake = try FakeServer { peer in
            peer.send(FakeServer.greeting())
            _ = peer.readSome()
            peer.send(FakeServer.ok(2))
            _ = peer.readSome()
            peer.send(FakeServer.packet(1, [0xFB] + Array(secret.utf8)))
            let heard = peer.readSome(.now + .seconds(1)) ?? []
            peer.send(FakeServer.ok(3))
            return heard + peer.read(until: .seconds(1))
        }
        let connection = try MySQLConnection(options(port: fake.port), cancellation: Cancellation())
        let failure = error { () throws(MySQLError) in
            _ = try connection.execute("SELECT 1", deadline: .now + .seconds(5))
        }
        connection.close()
        #expect(failure != nil)
        #expect(!String(decoding: fake.result(), as: UTF8.self).contains("topsecret"))
        // And with a real server, which would ask because the statement says so.
        let server = try Servers.plain.get()
        let real = try connect(server)
        let sql = "LOAD DATA LOCAL INFILE '\(secret)' INTO TABLE mysql.time_zone"
        #expect(error { () throws(MySQLError) in _ = try real.execute(sql, deadline: .soon) } != nil)
    }

    @Test(
        "answers that are none",
        arguments: [
            [[]], [[0xFF]], [[0xFF, 1]], [[0x00]], [[1], [3]], [[1], [3, 0x64, 0x65, 0x66, 0xFC]], [[0xFC]],
            [[0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]], [[2], [0xFE, 0, 0, 2, 0]],
        ] as [[[UInt8]]]
    )
    func answers(packets: [[UInt8]]) throws {
        let connection = try connected { peer in
            for (number, packet) in packets.enumerated() { peer.send(FakeServer.packet(UInt8(number + 1), packet)) }
        }
        let failure = error { () throws(MySQLError) in _ = try connection.rows("SELECT 1", deadline: .now + .seconds(3))
        }
        #expect(failure != nil)
        #expect(failure?.kind != .timeout)
    }

    @Test(
        "rows that are none",
        arguments: [[0x05], [0x05, 0x41], [0xFC, 0xFF], [0xFE, 0xFF, 0xFF, 0xFF, 0x7F, 0, 0, 0, 0, 0x41], []]
            as [[UInt8]]
    )
    func rows(row: [UInt8]) throws {
        let connection = try connected { peer in
            peer.send(FakeServer.packet(1, [1]) + FakeServer.column(2, name: Array("c".utf8)))
            peer.send(FakeServer.packet(3, [0xFE, 0, 0, 2, 0]) + FakeServer.packet(4, row))
        }
        let failure = error { () throws(MySQLError) in _ = try connection.rows("SELECT 1", deadline: .now + .seconds(3))
        }
        #expect(failure != nil, "\(row)")
        #expect(failure?.kind != .timeout)
        #expect(!connection.isUsable)
    }

    @Test("a column's name that is not UTF-8")
    func columnName() throws {
        let connection = try connected { peer in
            peer.send(FakeServer.packet(1, [1]) + FakeServer.column(2, name: [0xC3, 0x28]))
            peer.send(FakeServer.packet(3, [0xFE, 0, 0, 2, 0]) + FakeServer.packet(4, [1, 0x41]))
            peer.send(FakeServer.packet(5, [0xFE, 0, 0, 2, 0]))
        }
        let failure = error { () throws(MySQLError) in _ = try connection.rows("SELECT 1", deadline: .now + .seconds(3))
        }
        #expect(failure?.kind == .protocol, "\(String(describing: failure))")
    }

    /// A connection whose first statement is answered by `body`; the server then closes it.
    private func connected(_ body: @escaping @Sendable (FakeServer.Peer) -> Void) throws -> MySQLConnection {
        let fake = try FakeServer { peer in
            peer.send(FakeServer.greeting())
            _ = peer.readSome()
            peer.send(FakeServer.ok(2))
            _ = peer.readSome()
            body(peer)
            // What the client sends is taken first: else the kernel resets the connection, and the answer is lost.
            shutdown(peer.socket, Int32(SHUT_WR))
            return peer.read(until: .seconds(1))
        }
        return try MySQLConnection(options(port: fake.port), cancellation: Cancellation())
    }
}

extension FakeServer {
    /// The description of a VARCHAR column.
    static func column(_ number: UInt8, name: [UInt8]) -> [UInt8] {
        var content: [UInt8] = [3] + Array("def".utf8) + [0, 0, 0]
        content += [UInt8(name.count)] + name + [0, 12, 45, 0, 255, 0, 0, 0, 253, 0, 0, 0, 0, 0]
        return packet(number, content)
    }
}
