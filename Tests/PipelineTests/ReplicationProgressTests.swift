import CdcCore
import Testing

@testable import Pipeline

@Suite("ReplicationProgress")
struct ReplicationProgressTests {
    private func lsn(_ value: UInt64) -> LSN { LSN(rawValue: value) }

    @Test("a start acknowledges the durable position and nothing more")
    func start() {
        let progress = ReplicationProgress(durable: lsn(100))
        #expect(progress.acknowledgeable == lsn(100))
        #expect(progress.received == lsn(100))
        #expect(progress.idleEnd == nil)
    }

    @Test("data that arrives is received, not acknowledged")
    func dataArrives() {
        var progress = ReplicationProgress(durable: lsn(100))
        progress.data(walEnd: lsn(300))
        progress.change()
        #expect(progress.received == lsn(300))
        #expect(progress.acknowledgeable == lsn(100))
    }

    @Test("what the sink made durable is acknowledged")
    func durable() {
        var progress = ReplicationProgress(durable: lsn(100))
        progress.data(walEnd: lsn(300))
        progress.change()
        progress.durable(lsn(250))
        #expect(progress.acknowledgeable == lsn(250))
        #expect(progress.received == lsn(300))
    }

    /// The Rust daemon answered keepalives with the WAL's end: after a kill the rows in its memory were gone.
    @Test("a keepalive while rows are owed acknowledges the last flush, not the WAL end")
    func keepaliveWhileOwing() {
        var progress = ReplicationProgress(durable: lsn(100))
        progress.data(walEnd: lsn(200))
        progress.change()
        progress.idle(at: lsn(900), owing: true)
        progress.acknowledgeIdleEnd()
        #expect(progress.received == lsn(900))
        #expect(progress.idleEnd == nil)
        #expect(progress.acknowledgeable == lsn(100))
        progress.durable(lsn(200))
        progress.acknowledgeIdleEnd()
        #expect(progress.acknowledgeable == lsn(200))
    }

    @Test("a keepalive while nothing is owed gives a position worth storing, acknowledged once it is stored")
    func keepaliveWhileIdle() {
        var progress = ReplicationProgress(durable: lsn(100))
        progress.idle(at: lsn(500), owing: false)
        #expect(progress.idleEnd == lsn(500))
        #expect(progress.acknowledgeable == lsn(100))
        progress.durable(lsn(500))
        #expect(progress.acknowledgeable == lsn(500))
        #expect(progress.idleEnd == nil)
    }

    @Test("a sink that stores no position may have the idle end acknowledged at once")
    func acknowledgeIdleEnd() {
        var progress = ReplicationProgress(durable: lsn(100))
        progress.idle(at: lsn(500), owing: false)
        progress.acknowledgeIdleEnd()
        #expect(progress.acknowledgeable == lsn(500))
        #expect(progress.idleEnd == nil)
    }

    @Test("a change ends idleness: its predecessor's end is not acknowledged without the sink")
    func changeEndsIdleness() {
        var progress = ReplicationProgress(durable: lsn(100))
        progress.idle(at: lsn(500), owing: false)
        progress.change()
        progress.acknowledgeIdleEnd()
        #expect(progress.idleEnd == nil)
        #expect(progress.acknowledgeable == lsn(100))
    }

    @Test("a later keepalive while rows are owed takes back what an earlier one had proven")
    func owingTakesBack() {
        var progress = ReplicationProgress(durable: lsn(100))
        progress.idle(at: lsn(500), owing: false)
        progress.idle(at: lsn(600), owing: true)
        #expect(progress.idleEnd == nil)
    }

    @Test("an idle end that is durable already is not stored again")
    func nothingNew() {
        var progress = ReplicationProgress(durable: lsn(500))
        progress.idle(at: lsn(500), owing: false)
        #expect(progress.idleEnd == nil)
        progress.idle(at: lsn(400), owing: false)
        #expect(progress.idleEnd == nil)
        progress.idle(at: lsn(501), owing: false)
        #expect(progress.idleEnd == lsn(501))
    }

    @Test("an idle end beyond what became durable stays worth storing")
    func idleEndStays() {
        var progress = ReplicationProgress(durable: lsn(100))
        progress.idle(at: lsn(500), owing: false)
        progress.durable(lsn(300))
        #expect(progress.idleEnd == lsn(500))
        #expect(progress.acknowledgeable == lsn(300))
    }

    @Test("nothing that is reported goes back, in any order of events", arguments: 0..<200 as Range<UInt64>)
    func neverBack(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var progress = ReplicationProgress(durable: lsn(500))
        var events: [String] = []
        for _ in 0..<50 {
            let before = progress
            let place = UInt64.random(in: 0...1000, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0: progress.data(walEnd: lsn(place))
            case 1: progress.idle(at: lsn(place), owing: true)
            case 2: progress.idle(at: lsn(place), owing: false)
            case 3: progress.change()
            case 4: progress.durable(lsn(place))
            default: progress.acknowledgeIdleEnd()
            }
            events.append("\(progress)")
            #expect(progress.acknowledgeable >= before.acknowledgeable, "\(events)")
            #expect(progress.received >= before.received, "\(events)")
            #expect(progress.acknowledgeable <= progress.received, "\(events)")
        }
    }
}

/// A generator with a seed, so that a failure can be repeated. See https://prng.di.unimi.it/splitmix64.c
private struct SplitMix64: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) {
        state = seed
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return word ^ word >> 31
    }
}
