import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("Dead letters of a ClickHouse target") struct ClickHouseDeadLetterTests {
        @Test("a date beyond Date32 in the middle of 100 000 rows: stop ends with 7, else it is a letter, and replays")
        func value() throws {
            let rig = try ClickHouseRig(["SINK_PIPELINE": "p"])
            try rig.rig.sql("CREATE TABLE public.t(id bigint PRIMARY KEY, v text, d date)")
            try rig.rig.startStreaming()
            let before = try rig.rig.source("SELECT pg_current_wal_lsn()")
            try rig.rig.sql(
                "INSERT INTO public.t SELECT g, 'v' || g, CASE g WHEN 50000 THEN 'infinity'::date ELSE '2024-02-29' END "
                    + "FROM generate_series(1, 100000) g"
            )
            rig.rig.expectEnd(7, "column \"d\" (date) holds a value beyond the range of Nullable(Date32)")
            let confirmed = try rig.rig.confirmedFlush()
            let insert = try #require(before.flatMap(parseLSN))
            #expect(confirmed <= insert + 4096, "\(confirmed) was acknowledged, the insert began at \(insert)")
            rig.daemon.setEnvironment("SINK_ON_ERROR", "dead-letter")
            try rig.rig.startStreaming()
            try rig.rig.catchUp()
            try rig.awaitValue("SELECT concat(count(), ' ', sum(id)) FROM t_current", "99999 5000000000")
            #expect(try DeadLetterTests.list(rig.daemon) == ["pending insert id='50000'"])
            // What follows in the row follows it.
            try rig.rig.sql("UPDATE public.t SET v = 'later' WHERE id IN (3, 50000)")
            try rig.rig.catchUp()
            try rig.awaitValue("SELECT v FROM t_current WHERE id = 3", "later")
            #expect(
                try DeadLetterTests.list(rig.daemon) == ["pending insert id='50000'", "pending update id='50000'"]
            )
            try rig.rig.stopDaemon()
            try DeadLetterTests.replay(rig.daemon, 7, "beyond the range")
            rig.daemon.setEnvironment("SINK_ON_UNREPRESENTABLE", "clamp")
            try DeadLetterTests.replay(rig.daemon, 0, "2 replayed")
            try rig.awaitValue("SELECT concat(v, ' ', toString(d)) FROM t_current WHERE id = 50000", "later 9999-12-31")
            try rig.awaitValue("SELECT count() FROM t_current", "100000")
            try DeadLetterTests.replay(rig.daemon, 0, "nothing to replay")
        }

        @Test("a row that the server's own constraint refuses is found among 100 000; letters in the target's table")
        func constraint() throws {
            let rig = try ClickHouseRig([
                "SINK_PIPELINE": "p", "SINK_ON_ERROR": "dead-letter", "SINK_DEAD_LETTER_URL": "table",
            ])
            try rig.rig.makeTable()
            try rig.rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.client.query("ALTER TABLE t ADD CONSTRAINT not_this CHECK id != 50000")
            try rig.rig.insert(4...100_000)
            try rig.rig.catchUp(within: .seconds(120))
            try rig.awaitValue("SELECT concat(count(), ' ', sum(id)) FROM t_current", "99999 5000000000")
            #expect(try DeadLetterTests.list(rig.daemon) == ["pending insert id='50000'"])
            try rig.awaitValue("SELECT count() FROM dbmazz_dead_letter", "1")
            // Nothing of the search is left.
            try rig.awaitValue("SELECT count() FROM system.tables WHERE name LIKE 'dbmazz_rehearsal%'", "0")
            try rig.rig.stopDaemon()
            try rig.client.query("ALTER TABLE t DROP CONSTRAINT not_this")
            try DeadLetterTests.replay(rig.daemon, 0, "1 replayed")
            try rig.expectSame(["public.t"], "after the replay")
        }
    }
}

extension ClickHouseRig {
    /// Waits until a query at the target gives a value.
    func awaitValue(_ query: String, _ expected: String, within timeout: Duration = .seconds(30)) throws {
        var last: String?
        let reached = eventually(within: timeout) {
            last = (try? value(query)) ?? nil
            return last == expected
        }
        guard reached else { throw HarnessError("\(query) gives \(last ?? "nothing")\n\(daemon.logTail())") }
    }
}
