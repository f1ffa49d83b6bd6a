import CdcCore
import Glibc
import PgOutput
import Testing

/// Damaged messages by the million: an error each time or a sound row, never anything else.
///
/// `PGOUTPUT_SEED` sets another seed, `PGOUTPUT_MUTATIONS` another number of messages for each of the four shards.
@Suite("Mutated messages")
struct MutationTests {
    private static let seed = number("PGOUTPUT_SEED") ?? 20_240_229
    private static let mutations = number("PGOUTPUT_MUTATIONS") ?? 250_000

    private static func number(_ variable: String) -> UInt64? {
        getenv(variable).flatMap { UInt64(String(cString: $0)) }
    }

    /// Bytes after which a batch is emptied: small, so that checks stay cheap, and large enough for many rows.
    private static let batchBytes = 64 << 10
    /// Every how many messages the rows taken since are read.
    private static let sampleInterval = 16

    @Test("a million damaged frames are taken whole or refused without a trace", arguments: 0..<4 as Range<UInt64>)
    func frames(shard: UInt64) {
        let outcomes = run(shard: shard, corpus: Samples.frames) { feed, message throws(WireError) in
            try feed.takeFrame(message)
        }
        // Every way of ending is reached, or the corpus has become useless.
        for outcome in MessageFeed.Outcome.allCases where outcome != .copiedRow && outcome != .copyFrame {
            #expect(outcomes.taken[outcome.rawValue] > 100, "\(outcome)")
        }
        #expect(outcomes.refused > Int(MutationTests.mutations) / 4)
    }

    @Test("damaged lines of a copy are taken whole or refused without a trace")
    func lines() {
        let outcomes = run(shard: 4, corpus: Samples.copyLines, share: 3) { feed, message throws(WireError) in
            try feed.takeLine(message, table: Samples.orders)
        }
        #expect(outcomes.taken[MessageFeed.Outcome.copiedRow.rawValue] > 1000)
        #expect(outcomes.refused > 1000)
    }

    @Test("damaged messages of a binary copy are taken whole or refused without a trace")
    func binaryCopy() {
        let outcomes = run(shard: 5, corpus: Samples.binaryCopy, share: 3) { feed, message throws(WireError) in
            try feed.takeBinary(message, table: Samples.orders)
        }
        #expect(outcomes.taken[MessageFeed.Outcome.copiedRow.rawValue] > 1000)
        #expect(outcomes.taken[MessageFeed.Outcome.copyFrame.rawValue] > 1000)
        #expect(outcomes.refused > 1000)
    }

    private struct Outcomes {
        var taken = Array(repeating: 0, count: MessageFeed.Outcome.allCases.count)
        var refused = 0
    }

    private func run(
        shard: UInt64,
        corpus: [[UInt8]],
        share: UInt64 = 1,
        take: (inout MessageFeed, RawSpan) throws(WireError) -> MessageFeed.Outcome
    ) -> Outcomes {
        let seed = MutationTests.seed &+ shard
        var mutator = Mutator(seed: seed, corpus: corpus)
        var feed = MessageFeed()
        var outcomes = Outcomes()
        var checked = 0
        for number in 0..<Int(MutationTests.mutations / share) {
            mutator.advance()
            if feed.batch.byteCount > MutationTests.batchBytes {
                feed.clear()
                checked = 0
            }
            let before = feed.fill
            // A buffer of exactly the message's size: the address sanitizer sees a read of one byte too many.
            let outcome = withExactCopy(mutator.message) { message -> MessageFeed.Outcome? in
                do throws(WireError) { return try take(&feed, message) } catch { return nil }
            }
            if let outcome { outcomes.taken[outcome.rawValue] += 1 } else { outcomes.refused += 1 }
            var complaint: String?
            if outcome == nil, feed.fill != before { complaint = "the batch changed although the message was refused" }
            if number % MutationTests.sampleInterval == 0 {
                complaint = complaint ?? feed.complaint(from: checked)
                checked = feed.batch.changeCount
            }
            guard let complaint else { continue }
            Issue.record(
                "\(complaint): PGOUTPUT_SEED=\(MutationTests.seed), shard \(shard), message \(number): \(mutator.message)"
            )
            return outcomes
        }
        return outcomes
    }

    private func withExactCopy<Result>(_ message: [UInt8], _ body: (RawSpan) -> Result) -> Result {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: message.count, alignment: 1)
        defer { buffer.deallocate() }
        buffer.copyBytes(from: message)
        return body(buffer.bytes)
    }
}
