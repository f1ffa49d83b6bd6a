internal import CdcCore
internal import Glibc

/// Random transactions over all kinds of tables, cut at random into batches and parts, with repetitions, voided units and
/// restarts; after each commit every table is compared with the model.
private struct RandomRun {
    let stage: Stage
    let seed: UInt64
    var workloads: [RandomWorkload]
    var dice: RandomWorkload

    init(_ target: any ConformanceTarget, seed: UInt64, soft: Bool) async throws {
        self.seed = seed
        stage = try Stage(target) { config in
            guard soft else { return }
            config.auditColumns = true
            config.deleteMode = .soft
        }
        let tables = RandomTables.all.filter { $0.hasKey || target.traits.takesTablesWithoutKey }
        try await stage.start(tables)
        let hasNaN = target.traits.holdsNotANumber
        workloads = stage.tables.map { RandomTables.workload($0, seed: seed, hasNaN: hasNaN) }
        dice = RandomTables.workload(RandomTables.integers, seed: ~seed, hasNaN: hasNaN)
    }

    /// Some changes of some tables.
    private mutating func fill(_ builder: BatchBuilder) {
        for _ in 0..<dice.number(0...30) {
            let table = dice.number(0...workloads.count - 1)
            workloads[table].step(builder, table: UInt32(table))
        }
    }

    /// One transaction in parts, or several in one batch.
    private mutating func nextUnit() -> Stage.Unit {
        var unit = Stage.Unit(parts: [])
        let parts = dice.number(1...3)
        guard parts > 1 else {
            let builder = stage.builder()
            for _ in 0..<dice.number(1...3) {
                builder.begin(lsn: stage.nextLSN())
                fill(builder)
                builder.commit()
            }
            return Stage.Unit(parts: [builder.batch], position: builder.position)
        }
        let lsn = stage.nextLSN()
        var ordinal: UInt64 = 0
        for part in 1...parts {
            let builder = stage.builder().begin(lsn: lsn, after: ordinal)
            builder.batch.beginsUnit = part == 1
            builder.batch.commitsUnit = part == parts
            fill(builder)
            ordinal = builder.ordinal
            if part == parts {
                builder.commit()
                unit.position = builder.position
            }
            unit.parts.append(builder.batch)
        }
        return unit
    }

    mutating func run(units: Int) async throws {
        for number in 0..<units {
            let before = workloads.map(\.rows)
            let unit = nextUnit()
            if dice.chance(0.15) {
                // It breaks off, and with it what is open.
                for part in unit.parts.dropLast() { try await stage.send(part) }
                switch dice.number(0...2) {
                case 0: await stage.sink.discardOpenUnit()
                case 1: try await stage.restart(orderly: dice.chance(0.5))
                default: break
                }
                if stage.capabilities.supportsTransactions, dice.chance(0.5) {
                    for table in workloads.indices { workloads[table].restore(before[table]) }
                    continue
                }
            }
            try await stage.send(unit)
            if dice.chance(0.05) { try await stage.restart(orderly: dice.chance(0.5)) }
            if !stage.capabilities.supportsTransactions, dice.chance(0.15) { try await stage.send(unit) }
            stage.rows = workloads.map(\.rows)
            try await stage.verify("seed \(seed), unit \(number):")
        }
        await stage.close()
    }
}

extension Conformance {
    /// `DBMAZZ_TEST_SEED`, or 1: the first of the seeds that the random workloads have.
    public static let seed: UInt64 = getenv("DBMAZZ_TEST_SEED").flatMap { UInt64(String(cString: $0)) } ?? 1

    private static func random(_ number: Int, soft: Bool) -> Check {
        let seed = seed &* 100 &+ UInt64(number)
        return Check("random: workload with seed \(seed)\(soft ? ", soft deletes" : "")") { target in
            var run: RandomRun
            do {
                run = try await RandomRun(target, seed: seed, soft: soft)
            } catch let error as SinkError where soft && error.kind == .configuration {
                return try require(
                    error.description.contains("SINK_DELETE_MODE"),
                    "the refusal of soft deletes: \(error)"
                )
            }
            try await run.run(units: target.traits.randomUnits)
        }
    }

    static let randomChecks: [Check] =
        (1...6).map { random($0, soft: false) } + (7...9).map { random($0, soft: true) }
}
