import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("A StarRocks target in trouble") struct StarRocksTroubleTests {
        /// Which request of a transaction meets a fault.
        struct Place: Sendable {
            let name: String
            let fields: [String: String]
            var nth = 1

            static let keyless = Place(name: "rows without a key", fields: ["table": "^k$"])
            static let first = Place(name: "first part", fields: ["table": "^big$", "label": "_0$"])
            static let middle = Place(name: "middle part", fields: ["table": "^big$", "label": "_1$"])
            static let last = Place(name: "last part", fields: ["table": "^big$", "label": "_end$"])
            static let announcement = Place(name: "announcement", fields: ["table": "^dbmazz_position$"])
            static let position = Place(name: "position", fields: ["table": "^dbmazz_position$"], nth: 2)
            static let all = [keyless, first, middle, last, announcement, position]
            static let telling = [keyless, first, last, announcement, position]
        }

        /// What goes wrong.
        struct Trouble: Sendable {
            let name: String
            let kind: String
            var request = "load"
            var count = 1
            var seconds: Double?
            var numbers: [String: Int] = [:]
            var texts: [String: String] = [:]

            func fault(_ place: Place) -> StarRocksFault {
                StarRocksFault(
                    kind,
                    on: request,
                    nth: place.nth,
                    count: count,
                    matching: place.fields,
                    seconds: seconds,
                    numbers: numbers,
                    texts: texts
                )
            }
        }

        /// Each at each place.
        static let everywhere = [
            Trouble(name: "reply lost after the commit", kind: "reset-after-commit"),
            Trouble(name: "reset before the commit", kind: "reset-before-commit"),
            Trouble(name: "reset before the redirect, twice", kind: "reset", request: "redirect", count: 2),
        ]

        /// Each at all places of one transaction.
        static let atOnce = [
            Trouble(name: "reply lost three times", kind: "reset-after-commit", count: 3),
            Trouble(name: "reset before anything", kind: "reset"),
            Trouble(name: "reset before the body", kind: "reset-before-body"),
            Trouble(name: "reset in the body", kind: "reset-in-body", count: 2),
            Trouble(name: "half a reply", kind: "cut-reply"),
            Trouble(name: "half a redirect", kind: "cut-reply", request: "redirect"),
            Trouble(name: "committed, not visible yet", kind: "publish-timeout", seconds: 0.8),
            Trouble(name: "close index channel", kind: "close-channel"),
            Trouble(name: "too many transactions", kind: "running-txns", count: 2),
            Trouble(name: "too many versions", kind: "too-many-versions"),
            Trouble(name: "shutting down", kind: "shutting-down"),
            Trouble(name: "a message that nobody knows", kind: "fail", texts: ["message": "something else"]),
            Trouble(name: "500 of the front end", kind: "status", request: "redirect", numbers: ["code": 500]),
            Trouble(name: "503 of the back end", kind: "status", numbers: ["code": 503]),
            Trouble(name: "502, committed", kind: "status-after-commit", numbers: ["code": 502]),
            Trouble(name: "200 without JSON", kind: "status", numbers: ["code": 200]),
            Trouble(name: "200 without JSON, committed", kind: "status-after-commit", numbers: ["code": 200]),
            Trouble(
                name: "redirect to nobody",
                kind: "redirect-to",
                request: "redirect",
                count: 2,
                numbers: ["port": 1],
                texts: ["host": "127.0.0.1"]
            ),
        ]

        private func startedRig(_ environment: [String: String] = [:]) throws -> (StarRocksRig, StarRocksChanges) {
            let rig = try StarRocksRig(environment)
            let changes = try StarRocksChanges(rig)
            try rig.rig.startStreaming()
            try changes.expectArrived("copy")
            return (rig, changes)
        }

        /// One transaction under these faults.
        private func round(
            _ rig: StarRocksRig,
            _ changes: StarRocksChanges,
            _ faults: [StarRocksFault],
            _ name: String,
            settings: String = "{\"publish_timeout\": 0.1}"
        ) throws {
            try rig.target.reset()
            try rig.target.control("POST", "/settings", settings)
            for fault in faults { try rig.target.fault(fault) }
            try changes.commit()
            try changes.expectArrived(name)
            let fired = try rig.target.faultsFired()
            // Once the first part is in, a repetition has one part less.
            #expect(fired.filter { $0 == 0 }.count <= (fired.count > 2 ? 1 : 0), "\(name): \(fired)")
        }

        @Test("loses nothing and writes nothing twice, whatever happens to a load")
        func loads() throws {
            let (rig, changes) = try startedRig()
            for trouble in Self.everywhere {
                for place in Place.telling {
                    try round(rig, changes, [trouble.fault(place)], "\(trouble.name), \(place.name)")
                }
            }
            for trouble in Self.atOnce {
                try round(rig, changes, Place.all.map { trouble.fault($0) }, trouble.name)
            }
            // curl's own patience for 100 Continue is a second.
            for (kind, request) in [("delay", "redirect"), ("delay", "load"), ("delay-after-commit", "load")] {
                let slow = Trouble(name: "slow", kind: kind, request: request, seconds: 1.5)
                try round(rig, changes, [slow.fault(.first)], "\(kind) of \(request)")
                let expected = rig.daemon.logLines().last { $0.event == "sink waits" }
                #expect(expected?["cause"]?.contains("100") != true, "\(rig.daemon.logTail())")
            }
            try rig.rig.stopDaemon()
        }

        @Test("waits for loads that run on without it, and for labels that the front end does not tell")
        func labels() throws {
            let (rig, changes) = try startedRig(["DBMAZZ_HANG_TIMEOUT_MS": "700"])
            for (place, end) in [
                (Place.keyless, "visible"), (.first, "aborted"), (.last, "visible"), (.position, "visible"),
            ] {
                let hang = Trouble(name: "hang", kind: "hang", seconds: 1, texts: ["then": end])
                try round(rig, changes, [hang.fault(place)], "running, then \(end), \(place.name)")
            }
            let lost = Self.everywhere[0]
            let state = Place(name: "state", fields: ["label": "^dbmazz_"])
            let troubles = [
                Trouble(name: "reset", kind: "reset", request: "state", count: 3),
                Trouble(name: "half a reply", kind: "cut-reply", request: "state", count: 2),
                Trouble(name: "500", kind: "status", request: "state", count: 2, numbers: ["code": 500]),
                Trouble(name: "200 without JSON", kind: "status", request: "state", numbers: ["code": 200]),
                Trouble(name: "late", kind: "delay", request: "state", seconds: 1),
            ]
            for (trouble, place) in zip(troubles, Place.telling) {
                let name = "\(trouble.name), \(place.name)"
                try round(rig, changes, [lost.fault(place), trouble.fault(state)], name)
            }
            // Every label is forgotten before anybody can ask for it.
            for place in Place.telling {
                let late = Trouble(name: "late", kind: "delay", request: "state", seconds: 0.6)
                let settings = "{\"label_keep_max_num\": 0}"
                try round(
                    rig,
                    changes,
                    [lost.fault(place), late.fault(state)],
                    "forgotten, \(place.name)",
                    settings: settings
                )
            }
            try rig.rig.stopDaemon()
        }

        @Test("reads back what is committed and not visible before it goes on")
        func invisible() throws {
            let (rig, changes) = try startedRig()
            try rig.target.control("POST", "/settings", "{\"publish_timeout\": 0.1}")
            try rig.target.fault(StarRocksFault("publish-timeout", matching: ["table": "^big$"], seconds: 2))
            try rig.rig.sql("INSERT INTO public.big VALUES (1000, repeat('x', 3000), repeat('y', 3000), 1)")
            try rig.rig.sql("UPDATE public.big SET id = 1001, n = 2 WHERE id = 1000")
            try changes.expectArrived("publish timeout")
            #expect(try rig.target.faultsFired() == [1])
            try rig.rig.stopDaemon()
        }

        @Test("that is overloaded is left alone for a while")
        func pauses() throws {
            let (rig, changes) = try startedRig(["SINK_RETRY_MAX_MS": "800"])
            for kind in ["too-many-versions", "running-txns", "close-channel"] {
                let after = rig.daemon.logLines().count
                try round(rig, changes, [Trouble(name: kind, kind: kind).fault(.first)], kind)
                let line = try #require(rig.daemon.logLines().dropFirst(after).first { $0.event == "sink waits" })
                // Never longer than the greatest delay that is set.
                #expect(line["retry_in_ms"] == "800" && line["cause"]?.contains("StarRocks says") == true, "\(line)")
            }
            try rig.rig.stopDaemon()
        }

        @Test("whose words say that repeating is of no use ends the daemon, and nothing is lost")
        func refusals() throws {
            let (rig, changes) = try startedRig()
            let refusals: [(message: String, code: Int32)] = [
                ("too many filtered rows", 7), ("primary key size exceed the limit.", 7),
                ("Access denied; you need (at least one of) the INSERT privilege(s) on TABLE big", 2),
                ("unknown table, table=copy.big", 6), ("Only primary key table support partial update", 7),
            ]
            for (message, code) in refusals {
                let fault = Trouble(name: "refusal", kind: "fail", count: 0, texts: ["message": message])
                try rig.target.fault(fault.fault(.first))
                try changes.commit()
                rig.rig.expectEnd(code, "StarRocks says: \(message)", "public.big")
                try rig.target.reset()
                try rig.rig.startStreaming()
                try changes.expectArrived(message)
            }
            try rig.rig.stopDaemon()
        }

        @Test("that is gone, killed in the middle of a load, or frozen is waited for")
        func away() throws {
            let (rig, changes) = try startedRig()
            let (before, after) = ("delay-before-commit", "delay-after-commit")
            for (place, kind) in [
                (Place.keyless, before), (.middle, after), (.announcement, after), (.position, before),
            ] {
                try rig.target.fault(Trouble(name: kind, kind: kind, seconds: 5).fault(place))
                try changes.commit()
                let isUnderWay = eventually(within: .seconds(10)) { (try? rig.target.faultsFired()) == [1] }
                #expect(isUnderWay, "\(rig.daemon.logTail())")
                sleepThread(.milliseconds(100))
                try rig.target.restart(killed: true)
                try changes.expectArrived("killed, \(kind), \(place.name)")
            }
            try rig.target.stop()
            try changes.commit()
            sleepThread(.milliseconds(500))
            try rig.target.start()
            try changes.expectArrived("gone")
            rig.target.freeze(true)
            try changes.commit()
            sleepThread(.seconds(1))
            rig.target.freeze(false)
            try changes.expectArrived("frozen")
            try rig.rig.stopDaemon()
        }
    }
}
