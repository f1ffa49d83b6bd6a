import CdcCore
import SinkConformance
import Synchronization
import Testing

@Suite("The conformance suite itself")
struct ConformanceSuiteTests {
    /// The model and a sink in memory are slow company for 100 000 rows; other sinks show that those checks pass.
    private static let quick = Conformance.checks.filter { !$0.description.hasPrefix("volume: a batch") }

    @Test("passes a sink without transactions that keeps its promises", arguments: quick)
    func withoutTransactions(_ check: Conformance.Check) async throws {
        try await check.run(MemoryTarget(.none))
    }

    @Test("passes a sink that asks for whole old rows", arguments: quick)
    func wholeOldRows(_ check: Conformance.Check) async throws {
        try await check.run(MemoryTarget(.none, requiresFull: true))
    }

    @Test("finds a sink that breaks one of them", arguments: MemoryStore.Fault.allCases.filter { $0 != .none })
    func faults(_ fault: MemoryStore.Fault) async throws {
        var failed: [String] = []
        for check in Self.quick {
            do { try await check.run(MemoryTarget(fault)) } catch { failed.append(check.description) }
            // One of them is enough.
            if !failed.isEmpty { return }
        }
        Issue.record("no check finds \(fault)")
    }
}

private final class MemoryTarget: ConformanceTarget {
    let sinkType: any Sink.Type = MemorySink.self
    let meaningfulVariables: Set<String> = []
    let refusedValues = [RefusedValue(.text, oid: 25, "text", [0x61, 0xFF])]
    private let url: String
    private let store: MemoryStore

    private static let count = Atomic<Int>(0)

    init(_ fault: MemoryStore.Fault, requiresFull: Bool = false) {
        url = "memory:\(Self.count.add(1, ordering: .relaxed).newValue)"
        store = MemoryStore(fault: fault, requiresFull: requiresFull)
        MemoryStore.put(store, at: url)
    }

    var traits: ConformanceTraits {
        var traits = ConformanceTraits()
        traits.takesTablesWithoutKey = false
        traits.keepsUnchangedColumns = !store.requiresFull
        traits.randomUnits = 30
        return traits
    }

    func config() throws -> SinkConfig {
        SinkConfig(type: MemorySink.name, url: url, capabilities: MemorySink.capabilities)
    }

    func rows(of table: TableSchema) throws -> [[String?]] {
        (store.tables[table.sinkName]?.rows.values.filter { !$0.isDeleted } ?? []).map { row in
            row.values.map { $0.map { String(decoding: $0, as: UTF8.self) } }
        }
    }

    func auditedRows(of table: TableSchema) throws -> [AuditedRow] { [] }

    func fingerprint() throws -> String {
        let tables = store.tables.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value.columns.map(\.name))" }
        return "\(tables) \(store.pipelines.sorted { $0.key < $1.key })"
    }

    func interrupt(_ how: Interruption) throws { store.isAway = true }

    func resume() throws { store.isAway = false }
}
