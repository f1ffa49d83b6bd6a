import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("Standard output") struct StdoutTests {
        /// A line of output.
        private struct Event: CustomStringConvertible {
            let description: String
            let op: String
            let before: [String: String]
            let after: [String: String]
            let source: [String: String]

            init(_ line: Substring) {
                description = String(line)
                let fields = LogLine(description).fields
                op = fields["op"] ?? "no JSON"
                before = fields["before"].map { LogLine($0).fields } ?? [:]
                after = fields["after"].map { LogLine($0).fields } ?? [:]
                source = fields["source"].map { LogLine($0).fields } ?? [:]
            }
        }

        private static func makeRig(_ sink: String = "stdout") throws -> Rig {
            let rig = try Rig(["SINK_TYPE": sink])
            rig.daemon.setEnvironment("SINK_URL", nil)
            return rig
        }

        private static func events(_ rig: Rig) -> [Event] {
            (readText(rig.daemon.standardOutputFile) ?? "").split(separator: "\n").map { Event($0) }
        }

        @Test("has one JSON object a change, with Debezium's operations")
        func envelope() throws {
            let rig = try Self.makeRig()
            try rig.makeTable(rows: 2)
            try rig.sql(
                "ALTER TABLE public.t ADD COLUMN big text",
                "ALTER TABLE public.t ALTER big SET STORAGE EXTERNAL"
            )
            try rig.startStreaming()
            try rig.sql(
                "INSERT INTO public.t VALUES (3, E'quote \" backslash \\\\ tab \\t é \\u0001', repeat('x', 10000))",
                "UPDATE public.t SET v = 'changed' WHERE id = 3",
                "UPDATE public.t SET id = 4 WHERE id = 1",
                "DELETE FROM public.t WHERE id = 2",
                "TRUNCATE public.t"
            )
            try rig.catchUp()
            let events = Self.events(rig)
            #expect(events.map(\.op) == ["r", "r", "c", "u", "u", "d", "t"], "\(events)")
            try #require(events.count == 7)
            #expect(events[0].after == ["id": "1", "v": "v1", "big": "null"])
            #expect(events[2].after["v"] == "quote \" backslash \\ tab \t é \u{1}")
            #expect(events[2].after["big"]?.utf8.count == 10_000)
            #expect(events[3].after["v"] == "changed")
            // The column that the update did not touch is named, not invented.
            #expect(events[3].after["big"] == nil && events[3].source["unchanged"] == "[\"big\"]")
            #expect(events[4].before["id"] == "1" && events[4].after["id"] == "4")
            #expect(events[5].before["id"] == "2" && events[5].after.isEmpty)
            for event in events {
                #expect(event.source["schema"] == "public" && event.source["table"] == "t")
                #expect(event.source["commit_lsn"].flatMap(parseLSN) != nil)
            }
            try rig.stopDaemon()
        }

        @Test("goes on after a restart of daemon or source without copying again")
        func restart() throws {
            let rig = try Self.makeRig()
            try rig.makeTable(rows: 2)
            try rig.startStreaming()
            try rig.insert(3...4)
            try rig.catchUp()
            try rig.server.restart()
            try rig.insert(5...6)
            try rig.catchUp()
            #expect(Self.events(rig).map { $0.op + ($0.after["id"] ?? "") } == ["r1", "r2", "c3", "c4", "c5", "c6"])
            try rig.stopDaemon()
            try rig.insert(7...8)
            try rig.startStreaming()
            try rig.catchUp()
            #expect(Self.events(rig).map { $0.op + ($0.after["id"] ?? "") } == ["c7", "c8"])
            try rig.stopDaemon()
        }

        @Test("whose reader dies ends the daemon; what was not read is not acknowledged and comes after the restart")
        func deadReader() throws {
            let rig = try Self.makeRig()
            try rig.makeTable()
            let pipe = rig.directory + "/stdout.1.log"
            mkfifo(pipe, 0o600)
            let reader = open(pipe, O_RDONLY | O_NONBLOCK | O_CLOEXEC)
            try #require(reader >= 0)
            try rig.startStreaming()
            let client = try rig.server.connect()
            try client.execute("SET synchronous_commit = off")
            for id in 4...2_000 { try client.execute("INSERT INTO public.t VALUES (\(id), 'v\(id)')") }
            var text = ""
            var chunk = [UInt8](repeating: 0, count: 4_096)
            let hasRead = eventually(within: .seconds(20)) {
                let count = read(reader, &chunk, chunk.count)
                if count > 0 { text += String(decoding: chunk[..<count], as: UTF8.self) }
                return text.utf8.count > 100_000
            }
            #expect(hasRead)
            close(reader)
            rig.expectEnd(9, "nobody reads standard output any more")
            let whole = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
            let printed = whole.map { Event($0) }
            // The pipe's buffer holds 64 KiB that were written and never read; more cannot have been acknowledged.
            let confirmed = try rig.confirmedFlush()
            try rig.startStreaming()
            try rig.catchUp()
            let rest = Self.events(rig)
            let again = rest.compactMap { $0.source["lsn"].flatMap(parseLSN) }.min() ?? 0
            #expect(again > confirmed)
            #expect(!rest.contains { $0.op == "r" })
            let first = try #require(rest.first?.after["id"].flatMap { Int($0) })
            let last = try #require(printed.last?.after["id"].flatMap { Int($0) })
            print("read up to \(last), repeated from \(first)")
            #expect(first <= last + 400, "the pipe alone cannot have swallowed this")
            #expect(rest.compactMap { $0.after["id"].flatMap { Int($0) } } == Array(first...2_000))
            try rig.stopDaemon()
        }

        @Test("The null sink counts, discards and acknowledges")
        func nullSink() throws {
            let rig = try Self.makeRig("null")
            try rig.makeTable()
            try rig.startStreaming()
            let before = try rig.confirmedFlush()
            try rig.insert(4...5_000)
            try rig.catchUp()
            #expect(try rig.confirmedFlush() > before)
            #expect((readText(rig.daemon.standardOutputFile) ?? "").isEmpty)
            try rig.stopDaemon()
        }
    }
}
