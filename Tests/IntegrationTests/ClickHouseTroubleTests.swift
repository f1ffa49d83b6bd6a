import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("A ClickHouse target in trouble") struct ClickHouseTroubleTests {
        /// Inserts into the table `t`, whatever quotes its name has.
        static let rows = "^\\s*INSERT\\s+INTO\\s+(`?copy`?\\.)?`?t`?[\\s(]"
        /// Inserts of the position.
        static let position = "^\\s*INSERT\\s+INTO\\s+(`?copy`?\\.)?`?dbmazz_position`?[\\s(]"

        /// A fault, and how often it happens before the request gets through.
        struct Trouble: CustomTestStringConvertible, Sendable {
            let name: String
            let fault: ClickHouseFault
            var times = 1
            var testDescription: String { name }
        }

        static let troubles = [
            Trouble(name: "cut before", fault: .cutBefore),
            Trouble(name: "cut before, again and again", fault: .cutBefore, times: 4),
            Trouble(name: "cut in the middle of the rows", fault: .cutMiddle),
            Trouble(name: "committed, no answer", fault: .cutAfter),
            Trouble(name: "committed, no answer, again and again", fault: .cutAfter, times: 3),
            Trouble(name: "committed, half an answer", fault: .truncatedAnswer),
            Trouble(name: "later than usual", fault: .delay(seconds: 1)),
            Trouble(name: "an answer that is late", fault: .delayedAnswer(seconds: 1)),
            Trouble(name: "a slow reader", fault: .slow(bytesPerSecond: 400)),
            Trouble(name: "too many parts", fault: .exception(252, "Too many parts (3001)"), times: 2),
            Trouble(name: "out of memory", fault: .exception(241), times: 2),
            Trouble(name: "read-only", fault: .exception(164), times: 2),
            Trouble(name: "a table that is read-only", fault: .exception(242), times: 2),
            Trouble(name: "too many queries", fault: .exception(202)),
            Trouble(name: "a time-out that had committed", fault: .exception(159, committed: true)),
            Trouble(name: "a status that is not known", fault: .exception(319, committed: true)),
            Trouble(name: "a lost replica", fault: .exception(209)),
            Trouble(name: "an exception behind a 200", fault: .exceptionAfter200(241, committed: false)),
            Trouble(name: "an exception behind a 200, committed", fault: .exceptionAfter200(241, committed: true)),
            Trouble(
                name: "an exception behind a 200 that looks complete",
                fault: .exceptionAfter200(241, committed: false, isComplete: true)
            ),
            Trouble(name: "a proxy's 502", fault: .status(502), times: 2),
            Trouble(name: "a proxy's 502, committed", fault: .status(502, committed: true)),
            Trouble(name: "a proxy's 200 that is no answer", fault: .status(200, body: "<html>busy</html>")),
        ]

        @Test("writes nothing twice and loses nothing, whatever happens to rows or position")
        func faults() throws {
            let rig = try ClickHouseRig(["SINK_MAX_RETRIES": "20"])
            try rig.rig.makeTable(rows: 3)
            rig.daemon.setEnvironment("SOURCE_TABLES", "public.t")
            try rig.rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            // A merge would drop the very rows that are counted.
            try rig.target.query("SYSTEM STOP MERGES", database: rig.database)
            var id = 3
            for what in [Self.rows, Self.position] {
                for trouble in Self.troubles {
                    try rig.target.reset()
                    try rig.target.fault(trouble.fault, .matching(what, times: trouble.times))
                    let name = Comment(rawValue: "\(trouble.name), \(what == Self.rows ? "rows" : "position")")
                    try rig.rig.insert(id + 1...id + 4)
                    try rig.rig.sql("UPDATE public.t SET v = 'changed' WHERE id = \(id)")
                    id += 4
                    try rig.rig.catchUp()
                    try rig.awaitIDs(Array(1...id))
                    // Rows that arrived are not sent again: the table is asked what it has.
                    let isOnce = what == Self.rows && trouble.name == "committed, no answer, again and again"
                    #expect(try rig.target.faultsFired() == [isOnce ? 1 : trouble.times], name)
                    try rig.expectNothingTwice("t", key: "id")
                    try rig.expectGuardedInserts()
                    try #require(rig.daemon.isRunning, "\(trouble.name): \(rig.daemon.logTail())")
                }
            }
            try rig.expectSame(["public.t"], "at the end")
            try rig.rig.stopDaemon()
        }

        @Test("sends a repeated insert with the token and the bytes of the first")
        func tokens() throws {
            let rig = try ClickHouseRig()
            try rig.rig.makeTable(rows: 0)
            rig.daemon.setEnvironment("SOURCE_TABLES", "public.t")
            try rig.rig.startStreaming()
            try rig.target.reset()
            try rig.target.fault(.exception(241), .matching(Self.rows, times: 3))
            try rig.rig.insert(1...50)
            try rig.rig.catchUp()
            try rig.awaitIDs(Array(1...50))
            let inserts = try rig.target.log().filter {
                $0.isInsert && $0.query.firstRange(of: "dbmazz_position") == nil
            }
            let first = try #require(inserts.first)
            let repeated = inserts.filter {
                $0.settings["insert_deduplication_token"] == first.settings["insert_deduplication_token"]
            }
            #expect(repeated.count == 4, "\(inserts)")
            #expect(Set(repeated.map(\.bodyBytes)).count == 1 && Set(repeated.map(\.query)).count == 1)
            // Other rows, another token: what has one that was used is dropped in silence.
            try rig.rig.insert(51...60)
            try rig.rig.catchUp()
            try rig.awaitIDs(Array(1...60))
            try rig.rig.stopDaemon()
        }

        @Test("is not overtaken by an insert that a killed daemon left behind, nor fooled by it after a TRUNCATE")
        func leftBehind() throws {
            let rig = try ClickHouseRig()
            try rig.rig.makeTable(rows: 2)
            rig.daemon.setEnvironment("SOURCE_TABLES", "public.t")
            try rig.rig.startStreaming()
            try rig.awaitIDs([1, 2])
            let watch = try rig.watch(["public.t"])
            for change in ["UPDATE public.t SET v = 'newer'; DELETE FROM public.t WHERE id = 2", "TRUNCATE public.t"] {
                try rig.target.fault(.delay(seconds: 3), .matching(Self.rows))
                try rig.rig.sql(
                    "INSERT INTO public.t VALUES (2, 'x'), (3, 'x') ON CONFLICT (id) DO UPDATE SET v = 'old'"
                )
                let isUnderWay = eventually(within: .seconds(10)) { (try? rig.target.faultsFired().last) == 1 }
                #expect(isUnderWay, "\(rig.daemon.logTail())")
                rig.daemon.killAndWait()
                try rig.rig.sql(change)
                try rig.rig.startStreaming()
                try rig.rig.catchUp()
                let end = ContinuousClock.now + .seconds(4)
                while ContinuousClock.now < end {
                    #expect(try watch.look() == [])
                    sleepThread(.milliseconds(200))
                }
                try rig.expectSame(["public.t"], "after the insert that was left behind")
            }
            try rig.rig.stopDaemon()
        }

        @Test("that refuses the password ends the daemon, at its start and later, without the password in a log")
        func authentication() throws {
            let rig = try ClickHouseRig(["SINK_USER": "writer", "SINK_PASSWORD": "wrong-secret"])
            try rig.rig.makeTable()
            rig.daemon.setEnvironment("SOURCE_TABLES", "public.t")
            try rig.target.setUsers(["writer": "right-secret"])
            try rig.rig.expectRefusal(2, "516", "writer")
            #expect(!(readText(rig.daemon.standardErrorFile) ?? "").contains("secret"))
            rig.daemon.setEnvironment("SINK_PASSWORD", "right-secret")
            try rig.rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.target.setUsers(["writer": "new-secret"])
            try rig.rig.insert(4...4)
            rig.rig.expectEnd(2, "516")
            #expect(!(readText(rig.daemon.standardErrorFile) ?? "").contains("secret"))
            rig.daemon.setEnvironment("SINK_PASSWORD", "new-secret")
            try rig.rig.startStreaming()
            try rig.awaitIDs([1, 2, 3, 4])
            try rig.rig.stopDaemon()
        }

        @Test("that is gone, frozen or restarted for a while is waited for")
        func away() throws {
            let rig = try ClickHouseRig()
            try rig.rig.makeTable()
            rig.daemon.setEnvironment("SOURCE_TABLES", "public.t")
            try rig.rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.target.stop()
            try rig.rig.insert(4...6)
            sleepThread(.seconds(1))
            try rig.target.start()
            try rig.awaitIDs(Array(1...6))
            rig.target.freeze(true)
            try rig.rig.insert(7...9)
            sleepThread(.seconds(2))
            rig.target.freeze(false)
            try rig.awaitIDs(Array(1...9))
            try rig.rig.catchUp()
            try rig.expectNothingTwice("t", key: "id")
            try rig.rig.stopDaemon()
        }
    }

    @Suite("An old ClickHouse") struct ClickHouseOldServerTests {
        @Test("is refused with its version, before anything is made there")
        func refused() throws {
            let old = try OldClickHouseServer()
            #expect(try old.query("SELECT version()") == [["18.16.1"]])
            let rig = try Rig(["SINK_TYPE": "clickhouse", "SINK_URL": old.url, "SINK_DATABASE": "default"])
            try rig.makeTable()
            rig.daemon.setEnvironment("SOURCE_TABLES", "public.t")
            try rig.expectRefusal(2, "18.16", "23.5")
            #expect(try old.query("SHOW TABLES FROM default") == [])
            #expect(try rig.slots() == [])
        }
    }
}
