import CdcCore
import TestSupport
import Testing

@testable import Sinks

@Suite("SQLite sink: random workloads")
struct SQLiteRandomTests {
    /// Runs random transactions over all kinds of tables, in units of several batches, some of them given up, and compares
    /// every table with the model after each commit, through another connection.
    private func run(seed: UInt64, units: Int, soft: Bool) async throws {
        let file = try SQLiteFixture {
            $0.auditColumns = soft
            $0.deleteMode = soft ? .soft : .hard
        }
        try await file.sink.setup(RandomTables.all, for: SQLiteFixture.pipeline)
        let reader = try SQLiteFile(file.path, readOnly: true)
        var workloads = RandomTables.all.map { RandomTables.workload($0, seed: seed) }
        let builder = BatchBuilder(RandomTables.all)
        var lsn: UInt64 = 0
        for unit in 0..<units {
            let before = workloads.map(\.rows)
            let parts = workloads[0].number(1...3)
            let isGivenUp = workloads[0].chance(0.1)
            lsn += 0x100
            for part in 1...parts {
                builder.reset(beginsUnit: part == 1, commitsUnit: part == parts && !isGivenUp).begin(lsn: lsn)
                for _ in 0..<workloads[0].number(0...30) {
                    let table = workloads[0].number(0...3)
                    workloads[table].step(builder, table: UInt32(table))
                }
                if part == parts { builder.commit() }
                try await file.write(builder)
            }
            if isGivenUp {
                for table in 0...3 { workloads[table].restore(before[table]) }
                if workloads[0].chance(0.5) { await file.sink.discardOpenUnit() }
                continue
            }
            for (table, workload) in workloads.enumerated() {
                let names = workload.schema.columns.map { "\"\($0.name)\"" }.joined(separator: ",")
                let live = soft ? " WHERE dbmazz_is_deleted=0" : ""
                let found = try reader.query("SELECT \(names) FROM \"\(workload.schema.sinkName)\"\(live)")
                let expected = workload.rows.map { row in
                    row.indices.map { Self.stored(row[$0], workload.schema.columns[$0].type) }
                }
                #expect(
                    found.map { "\($0)" }.sorted() == expected.map { "\($0)" }.sorted(),
                    "seed \(seed), unit \(unit), table \(table)"
                )
            }
        }
    }

    /// What SQLite is to hold for a cell.
    private static func stored(_ cell: TestCell, _ type: DataType) -> SQLiteValue {
        guard case .bytes(let bytes) = cell else { return .null }
        let text = String(decoding: bytes, as: UTF8.self)
        return switch type {
        case .int16, .int32, .int64: .integer(Int64(text) ?? 0)
        case .float64 where text != "NaN" && text != "-0": .real(Double(text) ?? 0)
        default: .text(bytes)
        }
    }

    @Test("after every commit the tables are what replaying the changes one by one gives", arguments: 1...8)
    func hard(seed: Int) async throws {
        try await run(seed: UInt64(seed), units: 250, soft: false)
    }

    @Test("with soft deletes the rows that are not marked are the same", arguments: 101...104)
    func soft(seed: Int) async throws {
        try await run(seed: UInt64(seed), units: 150, soft: true)
    }
}
