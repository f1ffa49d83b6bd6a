import TestSupport
import Testing

extension Integration {
    /// The emulated StarRocks takes the loads of StarRocks' documents, by curl, before any client of ours.
    @Suite("The emulated StarRocks: loads") struct StarRocksLoadTests {
        /// docs/en/loading/StreamLoad.md, "Load CSV data" and "Check load progress".
        @Test("loads CSV under a label, once")
        func labels() throws {
            let shell = try StarRocksShell()
            defer { shell.remove() }
            try shell.makeTable1()
            let first = try shell.load("example1.csv", "table1", label: "123")
            #expect(first.status == "Success" && first.message == "OK", "\(first)")
            #expect(first.json["NumberTotalRows"] == "4" && first.json["NumberLoadedRows"] == "4")
            #expect(first.json["NumberFilteredRows"] == "0" && first.json["LoadBytes"] == "42")
            #expect(first.json["ErrorURL"] == nil && first.json["ExistingJobStatus"] == nil)
            #expect(first.json.fields.count == 15)
            #expect(try shell.rows("table1") == ["1|Lily|23", "2|Rose|23", "3|Alice|24", "4|Julia|25"])
            let again = try shell.load("example1.csv", "table1", label: "123")
            #expect(again.status == "Label Already Exists" && again.json["ExistingJobStatus"] == "FINISHED", "\(again)")
            #expect(again.message == "Label [123] has already been used.")
            #expect(try shell.state("123") == "VISIBLE")
            #expect(try shell.state("124") == "UNKNOWN")
            #expect(try shell.server.violations() == [])
            // The same label for other bytes is what the server cannot see and the tests have to.
            try shell.file("example2.csv", "5,Other,23\n")
            _ = try shell.load("example2.csv", "table1", label: "123")
            #expect(try shell.server.violations().contains { $0.hasPrefix("labelReuse: 123") })
            #expect(try shell.load("example1.csv", "table1", label: "a.b").message.hasPrefix("Label format error."))
            // Where the body is asked for all the same, its own bytes are compared, not its headers alone.
            try shell.server.reset()
            try shell.server.control("POST", "/settings", "{\"read_body_on_reuse\": true}")
            #expect(try shell.load("example1.csv", "table1", label: "123").status == "Label Already Exists")
            #expect(try shell.server.violations() == [])
            try shell.file("example3.csv", "1,Lily,23\n2,Rose,23\n3,Alice,24\n4,Julia,26\n")
            #expect(try shell.load("example3.csv", "table1", label: "123").status == "Label Already Exists")
            #expect(try shell.server.violations() == ["labelReuse: 123 came with other bytes before"])
            let long = String(repeating: "x", count: 129)
            #expect(try shell.load("example1.csv", "table1", label: long).status == "Fail")
            // Without a label the server makes one up.
            #expect(try shell.load("example2.csv", "table1").json["Label"]?.count == 36)
        }

