import Testing

@testable import Pipeline

@Suite("Gathering of messages")
struct GatheringTests {
    @Test("waits longer while each wait gathers many messages, and briefly again when few come")
    func adapts() {
        var gathering = Gathering()
        #expect(gathering.pause(after: 1) == 100_000)
        #expect(gathering.pause(after: 3) == 100_000)
        let growing = (0..<8).map { _ in gathering.pause(after: 20) }
        #expect(growing == [200_000, 400_000, 800_000, 1_600_000, 3_000_000, 3_000_000, 3_000_000, 3_000_000])
        #expect(gathering.pause(after: 2) == 1_500_000)
        // What came without waiting counts with what came last.
        gathering.add(6)
        #expect(gathering.pause(after: 2) == 3_000_000)
        let shrinking = (0..<6).map { _ in gathering.pause(after: 1) }
        #expect(shrinking.last == 100_000)
    }
}
