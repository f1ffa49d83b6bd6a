import TestSupport
import Testing

extension Integration {
    /// The MySQL port's definitions, by the mariadb client.
    @Suite("The emulated StarRocks: tables") struct StarRocksTableTests {
        let shell: StarRocksShell

        init() throws { shell = try StarRocksShell() }

        /// docs/en/sql-reference/sql-statements/table_bucket_part_index/CREATE_TABLE.md.
        @Test("makes tables by StarRocks' grammar and rules")
        func create() throws {
            defer { shell.remove() }
            let create = """
                CREATE TABLE IF NOT EXISTS orders (
                    `k1` BIGINT NOT NULL COMMENT "key", k2 VARCHAR(20), v1 LARGEINT, v2 DECIMAL(20, 4) DEFAULT "1.5",
                    v3 STRING NULL, v4 DATETIME DEFAULT CURRENT_TIMESTAMP, v5 JSON, v6 VARBINARY, v7 ARRAY<INT>, v8 BOOLEAN
                ) ENGINE = OLAP PRIMARY KEY (k1, `k2`) COMMENT "it's" DISTRIBUTED BY HASH(k1) BUCKETS 4 ORDER BY (v1)
                PROPERTIES ("replication_num" = "1", "enable_persistent_index" = "true", "fast_schema_evolution" = "true");
                """
            #expect(try shell.sql(create) == [] && shell.sql(create) == [])
            #expect(try shell.error(create.replacing("IF NOT EXISTS ", with: "")).hasPrefix("1050"))
            let columns = """
                SELECT COLUMN_NAME, COLUMN_TYPE, DATA_TYPE, COLUMN_KEY, IS_NULLABLE, ORDINAL_POSITION, COLUMN_DEFAULT,
                CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION, NUMERIC_SCALE FROM information_schema.columns
                WHERE TABLE_SCHEMA = 'test_db' AND TABLE_NAME = 'orders' ORDER BY ORDINAL_POSITION
                """
            #expect(
                try shell.sql(columns) == [
                    "k1|bigint(20)|bigint|PRI|NO|1|NULL|NULL|19|0", "k2|varchar(20)|varchar|PRI|NO|2|NULL|20|NULL|NULL",
                    "v1|bigint(20) unsigned|bigint unsigned||YES|3|NULL|NULL|39|0",
                    "v2|decimal(20, 4)|decimal||YES|4|1.5|NULL|20|4",
                    "v3|varchar(65533)|varchar||YES|5|NULL|65533|NULL|NULL",
                    "v4|datetime|datetime||YES|6|CURRENT_TIMESTAMP|NULL|NULL|NULL",
                    "v5|json|json||YES|7|NULL|NULL|NULL|NULL",
                    "v6|varbinary|varbinary||YES|8|NULL|NULL|NULL|NULL",
                    "v7|array<int(11)>|array||YES|9|NULL|NULL|NULL|NULL",
                    "v8|tinyint(1)|tinyint||YES|10|NULL|NULL|1|0",
                ]
            )
            #expect(
                try shell.sql(
                    "SELECT TABLE_MODEL, PRIMARY_KEY, DISTRIBUTE_KEY, DISTRIBUTE_BUCKET, SORT_KEY FROM information_schema.tables_config"
                )
                    == ["PRIMARY_KEYS|`k1`, `k2`|`k1`|4|`v1`"]
            )
            #expect(
                try shell.sql("SELECT TABLE_NAME, TABLE_TYPE, TABLE_COMMENT FROM information_schema.tables") == [
                    "orders|BASE TABLE|it's"
                ]
            )
            #expect(try shell.sql("SHOW TABLES") == ["orders"])
            // What it shows makes the same table.
            let shown = try shell.sql("SHOW CREATE TABLE orders").joined().replacing("orders|", with: "").replacing(
                "\\n",
                with: "\n"
            )
            #expect(try shell.sql("DROP TABLE orders; \(shown)") == [] && shell.sql(columns).count == 10, "\(shown)")
            let refused = [
                "CREATE TABLE x (a INT, b INT) PRIMARY KEY(b)": "Key columns must be the first few columns",
                "CREATE TABLE x (a DOUBLE) PRIMARY KEY(a)": "primary key",
                "CREATE TABLE x (a JSON) DUPLICATE KEY(a)": "key column",
                "CREATE TABLE x (a INT NULL) PRIMARY KEY(a)": "cannot be nullable",
                "CREATE TABLE x (a INT, A INT)": "Duplicate column name",
                "CREATE TABLE x (a VARCHAR(1048577))": "Varchar size must be <= 1048576",
                "CREATE TABLE x (a DECIMAL(39, 1))": "precision",
                "CREATE TABLE x (a NUMBER)": "syntax error",
                "CREATE TABLE x (a INT) PROPERTIES (\"nosuch\" = \"1\")": "Unknown properties",
                "CREATE TABLE x (a INT) PROPERTIES (\"replication_num\" = \"9\")": "number of available BE nodes",
                "CREATE TABLE x (a INT, __op INT)": "system reserved name",
                "CREATE TABLE nosuch.x (a INT)": "Unknown database",
                "CREATE TABLE x (a INT, b INT) PRIMARY KEY(a) DISTRIBUTED BY HASH(b)": "is not key column",
                "CREATE TABLE x (a INT DEFAULT \"x\")": "Invalid default value",
                "CREATE DATABASE test_db": "database exists",
                "CREATE TABLE x (a INT PRIMARY KEY)": "syntax error", "DROP TABLE nosuch": "Unknown table",
                "CREATE TABLE x (a TIME)": "syntax",
            ]
            for (statement, words) in refused { #expect(try shell.error(statement).contains(words), "\(statement)") }
            #expect(try shell.sql("DROP TABLE IF EXISTS nosuch; CREATE DATABASE IF NOT EXISTS test_db") == [])
        }

        /// docs/en/sql-reference/sql-statements/table_bucket_part_index/ALTER_TABLE.md and SHOW_ALTER.md.
        @Test("changes tables, at once or by a job")
        func alter() throws {
            defer { shell.remove() }
            let show = "SHOW ALTER TABLE COLUMN FROM test_db WHERE TableName = 't' ORDER BY CreateTime DESC LIMIT 1"
            #expect(
                try shell.sql("CREATE TABLE t (k INT, v VARCHAR(5)) PRIMARY KEY(k); INSERT INTO t VALUES (1, 'a')")
                    == []
            )
            try shell.server.control("POST", "/settings", "{\"alter_seconds\": 4}")
            #expect(
                try shell.error("ALTER TABLE t ADD COLUMN IF NOT EXISTS w INT").hasPrefix(
                    "1064 (HY000) at line 1: Getting syntax error"
                )
            )
            #expect(
                try shell.sql("ALTER TABLE t ADD COLUMN (`w` INT DEFAULT \"7\", x LARGEINT NULL COMMENT \"c\")") == []
            )
            #expect(
                try shell.error("ALTER TABLE t ADD COLUMN y INT").contains(
                    "A schema change operation is in progress on the table \"t\""
                )
            )
            #expect(try shell.sql("SELECT * FROM t") == ["1|a"])
            var states: Set<String> = []
            let isFinished = eventually(within: .seconds(20)) {
                let state = (try? shell.server.query(show).first?[9]) ?? ""
                states.insert(state)
                return state == "FINISHED"
            }
            #expect(isFinished && states.contains("WAITING_TXN") && states.contains("RUNNING"), "\(states)")
            #expect(try shell.sql("SELECT * FROM t") == ["1|a|7|NULL"])
            let row = try shell.sql(show).first?.split(separator: "|", omittingEmptySubsequences: false) ?? []
            #expect(row.count == 13 && row[1] == "t" && row[9] == "FINISHED", "\(row)")
            // A job that a drop overtakes is cancelled.
            #expect(
                try shell.sql("CREATE TABLE u (k INT) PRIMARY KEY(k); ALTER TABLE u ADD COLUMN v INT; DROP TABLE u")
                    == []
            )
            #expect(
                try shell.server.query("SHOW ALTER TABLE COLUMN FROM test_db WHERE TableName = 'u'").first?[9]
                    == "CANCELLED"
            )
            #expect(
                try shell.sql(
                    "CREATE TABLE f (k INT, v INT) PRIMARY KEY(k) PROPERTIES (\"fast_schema_evolution\" = \"true\"); INSERT INTO f VALUES (1, 2)"
                ) == []
            )
            #expect(
                try shell.sql(
                    "ALTER TABLE f ADD COLUMN a INT, ADD COLUMN b VARCHAR(9) DEFAULT \"x\"; ALTER TABLE f ADD COLUMN c INT AFTER k"
                ) == []
            )
            #expect(
                try shell.sql("SELECT * FROM f; ALTER TABLE f DROP COLUMN v; SELECT * FROM f") == [
                    "1|NULL|2|NULL|x", "1|NULL|NULL|x",
                ]
            )
            // A dropped column's values do not come back with its name.
            #expect(try shell.sql("ALTER TABLE f ADD COLUMN v INT; SELECT v FROM f") == ["NULL"])
            let refused = [
                "ALTER TABLE f ADD COLUMN a INT": "already exists in base table",
                "ALTER TABLE f DROP COLUMN nosuch": "does not exists",
                "ALTER TABLE f DROP COLUMN k": "key column", "ALTER TABLE f ADD COLUMN z INT NOT NULL": "NOT NULL",
                "ALTER TABLE nosuch ADD COLUMN z INT": "Unknown table",
                "ALTER TABLE f MODIFY COLUMN b VARCHAR(3)": "shorten",
            ]
            for (statement, words) in refused { #expect(try shell.error(statement).contains(words), "\(statement)") }
            try shell.server.control("POST", "/settings", "{\"alter_seconds\": 0.1}")
            #expect(try shell.sql("ALTER TABLE f MODIFY COLUMN b VARCHAR(50), MODIFY COLUMN v BIGINT") == [])
            #expect(
                eventually(within: .seconds(10)) {
                    (try? shell.sql("SELECT COLUMN_TYPE FROM information_schema.columns WHERE COLUMN_NAME = 'b'")) == [
                        "varchar(50)"
                    ]
                }
            )
            #expect(
                try shell.sql(
                    "SELECT b FROM f; ALTER TABLE f RENAME g; ALTER TABLE g RENAME COLUMN b TO d; SELECT d FROM g"
                )
                    == ["x", "x"]
            )
        }
    }
}