        /// docs/en/loading/Load_to_Primary_Key_tables.md: upsert, delete, both, partial and conditional updates.
        @Test("upserts, deletes, updates in part and under a condition")
        func changes() throws {
            let shell = try StarRocksShell()
            defer { shell.remove() }
            try shell.makeTable1()
            try shell.file("a.csv", "101,Lily,100\n102,Rose,100\n")
            #expect(try shell.load("a.csv", "table1", label: "a").status == "Success")
            try shell.file("b.csv", "101,Tom,0\n103,Stan,70\n101,Tommy,1\n")
            #expect(try shell.load("b.csv", "table1", label: "b", "-H \"columns:__op ='upsert'\"").status == "Success")
            #expect(try shell.rows("table1") == ["101|Tommy|1", "102|Rose|100", "103|Stan|70"])
            try shell.file("c.csv", "101,Tommy,1\n")
            #expect(try shell.load("c.csv", "table1", label: "c", "-H \"columns:__op='delete'\"").status == "Success")
            try shell.file("d.csv", "102,Rose,100,1\n101,Tom,100,0\n104,Sam,5,0\n104,Sam,5,1\n")
            let mixed = try shell.load(
                "d.csv",
                "table1",
                label: "d",
                "-H 'columns: id, name, score, temp, __op = temp'"
            )
            #expect(mixed.status == "Success" && mixed.json["NumberLoadedRows"] == "4", "\(mixed)")
            try shell.file("e.csv", "101,0\n103,1\n")
            let keys = "-H partial_update:true -H 'columns: `id`, __op'"
            #expect(try shell.load("e.csv", "table1", label: "e", keys).status == "Success")
            try shell.file("f.csv", "101,Terry\n")
            let partial = "-H partial_update:true -H 'columns: id, name' -H partial_update_mode:"
            for mode in ["row", "column", "auto"] {
                #expect(try shell.load("f.csv", "table1", label: "f" + mode, partial + mode).status == "Success")
            }
            #expect(try shell.rows("table1") == ["101|Terry|100"])
            // A row that is not there gets 0 for a score that may not be NULL: the document says so, without a warning.
            try shell.file("g.csv", "105,Nobody\n")
            #expect(try shell.load("g.csv", "table1", label: "g", partial + "row").status == "Success")
            #expect(try shell.rows("table1") == ["101|Terry|100", "105|Nobody|0"])
            #expect(
                try shell.server.violations() == ["zeroFilled: a partial update made a row of table1 without score"]
            )
            // The last of a key's operations is all that happens: what is deleted and written in one load was never gone.
            try shell.file("r.csv", "105,Nobody,1\n105,Somebody,0\n")
            let revival = "-H partial_update:true -H 'columns: id, name, __op'"
            try shell.server.query("UPDATE test_db.table1 SET score = 9 WHERE id = 105")
            #expect(try shell.load("r.csv", "table1", label: "r", revival).status == "Success")
            #expect(try shell.rows("table1") == ["101|Terry|100", "105|Somebody|9"])
            #expect(try shell.server.violations().last?.hasPrefix("revived: 1 rows") == true)
            try shell.server.query("DELETE FROM test_db.table1 WHERE id = 105")
            #expect(
                try shell.load("g.csv", "table1", "-H 'columns: id, name'").message
                    == "Column has no default value. column: score"
            )
            #expect(
                try shell.load("f.csv", "table1", "-H partial_update:true -H 'columns: name, score'").message
                    == "key column id not in partial update columns"
            )
            try shell.file("h.csv", "101,Old,99\n101,Same,100\n103,New,1\n")
            #expect(try shell.load("h.csv", "table1", label: "h", "-H merge_condition:score").status == "Success")
            #expect(try shell.rows("table1") == ["101|Same|100", "103|New|1"])
            let refused = [
                "id": "should not be primary key!", "name": "has invalid type", "nosuch": "should be a column",
            ]
            for (column, words) in refused {
                #expect(try shell.load("h.csv", "table1", "-H merge_condition:\(column)").message.contains(words))
            }
        }

        /// docs/en/sql-reference/data-types and the table types: what a table without primary key is.
        @Test("appends to a duplicate key table, and changes none of its rows")
        func duplicates() throws {
            let shell = try StarRocksShell()
            defer { shell.remove() }
            try shell.server.query(
                "CREATE TABLE test_db.d (k INT, v VARCHAR(10)) DUPLICATE KEY(k) DISTRIBUTED BY HASH(k)"
            )
            try shell.file("d.csv", "1,a\n1,a\n\\N,b\n")
            for label in ["a", "b"] { #expect(try shell.load("d.csv", "d", label: label).status == "Success") }
            #expect(try shell.rows("d") == ["-|b", "-|b", "1|a", "1|a", "1|a", "1|a"])
            #expect(
                try shell.load("d.csv", "d", "-H partial_update:true -H 'columns: k,v'").message
                    == "Only primary key table support partial update"
            )
            #expect(
                try shell.load("d.csv", "d", "-H merge_condition:v").message.contains("only support primary key table")
            )
            #expect(
                try shell.load("d.csv", "d", "-H 'columns: k, __op'").message.contains("__op needs a primary key table")
            )
        }

        /// STREAM_LOAD.md, "CSV parameters", and be/src/formats/csv/csv_reader.cpp.
        @Test("reads CSV as the back end's state machine does")
        func csv() throws {
            let shell = try StarRocksShell()
            defer { shell.remove() }
            try shell.server.query("CREATE TABLE test_db.c (k INT NOT NULL, a STRING, b STRING) PRIMARY KEY(k)")
            func rows(_ text: String, _ options: String) throws -> [String] {
                try shell.server.query("TRUNCATE TABLE test_db.c")
                try shell.file("c.csv", text)
                let answer = try shell.run("$LOAD \(options) -T c.csv -XPUT $FE/api/test_db/c/_stream_load")
                guard answer.status == "Success" else { return [answer.message] }
                return try shell.rows("c")
            }
            #expect(try rows("1\ta\t\\N\n\n2\t\tb", "") == ["1|a|-", "2||b"])
            let hex = "-H 'column_separator:\\x01' -H 'row_delimiter:\\x02'"
            #expect(try rows("1\u{1}a\nb\u{1}c\u{2}2\u{1}\"\u{1}\\N\u{2}", hex) == ["1|a\nb|c", "2|\"|-"])
            let quoted = hex + " -H 'enclose:\"'"
            #expect(try rows("1\u{1}\"a\u{1}\u{2}\"\"\"\u{1}\"\"\u{2}", quoted) == ["1|a\u{1}\u{2}\"|"])
            // NULL in quotes is NULL too; after an escape it is the text N.
            #expect(try rows("1\u{1}\"\\N\"\u{1}\\N\u{2}", quoted) == ["1|-|-"])
            let escaped = quoted + " -H 'escape:\\'"
            #expect(
                try rows("1\u{1}\\N\u{1}\\\\N\u{2}2\u{1}\"\\\"\"\u{1}x\\\u{1}y\u{2}", escaped) == [
                    "1|N|-", "2|\"|x\u{1}y",
                ]
            )
            #expect(try rows("a||b\n1||x|y||z\n", "-H 'column_separator:||' -H skip_header:1") == ["1|x|y|z"])
            #expect(try rows("1, a , b\n", "-H 'column_separator:,' -H trim_space:true") == ["1|a|b"])
            #expect(
                try rows("1,\"a\", \"b c\" \n", "-H 'column_separator:,' -H trim_space:true -H 'enclose:\"'") == [
                    "1|a|b c"
                ]
            )
            #expect(try rows("1,a,b\n", "") == ["too many filtered rows"])
            #expect(
                try rows("1,a,b\n", "-H 'column_separator:,' -H skip_header:2").first?.contains("only 1 rows") == true
            )
            #expect(try rows("1,a,b\n", "-H 'column_separator:\\xZZ'").first?.hasPrefix("Invalid delimiter") == true)
            // A load without rows is an error, in words that changed with 3.3.
            #expect(try rows("\n", "").first?.hasPrefix("No partitions have data available for loading.") == true)
            try shell.server.control("POST", "/version", "{\"version\": \"3.2.11\"}")
            #expect(try rows("", "") == ["all partitions have no load data"])
            try shell.server.control("POST", "/settings", "{\"empty_load_as_error\": false}")
            #expect(try rows("", "") == [])
        }

        @Test("takes compressed bodies by each header that names them, and JSON")
        func formats() throws {
            let shell = try StarRocksShell()
            defer { shell.remove() }
            try shell.makeTable1()
            try shell.run("for z in lz4 zstd gzip bzip2; do $z -q -c example1.csv > example1.$z; done")
            // be/src/http/action/stream_load.cpp, parse_format and _process_put.
            let ways = [
                "lz4": ["format:lz4", "compression:lz4_frame", "Content-Encoding:LZ4_FRAME"],
                "zstd": ["format:zstd", "compression:zstd"], "gzip": ["format:gzip", "compression:gzip"],
                "bzip2": ["format:bzip2"],
            ]
            for (file, headers) in ways {
                for header in headers {
                    let answer = try shell.load("example1.\(file)", "table1", "-H '\(header)'")
                    #expect(answer.status == "Success" && answer.json["NumberLoadedRows"] == "4", "\(header) \(answer)")
                }
            }
            #expect(try shell.load("example1.csv", "table1", "-H format:zstd").message.hasPrefix("decompress failed"))
            #expect(
                try shell.load("example1.gzip", "table1", "-H compression:gzip -H Content-Encoding:gzip").message
                    == "Only one of http header content-encoding and compression can be set"
            )
            #expect(
                try shell.load("example1.csv", "table1", "-H format:parquet").message
                    == "unknown data format, format=parquet"
            )
            // StreamLoad.md, "Load JSON data"; an object may carry its operation.
            try shell.file("a.json", #"[{"id": 1, "__op": 1, "score": 0}, {"name": "Ann", "id": 5, "score": 7}]"#)
            let json = "$LOAD -H format:json -H strip_outer_array:true -T a.json $FE/api/test_db/table1/_stream_load"
            #expect(try shell.run(json).status == "Success")
            #expect(try shell.rows("table1") == ["2|Rose|23", "3|Alice|24", "4|Julia|25", "5|Ann|7"])
            try shell.file("a.json", #"{"id": 6, "name": null, "score": 1} {"id": 7, "score": 2}"#)
            let plain = json.replacing("strip_outer_array:true", with: "strip_outer_array:false")
            #expect(try shell.run(plain).status == "Success")
            #expect(try shell.rows("table1").suffix(2) == ["6|-|1", "7|-|2"])
            try shell.file("a.json", "[1]")
            #expect(try shell.run(json).status == "Fail")
        }
    }
}
