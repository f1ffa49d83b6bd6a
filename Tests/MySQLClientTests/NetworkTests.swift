import CdcCore
import Glibc
import MySQLClient
import TestSupport
import Testing

/// A network that cuts and stalls while statements and rows are on their way.
@Suite("MySQL: network", .serialized) struct NetworkTests {
    let server: MariaDBServer
    let proxy: TcpProxy

    init() throws {
        server = try Servers.plain.get()
        proxy = try TcpProxy(target: server.port)
    }

    private func connect() throws -> MySQLConnection {
        try MySQLConnection(options(port: proxy.port), cancellation: Cancellation())
    }

    @Test("cut between rows, and then connected again", arguments: [true, false])
    func cut(reset: Bool) throws {
        defer { proxy.stop() }
        let connection = try connect()
        var rows = 0
        let failure = error { () throws(MySQLError) in
            try connection.query("SELECT seq FROM mysql.seq_1_to_100000000", deadline: .soon) { _ in
                rows += 1
                if rows == 1000 { proxy.cut(reset: reset) }
            }
        }
        #expect(rows >= 1000)
        #expect(failure?.kind == .lost, "\(String(describing: failure))")
        #expect(!connection.isUsable)
        #expect(try connect().value("SELECT 1") == "1")
    }

    @Test("stalled between rows: the deadline ends it")
    func stall() throws {
        defer { proxy.stop() }
        let connection = try connect()
        var rows = 0
        let start = ContinuousClock.now
        let failure = error { () throws(MySQLError) in
            try connection.query(
                "SELECT seq, REPEAT('x', 1000) FROM mysql.seq_1_to_100000000",
                deadline: .now + .seconds(1)
            ) { _ in
                rows += 1
                if rows == 1000 { proxy.stall() }
            }
        }
        #expect(failure?.kind == .timeout)
        #expect(ContinuousClock.now - start < .seconds(2))
        proxy.resume()
        #expect(try connect().value("SELECT 1") == "1")
    }

    @Test("a large statement into a stalled connection ends at its deadline; into a cut one at once")
    func sending() throws {
        defer { proxy.stop() }
        let sql = "SELECT MD5('\(String(repeating: "0123456789abcdef", count: 40 << 16))')"
        let stalled = try connect()
        proxy.stall()
        let start = ContinuousClock.now
        let late = error { () throws(MySQLError) in _ = try stalled.rows(sql, deadline: .now + .milliseconds(500)) }
        #expect(late?.kind == .timeout)
        #expect(late?.mayHaveTakenEffect == true)
        #expect(ContinuousClock.now - start < .seconds(2))
        proxy.resume()
        let cut = try connect()
        proxy.cut()
        sleepThread(.milliseconds(50))
        let lost = error { () throws(MySQLError) in _ = try cut.rows(sql, deadline: .soon) }
        #expect(lost?.kind == .lost, "\(String(describing: lost))")
        #expect(!cut.isUsable)
    }

    @Test("cut before the answer: the statement may have been done, and was")
    func ambiguous() throws {
        defer { proxy.stop() }
        try server.sql("CREATE DATABASE IF NOT EXISTS network; CREATE OR REPLACE TABLE network.t (a INT)")
        let connection = try connect()
        let proxy = proxy
        let cutter = WorkerThread {
            sleepThread(.milliseconds(300))
            proxy.orphan()
        }
        let failure = error { () throws(MySQLError) in
            _ = try connection.execute("INSERT INTO network.t SELECT SLEEP(1)", deadline: .soon)
        }
        cutter.join()
        #expect(failure?.kind == .lost)
        #expect(failure?.mayHaveTakenEffect == true)
        #expect(eventually(within: .seconds(10)) { (try? server.sql("SELECT COUNT(*) FROM network.t")) == "1\n" })
    }

    @Test("connections that are given up leave neither memory nor descriptors behind")
    func givenUp() throws {
        defer { proxy.stop() }
        func round() throws {
            let connection = try MySQLConnection(options(port: server.port), cancellation: Cancellation())
            let failure = error { () throws(MySQLError) in
                _ = try connection.execute("SELECT SLEEP(0.1)", deadline: .now + .milliseconds(2))
            }
            #expect(failure?.kind == .timeout)
            #expect(!connection.isUsable)
        }
        for _ in 0..<50 { try round() }
        let descriptors = openDescriptors()
        let before = try #require(ProcessUsage(pid: getpid()))
        for _ in 0..<300 { try round() }
        let after = try #require(ProcessUsage(pid: getpid()))
        #expect(openDescriptors() == descriptors)
        // A connection that stayed would keep 16 KB of buffers at least.
        #expect(after.residentAnonymous - before.residentAnonymous < 2 << 20)
    }

    @Test("closing says good-bye and leaves no descriptor; SIGPIPE is ignored from the first connection on")
    func closing() throws {
        defer { proxy.stop() }
        let direct = try MySQLConnection(options(port: server.port), cancellation: Cancellation())
        let id = direct.connectionID
        let descriptors = openDescriptors()
        direct.close()
        direct.close()
        #expect(openDescriptors() == descriptors - 1)
        #expect(direct.connectionID == 0)
        let gone = "SELECT COUNT(*) FROM information_schema.processlist WHERE id = \(id)"
        #expect(eventually(within: .seconds(5)) { (try? server.sql(gone)) == "0\n" })
        // Dropped without a word, it closes too.
        do { _ = try connect() }
        #expect(eventually(within: .seconds(5)) { proxy.connectionCount == 0 })
        var action = sigaction()
        sigaction(SIGPIPE, nil, &action)
        #expect(unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == 1)
    }
}
