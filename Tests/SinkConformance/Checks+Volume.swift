internal import CdcCore

extension Conformance {
    /// Large batches and large rows.
    static let volumeChecks: [Check] = [
        Check("volume: a batch of 100 000 rows, then an update and a delete of half of them") { target in
            let stage = try Stage(target)
            let table = stage.suited(TableSchema("many", [ColumnDef("id", .int32), ColumnDef("v", .text)]))
            try await stage.start(table)
            let isFull = table.identity == .full
            let count = 100_000
            let builder = stage.builder().begin(lsn: stage.nextLSN())
            for id in 0..<count { builder.insert([.text("\(id)"), "v"]) }
            try await stage.send(Stage.Unit(parts: [builder.commit().batch], position: builder.position))
            let second = stage.builder().begin(lsn: stage.nextLSN())
            for id in 0..<count {
                let key = TestCell.text("\(id)")
                if id % 2 == 0 {
                    second.update([key, "w"], old: isFull ? [key, "v"] : nil)
                } else {
                    second.delete(key: isFull ? nil : [key, nil], old: isFull ? [key, "v"] : nil)
                }
            }
            try await stage.send(Stage.Unit(parts: [second.commit().batch], position: second.position))
            let rows = try target.rows(of: table)
            try requireEqual(rows.count, count / 2, "number of rows")
            var seen = [Bool](repeating: false, count: count)
            for row in rows {
                guard let id = row[0].flatMap({ Int($0) }), id < count, id % 2 == 0, !seen[id], row[1] == "w" else {
                    throw ConformanceFailure("row \(row) is not expected")
                }
                seen[id] = true
            }
            await stage.close()
        },

        Check("volume: a row of 10 MB, or of what the target holds, inserted, kept by a partial update, replaced") {
            target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            let piece = "0123456789 \u{E4}\u{F6}\u{FC}\\\n\t'"
            let count = min(480_000, (target.traits.longestText ?? .max) / piece.utf8.count)
            let large = String(repeating: piece, count: count)
            try await stage.write { $0.insert("1", "a", .text(large)).insert("2", "b", nil) }
            try await stage.write { $0.update("1", "A", .unchanged).update("2", .text(large), nil) }
            try await stage.verify("kept")
            try await stage.write { $0.update("1", .unchanged, "short").delete("2", nil, nil) }
            try await stage.verify("replaced")
            await stage.close()
        },

        Check("volume: a unit of fifty parts") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.send(
                stage.unit(
                    (0..<50).map { part in
                        { script in
                            for id in 0..<20 { script.insert(.text("\(part * 20 + id)"), "a", "x") }
                            if part > 0 {
                                script.update(.text("\(part * 20 - 1)"), "b", .unchanged).delete(
                                    .text("\(part)"),
                                    nil,
                                    nil
                                )
                            }
                        }
                    }
                )
            )
            try await stage.verify()
            await stage.close()
        },

        Check("volume: updates with more masks than a sink will keep statements for") { target in
            let stage = try Stage(target)
            let columns = [ColumnDef("id", .int32)] + (0..<80).map { ColumnDef("c\($0)", .text) }
            try await stage.start(TableSchema("wide", columns))
            func cells(_ id: Int, _ column: Int, _ value: TestCell) -> [TestCell] {
                var cells: [TestCell] = [.text("\(id)")] + Array(repeating: .unchanged, count: 80)
                cells[column + 1] = value
                return cells
            }
            try await stage.write { script in
                for id in 0..<80 { script.insert([.text("\(id)")] + Array(repeating: "old", count: 80)) }
            }
            try await stage.write { script in
                for id in 0..<80 { script.update(cells(id, id, "new")).update(cells(id, 79 - id, nil)) }
            }
            try await stage.verify()
            await stage.close()
        },
    ]
}
