import CdcCore
import Glibc
import MySQLClient
import TestSupport
import Testing

/// Servers and networks that go away or say nothing, and callers that do not want to wait.
@Suite("MySQL: trouble", .serialized) struct TroubleTests {
    let server: MariaDBServer

    init() throws { server = try Servers.plain.get() }

    /// What a call that is to end early did, and how long it took.
    private func timed(_ body: () throws(MySQLError) -> Void) -> (error: MySQLError?, took: Duration) {
        let start = ContinuousClock.now
        let failure = error(body)
        return (failure, .now - start)
    }

    /// Cancels in a moment.
    private func cancelSoon(_ cancellation: Cancellation) -> WorkerThread {
        WorkerThread {
            sleepThread(.milliseconds(300))
            cancellation.cancel()
        }
    }

    @Test("a deadline in a statement; the next connection works")
    func deadline() throws {
        let connection = try connect(server)
        let descriptors = openDescriptors()
        let (failure, took) = timed { () throws(MySQLError) in
            _ = try connection.execute("SELECT SLEEP(30)", deadline: .now + .milliseconds(400))
        }
        #expect(failure?.kind == .timeout)
        #expect(failure?.mayHaveTakenEffect == true)
        #expect(took >= .milliseconds(400) && took < .milliseconds(1400), "\(took)")
        #expect(!connection.isUsable)
        #expect(openDescriptors() == descriptors - 1)
        #expect(error { () throws(MySQLError) in _ = try connection.value("SELECT 1") }?.kind == .lost)
        #expect(try connect(server).value("SELECT 1") == "1")
    }

    @Test("a deadline that has passed sends nothing, and costs nothing")
    func passed() throws {
        let connection = try connect(server)
        let (failure, _) = timed { () throws(MySQLError) in _ = try connection.rows("SELECT 1", deadline: .now) }
        #expect(failure?.kind == .timeout)
        #expect(failure?.mayHaveTakenEffect == false)
        #expect(try connection.value("SELECT 1") == "1")
    }

    @Test("a deadline and a cancellation while rows keep coming")
    func whileRowsCome() throws {
        let sql = "SELECT seq FROM mysql.seq_1_to_1000000000"
        let connection = try connect(server)
        let (late, took) = timed { () throws(MySQLError) in
            try connection.query(sql, deadline: .now + .milliseconds(300)) { _ in }
        }
        #expect(late?.kind == .timeout)
        #expect(took < .seconds(2), "\(took)")
        let cancellation = Cancellation()
        let second = try connect(server, cancellation: cancellation)
        let thread = cancelSoon(cancellation)
        let (cancelled, tookToCancel) = timed { () throws(MySQLError) in
            try second.query(sql, deadline: .soon) { _ in }
        }
        thread.join()
        #expect(cancelled?.kind == .cancelled)
        #expect(tookToCancel < .seconds(2), "\(tookToCancel)")
    }

    @Test("a cancellation in a statement, between rows that do not come, and before")
    func cancelled() throws {
        let slow = "SELECT seq, SLEEP(IF(seq > 3, 30, 0)), REPEAT('x', 20000) FROM mysql.seq_1_to_10"
        for sql in ["SELECT SLEEP(30)", slow] {
            let cancellation = Cancellation()
            let connection = try connect(server, cancellation: cancellation)
            let thread = cancelSoon(cancellation)
            let (failure, took) = timed { () throws(MySQLError) in try connection.query(sql, deadline: .soon) { _ in } }
            thread.join()
            #expect(failure?.kind == .cancelled)
            #expect(took < .milliseconds(1300), "\(took)")
            #expect(!connection.isUsable)
        }
        let cancellation = Cancellation()
        cancellation.cancel()
        #expect(connectError(port: server.port, cancellation: cancellation)?.kind == .cancelled)
    }

    @Test("a server that takes the connection and says nothing", arguments: [true, false])
    func silent(isCancelled: Bool) throws {
        let fake = try FakeServer { $0.read(until: .seconds(5)) }
        let cancellation = Cancellation()
        let descriptors = openDescriptors()
        let thread = isCancelled ? cancelSoon(cancellation) : nil
        let (failure, took) = timed { () throws(MySQLError) in
            let options = options(port: fake.port) {
                $0.connectTimeout = isCancelled ? .seconds(30) : .milliseconds(400)
            }
            _ = try MySQLConnection(options, cancellation: cancellation)
        }
        thread?.join()
        #expect(failure?.kind == (isCancelled ? .cancelled : .timeout))
        #expect(took < .milliseconds(1400), "\(took)")
        // The server's end is this process' too.
        #expect(eventually(within: .seconds(5)) { openDescriptors() <= descriptors })
    }

