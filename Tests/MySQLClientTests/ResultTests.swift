import CdcCore
import MySQLClient
import TestSupport
import Testing

/// Rows, columns, values and their limits.
@Suite("MySQL: results", .serialized) struct ResultTests {
    let server: MariaDBServer

    init() throws { server = try Servers.plain.get() }

    @Test("what a statement did")
    func outcome() throws {
        try server.sql("DROP DATABASE IF EXISTS results; CREATE DATABASE results")
        let connection = try connect(server) { $0.database = "results" }
        func run(_ sql: String) throws -> MySQLOutcome { try connection.execute(sql, deadline: .soon) }
        #expect(try run("CREATE TABLE t (id INT PRIMARY KEY, a TINYINT)").affectedRows == 0)
        #expect(try run("INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)").affectedRows == 3)
        #expect(try run("UPDATE t SET a = 1").affectedRows == 2)
        #expect(try run("INSERT IGNORE INTO t VALUES (1, 1), (4, 999)").warnings == 2)
        #expect(try run("SELECT * FROM t").affectedRows == 0)
        #expect(try connection.value("SELECT COUNT(*) FROM t") == "4")
    }

    @Test("names and types of columns; NULL is not empty")
    func columns() throws {
        let connection = try connect(server)
        let sql = """
            SELECT CAST(7 AS UNSIGNED) AS `größe`, -1 AS n, NULL AS nothing, '' AS empty, x'00ff' AS raw, NOW() AS t
            """
        var rows = 0
        let columns = try connection.query(sql, deadline: .soon) { row throws(MySQLError) in
            rows += 1
            #expect(try row.text(0) == "7")
            #expect(try row.text(1) == "-1")
            #expect(row.isNull(2) == true)
            #expect(try row.text(2) == nil)
            #expect(row.isNull(3) == false)
            #expect(try row.text(3) == "")
            #expect(row.withBytes(4) { $0.map { Array($0) } } == [0, 0xFF])
            #expect(row.byteCount(4) == 2)
            #expect(row.columns.count == row.count)
        }
        #expect(rows == 1)
        #expect(columns.map(\.name) == ["größe", "n", "nothing", "empty", "raw", "t"])
        #expect(columns.map(\.isUnsigned) == [true, false, false, false, true, false])
        #expect(columns.map(\.isBinary) == [true, true, true, false, true, true])
        #expect(columns[5].type == 12)
    }

    @Test("no rows: the columns are known all the same")
    func empty() throws {
        let connection = try connect(server)
        let columns = try connection.query("SELECT seq FROM mysql.seq_1_to_3 WHERE seq > 3", deadline: .soon) { _ in
            Issue.record("there is no row")
        }
        #expect(columns.map(\.name) == ["seq"])
        #expect(try connection.rows("DO 1", deadline: .soon).isEmpty)
    }

    @Test("bytes that are not UTF-8 are an error, and are read as bytes")
    func invalidText() throws {
        let connection = try connect(server)
        var bytes: [UInt8]?
        try connection.query("SELECT x'c328'", deadline: .soon) { row in
            bytes = row.withBytes(0) { $0.map { Array($0) } }
        }
        #expect(bytes == [0xC3, 0x28])
        let failure = error { () throws(MySQLError) in _ = try connection.rows("SELECT x'c328' AS c", deadline: .soon) }
        #expect(failure?.kind == .protocol)
        #expect(failure?.message.contains("column c") == true)
        #expect(!connection.isUsable)
    }

    @Test("a million rows, and a row of 30 MB, in little memory")
    func large() throws {
        let connection = try connect(server)
        _ = try connection.rows("SELECT 1", deadline: .soon)
        var rows = 0
        var sum = 0
        let before = try residentPeak()
        let sql = "SELECT seq, REPEAT('x', 100) FROM mysql.seq_1_to_1000000"
        try connection.query(sql, deadline: .soon) { row throws(MySQLError) in
            rows += 1
            sum += row.withBytes(0) { bytes in bytes?.reduce(0) { $0 * 10 + Int($1) - 0x30 } ?? 0 }
        }
        #expect(rows == 1_000_000)
        #expect(sum == 500_000_500_000)
        let streamed = try residentPeak()
        // 110 MB went by.
        #expect(streamed - before < 4 << 20, "\(streamed - before) bytes")
        var length = 0
        try connection.query("SELECT REPEAT('x', 30000000)", deadline: .soon) { length = $0.byteCount(0) }
        #expect(length == 30_000_000)
        let row = try residentPeak()
        // The packet once, in the library's buffer, which it lets grow by copying.
        #expect(row - streamed < 100 << 20, "\(row - streamed) bytes")
    }

