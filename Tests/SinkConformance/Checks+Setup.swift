internal import CdcCore

extension Conformance {
    /// `setup`, and what it refuses.
    static let setupChecks: [Check] = [
        Check("setup: creates what is missing, is harmless when repeated, and takes new TableSchema objects") {
            target in
            let stage = try Stage(target)
            try await stage.start(Tables.items, Tables.orders)
            try await stage.verify("new")
            try await stage.write { $0.insert("1", "a", "x").insert("k", "1", into: 1) }
            try await stage.sink.setup(stage.tables, for: stage.pipeline)
            try await stage.verify("set up twice")
            // A session of the pipeline later: other objects, on the same instance.
            try await stage.sink.setup(stage.tables.map { $0.copy() }, for: stage.pipeline)
            try await stage.verify("set up three times")
            try await stage.restart()
            try await stage.write { $0.update("1", "b", "y").insert("l", "2", into: 1) }
            try await stage.verify("restarted")
            await stage.close()
        },

        Check("setup: stores the pipeline's identity, and neither position nor copies") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            let state = try await stage.loadState()
            try require(state != nil, "the pipeline is not known after setup")
            try requireEqual(state?.source, Stage.source, "source")
            try requireEqual(state?.position, nil, "position")
            try requireEqual(state?.copies, [:], "copies")
            await stage.close()
        },