    @Test("a host that answers no SYN: the backlog of a listener is full")
    func blackHole() throws {
        let hole = try FullListener()
        let (failure, took) = timed { () throws(MySQLError) in
            let options = options(port: hole.port) { $0.connectTimeout = .milliseconds(400) }
            _ = try MySQLConnection(options, cancellation: Cancellation())
        }
        #expect(failure?.kind == .timeout, "\(String(describing: failure))")
        #expect(took < .milliseconds(1400), "\(took)")
    }

    @Test("a port that nobody listens on, a name that nobody has")
    func unreachable() throws {
        let refused = connectError(port: try freePort())
        #expect(refused?.kind == .unreachable)
        #expect(refused?.message.contains("(115)") == false)
        let unknown = connectError(port: 3306) {
            $0.host = "nobody.invalid"
            $0.connectTimeout = .seconds(30)
        }
        #expect(unknown?.kind == .unreachable, "\(String(describing: unknown))")
    }

    @Test("KILL CONNECTION, idle and in a statement")
    func killed() throws {
        let idle = try connect(server)
        try server.sql("KILL CONNECTION \(idle.connectionID)")
        let (lost, _) = timed { () throws(MySQLError) in _ = try idle.value("SELECT 1") }
        #expect(lost?.kind == .lost, "\(String(describing: lost))")
        #expect(!idle.isUsable)
        let busy = try connect(server)
        let id = busy.connectionID
        let server = server
        let killer = WorkerThread {
            sleepThread(.milliseconds(300))
            _ = try? server.sql("KILL CONNECTION \(id)")
        }
        let (second, took) = timed { () throws(MySQLError) in
            _ = try busy.execute("SELECT SLEEP(30)", deadline: .soon)
        }
        killer.join()
        #expect(second?.kind == .lost, "\(String(describing: second))")
        #expect(second?.mayHaveTakenEffect == true)
        #expect(took < .seconds(5))
        #expect(try connect(server).value("SELECT 1") == "1")
    }

    @Test("KILL QUERY is the server's error, and the connection stays")
    func killedQuery() throws {
        let connection = try connect(server)
        let id = connection.connectionID
        let server = server
        let killer = WorkerThread {
            sleepThread(.milliseconds(300))
            _ = try? server.sql("KILL QUERY \(id)")
        }
        let sql = "SELECT seq, SLEEP(1) FROM mysql.seq_1_to_30"
        let (failure, _) = timed { () throws(MySQLError) in _ = try connection.rows(sql, deadline: .soon) }
        killer.join()
        #expect(failure?.code == 1317, "\(String(describing: failure))")
        #expect(failure?.kind == .server)
        #expect(try connection.value("SELECT 1") == "1")
    }

    @Test("kill -9 of the server in a statement, a frozen server, a restart")
    func killedServer() throws {
        let own = try MariaDBServer.started()
        defer { own.remove() }
        let connection = try connect(own)
        let killer = WorkerThread {
            sleepThread(.milliseconds(300))
            own.killAndWait()
        }
        let (failure, took) = timed { () throws(MySQLError) in
            _ = try connection.execute("SELECT SLEEP(30)", deadline: .soon)
        }
        killer.join()
        #expect(failure?.kind == .lost, "\(String(describing: failure))")
        #expect(failure?.mayHaveTakenEffect == true)
        #expect(took < .seconds(5))
        #expect(connectError(port: own.port)?.kind == .unreachable)
        try own.start()
        let again = try connect(own)
        try own.freeze()
        let (frozen, tookFrozen) = timed { () throws(MySQLError) in
            _ = try again.rows("SELECT 1", deadline: .now + .milliseconds(300))
        }
        own.resume()
        #expect(frozen?.kind == .timeout)
        #expect(tookFrozen < .seconds(2), "\(tookFrozen)")
        #expect(try connect(own).value("SELECT 1") == "1")
        try own.stop()
    }
}
