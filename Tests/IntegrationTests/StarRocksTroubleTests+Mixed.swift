import Glibc
import TestSupport
import Testing

/// Random transactions over a few keys of a table with three large columns: whole rows, updates of any columns, deletes, moves
/// to other keys and back, truncates.
private struct MixedChanges {
    private static let keys = 9
    var random: SeededRandom
    private var number = 0

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    private mutating func large() -> String {
        number += 1
        return random.chance(15) ? "NULL" : "repeat(md5('\(number)'), 80)"
    }

    private mutating func key() -> Int { 1 + random.below(Self.keys) }

    private mutating func statement() -> String {
        switch random.below(100) {
        case 0..<25:
            return "INSERT INTO public.m VALUES (\(key()), \(large()), \(large()), \(large()), \(number)) "
                + "ON CONFLICT (id) DO NOTHING"
        case 25..<60:
            let columns = ["a", "b", "c"].filter { _ in random.chance(40) }
            let sets = ["n = \(number)"] + columns.map { "\($0) = \(large())" }
            return "UPDATE public.m SET \(sets.joined(separator: ", ")) WHERE id = \(key())"
        case 60..<78:
            let (from, to) = (key(), key())
            let more = random.chance(30) ? ", b = \(large())" : ""
            return "UPDATE public.m SET id = \(to)\(more) WHERE id = \(from) AND NOT EXISTS "
                + "(SELECT 1 FROM public.m WHERE id = \(to))"
        case 78..<96: return "DELETE FROM public.m WHERE id = \(key())"
        default: return "TRUNCATE public.m"
        }
    }

    /// A transaction; every statement is of one row or none.
    mutating func transaction() -> String {
        (0..<(3 + random.below(25))).map { _ in statement() }.joined(separator: "; ")
    }
}

extension Integration.StarRocksTroubleTests {
    @Test(
        "mixed changes of the same rows arrive as they are, whatever breaks off between the loads of a slice",
        arguments: ["hard", "soft"]
    )
    func mixed(mode: String) throws {
        let rig = try StarRocksRig(["SINK_DELETE_MODE": mode, "DBMAZZ_HANG_TIMEOUT_MS": "3000"])
        try rig.rig.sql(
            "CREATE TABLE public.m (id int PRIMARY KEY, a text, b text, c text, n int)",
            "ALTER TABLE public.m ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL, ALTER c SET STORAGE EXTERNAL"
        )
        try rig.rig.startStreaming()
        var changes = MixedChanges(seed: Effort.seed)
        var reached = 0
        print("seed \(Effort.seed)")
        for round in 0..<18 {
            let name = Comment(rawValue: "\(mode), seed \(Effort.seed), round \(round)")
            // A third of the rounds are for kills, which take a start each.
            if round % 3 == 0 {
                try rig.rig.stopDaemon()
                let point = changes.random.pick(["load-sent", "load-announced"])
                try rig.daemon.start(failpoint: "\(point)@\(1 + changes.random.below(3))")
                try rig.rig.awaitLog("streaming")
            } else {
                try rig.target.reset()
                let kind = changes.random.pick(["reset-after-commit", "reset-before-commit", "reset"])
                try rig.target.fault(
                    StarRocksFault(kind, nth: 1 + changes.random.below(3), matching: ["table": "^m$"])
                )
            }
            for _ in 0..<3 { try rig.rig.sql(changes.transaction()) }
            if round % 3 == 0 {
                if rig.daemon.waitForExit(timeout: .seconds(1)) == nil {
                    rig.daemon.killAndWait()
                } else {
                    reached += 1
                }
                if changes.random.chance(40) { try rig.target.control("POST", "/expire-labels") }
                try rig.rig.sql(changes.transaction())
                try rig.rig.startStreaming()
            } else {
                reached += (try rig.target.faultsFired().first ?? 0)
            }
            try rig.rig.catchUp()
            try rig.expectSame(["public.m"], name)
            let violations = try rig.target.violations()
            #expect(violations == [], name)
        }
        print("\(reached) of 18 rounds were broken off")
        #expect(reached > 4)
        try rig.rig.stopDaemon()
    }
}
