import TestSupport
import Testing

extension Integration {
    /// docs/en/loading/Stream_Load_transaction_interface.md, command by command.
    @Suite("The emulated StarRocks: transactions") struct StarRocksTransactionTests {
        /// A transaction of a label, by curl.
        struct Transaction {
            let shell: StarRocksShell
            let label: String
            var options = "-H table:table1"

            func callAsFunction(_ operation: String, _ more: String = "") throws -> StarRocksShell.Answer {
                let body = operation == "load" ? "-T example1.csv -H 'column_separator:,' -XPUT" : "-XPOST"
                return try shell.run(
                    "$LOAD -H label:\(label) -H db:test_db \(options) \(more) \(body) $FE/api/transaction/\(operation)"
                )
            }
        }

        @Test("begins, loads, prepares, commits; or rolls back")
        func single() throws {
            let shell = try StarRocksShell()
            defer { shell.remove() }
            try shell.makeTable1()
            let one = Transaction(shell: shell, label: "streamload_txn_example1_table1")
            let begun = try one("begin")
            #expect(
                begun.status == "OK" && begun.json["TxnId"] != nil && begun.json["BeginTxnTimeMs"] != nil,
                "\(begun)"
            )
            let again = try one("begin")
            #expect(again.status == "LABEL_ALREADY_EXISTS" && again.json["ExistingJobStatus"] == "RUNNING", "\(again)")
            for _ in 0..<2 {
                let loaded = try one("load")
                #expect(loaded.status == "OK" && loaded.json["LoadBytes"] == "42", "\(loaded)")
            }
            #expect(try shell.rows("table1") == [] && shell.state(one.label) == "PREPARE")
            let prepared = try one("prepare")
            #expect(prepared.status == "OK" && prepared.json["NumberLoadedRows"] == "8", "\(prepared)")
            #expect(try shell.state(one.label) == "PREPARED" && one("load").status == "FAILED")
            // A prepared transaction outlives a kill.
            try shell.server.restart(killed: true)
            let committed = try one("commit")
            #expect(committed.status == "OK" && committed.json["NumberLoadedRows"] == nil, "\(committed)")
            #expect(try shell.rows("table1").count == 4 && shell.state(one.label) == "VISIBLE")
            #expect(try one("commit").message.contains("has already committed"))
            #expect(try one("rollback").status == "FAILED")
            let two = Transaction(shell: shell, label: "two")
            #expect(try two("load").message.hasSuffix("No transaction found by label two"))
            #expect(try two("begin").status == "OK" && two("load").status == "OK" && two("rollback").status == "OK")
            #expect(try shell.state("two") == "ABORTED" && two("commit").message.contains("Can not commit ABORTED"))
            #expect(try two("rollback").message.contains("has already aborted"))
            // Without a step of its own a commit is the back end's, which tells the rows.
            let four = Transaction(shell: shell, label: "four")
            #expect(try four("begin").status == "OK" && four("load").status == "OK")
            #expect(try four("commit").json["NumberLoadedRows"] == "4")
            // Without a row there is nothing to commit.
            let five = Transaction(shell: shell, label: "five")
            #expect(try five("begin").status == "OK" && five("commit").message.hasPrefix("No partitions have data"))
            #expect(try shell.state("five") == "ABORTED")
            // A begun one does not outlive a kill of its back end.
            let three = Transaction(shell: shell, label: "three")
            #expect(try three("begin").status == "OK")
            try shell.server.restart(killed: true)
            #expect(try shell.state("three") == "ABORTED")
            #expect(try shell.run("$LOAD -XPOST $FE/api/transaction/begin").message.contains("No database selected"))
        }

        @Test("commits loads of several tables at once, from 4.0 on")
        func multi() throws {
            let shell = try StarRocksShell()
            defer { shell.remove() }
            try shell.makeTable1()
            try shell.server.query("CREATE TABLE test_db.other (id INT, name STRING, score INT) PRIMARY KEY(id)")
            var one = Transaction(shell: shell, label: "multi", options: "-H transaction_type:multi")
            #expect(try one("begin").status == "FAILED")
            try shell.server.control("POST", "/version", "{\"version\": \"4.0.0\"}")
            try shell.server.control("DELETE", "/faults")
            #expect(try one("begin", "-H timeout:60").status == "OK")
            for table in ["table1", "other"] {
                one.options = "-H transaction_type:multi -H table:\(table)"
                let loaded = try one("load")
                #expect(loaded.status == "OK" && loaded.json["NumberLoadedRows"] == nil, "\(loaded)")
            }
            #expect(try one("prepare").message.hasSuffix("Unsupported operation: TXN_PREPARE"))
            one.options = "-H table:table1"
            #expect(try one("load").status != "OK")
            one.options = "-H transaction_type:multi"
            #expect(try shell.rows("table1") == [] && shell.rows("other") == [])
            try shell.server.fault(StarRocksFault("reset-after-commit", on: "transaction"))
            #expect(try one("commit").code != 0)
            #expect(try shell.state("multi") == "VISIBLE")
            #expect(try shell.rows("table1").count == 4 && shell.rows("other").count == 4)
            // Begun, and never ended: the time-out ends it.
            let two = Transaction(shell: shell, label: "two", options: "-H transaction_type:multi")
            #expect(try two("begin", "-H timeout:1").status == "OK")
            #expect(eventually(within: .seconds(10)) { (try? shell.state("two")) == "ABORTED" })
        }
    }
}
