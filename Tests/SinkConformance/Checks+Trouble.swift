internal import CdcCore

extension Conformance {
    /// How long a call may take beyond its deadline: looking at the target again has a price.
    private static let grace = Duration.seconds(10)

    /// Writes with a deadline and expects an end in time; nil where it was written all the same.
    private static func failure(
        of unit: Stage.Unit,
        on stage: Stage,
        within patience: Duration
    ) async throws -> SinkError? {
        let begin = ContinuousClock.now
        var found: SinkError?
        do throws(SinkError) {
            for part in unit.parts { _ = try await stage.sink.writeBatch(part, deadline: .now + patience) }
        } catch {
            try require(
                error.kind == .retriable || error.kind == .ambiguous,
                "what waiting mends is neither retriable nor ambiguous: \(error)"
            )
            found = error
        }
        let waited = ContinuousClock.now - begin
        try require(
            waited < max(patience, .zero) + grace,
            "the call came back \(waited) after a deadline of \(patience)"
        )
        return found
    }

    private static func away(_ name: String, _ how: Interruption) -> Check {
        Check("trouble: a target that \(name) ends a write at its deadline, and the retry leaves every row once") {
            target in
            let stage = try Stage(target)
            try await stage.start(target.traits.takesTablesWithoutKey ? [Tables.items, Tables.log] : [Tables.items])
            let hasLog = stage.tables.count > 1
            try await stage.write { $0.insert("1", "a", "x") }
            let unit = stage.unit {
                $0.insert("2", "b", "y").update("1", .unchanged, "X")
                if hasLog { $0.insert("1", nil, "t", into: 1).insert("1", nil, "t", into: 1) }
            }
            try target.interrupt(how)
            let error = try await failure(of: unit, on: stage, within: .milliseconds(300))
            try target.resume()
            try require(error != nil, "a write succeeded although the target is away")
            try await stage.sendAgain(unit)
            try await stage.verify()
            try await stage.write { $0.delete("2", nil, nil) }
            try await stage.verify("it goes on")
            await stage.close()
        }
    }

    /// Targets that are away, and deadlines.
    static let troubleChecks: [Check] = [
        away("refuses", .refused),
        away("says nothing", .silent),

        Check("trouble: a target that goes away within a unit, which then comes from its start") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "x") }
            let unit = stage.unit(
                { $0.insert("2", "b", "y") },
                { $0.insert("3", "c", nil).update("2", .unchanged, nil) }
            )
            try await stage.send(unit.parts[0])
            await stage.sink.discardOpenUnit()
            try target.interrupt(.silent)
            let error = try await failure(of: unit, on: stage, within: .milliseconds(300))
            await stage.sink.discardOpenUnit()
            try target.resume()
            try require(error != nil, "a unit was written although the target is away")
            try await stage.sendAgain(unit)
            try await stage.verify()
            await stage.close()
        },

        Check("trouble: a deadline in the past is no hang, and the retry leaves every row once") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "x") }
            for id in 2...4 {
                let unit = stage.unit { $0.insert(.text("\(id)"), "b", "y").update("1", .text("\(id)"), .unchanged) }
                if try await failure(of: unit, on: stage, within: .seconds(-1)) != nil {
                    try await stage.sendAgain(unit)
                } else {
                    // Nothing had to be waited for.
                    stage.earned(unit)
                }
                try await stage.verify("deadline in the past, \(id)")
            }
            await stage.close()
        },

        Check("trouble: a sink that is closed while the target is away does not hang") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "x") }
            let unit = stage.unit({ $0.insert("2", "b", "y") }, { $0.insert("3", "c", nil) })
            try await stage.send(unit.parts[0])
            if stage.capabilities.supportsTransactions { await stage.sink.discardOpenUnit() }
            try target.interrupt(.silent)
            let begin = ContinuousClock.now
            await stage.close()
            let waited = ContinuousClock.now - begin
            try target.resume()
            try require(waited < grace, "close took \(waited)")
            try await stage.restart()
            try await stage.sendAgain(unit)
            try await stage.verify()
            await stage.close()
        },
    ]
}
