import Glibc
import TestSupport
import Testing

extension Integration {
    /// The front itself: faults that do not happen prove nothing.
    @Suite("ClickHouse's engine behind the tests' HTTP front") struct ClickHouseFrontTests {
        /// A server with `t`, and a client that the front treats like any other.
        struct Place {
            let server: ClickHouseServer
            let directory: String
            var client: ClickHouseClient { ClickHouseClient(port: server.port, isAside: false) }

            init() throws {
                directory = try makeTemporaryDirectory("dbmazz-front")
                server = try ClickHouseServer.started()
                try server.query(
                    "CREATE TABLE t (id Int32, s String, v UInt128, d UInt8) ENGINE = ReplacingMergeTree(v, d) ORDER BY id "
                        + "SETTINGS non_replicated_deduplication_window = 100"
                )
                // A merge would drop the very rows that are counted.
                try server.query("SYSTEM STOP MERGES t")
            }

            func remove() {
                server.remove()
                removeTree(directory)
            }

            /// Rows of `t` in RowBinary: id, a text of a length, version, deleted.
            static func rows(_ rows: [(Int, UInt8, UInt64, Bool)]) -> [UInt8] {
                var data: [UInt8] = []
                for (id, length, version, isDeleted) in rows {
                    data += bytes(UInt32(id)) + [length]
                    data += [UInt8](repeating: UInt8(ascii: "x"), count: Int(length))
                    data += bytes(version) + bytes(UInt64(0))
                    data.append(isDeleted ? 1 : 0)
                }
                return data
            }

            private static func bytes<Number: FixedWidthInteger>(_ number: Number) -> [UInt8] {
                withUnsafeBytes(of: number.littleEndian) { Array($0) }
            }

            /// Inserts into `t`.
            @discardableResult
            func insert(_ data: [UInt8], token: String? = nil, encoding: String? = nil) throws
                -> ClickHouseClient.Answer
            {
                var settings = ["async_insert": "0"]
                settings["insert_deduplication_token"] = token
                return try client.insert(
                    "INSERT INTO t (id, s, v, d) FORMAT RowBinary",
                    data,
                    settings: settings,
                    encoding: encoding
                )
            }

            func count(_ final: String = "") throws -> Int {
                try server.client().number("SELECT count() FROM t \(final)")
            }

            /// The bytes as a library that is not the daemon's compresses them.
            func compressed(_ data: [UInt8], _ encoding: String) throws -> [UInt8] {
                let file = directory + "/data"
                let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
                #expect(write(descriptor, data, data.count) == data.count)
                close(descriptor)
                let script = """
                    import pyarrow, sys
                    with pyarrow.CompressedOutputStream(sys.argv[1] + ".out", sys.argv[2]) as out:
                        out.write(open(sys.argv[1], "rb").read())
                    """
                try runProgram(ClickHouseServer.python(), ["-c", script, file, encoding])
                return try #require(readFile(file + ".out"))
            }
        }

        @Test("reads what was sent, hides what is deleted, and drops what a token names twice")
        func engine() throws {
            let place = try Place()
            defer { place.remove() }
            let rows = Place.rows([(1, 3, 7, false), (2, 0, 7, true), (1, 5, 6, false)])
            for encoding in ["gzip", "lz4", "zstd"] {
                let body = try place.compressed(rows, encoding)
                let answer = try place.insert(body, token: encoding, encoding: encoding)
                #expect(answer.status == 200 && answer.body.isEmpty && answer.isComplete, "\(answer.text)")
                #expect(answer.headers["x-clickhouse-summary"]?.contains("\"written_rows\": \"3\"") == true)
            }
            // The engine merges what one insert says twice about a key, before it writes (optimize_on_insert).
            #expect(try place.count() == 6)
            for _ in 0..<3 { try place.insert(rows, token: "a") }
            #expect(try place.count() == 8)
            // Without a token equal data is dropped too: within the window, its hash is its token.
            for _ in 0..<2 { try place.insert(rows) }
            #expect(try place.count() == 10)
            #expect(try place.server.query("SELECT id, s, v FROM t FINAL") == [["1", "xxx", "7"]])
            // What the engine cannot read commits nothing.
            #expect(try place.insert(Array(rows.dropLast(3))).status == 500)
            #expect(try place.insert(rows, encoding: "zstd").status == 500)
            #expect(try place.count() == 10)
            let log = try place.server.log()
            #expect(log.map(\.number) == Array(1...10))
            #expect(log.allSatisfy { $0.isInsert && $0.settings["async_insert"] == "0" })
        }

