import CdcCore
import Testing

@testable import Pipeline
@testable import PostgresSource

/// Contract 2 of the design: what a start does, row by row of its table, and when it refuses.
@Suite("StartPlan")
struct StartPlanTests {
    private static let system = "7340000000000000001"

    /// What the sink remembers; `position` nil means that its copy is not complete.
    private func state(
        at position: UInt64?,
        system: String = StartPlanTests.system,
        timeline: UInt32 = 3,
        slot: String = "dbmazz_slot"
    ) -> PipelineState {
        PipelineState(
            source: SourceIdentity(systemIdentifier: system, timeline: timeline, slot: slot),
            position: position.map { SourcePosition(commitLSN: LSN(rawValue: $0 - 8), endLSN: LSN(rawValue: $0)) },
            copies: [:]
        )
    }

    private func slot(at confirmed: UInt64?, walStatus: String = "reserved") -> ReplicationSlot {
        ReplicationSlot(name: "dbmazz_slot", confirmedFlush: confirmed.map(LSN.init(rawValue:)), walStatus: walStatus)
    }

    private func decide(
        _ snapshot: SnapshotMode,
        sink: PipelineState?,
        slot: ReplicationSlot?,
        storesPosition: Bool = true,
        history: String? = nil
    ) throws(SourceError) -> StartPlan {
        try StartPlan.decide(
            StartPlan.Facts(
                snapshot: snapshot,
                storesPosition: storesPosition,
                state: sink,
                slotName: "dbmazz_slot",
                slot: slot,
                system: SystemIdentification(
                    systemIdentifier: StartPlanTests.system,
                    timeline: 3,
                    walEnd: LSN(rawValue: 9000)
                ),
                history: history.map { TimelineHistory($0) }
            )
        )
    }

    private func refusal(
        _ snapshot: SnapshotMode = .initial,
        sink: PipelineState?,
        slot: ReplicationSlot?,
        history: String? = nil
    ) -> SourceError? {
        do throws(SourceError) {
            _ = try decide(snapshot, sink: sink, slot: slot, history: history)
            return nil
        } catch {
            return error
        }
    }

    // MARK: The table

    @Test("no position, no slot: the slot is made, and the tables are copied if wanted")
    func firstStart() throws {
        #expect(try decide(.initial, sink: nil, slot: nil) == .createSlot(copy: true))
        #expect(try decide(.never, sink: nil, slot: nil) == .createSlot(copy: false))
    }

    @Test("a copy that was not completed, no slot: as if nothing had been there")
    func unfinishedCopyWithoutSlot() throws {
        #expect(try decide(.initial, sink: state(at: nil), slot: nil) == .createSlot(copy: true))
    }

    @Test("no position, a slot, no copy wanted: from where the slot is")
    func streamFromSlot() throws {
        #expect(try decide(.never, sink: nil, slot: slot(at: 500)) == .streamFromSlot(LSN(rawValue: 500)))
    }

    @Test("no position or an unfinished copy, a slot, a copy wanted: copied again")
    func copyAgain() throws {
        #expect(try decide(.initial, sink: nil, slot: slot(at: 500)) == .copyThenStream)
        #expect(try decide(.initial, sink: state(at: nil), slot: slot(at: 500)) == .copyThenStream)
    }

    @Test("a position and a slot: on from the position", arguments: [SnapshotMode.initial, .never])
    func resume(snapshot: SnapshotMode) throws {
        #expect(try decide(snapshot, sink: state(at: 600), slot: slot(at: 500)) == .resume(LSN(rawValue: 600)))
    }

    @Test("a position and no slot: the slot is lost", arguments: [SnapshotMode.initial, .never])
    func slotMissing(snapshot: SnapshotMode) {
        let error = refusal(snapshot, sink: state(at: 0x600), slot: nil)
        #expect(error?.kind == .slotLost)
        #expect(error?.cause.contains("0/600") == true)
        #expect(error?.cause.contains("dbmazz_slot") == true)
        #expect(error?.remedy.contains("SOURCE_SNAPSHOT=initial") == true)
    }

