import TestSupport
import Testing

extension Integration {
    /// What StarRocks refuses, filters, or takes for something else without a word.
    @Suite("The emulated StarRocks: strictness") struct StarRocksStrictTests {
        @Test("refuses requests that are not what StarRocks takes")
        func requests() throws {
            let shell = try StarRocksShell()
            defer { shell.remove() }
            try shell.makeTable1()
            let url = "$FE/api/test_db/table1/_stream_load"
            let file = "-H 'column_separator:,' -T example1.csv"
            let words = "class com.starrocks.common.DdlException: There is no 100-continue header"
            #expect(try shell.run("curl -s -u root: --location-trusted -H Expect: \(file) \(url)").message == words)
            #expect(try shell.server.violations() == ["no Expect: 100-continue"])
            #expect(
                try shell.load("example1.csv", "table1", "-H no_such_header:1").message.hasSuffix(
                    "unknown header no_such_header"
                )
            )
            #expect(
                try shell.load("example1.csv", "table1", "-H 'column_separator:|'").message.hasSuffix("is there twice")
            )
            #expect(try shell.server.violations().count == 3)
            func status(_ command: String) throws -> String {
                String(try shell.run("curl -s -m 10 -o answer -w '%{http_code}' \(command)").output.suffix(3))
            }
            #expect(try status("-H Expect:100-continue \(file) \(url)") == "401")
            #expect(try shell.run("cat answer").json["msg"] == "Need auth information.")
            #expect(try status("-u root:wrong -H Expect:100-continue \(file) \(url)") == "401")
            #expect(try status("-u root: -H Expect:100-continue \(file) \(url)") == "307")
            #expect(try status("-u root: -XPOST -H Expect:100-continue \(file) \(url)") == "404")
            #expect(try status("-u root: $FE/api/test_db/nothing") == "404")
            #expect(try status("-u root: $BE/nothing") == "404")
            // The redirect names the back end, and nothing of the body was read for it.
            let redirect = try shell.run("curl -s -i -u root: -H Expect:100-continue \(file) \(url)").output
            let location = "Location: http://127.0.0.1:\(shell.server.backEndPort)/api/test_db/table1/_stream_load?"
            #expect(redirect.contains(location), "\(redirect)")
            #expect(!redirect.contains("100 Continue"))
            // --location without --location-trusted does not send the password to the other port.
            let untrusted = try shell.run("curl -s -L -u root: -H Expect:100-continue \(file) \(url)")
            #expect(untrusted.message == "no valid Basic authorization", "\(untrusted)")
            #expect(
                try shell.run("$LOAD \(file) $FE/api/test_db/nosuch/_stream_load").message.hasPrefix("unknown table")
            )
            #expect(
                try shell.run("$LOAD \(file) $FE/api/nosuch/table1/_stream_load").message
                    == "unknown database, database=nosuch"
            )
            #expect(
                try shell.run("curl -s -u root: $FE/api/nosuch/get_load_state?label=x").json["msg"]
                    == "unknown database, database=nosuch"
            )
            #expect(
                try shell.run("curl -s -u root: $FE/api/test_db/get_load_state").json["msg"] == "No label selected."
            )
            for option in [
                "partial_update:yes", "strict_mode:1", "trim_space:x", "timeout:0", "skip_header:-1", "where:id=1",
            ] {
                #expect(try shell.load("example1.csv", "table1", "-H \(option)").status == "Fail", "\(option)")
            }
            #expect(
                try shell.load("example1.csv", "table1", "-H 'columns: id, nosuch, score'").message.contains("nosuch")
            )
            #expect(
                try shell.load("example1.csv", "table1", "-H 'columns: id, id, score'").message
                    == "Duplicate column: id"
            )
            #expect(try shell.rows("table1") == [])
            // Chunked is as good as a length.
            let chunked = "cat example1.csv | $LOAD -H 'column_separator:,' -T - \(url)"
            #expect(try shell.run(chunked).status == "Success")
        }

        @Test("knows users and what they may do")
        func users() throws {
            let shell = try StarRocksShell()
            defer { shell.remove() }
            try shell.makeTable1()
            try shell.server.control(
                "POST",
                "/users",
                #"{"root": {"password": "", "grants": [["ALL", "*.*"]]}, "#
                    + #""reader": {"password": "pw", "grants": [["SELECT", "test_db.*"]]}, "#
                    + #""writer": {"password": "secret", "grants": [["INSERT", "test_db.table1"]]}}"#
            )
            let load = "$LOAD -H 'column_separator:,' -T example1.csv $FE/api/test_db/table1/_stream_load"
            #expect(try shell.run(load, user: "writer:secret").status == "Success")
            #expect(try shell.run(load, user: "writer:wrong").json["msg"] == "Access denied for writer@127.0.0.1")
            #expect(try shell.run(load, user: "reader:pw").json["msg"]?.contains("INSERT privilege") == true)
            #expect(try shell.run("$SQL 'SELECT count(*) FROM test_db.table1'", user: "reader:pw").lines == ["4"])
            let denied = try shell.run("$SQL 'SELECT count(*) FROM test_db.table1'", user: "writer:secret").output
            #expect(
                denied.contains("ERROR 5203") && denied.contains("SELECT privilege(s) on TABLE table1"),
                "\(denied)"
            )
            #expect(
                try shell.run("$SQL 'DROP TABLE test_db.table1'", user: "reader:pw").output.contains("ERROR 5203")
            )
            #expect(try shell.run("$SQL 'CREATE DATABASE d'", user: "writer:secret").output.contains("ERROR 5203"))
            let wrong = try shell.run("$SQL 'SELECT 1'", user: "writer:x").output
            #expect(wrong == "ERROR 1045 (28000): Access denied for user 'writer' (using password: YES)\n")
            #expect(try shell.run("$SQL 'SELECT 1'", user: "nobody:").output.contains("(using password: NO)"))
            try shell.server.restart(killed: true)
            #expect(try shell.run(load, user: "writer:secret").status == "Success")
        }

        /// STREAM_LOAD.md, max_filter_ratio and strict_mode; be/src/exec/csv_scanner.cpp and tablet_sink.cpp.
        @Test("filters rows, by the ratio and the mode, and tells which")
        func filtering() throws {
            let shell = try StarRocksShell()
            defer { shell.remove() }
            try shell.server.query(
                "CREATE TABLE test_db.f (k INT NOT NULL, v VARCHAR(3), n INT NOT NULL, d DECIMAL(4,1)) PRIMARY KEY(k)"
            )
            try shell.file(
                "f.csv",
                "1,abc,1,1.0\n2,äb,2,1.05\n3,äbc,3,1\n4,a\n5,a,x,1\n6,a,\\N,1\n7,a,1,999.96\nx,a,1,1\n"
            )
            let strict = try shell.load("f.csv", "f", label: "strict", "-H strict_mode:true")
            #expect(strict.status == "Fail" && strict.message == "too many filtered rows", "\(strict)")
            #expect(strict.json["NumberTotalRows"] == "8" && strict.json["NumberFilteredRows"] == "6")
            #expect(try shell.rows("f") == [] && shell.state("strict") == "ABORTED")
            let errors = try shell.run("curl -s '\(strict.json["ErrorURL"] ?? "")'").lines
            #expect(
                errors == [
                    "Error: The field (name = v, pos = 1) is out of range. Type: VARCHAR(3), Value length: 4, Value: äbc. Row: 3,äbc,3,1",
                    "Error: Target column count: 4 doesn't match source value column count: 2. Column separator: ',', "
                        + "Row delimiter: '\\n'. Row: 4,a",
                    "Error: The field (name = n, pos = 2) is out of range. Type: INT, Value length: 1, Value: x. Row: 5,a,x,1",
                    "Error: NULL value in non-nullable column 'n'. Row: ['6', 'a', NULL, '1']",
                    "Error: Decimal '1000.0' is out of range. The type of 'd' is DECIMAL32(4, 1)'.",
                    "Error: The field (name = k, pos = 0) is out of range. Type: INT, Value length: 1, Value: x. Row: x,a,1,1",
                ]
            )
            let ratio = try shell.load("f.csv", "f", label: "ratio", "-H strict_mode:true -H max_filter_ratio:0.8")
            #expect(ratio.status == "Success" && ratio.json["NumberLoadedRows"] == "2" && ratio.json["ErrorURL"] != nil)
            #expect(try shell.rows("f") == ["1|abc|1|1.0", "2|äb|2|1.1"])
            // By default what cannot be read becomes NULL, without an error.
            try shell.file("g.csv", "3,äbc,3,1\n4,\\N,4,zz\n")
            let lax = try shell.load("g.csv", "f", label: "lax")
            #expect(lax.status == "Success" && lax.json["NumberFilteredRows"] == "0", "\(lax)")
            #expect(try shell.rows("f").suffix(2) == ["3|-|3|1.0", "4|-|4|-"])
            // Bytes that are no UTF-8 filter their row.
            try shell.run("printf '8,\\xff,1,1\\n9,ok,1,1\\n' > h.csv")
            #expect(try shell.load("h.csv", "f", "-H max_filter_ratio:0.5").json["NumberFilteredRows"] == "1")
            #expect(try shell.rows("f").last == "9|ok|1|1.0")
            // be/src/storage/memtable.cpp: an encoded key is 128 bytes at most.
            try shell.server.query("CREATE TABLE test_db.key (a VARCHAR(200), b INT, v INT) PRIMARY KEY(a, b)")
            for (length, status) in [(122, "Success"), (123, "Fail")] {
                try shell.file("k.csv", String(repeating: "a", count: length) + ",1,1\n")
                let answer = try shell.load("k.csv", "key")
                #expect(answer.status == status, "\(length) \(answer)")
                #expect(status == "Success" || answer.message == "primary key size exceed the limit.")
            }
        }

        /// The CSV converters of be/src/formats/csv.
        @Test("reads each type's range and forms, and nothing past them")
        func types() throws {
            let shell = try StarRocksShell()
            defer { shell.remove() }
            let cases: [(type: String, good: [String: String], bad: [String])] = [
                ("BOOLEAN", ["true": "1", "FALSE": "0", "1": "1", "0.0": "0"], ["t", "yes", ""]),
                ("TINYINT", ["-128": "-128", "+127": "127"], ["128", "1.0", "1_0", ""]),
                ("SMALLINT", ["32767": "32767"], ["32768", "0x1"]),
                ("INT", ["-2147483648": "-2147483648"], ["2147483648"]),
                ("BIGINT", ["9223372036854775807": "9223372036854775807"], ["9223372036854775808", "1e3"]),
                (
                    "LARGEINT",
                    ["-170141183460469231731687303715884105728": "-170141183460469231731687303715884105728"],
                    ["170141183460469231731687303715884105728"]
                ),
                ("FLOAT", ["1.1": "1.1", "-0": "-0", "1e-45": "1.4013e-45"], ["NaN", "inf", "1e39", "x"]),
                ("DOUBLE", ["5e-324": "5e-324", "-1.5": "-1.5"], ["Infinity", "1e309", ""]),
                (
                    "DECIMAL(38,10)",
                    ["-9999999999999999999999999999.9999999999": "-9999999999999999999999999999.9999999999"],
                    ["10000000000000000000000000000", "1,0", "NaN"]
                ),
                (
                    "DATE",
                    ["0000-01-01": "0000-01-01", "9999-12-31": "9999-12-31", "2024-02-29 01:02:03": "2024-02-29"],
                    ["2023-02-29", "10000-01-01"]
                ),
                (
                    "DATETIME",
                    [
                        "2024-01-02 03:04:05": "2024-01-02 03:04:05",
                        "2024-01-02T03:04:05.1234567": "2024-01-02 03:04:05.123456",
                    ],
                    ["2024-01-02 24:00:00", "2024-01-02 03:04:05+00", "infinity"]
                ),
                ("CHAR(2)", ["ab": "ab", "": ""], ["abc"]), ("STRING", ["": "", "ü😀": "ü😀"], []),
                ("JSON", [#"{"a":1, "b":[null,1.50]}"#: #"{"a": 1, "b": [null, 1.5]}"#, "1": "1"], ["{", "NaN", ""]),
                ("ARRAY<INT>", ["[1,null]": "[1, null]", "[]": "[]"], ["{1}", "[1,]", "[x]"]),
                ("ARRAY<STRING>", [#"["a|b","c""d",null]"#: #"["a|b", "c\"d", null]"#], ["[a]", #"["a]"#]),
                ("VARBINARY", ["AP8=": "00ff", "": ""], []),
            ]
            for (number, item) in cases.enumerated() {
                try shell.server.query("CREATE TABLE test_db.t\(number) (k INT, v \(item.type)) PRIMARY KEY(k)")
                func load(_ texts: [String], _ options: String) throws -> StarRocksShell.Answer {
                    try shell.file("t.csv", texts.enumerated().map { "\($0)\u{1}\($1)\n" }.joined())
                    let options = "-H strict_mode:true -H 'column_separator:\\x01' \(options)"
                    return try shell.run("$LOAD \(options) -T t.csv $FE/api/test_db/t\(number)/_stream_load")
                }
                let good = item.good.keys.sorted()
                let answer = try load(good, "")
                #expect(answer.status == "Success", "\(item.type) \(answer)")
                let loaded = try shell.server.dump("t\(number)", database: "test_db").map { $0[1] }
                #expect(loaded == good.map { item.good[$0] }, "\(item.type)")
                guard !item.bad.isEmpty else { continue }
                let filtered = try load(item.bad, "-H max_filter_ratio:1")
                #expect(filtered.json["NumberFilteredRows"] == "\(item.bad.count)", "\(item.type) \(filtered)")
            }
            // Hex is what 3.0 reads; and by a function what every version reads.
            try shell.file("t.csv", "7,00fF\n")
            let binary = cases.count - 1
            let hex = "-H \"columns: k, x, v = to_binary(x, 'hex')\""
            #expect(try shell.load("t.csv", "t\(binary)", hex).status == "Success")
            #expect(try shell.rows("t\(binary)").last == "7|00ff")
            try shell.server.control("POST", "/version", "{\"version\": \"3.0.9\"}")
            try shell.file("t.csv", "8,0a0B\n")
            #expect(try shell.load("t.csv", "t\(binary)").status == "Success")
            #expect(try shell.rows("t\(binary)").last == "8|0a0b")
            // What a version does not know yet it refuses.
            #expect(try shell.load("t.csv", "t\(binary)", "-H log_rejected_record_num:1").message.contains("3.1.0"))
            #expect(
                try shell.load("t.csv", "t0", "-H partial_update:true -H merge_condition:v -H 'columns: k, v'").message
                    == "Conditional update and partial update can not be used at the same time"
            )
        }
    }
}