        @Test("refuses what ClickHouse refuses, with its codes")
        func refusals() throws {
            let place = try Place()
            defer { place.remove() }
            func expect(_ status: Int, _ code: Int, _ text: String, _ answer: ClickHouseClient.Answer) {
                #expect(
                    answer.status == status && answer.headers["x-clickhouse-exception-code"] == "\(code)",
                    "\(answer)"
                )
                #expect(answer.text.hasPrefix("Code: \(code). DB::Exception: "), "\(answer.text)")
                #expect(answer.text.contains(text), "\(answer.text)")
            }
            let client = place.client
            expect(404, 115, "no_such_setting", try client.send("SELECT 1", settings: ["no_such_setting": "1"]))
            expect(404, 60, "nowhere", try client.send("SELECT * FROM nowhere"))
            expect(
                404,
                81,
                "nobase",
                try ClickHouseClient(port: client.port, database: "nobase", isAside: false).send("SELECT 1")
            )
            expect(400, 62, "Syntax error", try client.send("SELEKT 1"))
            expect(404, 47, "nothing", try client.send("SELECT nothing"))
            expect(501, 48, "X-ClickHouse-Shoe", try client.send("SELECT 1", headers: [("X-ClickHouse-Shoe", "1")]))
            expect(501, 48, "rot13", try place.insert([], encoding: "rot13"))
            try place.server.setUsers(["writer": "secret"])
            expect(403, 516, "default: Authentication failed", try client.send("SELECT 1"))
            let wrong = [("X-ClickHouse-User", "writer"), ("X-ClickHouse-Key", "secrets")]
            expect(403, 516, "writer: Authentication failed", try client.send("SELECT 1", headers: wrong))
            let right = [("X-ClickHouse-User", "writer"), ("X-ClickHouse-Key", "secret")]
            #expect(try client.send("SELECT 1", headers: right).text == "1\n")
            // The next request does not inherit a setting.
            let asked = "SELECT value FROM system.settings WHERE name = 'insert_deduplication_token'"
            #expect(
                try client.send(asked, settings: ["insert_deduplication_token": "it's"], headers: right).text
                    == "it\\'s\n"
            )
            #expect(try client.send(asked, headers: right).text == "\n")
            let text = try place.server.log().map(\.description).joined()
            #expect(!text.contains("secret"))
        }

        @Test("does each fault as it says: what is committed, and what the client gets")
        func faults() throws {
            let place = try Place()
            defer { place.remove() }
            var (id, expected) = (0, 0)
            /// Inserts one row under a fault; nil when there is no answer.
            func insert(_ fault: ClickHouseFault, commits: Bool) throws -> ClickHouseClient.Answer? {
                id += 1
                expected += commits ? 1 : 0
                try place.server.fault(fault, .matching("^INSERT", from: 1, times: 1))
                let answer = try? place.insert(Place.rows([(id, 100, 1, false)]), token: "f\(id)")
                let fired = try place.server.faultsFired()
                #expect(fired == [1], "fault \(id)")
                #expect(try place.count() == expected, "fault \(id)")
                try place.server.reset()
                return answer
            }
            #expect(try insert(.cutBefore, commits: false) == nil)
            #expect(try insert(.cutMiddle, commits: false) == nil)
            #expect(try insert(.cutAfter, commits: true) == nil)
            let cut = try #require(try insert(.truncatedAnswer, commits: true))
            #expect(cut.status == 200 && !cut.isComplete)
            for (code, status) in [(252, 500), (241, 500), (164, 500), (242, 500), (159, 408), (209, 503), (202, 500)] {
                let answer = try #require(try insert(.exception(code), commits: false))
                #expect(answer.status == status && answer.headers["x-clickhouse-exception-code"] == "\(code)")
            }
            let late = try #require(try insert(.exception(319, "Who knows", committed: true), commits: true))
            #expect(late.text.hasPrefix("Code: 319. DB::Exception: Who knows (UNKNOWN_STATUS_OF_INSERT) (version 2"))
            for (committed, complete) in [(false, false), (true, false), (true, true)] {
                let fault = ClickHouseFault.exceptionAfter200(241, committed: committed, isComplete: complete)
                let answer = try #require(try insert(fault, commits: committed))
                let tag = try #require(answer.headers["x-clickhouse-exception-tag"])
                #expect(answer.status == 200 && answer.isComplete == complete)
                #expect(
                    answer.text.hasPrefix("\r\n__exception__\r\n\(tag)\r\nCode: 241. DB::Exception: "),
                    "\(answer.text)"
                )
                #expect(answer.text.hasSuffix(" \(tag)\r\n__exception__\r\n"), "\(answer.text)")
            }
            let proxy = try #require(try insert(.status(502), commits: false))
            #expect(proxy.status == 502 && proxy.text.contains("Bad Gateway"))
            let begin = ContinuousClock.now
            #expect(try insert(.slow(bytesPerSecond: 300), commits: true)?.status == 200)
            #expect(try insert(.delayedAnswer(seconds: 0.3), commits: true)?.status == 200)
            #expect(ContinuousClock.now - begin > .milliseconds(600))
        }

        @Test("goes on with an insert whose client gave up, says that it runs, and lets it be killed")
        func givenUp() throws {
            let place = try Place()
            defer { place.remove() }
            let client = place.client
            func insertAndGiveUp(_ id: Int, _ seconds: Double) throws {
                try place.server.fault(.delay(seconds: seconds), .matching("INSERT"))
                #expect(throws: (any Error).self) {
                    try client.insert(
                        "INSERT INTO t (id, s, v, d) FORMAT RowBinary",
                        Place.rows([(id, 0, 1, false)]),
                        queryID: "mine-\(id)",
                        timeout: .milliseconds(200)
                    )
                }
            }
            func running(_ id: Int) throws -> [[String?]] {
                try client.query("SELECT query_id, is_cancelled FROM system.processes WHERE query_id = 'mine-\(id)'")
            }
            try insertAndGiveUp(1, 1.5)
            #expect(try running(1) == [["mine-1", "0"]])
            #expect(try running(2) == [])
            let again = try client.send("SELECT 1", settings: ["query_id": "mine-1"])
            #expect(again.headers["x-clickhouse-exception-code"] == "216", "\(again.text)")
            #expect(eventually(within: .seconds(5)) { (try? running(1)) == [] })
            #expect(try place.count() == 1)
            try insertAndGiveUp(2, 30)
            let killed = try client.query("KILL QUERY WHERE query_id = 'mine-2' SYNC")
            #expect(killed.first?.dropFirst().first == "mine-2")
            #expect(eventually(within: .seconds(5)) { (try? running(2)) == [] })
            #expect(try place.count() == 1)
        }

        @Test("keeps data and tokens over SIGKILL, and picks requests by number, expression and turn")
        func killed() throws {
            let place = try Place()
            defer { place.remove() }
            let rows = Place.rows([(1, 1, 1, false)])
            try place.insert(rows, token: "t")
            for _ in 0..<3 {
                try place.server.restart(killed: true)
                try place.insert(rows, token: "t")
                #expect(try place.count() == 1)
            }
            #expect(try place.server.log().map(\.number) == [1, 2, 3, 4])
            try place.server.reset()
            try place.server.fault(.status(500), .number(2))
            try place.server.fault(.status(501), .every(3, matching: "SELECT"))
            try place.server.fault(.status(502), .matching("SELECT", from: 4, times: 0))
            #expect(
                try (1...7).map { _ in try place.client.send("SELECT 1").status } == [
                    200, 500, 501, 502, 502, 501, 502,
                ]
            )
        }
    }
}
