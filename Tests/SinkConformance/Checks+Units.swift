internal import CdcCore

extension Conformance {
    /// Units: what becomes durable at once.
    static let unitChecks: [Check] = [
        Check("units: parts become visible together with transactions, and at the latest at the commit without") {
            target in
            let stage = try Stage(target)
            try await stage.start(Tables.items, Tables.orders)
            try await stage.write { $0.insert("1", "a", "x") }
            let unit = stage.unit(
                { $0.insert("2", "b", "y").insert("k", "1", into: 1).update("1", "A", .unchanged) },
                { $0.insert("3", "c", nil).update("2", .unchanged, "Y").delete("1", nil, nil) },
                { $0.update("4", "d", .unchanged, of: ["3", nil, nil]).insert("1", "back", nil) }
            )
            for part in unit.parts.dropLast() {
                try await stage.send(part)
                if stage.capabilities.supportsTransactions {
                    try stage.expect([["1", "a", "x"]], "an open unit is seen:")
                }
                try requireEqual(
                    try await stage.sink.durablePosition()?.endLSN,
                    stage.position?.endLSN,
                    "durablePosition within the unit"
                )
                try requireEqual(try await stage.loadState()?.position?.endLSN, stage.storedPosition, "stored position")
            }
            for part in unit.parts.suffix(1) { try await stage.send(part) }
            stage.earned(unit)
            try await stage.verify()
            await stage.close()
        },

        Check("units: a truncate in a later part removes what earlier parts brought") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "x") }
            try await stage.send(
                stage.unit(
                    { $0.insert("2", "b", "y") },
                    { $0.insert("3", "c", nil).truncate().insert("4", "d", nil) },
                    { $0.insert("2", "again", nil).update("4", .unchanged, "z") }
                )
            )
            try await stage.verify()
            await stage.close()
        },

        Check("units: a batch that begins a unit voids the open one") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "x") }
            let unit = stage.unit(
                { $0.insert("2", "b", "y") },
                { $0.update("1", "A", .unchanged).insert("3", "c", nil) }
            )
            try await stage.send(unit.parts[0])
            if stage.capabilities.supportsTransactions {
                // Another takes its place, and nothing of it is there.
                stage.rows[0] = [["1", "a", "x"]]
                try await stage.write { $0.insert("9", "z", nil) }
                try await stage.verify("another unit")
            } else {
                // Its rows may be there: it comes again from its beginning.
                try await stage.send(unit)
                try await stage.verify("the same unit")
            }
            await stage.close()
        },

        Check("units: discardOpenUnit voids the open one, and does nothing where none is open") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            await stage.sink.discardOpenUnit()
            try await stage.write { $0.insert("1", "a", "x") }
            await stage.sink.discardOpenUnit()
            try await stage.verify("none was open")
            let unit = stage.unit({ $0.insert("2", "b", "y") }, { $0.delete("1", nil, nil).insert("3", "c", nil) })
            try await stage.send(unit.parts[0])
            await stage.sink.discardOpenUnit()
            if stage.capabilities.supportsTransactions {
                let rows = stage.rows
                stage.rows = [[["1", "a", "x"]]]
                try await stage.verify("discarded")
                stage.rows = rows
            }
            try await stage.send(unit)
            try await stage.verify("sent again")
            await stage.close()
        },

        Check("units: a later part whose beginning is gone is retriable, so that the unit comes from its start") {
            target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "x") }
            let unit = stage.unit({ $0.insert("2", "b", "y") }, { $0.insert("3", "c", nil) })
            for isNewInstance in [false, true] {
                try await stage.send(unit.parts[0])
                if isNewInstance { try await stage.restart() } else { await stage.sink.discardOpenUnit() }
                do {
                    _ = try await stage.sink.writeBatch(unit.parts[1], deadline: .now + Stage.patience)
                    try require(
                        !stage.capabilities.supportsTransactions,
                        "a part is taken whose unit is not open: half of it would be committed"
                    )
                } catch let error as SinkError {
                    try requireEqual(error.kind, .retriable, "kind of \(error)")
                    try requireEqual(try await stage.loadState()?.position?.endLSN, stage.storedPosition, "position")
                }
            }
            try await stage.send(unit)
            try await stage.verify()
            await stage.close()
        },

        Check("units: an error in a later part leaves nothing of the unit, or the unit can come again") { target in
            let stage = try Stage(target)
            let refused = target.refusedValues[0]
            let narrow = TableSchema("narrow", [ColumnDef("id", .int32), ColumnDef(named: "v", like: refused.column)])
            try await stage.start(Tables.items, narrow)
            try await stage.write { $0.insert("1", "a", "x") }
            let rows = stage.rows
            let unit = stage.unit({ $0.insert("2", "b", "y") }, { $0.insert(["1", refused.cell], into: 1) })
            try await stage.send(unit.parts[0])
            let error = try await refusal("the value") {
                _ = try await stage.sink.writeBatch(unit.parts[1], deadline: .now + Stage.patience)
            }
            try requireEqual(error.kind, .permanent, "kind of \(error)")
            stage.rows = rows
            if stage.capabilities.supportsTransactions { try await stage.verify("after the error") }
            try requireEqual(try await stage.loadState()?.position?.endLSN, stage.storedPosition, "position")
            try await stage.write { $0.insert("2", "b", "z").insert("1", nil, into: 1) }
            try await stage.verify("it goes on")
            await stage.close()
        },

        Check("units: a unit that was open when its sink was killed is gone, or comes again") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "x") }
            let unit = stage.unit({ $0.insert("2", "b", "y").truncate() }, { $0.insert("1", "c", nil) })
            try await stage.send(unit.parts[0])
            try await stage.restart(orderly: false)
            try requireEqual(try await stage.loadState()?.position?.endLSN, stage.storedPosition, "position")
            if stage.capabilities.supportsTransactions { try stage.expect([["1", "a", "x"]], "after the kill") }
            try await stage.send(unit)
            try await stage.verify("sent again")
            await stage.close()
        },

        Check("units: one that was committed does not come again, or comes again without harm") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items, Tables.orders)
            try await stage.write { $0.insert("1", "a", "x").insert("2", "b", "y").insert("k", "1", into: 1) }
            let unit = stage.unit(
                { $0.truncate(1).insert("k", "2", into: 1).update("1", .unchanged, "X").insert("3", "c", nil) },
                { $0.update("4", .unchanged, "d", of: ["3", nil, nil]).delete("2", nil, nil).update("k", "3", in: 1) }
            )
            try await stage.send(unit)
            try await stage.restart(orderly: false)
            if stage.capabilities.supportsTransactions {
                // Its position came with its rows: who looks there does not send it again.
                try requireEqual(try await stage.loadState()?.position?.endLSN, unit.position?.endLSN, "position")
            } else {
                try await stage.send(unit)
            }
            try await stage.verify()
            await stage.close()
        },

        Check("units: rehearse tells what writing would, and leaves nothing that writing would not") { target in
            let stage = try Stage(target)
            let refused = target.refusedValues[0]
            let narrow = TableSchema("narrow", [ColumnDef("id", .int32), ColumnDef(named: "v", like: refused.column)])
            try await stage.start(Tables.items, narrow)
            try await stage.write { $0.insert("1", "a", "x") }
            let rows = stage.rows
            let unit = stage.unit { $0.insert("2", "b", "y").update("1", "A", .unchanged) }
            try await stage.sink.rehearse(unit.parts[0], deadline: .now + Stage.patience)
            try requireEqual(unit.parts[0].position?.endLSN, unit.position?.endLSN, "the batch's position afterwards")
            try requireEqual(try await stage.loadState()?.position?.endLSN, stage.storedPosition, "position")
            if stage.capabilities.supportsTransactions { try stage.expect(rows[0], "rehearsed") }
            try await stage.send(unit)
            try await stage.verify("written")
            let bad = stage.builder().begin(lsn: stage.nextLSN())
            bad.insert(["1", refused.cell], table: 1).commit()
            let error = try await refusal("the value") {
                try await stage.sink.rehearse(bad.batch, deadline: .now + Stage.patience)
            }
            try requireEqual(error.kind, .permanent, "kind of \(error)")
            try requireEqual(error.table, narrow.ref, "table of \(error)")
            try await stage.verify("after the refusal")
            await stage.close()
        },
    ]

    /// Positions, pipelines, restarts.
    static let positionChecks: [Check] = [
        Check("positions: a batch without changes moves the position alone, one without a position leaves it") {
            target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "x") }
            for _ in 1...2 {
                let empty = CdcBatch(tables: stage.tables)
                empty.position = SourcePosition(at: LSN(rawValue: stage.nextLSN()))
                try await stage.send(Stage.Unit(parts: [empty], position: empty.position))
                try await stage.verify("moved")
                try requireEqual(try await stage.loadState()?.position?.endLSN, stage.storedPosition, "stored position")
            }
            let builder = stage.builder().begin(lsn: stage.nextLSN())
            Script(builder, stage).insert("2", "b", nil)
            try await stage.send(builder.batch)
            try await stage.verify("left")
            try requireEqual(try await stage.loadState()?.position?.endLSN, stage.storedPosition, "stored position")
            await stage.close()
        },

        Check("positions: stored exactly as given, LSNs of all sizes, and never back") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            for (index, lsn) in [0x1_0000_0000, 0xFFFF_FFFF_FFFF, 0x7FFF_FFFF_FFFF_FF00 as UInt64].enumerated() {
                let builder = stage.builder().begin(lsn: lsn)
                Script(builder, stage).insert(.text("\(index)"), "a", nil)
                builder.commit()
                try await stage.send(Stage.Unit(parts: [builder.batch], position: builder.position))
                try await stage.verify("at \(lsn)")
                let state = try await stage.loadState()
                try requireEqual(state?.position?.endLSN, stage.storedPosition, "stored end LSN")
                guard stage.capabilities.storesPosition else { continue }
                try requireEqual(state?.position?.commitLSN, builder.position.commitLSN, "stored commit LSN")
            }
            await stage.close()
        },

        Check("positions: a new instance is told what was stored, and goes on") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items, Tables.orders)
            try await stage.copy([0, 1], [])
            for id in 1...4 {
                try await stage.write { $0.insert(.text("\(id)"), "a", "x") }
                try await stage.restart(orderly: id % 2 == 0)
                try await stage.verify("restart \(id)")
                try await stage.write {
                    $0.update(.text("\(id)"), "b", .unchanged).insert(.text("k\(id)"), nil, into: 1)
                }
                let state = try await stage.loadState()
                try requireEqual(state?.source, Stage.source, "source")
                try requireEqual(state?.position?.endLSN, stage.storedPosition, "position")
                try requireEqual(state?.copies.count, 2, "number of copied tables")
            }
            await stage.close()
        },

        Check("positions: one daemon at a time: where another has written under the same pipeline, nothing more is") {
            target in
            let first = try Stage(target)
            // Whoever keeps the position at the daemon does not know of others.
            guard first.capabilities.storesPosition else { return await first.close() }
            try await first.start(Tables.items)
            let second = try Stage(target)
            // A target that knows who is connected may keep the second one out while the first is there.
            var isIn = true
            do {
                try await second.start(Tables.items)
                try await second.write { $0.insert("1", "of the second", "x") }
            } catch let error as SinkError where error.kind == .retriable {
                isIn = false
            }
            do {
                try await first.sendAgain(first.unit { $0.insert("2", "of the first", "x") })
                if isIn { throw ConformanceFailure("both daemons write") }
                try await first.verify("the first's rows")
            } catch let error as SinkError {
                try requireEqual(error.kind, .permanent, "kind of \(error.cause)")
                await first.close()
                if !isIn { try await second.start(Tables.items) }
                try await second.write { $0.insert("3", "of the second", "x") }
                try await second.verify("the second's rows")
                try requireEqual(
                    try await second.loadState()?.position?.endLSN,
                    second.storedPosition,
                    "stored position"
                )
            }
            await first.close()
            await second.close()
        },

        Check("positions: two pipelines in one target do not see each other") { target in
            let first = try Stage(target, pipeline: "first")
            let second = try Stage(target, pipeline: "second")
            try await first.start(Tables.items)
            let items = TableSchema("items", Tables.items.columns, sinkName: "items_two")
            try await second.start(items)
            try await first.copy([0], [["1", "of the first", nil]])
            try requireEqual(try await second.loadState()?.copies, [:], "copies of the second")
            try requireEqual(try await second.loadState()?.position, nil, "position of the second")
            try await second.copy([0], [["1", "of the second", nil]])
            for step in 2...3 {
                try await first.write { $0.insert(.text("\(step)"), "first", nil) }
                try await second.write {
                    $0.insert(.text("\(step)"), "second", "x").truncate().insert("7", "kept", nil)
                }
                try await first.verify("first")
                try await second.verify("second")
                try requireEqual(
                    try await first.loadState()?.position?.endLSN,
                    first.storedPosition,
                    "the first's position"
                )
                try requireEqual(
                    try await second.loadState()?.position?.endLSN,
                    second.storedPosition,
                    "the second's position"
                )
            }
            try await second.sink.beginCopy(of: second.tables)
            try await first.verify("first, while the second copies")
            await first.close()
            await second.close()
        },
    ]
}
