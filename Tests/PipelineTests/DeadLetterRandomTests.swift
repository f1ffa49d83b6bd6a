import CdcCore
import Testing

@testable import Pipeline

/// Random changes with poison among them: what is written, and what is replayed afterwards, together give the source.
@Suite("Dead letters of random changes", .timeLimit(.minutes(2)))
struct DeadLetterRandomTests {
    private typealias Lane = DeadLetterLaneTests
    private typealias Step = DeadLetterLaneTests.Step

    /// Numbers that a seed gives again.
    private struct Words {
        private var state: UInt64
        init(_ seed: Int) { state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 | 1 }

        mutating func next(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
    }

    /// A table at the source: gives changes that are possible there.
    private struct Source {
        private(set) var rows: [String: String] = [:]
        private var count = 0

        mutating func step(_ words: inout Words) -> Step {
            count += 1
            let value = (words.next(6) == 0 ? "bad" : "v") + "\(count)"
            let key = words.next(8)
            if words.next(60) == 0 {
                rows = [:]
                return .truncate
            }
            guard rows["\(key)"] != nil else {
                rows["\(key)"] = value
                return .insert(key, value)
            }
            switch words.next(4) {
            case 0:
                rows["\(key)"] = nil
                return .delete(key)
            case 1:
                let other = words.next(8)
                guard rows["\(other)"] == nil else { break }
                rows["\(key)"] = nil
                rows["\(other)"] = value
                return .rekey(key, other, value)
            default: break
            }
            rows["\(key)"] = value
            return .update(key, value)
        }
    }

    @Test("replayed after the mend, they give the source's rows, and no letter is there twice", arguments: 0..<60)
    func replay(seed: Int) async throws {
        var words = Words(seed)
        let target = PickyTarget {
            $0.poison = { $0.hasPrefix("bad") }
            $0.namesChanges = seed % 3 == 0
            $0.namesLast = seed % 6 == 0
        }
        let letters = Lane.Letters()
        var source = Source()
        var lsn: UInt64 = 100
        let lane = Lane()
        for _ in 0..<4 {
            // Another lane each time: what is held comes from the directory.
            var batches: [([Step], UInt64)] = []
            for _ in 0..<(1 + words.next(5)) {
                lsn += 100
                batches.append(((0..<(1 + words.next(30))).map { _ in source.step(&words) }, lsn))
            }
            let repeats = words.next(2) == 0
            try await lane.withLane(target, letters) { exchange in
                for (steps, lsn) in batches { _ = try await lane.write(exchange, Lane.batch(steps, lsn: lsn)) }
            }
            guard repeats, let (steps, last) = batches.last else { continue }
            // As after a kill between letter and commit: the last transaction comes again, to rows as they were before.
            let before = target.read { ($0.rows, $0.position) }
            let pending = try letters.book().letters.count
            target.change { $0.position = SourcePosition(at: LSN(rawValue: last - 1)) }
            try await lane.withLane(target, letters) { exchange in
                guard !steps.contains(where: { if case .update = $0 { true } else { false } }) else { return }
                guard !steps.contains(where: { if case .rekey = $0 { true } else { false } }) else { return }
                _ = try await lane.write(exchange, Lane.batch(steps, lsn: last))
            }
            #expect(try letters.book().letters.count == pending)
            target.change { ($0.rows, $0.position) = before }
        }
        let book = try letters.book()
        target.change { $0.poison = { _ in false } }
        let sink = PickySink(target)
        for letter in book.pending {
            let batch = try letter.batch(for: Lane.table)
            _ = try await sink.writeBatch(batch, deadline: .now)
        }
        #expect(target.read { $0.rows } == source.rows, "seed \(seed), \(book.letters.count) letters")
    }
}
