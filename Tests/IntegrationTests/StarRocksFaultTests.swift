import TestSupport
import Testing

extension Integration {
    /// Faults that do not happen prove nothing.
    @Suite("The emulated StarRocks: faults") struct StarRocksFaultTests {
        /// Loads one row under a label of its own; the row's key is the number of the load.
        struct Place {
            let shell: StarRocksShell

            init(arguments: [String] = []) throws {
                shell = try StarRocksShell(arguments: arguments)
                try shell.makeTable1()
            }

            func load(_ key: Int, _ options: String = "") throws -> StarRocksShell.Answer {
                try shell.file("row.csv", "\(key),x,1\n")
                return try shell.load("row.csv", "table1", label: "l\(key)", options)
            }

            func keys() throws -> [String] {
                try shell.server.query("SELECT id FROM test_db.table1 ORDER BY id").map { $0[0] ?? "" }
            }
        }

        @Test("a connection that is reset, before and after the commit")
        func resets() throws {
            let place = try Place()
            defer { place.shell.remove() }
            let faults = [
                "reset-before-body": "ABORTED", "reset-in-body": "ABORTED", "reset-before-commit": "ABORTED",
                "reset-after-commit": "VISIBLE", "status-after-commit": "VISIBLE",
            ]
            for (number, fault) in faults.keys.sorted().enumerated() {
                try place.shell.server.fault(StarRocksFault(fault))
                let answer = try place.load(number)
                #expect(
                    answer.status == nil && (answer.code == 56 || fault == "status-after-commit"),
                    "\(fault) \(answer)"
                )
                #expect(try place.shell.state("l\(number)") == faults[fault], "\(fault)")
                #expect(try place.keys().contains("\(number)") == (faults[fault] == "VISIBLE"), "\(fault)")
                // An aborted load's label is free again.
                #expect(
                    try place.load(number).status == (faults[fault] == "ABORTED" ? "Success" : "Label Already Exists")
                )
            }
            try place.shell.server.fault(StarRocksFault("cut-reply", on: "load"))
            let cut = try place.load(10)
            #expect(cut.code == 18 && cut.json.fields.isEmpty, "\(cut)")
            #expect(try place.shell.state("l10") == "VISIBLE")
            try place.shell.server.fault(StarRocksFault("reset", on: "load"))
            #expect(try place.load(11).code == 56)
            #expect(try place.shell.state("l11") == "UNKNOWN")
            try place.shell.server.fault(StarRocksFault("reset", on: "redirect"))
            #expect(try place.load(12).code == 56)
            #expect(try place.shell.server.faultsFired().allSatisfy { $0 == 1 })
            #expect(try place.shell.server.violations() == [])
        }

        @Test("a load that is committed and not yet visible")
        func publishTimeout() throws {
            let place = try Place()
            defer { place.shell.remove() }
            try place.shell.server.control("POST", "/settings", "{\"publish_timeout\": 0.2}")
            try place.shell.server.fault(StarRocksFault("publish-timeout", seconds: 4))
            let answer = try place.load(1)
            #expect(answer.status == "Publish Timeout" && answer.json["NumberLoadedRows"] == "1", "\(answer)")
            #expect(try place.shell.state("l1") == "COMMITTED")
            let again = try place.load(1)
            #expect(again.status == "Label Already Exists" && again.json["ExistingJobStatus"] == "FINISHED")
            // A later version of the table stands behind it.
            #expect(try place.load(2).status == "Publish Timeout")
            #expect(try place.keys() == [])
            #expect(eventually(within: .seconds(10)) { (try? place.keys()) == ["1", "2"] })
            #expect(try place.shell.state("l1") == "VISIBLE" && place.shell.state("l2") == "VISIBLE")
        }

        @Test("a load that goes on without its client")
        func hangs() throws {
            let place = try Place()
            defer { place.shell.remove() }
            for (key, end) in [(1, "VISIBLE"), (2, "ABORTED")] {
                try place.shell.server.fault(StarRocksFault("hang", seconds: 2, texts: ["then": end.lowercased()]))
                #expect(try place.load(key, "-m 1").code == 28)
                #expect(try place.shell.state("l\(key)") == "PREPARE")
                let again = try place.load(key)
                #expect(
                    again.status == "Label Already Exists" && again.json["ExistingJobStatus"] == "RUNNING",
                    "\(again)"
                )
                #expect(eventually(within: .seconds(10)) { (try? place.shell.state("l\(key)")) == end })
            }
            #expect(try place.keys() == ["1"])
        }

        @Test("says in StarRocks' words that it cannot")
        func words() throws {
            let place = try Place()
            defer { place.shell.remove() }
            let words = [
                "too-many-versions": "because of too many versions, current/limit: 1001/1000",
                "running-txns": "current running txns on db 10001 is 1000, larger than limit 1000",
                "close-channel": "close index channel failed", "shutting-down": "Service is shutting down",
            ]
            for (fault, text) in words {
                try place.shell.server.fault(StarRocksFault(fault))
                let answer = try place.load(1)
                #expect(answer.status == "Fail" && answer.message.contains(text), "\(fault) \(answer)")
            }
            try place.shell.server.fault(StarRocksFault("fail", texts: ["message": "of its own"]))
            #expect(try place.load(1).message == "of its own")
            #expect(try place.shell.state("l1") == "ABORTED" && place.keys() == [])
            for (status, request) in [(500, "redirect"), (503, "load"), (502, "state")] {
                try place.shell.server.fault(StarRocksFault("status", on: request, numbers: ["code": status]))
                let answer =
                    request == "state"
                    ? try place.shell.run(
                        "curl -s -w '%{http_code}' -u root: \"$FE/api/test_db/get_load_state?label=x\""
                    )
                    : try place.load(2, "-w '%{http_code}'")
                #expect(answer.output == "\(status)", "\(answer)")
            }
            #expect(try place.load(2).status == "Success")
        }

        @Test("is slow, points elsewhere, stands still")
        func slowness() throws {
            let place = try Place(arguments: ["--advertise-host", "be1.internal", "--receive-buffer", "4096"])
            defer { place.shell.remove() }
            // Only a client that maps the back end's name gets there.
            #expect(try place.load(1).code == 6)
            let map = "--resolve be1.internal:\(place.shell.server.backEndPort):127.0.0.1"
            #expect(try place.load(1, map).status == "Success")
            try place.shell.server.fault(
                StarRocksFault("redirect-to", numbers: ["port": 1], texts: ["host": "127.0.0.1"])
            )
            #expect(try place.load(2).code == 7)
            /// How long a load takes that has to succeed.
            func seconds(_ load: () throws -> StarRocksShell.Answer) throws -> Double {
                let start = ContinuousClock.now
                let answer = try load()
                #expect(answer.status == "Success", "\(answer)")
                return (ContinuousClock.now - start) / .seconds(1)
            }
            // curl gives up waiting for 100 Continue after a second, unless it is told otherwise.
            try place.shell.server.fault(StarRocksFault("delay", on: "redirect", seconds: 1.5))
            let slow = "\(map) --expect100-timeout 30"
            #expect(try seconds { try place.load(2, slow) } >= 1.5)
            for fault in ["delay-before-commit", "delay-after-commit"] {
                try place.shell.server.fault(StarRocksFault(fault, seconds: 1))
                #expect(try seconds { try place.load(fault.count, map) } >= 1)
            }
            try place.shell.server.control("POST", "/throttle", "{\"bytes_per_second\": 50000}")
            try place.shell.file("row.csv", String(repeating: "3,x,1\n", count: 20000))
            #expect(try seconds { try place.shell.load("row.csv", "table1", map) } >= 2)
            try place.shell.server.control("POST", "/throttle", "{\"bytes_per_second\": 0}")
            try place.shell.server.control("POST", "/pause")
            #expect(try place.load(4, "-m 1").code == 28)
            try place.shell.server.control("POST", "/pause", "{\"paused\": false}")
            #expect(try place.load(5, map).status == "Success")
        }

        @Test("chooses by url, table, label, number and count")
        func choice() throws {
            let place = try Place()
            defer { place.shell.remove() }
            let server = place.shell.server
            try server.fault(
                StarRocksFault("fail", nth: 2, count: 2, matching: ["label": "^l[0-9]$", "table": "table1"])
            )
            try server.fault(StarRocksFault("fail", count: 0, matching: ["url": "/other/"]))
            let replies = try (1...5).map { try place.load($0).status ?? "" }
            #expect(replies == ["Success", "Fail", "Fail", "Success", "Success"])
            #expect(try server.faultsFired() == [2, 0])
            let log = try server.log().filter { $0.kind == "load" }
            #expect(log.map(\.reply) == replies && log.map(\.rows) == [1, 1, 1, 1, 1])
            #expect(log.map(\.label) == ["l1", "l2", "l3", "l4", "l5"] && log.allSatisfy { $0.table == "table1" })
            #expect(log[1].fault == "fail" && log[0].fault == nil && log[0].headers["column_separator"] == ",")
            #expect(log.allSatisfy { $0.headers["Authorization"] == nil })
            try server.clearFaults()
            #expect(try server.faultsFired() == [])
            try server.fault(
                StarRocksFault("error", matching: ["sql": "42"], numbers: ["code": 1205], texts: ["message": "no"])
            )
            try server.fault(StarRocksFault("reset", on: "sql", matching: ["sql": "43"]))
            #expect(try place.shell.run("$SQL 'SELECT 42'").output.contains("ERROR 1205"))
            #expect(try place.shell.run("$SQL 'SELECT 43'").output.contains("ERROR 2013"))
            #expect(try place.shell.run("$SQL 'SELECT 42'").lines == ["42"])
            try server.reset()
            #expect(try server.log().isEmpty)
        }

        @Test("keeps rows, labels and loads over a kill")
        func restarts() throws {
            let place = try Place()
            defer { place.shell.remove() }
            let server = place.shell.server
            #expect(try place.load(1).status == "Success")
            #expect(try place.load(2, "-H format:nosuch").status == "Fail")
            try server.control("POST", "/settings", "{\"publish_timeout\": 0.1}")
            try server.fault(StarRocksFault("publish-timeout", seconds: 3))
            #expect(try place.load(3).status == "Publish Timeout")
            // On another table: versions of the same one would wait for it.
            try server.query("CREATE TABLE test_db.other (id INT, name STRING, score INT) PRIMARY KEY(id)")
            try server.fault(StarRocksFault("hang", seconds: 60))
            #expect(try place.shell.load("row.csv", "other", label: "running", "-m 1").code == 28)
            #expect(try place.shell.state("running") == "PREPARE")
            try server.restart(killed: true)
            #expect(try place.shell.state("l1") == "VISIBLE" && place.shell.state("running") == "ABORTED")
            #expect(eventually(within: .seconds(10)) { (try? place.shell.state("l3")) == "VISIBLE" })
            #expect(try place.keys() == ["1", "3"])
            #expect(try place.load(1).status == "Label Already Exists")
            #expect(try place.shell.load("row.csv", "other", label: "running").status == "Success")
            try server.restart()
            #expect(try place.keys() == ["1", "3"])
            // The log goes on where it was.
            let numbers = try server.log().map(\.number)
            #expect(Set(numbers).count == numbers.count)
        }

        @Test("forgets labels that are old or too many")
        func expiry() throws {
            let place = try Place()
            defer { place.shell.remove() }
            let server = place.shell.server
            for key in 1...4 { #expect(try place.load(key).status == "Success") }
            try server.control("POST", "/settings", "{\"label_keep_max_num\": 2}")
            #expect(eventually(within: .seconds(10)) { (try? place.shell.state("l2")) == "UNKNOWN" })
            #expect(try place.shell.state("l3") == "VISIBLE")
            try server.control("POST", "/settings", "{\"label_keep_max_second\": 1}")
            #expect(eventually(within: .seconds(10)) { (try? place.shell.state("l4")) == "UNKNOWN" })
            #expect(try place.load(4).status == "Success")
            try server.control("POST", "/expire-labels")
            #expect(try place.shell.state("l4") == "UNKNOWN")
            // A load that takes longer than its timeout is aborted.
            try server.fault(StarRocksFault("hang", seconds: 60))
            #expect(try place.load(9, "-m 1 -H timeout:1").code == 28)
            #expect(eventually(within: .seconds(10)) { (try? place.shell.state("l9")) != "PREPARE" })
        }
    }
}