        Check("setup: a table more, later, leaves the others alone") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "x") }
            let orders = stage.suited(Tables.orders)
            try await stage.sink.setup(stage.tables + [orders], for: stage.pipeline)
            try await stage.verify("grown")
            try requireEqual(try target.rows(of: orders).count, 0, "rows of the new table")
            await stage.close()
        },

        Check("setup: every difference of every table in one schemaMismatch with a remedy, and nothing is made") {
            target in
            let stage = try Stage(target)
            try await stage.start(Tables.items, Tables.orders)
            try await stage.write { $0.insert("1", "a", "x").insert("k", "1", into: 1) }
            let before = try target.fingerprint()
            // What holds integers holds no texts, in any target.
            let items = stage.tables[0].copy(columns: [
                ColumnDef("id", .int32), ColumnDef("name", .text), ColumnDef("note", .text),
                ColumnDef("grown", .int64),
            ])
            let orders = stage.tables[1].copy(columns: [ColumnDef("k", .text), ColumnDef("n", .text)])
            let fresh = stage.suited(TableSchema("fresh", Tables.items.columns))
            let session = try Stage(target)
            _ = try await session.sink.loadState(of: session.pipeline.name)
            let plans = try await session.sink.plan([items, orders, fresh], for: session.pipeline)
            try require(!plans[1].problems.isEmpty, "plan sees no problem with orders")
            try require(
                plans[0].problems.isEmpty == session.capabilities.supportsSchemaEvolution,
                "plan on a new column, by supportsSchemaEvolution: \(plans[0].problems)"
            )
            let error = try await refusal("a column of another type") {
                try await session.sink.setup([items, orders, fresh], for: session.pipeline)
            }
            try requireEqual(error.kind, .schemaMismatch, "kind of \(error)")
            try require(!error.remedy.isEmpty, "no remedy")
            let words =
                session.capabilities.supportsSchemaEvolution ? ["\"n\""] : ["\"grown\"", "\"n\"", "items", "orders"]
            for word in words { try require(error.description.contains(word), "\(word) is not named: \(error)") }
            try requireEqual(try target.fingerprint(), before, "the target after the refusal")
            try await stage.verify("after the refusal")
            await session.close()
            await stage.close()
        },

        Check("setup: a new column is followed or refused, as supportsSchemaEvolution says") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "x") }
            let grown = stage.tables[0].copy(columns: Tables.items.columns + [ColumnDef("grown", .int64)])
            let session = try Stage(target)
            _ = try await session.sink.loadState(of: session.pipeline.name)
            if session.capabilities.supportsSchemaEvolution {
                try await session.sink.setup([grown], for: session.pipeline)
                let found = Rows.keys(try target.rows(of: grown), of: grown)
                let expected = Rows.keys([["1", "a", "x", nil]] as [[TestCell]], of: grown)
                try require(found == expected, "rows after the column was added: \(found)")
            } else {
                let error = try await refusal("a new column") {
                    try await session.sink.setup([grown], for: session.pipeline)
                }
                try requireEqual(error.kind, .schemaMismatch, "kind of \(error)")
                try require(error.remedy.contains("grown"), "the remedy does not name the column: \(error.remedy)")
            }
            await session.close()
            await stage.close()
        },

        Check("setup: a source of another system identifier is refused, and nothing changes") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "x") }
            let before = try target.fingerprint()
            let foreign = SourceIdentity(systemIdentifier: "99", timeline: 1, slot: "dbmazz_slot")
            let session = try Stage(target)
            _ = try await session.sink.loadState(of: session.pipeline.name)
            let error = try await refusal("a foreign system") {
                try await session.sink.setup(
                    stage.tables,
                    for: PipelineIdentity(name: stage.pipeline.name, source: foreign)
                )
            }
            try requireEqual(error.kind, .configuration, "kind of \(error)")
            try requireEqual(try target.fingerprint(), before, "the target after the refusal")
            await session.close()
            await stage.close()
        },

        Check("setup: a new timeline and slot are stored, the position stays") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.copy([0], [["1", "a", "x"]])
            let promoted = SourceIdentity(
                systemIdentifier: Stage.source.systemIdentifier,
                timeline: 2,
                slot: "renamed"
            )
            try await stage.sink.setup(stage.tables, for: PipelineIdentity(name: stage.pipeline.name, source: promoted))
            let state = try await stage.loadState()
            try requireEqual(state?.source, promoted, "source")
            try requireEqual(state?.position?.endLSN, stage.storedPosition, "position")
            try await stage.verify()
            await stage.close()
        },

        Check("setup: two tables of the source with one name at the sink are refused") { target in
            let stage = try Stage(target)
            let before = try target.fingerprint()
            let tables = ["one", "two"].map {
                stage.suited(TableSchema($0, Tables.items.columns, sinkName: "same"))
            }
            let error = try await refusal("a name for two tables") {
                try await stage.sink.setup(tables, for: stage.pipeline)
            }
            try requireEqual(error.kind, .configuration, "kind of \(error)")
            for word in ["public.one", "public.two"] {
                try require(error.description.contains(word), "\(word) is not named: \(error)")
            }
            try requireEqual(try target.fingerprint(), before, "the target after the refusal")
            await stage.close()
        },

        Check("setup: columns that an update may leave untouched are kept, or REPLICA IDENTITY FULL is asked for") {
            target in
            let stage = try Stage(target)
            if target.traits.keepsUnchangedColumns {
                try await stage.start(Tables.items)
                try await stage.write { $0.insert("1", "a", "x").insert("2", "b", "y") }
                try await stage.write { $0.update("1", .unchanged, "X").update("2", "B", .unchanged) }
                try stage.expect([["1", "a", "X"], ["2", "B", "y"]])
            } else {
                let error = try await refusal("a table whose updates leave columns out") {
                    try await stage.sink.setup([Tables.items], for: stage.pipeline)
                    let builder = BatchBuilder(Tables.items).begin(lsn: stage.nextLSN()).insert("1", "a", "x")
                    builder.update("1", .unchanged, "X").commit()
                    _ = try await stage.sink.writeBatch(builder.batch, deadline: .now + Stage.patience)
                }
                try require(error.description.contains("REPLICA IDENTITY FULL"), "what to do is not said: \(error)")
                try require(error.description.contains("public.items"), "the table is not named: \(error)")
            }
            await stage.close()
        },

        Check("setup: tables without a key are taken or refused, as the target says") { target in
            let stage = try Stage(target)
            if target.traits.takesTablesWithoutKey {
                try await stage.start(Tables.log)
                try await stage.verify()
            } else {
                let error = try await refusal("a table without a key") { try await stage.start(Tables.log) }
                try require(error.description.contains("public.log"), "the table is not named: \(error)")
            }
            await stage.close()
        },
    ]
}
