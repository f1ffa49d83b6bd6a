import TestSupport
import Testing

extension Integration {
    /// The MySQL port, by the mariadb client.
    @Suite("The emulated StarRocks: SQL") struct StarRocksSQLTests {
        let shell: StarRocksShell

        init() throws { shell = try StarRocksShell() }

        @Test("answers what clients ask at first")
        func connect() throws {
            defer { shell.remove() }
            #expect(try shell.sql("SELECT current_version()") == ["3.3.5-6d81f75"])
            #expect(
                try shell.sql("SELECT 1, 'a', NULL, database(), @@version_comment") == [
                    "1|a|NULL|test_db|StarRocks version 3.3.5"
                ]
            )
            #expect(
                try shell.sql(
                    "SET NAMES utf8mb4; SET autocommit = 1; SET SESSION query_timeout = 60; SELECT @@query_timeout"
                )
                    == ["60"]
            )
            #expect(try shell.error("SET no_such_variable = 1").hasPrefix("1193"))
            #expect(try shell.sql("SHOW DATABASES") == ["information_schema", "test_db"])
            #expect(
                try shell.sql("SHOW VARIABLES LIKE 'version_comment'") == ["version_comment|StarRocks version 3.3.5"]
            )
            #expect(try shell.error("USE nosuch").contains("Unknown database 'nosuch'"))
            #expect(try shell.sql("USE information_schema; SELECT count(*) > 0 FROM schemata") == ["1"])
            try shell.server.control("POST", "/version", "{\"version\": \"4.0.1\"}")
            #expect(try shell.sql("SELECT current_version()") == ["4.0.1-6d81f75"])
        }

        @Test("writes and reads each type, exactly")
        func values() throws {
            defer { shell.remove() }
            let create = """
                CREATE TABLE t (k BIGINT, b BOOLEAN, l LARGEINT, f FLOAT, d DOUBLE, n DECIMAL(38, 10), c CHAR(5), v VARCHAR(20),
                dt DATE, ts DATETIME, j JSON, vb VARBINARY, a ARRAY<VARCHAR(10)>, ai ARRAY<INT>) PRIMARY KEY(k);
                INSERT INTO t VALUES (1, true, 170141183460469231731687303715884105727, 1.1, 1e300,
                '12345678901234567890.1234567891', 'ab', 'xü', '2024-01-02', '2024-01-02 03:04:05.12', parse_json('{"a":1}'), x'00ff',
                ['a', 'b,"c'], [1, NULL]), (2, false, -170141183460469231731687303715884105728, -0.5, 5e-324, -0.5, NULL, '', NULL,
                '2024-01-02 03:04:05', NULL, NULL, [], NULL);
                """
            #expect(try shell.sql(create) == [])
            #expect(
                try shell.sql(
                    "SELECT k, b, l, f, d, n, c, v, dt, ts, j, hex(vb), a, ai FROM t ORDER BY k"
                )
                    == [
                        "1|1|170141183460469231731687303715884105727|1.1|1e+300|12345678901234567890.1234567891|ab|xü|2024-01-02|"
                            + "2024-01-02 03:04:05.120000|{\"a\": 1}|00FF|[\"a\",\"b,\\\\\"c\"]|[1,null]",
                        "2|0|-170141183460469231731687303715884105728|-0.5|5e-324|-0.5000000000|NULL||NULL|2024-01-02 03:04:05|NULL|NULL|[]|NULL",
                    ]
            )
            #expect(
                try shell.sql("SELECT max(l), min(l), max(n), sum(n), count(*), count(DISTINCT b), avg(k) FROM t") == [
                    "170141183460469231731687303715884105727|-170141183460469231731687303715884105728|12345678901234567890.1234567891|"
                        + "12345678901234567889.6234567891|2|2|1.5"
                ]
            )
            let found = [
                "l > 5": "1", "l < 0": "2", "n = -0.5": "2", "n > 1 AND n < 1e20": "1",
                "ts = '2024-01-02 03:04:05.120'": "1",
                "dt = '2024-01-02'": "1", "vb = x'00ff'": "1", "v IN ('xü', 'q')": "1", "k BETWEEN 2 AND 5": "2",
                "NOT b": "2",
                "b = true": "1", "c IS NULL": "2", "v LIKE 'x%'": "1", "f = -0.5 OR d > 1e301": "2", "l = n": "",
                "v = ''": "2",
                "cast(l AS STRING) LIKE '-%'": "2", "k IN (SELECT max(k) FROM t)": "2", "length(v) = 3": "1",
                "l + 1 > k": "1",
            ]
            for (condition, key) in found {
                let wanted = condition == "l + 1 > k" ? [] : key.isEmpty ? [] : [key]
                #expect(try shell.sql("SELECT k FROM t WHERE \(condition) ORDER BY 1") == wanted, "\(condition)")
            }
            // The protocol has the bytes themselves.
            #expect(
                try shell.run("$SQL 'SELECT vb FROM t WHERE k = 1' test_db | od -An -tx1").output.hasPrefix(" 5c 30 ff")
            )
            #expect(
                try shell.sql(
                    "SELECT b, count(*) AS c, sum(k) FROM t GROUP BY b HAVING count(*) > 0 ORDER BY b DESC LIMIT 1"
                )
                    == ["1|1|1"]
            )
            #expect(
                try shell.sql("SELECT x.k, y.v FROM t x JOIN t AS y ON x.k = y.k WHERE y.k = 1 UNION ALL SELECT 9, 'z'")
                    == [
                        "1|xü", "9|z",
                    ]
            )
            #expect(
                try shell.sql("UPDATE t SET v = 'new', n = n + 1 WHERE k = 2; SELECT v, n FROM t WHERE k = 2") == [
                    "new|0.5000000000"
                ]
            )
            #expect(
                try shell.sql("INSERT INTO t (k, v) VALUES (1, 'over'), (3, NULL); SELECT k, v, l FROM t ORDER BY k")
                    == [
                        "1|over|NULL", "2|new|-170141183460469231731687303715884105728", "3|NULL|NULL",
                    ]
            )
            #expect(
                try shell.sql(
                    "DELETE FROM t WHERE k IN (1, 3); SELECT count(*) FROM t; TRUNCATE TABLE t; SELECT max(l) FROM t"
                ) == ["1", "NULL"]
            )
            #expect(
                try shell.error("INSERT INTO t (k, v) VALUES (1, '123456789012345678901')").contains(
                    "Insert has filtered data"
                )
            )
            #expect(try shell.error("INSERT INTO t (v) VALUES ('x')").contains("must be explicitly mentioned"))
            #expect(try shell.error("UPDATE t SET k = 1 WHERE k = 2").contains("primary key column cannot be updated"))
            #expect(try shell.error("SELECT nosuch FROM t").contains("Column 'nosuch' cannot be resolved"))
            #expect(try shell.error("SELECT * FROM nosuch").contains("Unknown table 'test_db.nosuch'"))
            #expect(try shell.error("SELEC 1").hasPrefix("1064"))
        }

        @Test("shows views")
        func views() throws {
            defer { shell.remove() }
            #expect(
                try shell.sql(
                    "CREATE TABLE t (k INT, l LARGEINT, gone BOOLEAN) PRIMARY KEY(k); INSERT INTO t VALUES (1, 5, false), (2, 6, true)"
                ) == []
            )
            #expect(
                try shell.sql(
                    "CREATE VIEW v AS SELECT k, l AS big FROM t WHERE NOT gone; SELECT * FROM v WHERE big = 5"
                ) == [
                    "1|5"
                ]
            )
            #expect(try shell.error("CREATE VIEW v AS SELECT 1").hasPrefix("1050"))
            #expect(try shell.sql("CREATE VIEW IF NOT EXISTS v AS SELECT 1; SELECT count(*) FROM v") == ["1"])
            #expect(
                try shell.sql("CREATE OR REPLACE VIEW v (a, b) AS SELECT k, gone FROM t; SELECT b, a FROM v ORDER BY a")
                    == [
                        "0|1", "1|2",
                    ]
            )
            #expect(
                try shell.sql("SELECT COLUMN_NAME FROM information_schema.columns WHERE TABLE_NAME = 'v'") == [
                    "a", "b",
                ]
            )
            #expect(
                try shell.sql("SELECT TABLE_TYPE FROM information_schema.tables WHERE TABLE_NAME = 'v'") == ["VIEW"]
            )
            #expect(
                try shell.error("DROP TABLE v").contains("Unknown table")
                    && shell.sql("DROP VIEW v; SHOW TABLES") == ["t"]
            )
            #expect(try shell.error("INSERT INTO v VALUES (1)").contains("Unknown table"))
        }
    }
}
