import CdcCore
import Testing

@Suite("A lane's health") struct LaneHealthTests {
    private let start = ContinuousClock.now

    private func health() -> LaneHealth { LaneHealth(name: "sink", patience: .seconds(10)) }

    @Test("a lane that says nothing is dead after its patience, from its start on")
    func silence() {
        let health = health()
        #expect(health.isAlive(at: .now))
        #expect(!health.isAlive(at: .now + .seconds(11)))
    }

    @Test("a call may take as long as it declared, and a few seconds more")
    func call() {
        let health = health()
        health.calling(for: .seconds(60))
        #expect(health.isAlive(at: .now + .seconds(64)))
        #expect(!health.isAlive(at: .now + .seconds(66)))
        #expect(health.activity == .calling)
        health.moving()
        #expect(!health.isAlive(at: .now + .seconds(11)))
    }

    @Test("a declared wait is life, however long")
    func backoff() {
        let health = health()
        health.backingOff(for: .seconds(3600))
        #expect(health.isAlive(at: .now + .seconds(3600)))
        #expect(!health.isAlive(at: .now + .seconds(3611)))
    }

    @Test("an idle lane is alive for ever, until somebody calls it and it does not answer")
    func idle() {
        let health = health()
        health.idle()
        #expect(health.isAlive(at: .now + .seconds(1_000_000)))
        health.call()
        #expect(health.isAlive(at: .now))
        #expect(!health.isAlive(at: .now + .seconds(11)))
        health.ended()
        #expect(health.isAlive(at: .now + .seconds(1_000_000)))
    }
}