    @Test("only a copy is wanted: copied in every case, from a temporary slot")
    func copyOnly() throws {
        for sink in [nil, state(at: nil), state(at: 400), state(at: 600)] {
            #expect(try decide(.only, sink: sink, slot: nil) == .copyOnly(slotExists: false))
            #expect(try decide(.only, sink: sink, slot: slot(at: 500)) == .copyOnly(slotExists: true))
        }
    }

    // MARK: Positions

    @Test("a position equal to the slot's is no gap")
    func equalPosition() throws {
        #expect(try decide(.initial, sink: state(at: 500), slot: slot(at: 500)) == .resume(LSN(rawValue: 500)))
    }

    @Test("a position before the slot's is a gap, even by one byte", arguments: [499, 100] as [UInt64])
    func gap(position: UInt64) {
        let error = refusal(sink: state(at: position), slot: slot(at: 500))
        #expect(error?.kind == .gap)
        #expect(error?.lsn == LSN(rawValue: position))
        #expect(error?.cause.contains("0/1F4") == true)
    }

    @Test("what counts is where the commit ended, not where it began")
    func endCounts() throws {
        let sink = state(at: 504)
        #expect(sink.position?.commitLSN == LSN(rawValue: 496))
        #expect(try decide(.initial, sink: sink, slot: slot(at: 500)) == .resume(LSN(rawValue: 504)))
    }

    @Test("a slot that PostgreSQL has invalidated is lost, with a position and without")
    func invalidatedSlot() {
        #expect(refusal(sink: state(at: 600), slot: slot(at: 500, walStatus: "lost"))?.kind == .slotLost)
        #expect(refusal(sink: nil, slot: slot(at: 500, walStatus: "lost"))?.kind == .slotLost)
        #expect(refusal(.never, sink: nil, slot: slot(at: 500, walStatus: "lost"))?.kind == .slotLost)
        #expect(refusal(sink: state(at: 600), slot: slot(at: 500, walStatus: "unreserved")) == nil)
    }

    @Test("a slot without a confirmed position is lost where the position is needed")
    func noConfirmedPosition() throws {
        #expect(refusal(sink: state(at: 600), slot: slot(at: nil))?.kind == .slotLost)
        #expect(refusal(.never, sink: nil, slot: slot(at: nil))?.kind == .slotLost)
        #expect(try decide(.initial, sink: nil, slot: slot(at: nil)) == .copyThenStream)
    }

    @Test("a sink that stores no position goes on where the slot is")
    func withoutStoredPosition() throws {
        for position in [400, 500, 600] as [UInt64] {
            let plan = try decide(.never, sink: state(at: position), slot: slot(at: 500), storesPosition: false)
            #expect(plan == .resume(LSN(rawValue: 500)))
        }
    }

