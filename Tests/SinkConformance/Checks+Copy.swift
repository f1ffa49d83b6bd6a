internal import CdcCore

extension Conformance {
    private static let some: [[TestCell]] = [["1", "a", "x"], ["2", "", nil], ["3", nil, "\u{1F600}"]]
    private static let others: [[TestCell]] = [["k", "1"], ["", nil]]

    /// The initial copy.
    static let copyChecks: [Check] = [
        Check("copy: rows, consistent points and position are there when it is finished") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items, Tables.orders)
            try await stage.copy([0], some, finishing: false)
            let during = try await stage.loadState()
            try requireEqual(during?.copies, [:], "copies before finishCopy")
            try requireEqual(during?.position, nil, "position before finishCopy")
            try await stage.copy([0], some, finishing: false)
            let point = LSN(rawValue: stage.nextLSN())
            try await stage.finishCopy([0], at: point)
            try await stage.verify("finished")
            let state = try await stage.loadState()
            try requireEqual(state?.copies, [stage.tables[0].ref: point], "copies")
            try requireEqual(state?.position?.endLSN, stage.storedPosition, "position")
            await stage.close()
        },

        Check("copy: the stream goes on over copied rows") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items, Tables.orders)
            try await stage.copy([0], some)
            try await stage.copy([1], others)
            try await stage.write {
                $0.update("1", "b", "y").delete("2", nil, nil).insert("4", "d", nil).update("k", "2", in: 1)
            }
            try await stage.verify()
            await stage.close()
        },

        Check("copy: of several tables at once, in the sink's order") { target in
            let stage = try Stage(target)
            let second = TableSchema("second", Tables.items.columns)
            try await stage.start(Tables.orders, second, Tables.items)
            try await stage.copy([1, 2], some)
            try await stage.verify()
            let state = try await stage.loadState()
            try requireEqual(state.map { Set($0.copies.keys) }, [second.ref, Tables.items.ref], "copied tables")
            await stage.close()
        },

        Check("copy: one that broke off begins again with empty tables") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.copy([0], [["7", "left over", nil], ["1", "old", "old"]], finishing: false)
            try await stage.restart(orderly: false)
            try requireEqual(try await stage.loadState()?.copies, [:], "copies after the break")
            try await stage.copy([0], some)
            try await stage.verify()
            await stage.close()
        },

        Check("copy: again, of a table that was complete, forgets its consistent point first") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items, Tables.orders)
            try await stage.copy([0], some)
            try await stage.copy([1], others)
            try await stage.write { $0.insert("9", "streamed", nil) }
            try await stage.sink.beginCopy(of: [stage.tables[0]])
            stage.rows[0] = []
            let state = try await stage.loadState()
            try requireEqual(state.map { Set($0.copies.keys) }, [stage.tables[1].ref], "copied tables")
            try requireEqual(state?.position?.endLSN, stage.storedPosition, "position")
            try await stage.verify("emptied")
            try await stage.copy([0], [["5", "anew", nil]])
            try await stage.verify("copied anew")
            await stage.close()
        },

        Check("copy: of one more table leaves rows and points of the others, and moves the position") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.copy([0], some)
            let before = try await stage.loadState()?.copies[stage.tables[0].ref]
            try await stage.write { $0.delete("1", nil, nil) }
            let session = try Stage(target, after: stage)
            let rows = stage.rows[0]
            await stage.close()
            try await session.start([Tables.items, Tables.orders])
            session.rows[0] = rows
            try await session.copy([1], others)
            try await session.verify()
            let state = try await session.loadState()
            try requireEqual(state?.copies[session.tables[0].ref], before, "consistent point of the other table")
            try requireEqual(state?.copies.count, 2, "number of copied tables")
            try requireEqual(state?.position?.endLSN, session.storedPosition, "position")
            try await session.write { $0.insert("1", "again", nil).update("k", "5", in: 1) }
            try await session.verify("streamed")
            await session.close()
        },

        Check("copy: finishCopy without beginCopy takes the tables as they are") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items, Tables.orders)
            let point = LSN(rawValue: stage.nextLSN())
            try await stage.finishCopy([0, 1], at: point)
            let state = try await stage.loadState()
            try requireEqual(state?.copies, [stage.tables[0].ref: point, stage.tables[1].ref: point], "copies")
            try await stage.write { $0.insert("1", "a", nil) }
            try await stage.verify()
            await stage.close()
        },

        Check("copy: finishCopy without a position leaves the one that is stored") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items, Tables.orders)
            try await stage.copy([0], some)
            try await stage.write { $0.insert("4", "d", nil) }
            let point = LSN(rawValue: stage.nextLSN())
            try await stage.finishCopy([1], at: point, moving: false)
            try requireEqual(try await stage.loadState()?.position?.endLSN, stage.storedPosition, "position")
            try await stage.verify()
            await stage.close()
        },

        Check("copy: tables without a key get every one of equal rows") { target in
            guard target.traits.takesTablesWithoutKey else { return try await refuseLog(target) }
            let stage = try Stage(target)
            try await stage.start(Tables.log)
            try await stage.copy([0], [["1", "0.5", "x"], ["1", "0.5", "x"], ["1", nil, nil], ["1", nil, nil]])
            try await stage.verify()
            try await stage.write { $0.delete("1", nil, nil).update("2", "0.5", "x", of: ["1", "0.5", "x"]) }
            try await stage.verify("streamed")
            await stage.close()
        },
    ]

    /// The other promise of a sink that does not take tables without a key.
    static func refuseLog(_ target: any ConformanceTarget) async throws {
        let stage = try Stage(target)
        let error = try await refusal("a table without a key") { try await stage.start(Tables.log) }
        try require(error.description.contains("public.log"), "the table is not named: \(error)")
        await stage.close()
    }
}
