internal import CdcCore

extension Conformance {
    /// Inserts, updates, deletes and truncates of tables with a key.
    static let rowChecks: [Check] = [
        Check("rows: an insert adds a row, an update replaces it, a delete removes it") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "x").insert("2", "b", nil).insert("3", "", "") }
            try stage.expect([["1", "a", "x"], ["2", "b", nil], ["3", "", ""]])
            try await stage.write { $0.update("2", "B", "y").delete("1", nil, nil) }
            try stage.expect([["2", "B", "y"], ["3", "", ""]])
            try await stage.verify()
            await stage.close()
        },

        Check("rows: one batch over several tables and transactions writes each row to its own table") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items, Tables.orders)
            let builder = stage.builder()
            for step in 1...3 {
                builder.begin(xid: UInt32(step), lsn: stage.nextLSN())
                let script = Script(builder, stage)
                script.insert(.text("\(step)"), "a", "x").insert(.text("k\(step)"), "1", into: 1)
                if step > 1 { script.delete(.text("\(step - 1)"), nil, nil).update("k1", .text("\(step)"), in: 1) }
                builder.commit()
            }
            try await stage.send(Stage.Unit(parts: [builder.batch], position: builder.position))
            try await stage.verify()
            await stage.close()
        },

        Check("rows: operations on one key in one batch come to what the last one says") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write {
                $0.insert("1", "a", "x").update("1", "b", "x").delete("1", nil, nil).insert("1", "c", nil)
                $0.insert("2", "a", "x").delete("2", nil, nil)
                $0.insert("3", "a", "x").update("3", "z", "y")
            }
            try stage.expect([["1", "c", nil], ["3", "z", "y"]])
            try await stage.verify()
            await stage.close()
        },

        Check("rows: a delete and an insert of the same key, in one batch and over two") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "x").insert("2", "b", "y").insert("3", "c", "z") }
            try await stage.write { $0.delete("1", nil, nil).insert("1", "new", nil).delete("2", nil, nil) }
            try await stage.verify("one batch")
            try await stage.write { $0.insert("2", nil, "again") }
            try await stage.verify("two batches")
            try await stage.write { $0.delete("2", nil, nil).insert("2", "1", "1").delete("2", nil, nil) }
            try await stage.verify("gone again")
            await stage.close()
        },

        Check("rows: the same batch twice leaves the same rows") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "x").insert("2", "b", "y").insert("3", "c", "z") }
            let unit = stage.unit { $0.insert("4", "d", nil).update("1", "A", "X").delete("2", nil, nil) }
            try await stage.send(unit)
            try await stage.send(unit)
            try await stage.verify()
            await stage.close()
        },

        Check("rows: a delete and a full update of a row that is not there are no errors") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            let lsn = stage.nextLSN()
            let builder = stage.builder().begin(lsn: lsn)
            let isFull = stage.tables[0].identity == .full
            builder.delete(key: isFull ? nil : ["8", nil, nil], old: isFull ? ["8", "a", "b"] : nil)
            builder.update("9", "a", "b", old: isFull ? ["9", "", ""] : nil).commit()
            stage.rows[0] = [["9", "a", "b"]]
            try await stage.send(Stage.Unit(parts: [builder.batch], position: builder.position))
            try await stage.verify()
            await stage.close()
        },

        Check("rows: deletes and updates that bring the whole old row") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items.copy(identity: .full))
            try await stage.write { $0.insert("1", "a", "x").insert("2", "b", nil).insert("3", "c", "z") }
            try await stage.write { $0.update("1", .unchanged, "y").delete("2", nil, nil).update("3", nil, .unchanged) }
            try stage.expect([["1", "a", "y"], ["3", nil, "z"]])
            try await stage.write { $0.update("5", .unchanged, .unchanged, of: ["1", nil, nil]) }
            try await stage.verify()
            await stage.close()
        },

        Check("rows: columns that an update did not touch keep their values, whatever the mixture of masks") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { script in
                for id in 1...5 { script.insert(.text("\(id)"), "old", "long") }
            }
            try await stage.write {
                $0.update("1", "new", .unchanged).update("2", .unchanged, "short").update("3", .unchanged, .unchanged)
                $0.update("4", nil, "full").update("5", "new", .unchanged)
            }
            try stage.expect([
                ["1", "new", "long"], ["2", "old", "short"], ["3", "old", "long"], ["4", nil, "full"],
                ["5", "new", "long"],
            ])
            try await stage.write { $0.update("1", .unchanged, nil).update("5", .unchanged, "") }
            try await stage.verify("next batch")
            await stage.close()
        },

        Check("rows: two updates of one row with different masks, in one batch and over two") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "x").insert("2", "b", "y") }
            try await stage.write { $0.update("1", "A", .unchanged).update("1", .unchanged, "X") }
            try stage.expect([["1", "A", "X"], ["2", "b", "y"]])
            try await stage.write { $0.update("2", "B", .unchanged) }
            try await stage.write { $0.update("2", .unchanged, "Y") }
            try stage.expect([["1", "A", "X"], ["2", "B", "Y"]])
            try await stage.verify()
            await stage.close()
        },

        Check("rows: an insert and a partial update of it, in one batch and in the next") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "long").update("1", "b", .unchanged).insert("2", "a", nil) }
            try stage.expect([["1", "b", "long"], ["2", "a", nil]])
            try await stage.write { $0.update("1", .unchanged, "short").update("2", "c", .unchanged) }
            try stage.expect([["1", "b", "short"], ["2", "c", nil]])
            try await stage.write { $0.delete("1", nil, nil).insert("1", "new", "new").update("1", .unchanged, nil) }
            try await stage.verify()
            await stage.close()
        },

        Check("rows: a partial update of a row that is not there is not made up") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            guard stage.tables[0].identity != .full else {
                // Under FULL the old row fills the gaps: the sink never sees one.
                try await stage.write { $0.insert("1", "a", "x").update("1", .unchanged, "y") }
                try await stage.verify()
                return await stage.close()
            }
            let builder = stage.builder().begin(lsn: stage.nextLSN())
            builder.insert("1", "a", "x").update("9", "hunter2", .unchanged).commit()
            do {
                _ = try await stage.sink.writeBatch(builder.batch, deadline: .now + Stage.patience)
                try require(
                    !stage.capabilities.supportsTransactions,
                    "with transactions the row cannot be missing for a good reason, and no error tells it"
                )
            } catch let error as SinkError {
                try requireEqual(error.kind, .permanent, "kind of \(error)")
                try requireEqual(error.table, Tables.items.ref, "table of the error")
                try require(!error.description.contains("hunter2"), "the error shows a value: \(error)")
                if stage.capabilities.supportsTransactions { try await stage.verify("nothing of the unit stays") }
            }
            await stage.close()
        },

        Check("rows: a truncate removes what came before it in the batch, and nothing after it or elsewhere") {
            target in
            let stage = try Stage(target)
            let other = TableSchema("other", Tables.items.columns)
            try await stage.start(Tables.items, other)
            try await stage.write { $0.insert("1", "a", "x").insert("1", "other", "x", into: 1) }
            try await stage.write {
                $0.insert("2", "b", "x").insert("3", "before", "x").truncate()
                $0.insert("3", "c", "x").insert("1", "d", nil).update("3", "d", .unchanged)
            }
            try stage.expect([["3", "d", "x"], ["1", "d", nil]])
            try await stage.write { $0.truncate().truncate() }
            try await stage.verify("twice")
            try await stage.write { $0.insert("1", "after", nil).insert("3", "after", nil) }
            try await stage.verify("inserted in the next batch")
            await stage.close()
        },

        Check("rows: a truncate of several tables in one transaction") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items, Tables.orders, TableSchema("other", Tables.items.columns))
            try await stage.write {
                $0.insert("1", "a", "x").insert("k", "1", into: 1).insert("1", "kept", nil, into: 2)
            }
            try await stage.write {
                $0.insert("l", "2", into: 1).truncate(0).truncate(1).insert("k", "3", into: 1).insert("2", "b", nil)
            }
            try await stage.verify()
            await stage.close()
        },
    ]
}
