internal import CdcCore

extension Conformance {
    /// Runs the body with audit columns; or proves that a sink without them refuses the settings.
    private static func check(
        _ name: String,
        soft: Bool,
        _ body: @escaping @Sendable (Stage) async throws -> Void
    ) -> Check {
        Check((soft ? "soft deletes: " : "audit columns: ") + name) { target in
            let stage: Stage
            do {
                stage = try Stage(target) { config in
                    config.auditColumns = true
                    config.deleteMode = soft ? .soft : .hard
                }
            } catch let error as SinkError {
                try requireEqual(error.kind, .configuration, "kind of \(error)")
                let variable = soft ? "SINK_DELETE_MODE" : "SINK_AUDIT_COLUMNS"
                return try require(error.description.contains(variable), "\(variable) is not named: \(error)")
            }
            try await stage.start(Tables.items, Tables.orders)
            try await body(stage)
            try await stage.verify()
            await stage.close()
        }
    }

    private static func row(_ id: String, of stage: Stage) throws -> AuditedRow? {
        let rows = try stage.target.auditedRows(of: stage.tables[0]).filter { $0.values[0] == id }
        try require(rows.count < 2, "row \(id) is there \(rows.count) times")
        return rows.first
    }

    private static func expect(
        _ id: String,
        _ values: [String?]?,
        _ operation: Int,
        isDeleted: Bool = false,
        of stage: Stage
    ) throws {
        guard let row = try row(id, of: stage) else { throw ConformanceFailure("row \(id) is not there") }
        if let values { try requireEqual(row.values, values, "row \(id)") }
        try requireEqual(row.operation, operation, "operation of row \(id)")
        try requireEqual(row.isDeleted, isDeleted, "mark of row \(id)")
        try require(
            row.version.utf8.count == 32 && row.version.allSatisfy { $0.isHexDigit },
            "version of row \(id): \(row.version)"
        )
    }

    /// Audit columns, and deletes that only mark.
    static let softDeleteChecks: [Check] = [
        check("operation, version and mark of inserts and updates", soft: false) { stage in
            try await stage.copy([0], [["7", "copied", nil]])
            try expect("7", ["7", "copied", nil], 0, of: stage)
            try await stage.write { $0.insert("1", "a", "l").insert("2", "b", "l").insert("3", "c", "l") }
            let inserted = try row("1", of: stage)?.version ?? ""
            try expect("1", ["1", "a", "l"], 0, of: stage)
            try await stage.write {
                $0.update("1", "A", .unchanged).update("9", "B", "l", of: ["2", nil, nil]).delete("3", nil, nil)
            }
            try expect("1", ["1", "A", "l"], 1, of: stage)
            try expect("9", ["9", "B", "l"], 1, of: stage)
            let copied = try row("7", of: stage)?.version ?? ""
            let updated = try row("1", of: stage)?.version ?? ""
            let moved = try row("9", of: stage)?.version ?? ""
            try require(copied < inserted && inserted < updated && updated < moved, "versions do not grow")
            try require(copied.hasSuffix("0000000000000000"), "a copied row has the ordinal 0: \(copied)")
        },

        check("a deleted row stays, marked, and comes back with an insert of its key", soft: true) { stage in
            try await stage.write { $0.insert("1", "a", "l").insert("2", "b", "l") }
            let before = try row("1", of: stage)?.version ?? ""
            try await stage.write { $0.delete("1", nil, nil).delete("2", nil, nil).insert("2", "c", nil) }
            try expect("1", ["1", "a", "l"], 2, isDeleted: true, of: stage)
            try expect("2", ["2", "c", nil], 0, of: stage)
            let deleted = try row("1", of: stage)?.version ?? ""
            try require(before < deleted, "the version does not grow with the delete")
            try await stage.write { $0.insert("1", "d", "m") }
            try expect("1", ["1", "d", "m"], 0, of: stage)
            try require(deleted < (try row("1", of: stage)?.version ?? ""), "the version does not grow with the insert")
        },

        check("a row that is inserted and deleted in one batch is marked as in two", soft: true) { stage in
            try await stage.write { $0.insert("1", "a", "l").update("1", "b", .unchanged).delete("1", nil, nil) }
            try await stage.write { $0.insert("2", "a", "l").update("2", "b", .unchanged) }
            try await stage.write { $0.delete("2", nil, nil) }
            try expect("1", ["1", "b", "l"], 2, isDeleted: true, of: stage)
            try expect("2", ["2", "b", "l"], 2, isDeleted: true, of: stage)
        },

        check("a key change takes the place of a deleted row, and leaves none behind", soft: true) { stage in
            try await stage.write { $0.insert("1", "a", "l").insert("2", "b", "l").delete("2", nil, nil) }
            try await stage.write { $0.update("2", "A", .unchanged, of: ["1", nil, nil]) }
            try expect("2", ["2", "A", "l"], 1, of: stage)
            try require(try row("1", of: stage)?.isDeleted ?? true, "the old key lives")
        },

        check("a truncate marks the rows that are there, not those deleted before or that come after", soft: true) {
            stage in
            try await stage.write { $0.insert("1", "a", "l").insert("2", "b", "l").delete("1", nil, nil) }
            let first = try row("1", of: stage)?.version ?? ""
            try await stage.write { $0.truncate().insert("3", "c", "l") }
            try expect("1", nil, 2, isDeleted: true, of: stage)
            try expect("2", nil, 2, isDeleted: true, of: stage)
            try expect("3", ["3", "c", "l"], 0, of: stage)
            try requireEqual(try row("1", of: stage)?.version, first, "version of the row deleted before")
        },

        check("a new copy, and a unit in parts, leave no row marked that lives", soft: true) { stage in
            try await stage.copy([0], [["1", "a", nil], ["2", "b", nil]])
            try await stage.send(
                stage.unit({ $0.delete("1", nil, nil) }, { $0.insert("1", "c", nil).delete("2", nil, nil) })
            )
            try await stage.verify("streamed")
            try await stage.copy([0], [["2", "anew", nil]])
            try expect("2", ["2", "anew", nil], 0, of: stage)
        },
    ]
}
