import CdcCore
import MySQLClient
import TestSupport
import Testing

/// Literals and names mean to the server what was meant, and errors say no values.
@Suite("MySQL: SQL text", .serialized) struct TextTests {
    let server: MariaDBServer

    init() throws { server = try Servers.plain.get() }

    @Test("every byte comes back from a literal, whatever the session's mode", arguments: ["", "NO_BACKSLASH_ESCAPES"])
    func bytes(mode: String) throws {
        let connection = try connect(server)
        _ = try connection.execute("SET sql_mode = '\(mode)'", deadline: .soon)
        #expect(connection.usesBackslashEscapes == mode.isEmpty)
        let ends = Array("\\' \\\\'' -- \\".utf8)
        let all = (0...255).map { UInt8($0) }
        let values: [[UInt8]] = [all, all.reversed(), ends, ends.reversed(), [0x5C], [0x27], [0]]
        for value in values {
            var sql = Array("SET @v = _binary".utf8)
            value.withUnsafeBytes {
                MySQLText.appendLiteral($0, to: &sql, backslashEscapes: connection.usesBackslashEscapes)
            }
            let failure = error { () throws(MySQLError) in
                try sql.withUnsafeBytes { bytes in
                    Result { () throws(MySQLError) in _ = try connection.execute(bytes, deadline: .soon) }
                }.get()
            }
            #expect(failure == nil)
            var read: [UInt8]?
            try connection.query("SELECT @v", deadline: .soon) { row in read = row.withBytes(0) { $0.map { Array($0) } }
            }
            #expect(read == value)
            #expect(try connection.value("SELECT @v = \(MySQLText.hexLiteral(value))") == "1")
        }
    }

    @Test("every kind of text comes back", arguments: ["", "NO_BACKSLASH_ESCAPES"])
    func text(mode: String) throws {
        let connection = try connect(server)
        _ = try connection.execute("SET sql_mode = '\(mode)'", deadline: .soon)
        let texts = [
            "", "'", "''", "\\", "\\'", "'; DROP TABLE x; -- ", "\u{1A}\0\r\n\t\u{8}", "\"", "%_", "größe €",
            "𝄞 👩‍👩‍👧‍👦", "\u{FEFF}", "\u{202E}", "`", "?", "\\0",
        ]
        for text in texts {
            #expect(try connection.value("SELECT \(connection.literal(text))") == text)
        }
    }

    @Test("names in back-ticks")
    func identifiers() throws {
        let connection = try connect(server)
        for name in ["a`b", "`", "select", "with space", "größe", "a'\"\\b", "x.y", "-- "] {
            let sql = "SELECT 1 AS \(MySQLText.identifier(name))"
            #expect(try connection.query(sql, deadline: .soon) { _ in }.map(\.name) == [name])
        }
        #expect(MySQLText.identifier("") == "``")
    }

    @Test(
        "an error names the statement's beginning and its table, and no value",
        arguments: [
            ("INSERT INTO `shop`.`or``ders` VALUES ('topsecret')", "INSERT INTO `shop`.`or``ders` …"),
            ("insert into orders (a) values (42424242)", "insert into orders …"),
            ("SELECT 'topsecret', a FROM shop.orders WHERE b = 'topsecret'", "SELECT … FROM shop.orders …"),
            ("SELECT 'x FROM topsecret' FROM nowhere.orders", "SELECT … FROM nowhere.orders …"),
            ("/* topsecret */ DELETE FROM orders WHERE a = 42424242", "DELETE FROM orders …"),
            ("CREATE TABLE IF NOT EXISTS nowhere.t (a INT)", "CREATE TABLE IF NOT EXISTS nowhere.t …"),
            ("ALTER USER me IDENTIFIED BY 'topsecret'", "ALTER USER me …"),
            ("SET PASSWORD = PASSWORD('topsecret", "SET PASSWORD …"),
            ("'topsecret'", "a statement"), ("", "a statement"), ("SELECT \"topsecret", "SELECT …"),
        ]
    )
    func names(sql: String, name: String) throws {
        let connection = try connect(server)
        let failure = try #require(error { () throws(MySQLError) in _ = try connection.execute(sql, deadline: .soon) })
        #expect(failure.message.hasPrefix("\(name) at 127.0.0.1:\(server.port): "), "\(failure)")
        #expect(!"\(failure)".contains("topsecret"), "\(failure)")
        #expect(!"\(failure)".contains("42424242"), "\(failure)")
        #expect(failure.kind == .server)
        #expect(failure.sqlState.utf8.count == 5)
        #expect(connection.isUsable)
    }

    @Test("values that the server quotes are left out, keys and columns are not")
    func quotes() throws {
        try server.sql(
            """
            CREATE DATABASE IF NOT EXISTS quotes;
            CREATE OR REPLACE TABLE quotes.t (id VARCHAR(50) PRIMARY KEY, n INT, d DATE, CHECK (n < 100))
            """
        )
        let connection = try connect(server) { $0.database = "quotes" }
        _ = try connection.execute("SET sql_mode = 'STRICT_ALL_TABLES'", deadline: .soon)
        _ = try connection.execute("INSERT INTO t VALUES ('top''secret', 1, NULL)", deadline: .soon)
        for (sql, code, kept) in [
            ("INSERT INTO t VALUES ('top''secret', 1, NULL)", 1062, "for key 'PRIMARY'"),
            ("INSERT INTO t VALUES ('a', 'topsecret', NULL)", 1366, "`n` at row 1"),
            ("INSERT INTO t VALUES ('a', 1, 'topsecret')", 1292, "`d` at row 1"),
            ("INSERT INTO t VALUES ('a', 1, NULL) 'topsecret'", 1064, "near '…' at line 1"),
            ("INSERT INTO t VALUES ('a', 123456789, NULL)", 4025, "CONSTRAINT `CONSTRAINT_1`"),
        ] as [(String, UInt32, String)] {
            let failure = try #require(
                error { () throws(MySQLError) in _ = try connection.execute(sql, deadline: .soon) }
            )
            #expect(failure.code == code, "\(failure)")
            #expect(failure.message.contains(kept), "\(failure)")
            #expect(!failure.message.contains("secret"), "\(failure)")
            #expect(!failure.message.contains("123456789"), "\(failure)")
            #expect(!failure.mayHaveTakenEffect)
        }
        let missing = error { () throws(MySQLError) in
            _ = try connection.execute("INSERT INTO gone VALUES (1)", deadline: .soon)
        }
        #expect(missing?.message.contains("'quotes.gone'") == true)
        #expect(missing?.description.hasSuffix("(error 1146, SQLSTATE 42S02)") == true)
    }
}