    @Test("a sink that stores no position is told of a lost slot, too")
    func lostWithoutStoredPosition() {
        #expect(throws: SourceError.self) {
            try decide(.never, sink: state(at: 600), slot: nil, storesPosition: false)
        }
        #expect(throws: SourceError.self) {
            try decide(.never, sink: state(at: 600), slot: slot(at: 500, walStatus: "lost"), storesPosition: false)
        }
    }

    // MARK: Identity

    @Test("a position of another system is refused, whatever is wanted", arguments: SnapshotMode.allCases)
    func foreignSystem(snapshot: SnapshotMode) {
        let error = refusal(snapshot, sink: state(at: 600, system: "7340000000000000002"), slot: slot(at: 500))
        #expect(error?.kind == .foreignSystem)
        #expect(error?.cause.contains("7340000000000000002") == true)
        #expect(error?.cause.contains(StartPlanTests.system) == true)
    }

    @Test("a position of another slot is refused")
    func otherSlot() {
        let error = refusal(sink: state(at: 600, slot: "old_slot"), slot: slot(at: 500))
        #expect(error?.kind == .foreignSystem)
        #expect(error?.cause.contains("old_slot") == true)
    }

    /// The source has gone from timeline 1 to 2 at 0/100 and to 3 at 0/258 (decimal 600).
    private static let history = "1\t0/100\tno recovery target specified\n\n2\t0/258\tbefore 2024-01-01 00:00:00+00\n"

    @Test("a position before or at the switch to a newer timeline goes on", arguments: [550, 600] as [UInt64])
    func newerTimeline(position: UInt64) throws {
        let plan = try decide(
            .initial,
            sink: state(at: position, timeline: 2),
            slot: slot(at: 500),
            history: StartPlanTests.history
        )
        #expect(plan == .resume(LSN(rawValue: position)))
    }

    @Test("a position beyond the switch is refused: the source never had it", arguments: [601, 700] as [UInt64])
    func beyondSwitch(position: UInt64) {
        let error = refusal(
            sink: state(at: position, timeline: 2),
            slot: slot(at: 500),
            history: StartPlanTests.history
        )
        #expect(error?.kind == .foreignSystem)
    }

    @Test("each earlier timeline has a switch of its own")
    func earlierTimeline() throws {
        let sink = state(at: 256, timeline: 1)
        let plan = try decide(.initial, sink: sink, slot: slot(at: 200), history: StartPlanTests.history)
        #expect(plan == .resume(LSN(rawValue: 256)))
        #expect(
            refusal(sink: state(at: 257, timeline: 1), slot: slot(at: 200), history: StartPlanTests.history)?.kind
                == .foreignSystem
        )
    }

    @Test("a timeline that the history does not know is refused")
    func unknownTimeline() {
        #expect(refusal(sink: state(at: 600, timeline: 2), slot: slot(at: 500), history: "")?.kind == .foreignSystem)
        #expect(refusal(sink: state(at: 600, timeline: 2), slot: slot(at: 500))?.kind == .foreignSystem)
    }

    @Test("a source on an older timeline than the position is refused")
    func olderTimeline() {
        let error = refusal(sink: state(at: 600, timeline: 4), slot: slot(at: 500), history: "4\t0/FFFF\tnone\n")
        #expect(error?.kind == .foreignSystem)
        #expect(error?.cause.contains("timeline 4") == true)
    }

    @Test("without a position there is nothing that could be foreign")
    func nothingForeign() throws {
        let sink = state(at: nil, system: "1", timeline: 9, slot: "other")
        #expect(try decide(.initial, sink: sink, slot: nil) == .createSlot(copy: true))
    }
}

@Suite("TimelineHistory")
struct TimelineHistoryTests {
    @Test("lines have a timeline, where it was left, and a reason")
    func lines() {
        let history = TimelineHistory(
            "1\t0/A000198\tno recovery target specified\n2\t16/B374D848\tat restore point \"x\"\n"
        )
        #expect(history.ends == [1: LSN(rawValue: 0xA00_0198), 2: LSN(rawValue: 0x16_B374_D848)])
    }

    @Test("comments, empty lines and lines that do not read are left out")
    func others() {
        let history = TimelineHistory("# 7\t0/1\n\n\tx\ny\t0/1\n3\n4\tz\n5 0/50 blanks do as well\n6\t0/60")
        #expect(history.ends == [5: LSN(rawValue: 0x50), 6: LSN(rawValue: 0x60)])
        #expect(TimelineHistory("").ends.isEmpty)
    }

    @Test("a position belongs to a timeline up to where that was left")
    func contains() {
        let history = TimelineHistory("2\t0/100\tnone\n")
        #expect(history.contains(LSN(rawValue: 0xFF), on: 2))
        #expect(history.contains(LSN(rawValue: 0x100), on: 2))
        #expect(!history.contains(LSN(rawValue: 0x101), on: 2))
        #expect(!history.contains(LSN(rawValue: 0x1), on: 1))
    }
}