    /// VmHWM, in bytes.
    private func residentPeak() throws -> Int {
        let text = try #require(readText("/proc/self/status"))
        let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("VmHWM:") })
        let number = try #require(line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) })
        return number * 1024
    }

    @Test("rows above the limit end the query, and the next connection is none the worse")
    func limits() throws {
        let connection = try connect(server)
        #expect(try connection.rows("SELECT seq FROM mysql.seq_1_to_100", deadline: .soon).count == 100)
        let failure = error { () throws(MySQLError) in
            _ = try connection.rows("SELECT seq FROM mysql.seq_1_to_1000000", deadline: .soon, byteLimit: 10_000)
        }
        #expect(failure?.kind == .limit)
        #expect(!connection.isUsable)
        #expect(error { () throws(MySQLError) in _ = try connection.value("SELECT 1") }?.kind == .lost)
    }

    @Test("packets: what is sent above our limit or the server's, what is received above ours")
    func packets() throws {
        let connection = try connect(server) { $0.packetLimit = 1 << 20 }
        let large = String(repeating: "x", count: 1 << 20)
        let ours = error { () throws(MySQLError) in _ = try connection.value("SELECT MD5('\(large)')") }
        #expect(ours?.kind == .limit)
        #expect(ours?.mayHaveTakenEffect == false)
        #expect(connection.isUsable)
        let received = error { () throws(MySQLError) in _ = try connection.value("SELECT REPEAT('x', 5000000)") }
        #expect(received?.kind == .limit, "\(String(describing: received))")
        #expect(!connection.isUsable)

        try server.sql("SET GLOBAL max_allowed_packet = 1048576")
        defer { _ = try? server.sql("SET GLOBAL max_allowed_packet = 67108864") }
        let second = try connect(server)
        let refused = error { () throws(MySQLError) in _ = try second.value("SELECT MD5('\(large)\(large)')") }
        #expect(refused?.kind == .limit || refused?.kind == .lost, "\(String(describing: refused))")
        #expect(!second.isUsable)
    }

    @Test("what the closure throws ends the query; a connection is not used while it is being read")
    func closures() throws {
        let connection = try connect(server)
        var seen = 0
        let thrown = error { () throws(MySQLError) in
            try connection.query("SELECT seq FROM mysql.seq_1_to_1000000", deadline: .soon) { _ throws(MySQLError) in
                seen += 1
                let nested = error { () throws(MySQLError) in _ = try connection.value("SELECT 1") }
                #expect(nested?.kind == .invalid)
                if seen == 10 { throw MySQLError(.protocol, "enough") }
            }
        }
        #expect(seen == 10)
        #expect(thrown?.kind == .protocol)
        #expect(thrown?.message.hasSuffix("enough") == true)
        #expect(!connection.isUsable)

        let closing = try connect(server)
        let sql = "SELECT seq FROM mysql.seq_1_to_3"
        try closing.query(sql, deadline: .soon) { _ in closing.close() }
        #expect(!closing.isUsable)
        #expect(error { () throws(MySQLError) in _ = try closing.value("SELECT 1") }?.kind == .invalid)
        closing.close()
    }

    @Test("a procedure's results, and an error in the middle of the rows")
    func procedures() throws {
        let connection = try connect(server)
        let make = "CREATE OR REPLACE PROCEDURE mysql.two() BEGIN SELECT 1; SELECT seq FROM mysql.seq_1_to_1000; END"
        _ = try connection.execute(make, deadline: .soon)
        #expect(try connection.rows("CALL mysql.two()", deadline: .soon) == [["1"]])
        #expect(try connection.value("SELECT 2") == "2")
        let late = "SELECT IF(seq < 50000, seq, (SELECT 1 UNION SELECT 2)) FROM mysql.seq_1_to_60000"
        let failure = error { () throws(MySQLError) in _ = try connection.rows(late, deadline: .soon) }
        #expect(failure?.code == 1242)
        #expect(failure?.kind == .server)
        #expect(connection.isUsable)
        #expect(try connection.value("SELECT 3") == "3")
        let several = error { () throws(MySQLError) in _ = try connection.value("SELECT 1; SELECT 2") }
        #expect(several?.code == 1064)
    }
}
