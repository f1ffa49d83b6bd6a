internal import CdcCore

extension Conformance {
    private static func table(_ edge: EdgeValues) -> TableSchema {
        TableSchema("v_\(edge.name.lowercased())", [ColumnDef("id", .int32), edge.column])
    }

    private static func edges(_ names: String...) -> Check {
        Check("values: every \(names.joined(separator: ", "))") { target in
            let edges = EdgeValues.held.filter { names.contains($0.name) }
            try requireEqual(edges.count, names.count, "types of the check")
            let stage = try Stage(target)
            try await stage.start(edges.map(table))
            try await stage.write { script in
                for (place, edge) in edges.enumerated() {
                    for (id, value) in target.holdable(edge).enumerated() {
                        script.insert(.text("\(id)"), .text(value), into: place)
                    }
                    script.insert("-1", nil, into: place)
                }
            }
            try await stage.verify("inserted")
            // The same values by update, each in the place of another and of NULL.
            try await stage.write { script in
                for (place, edge) in edges.enumerated() {
                    let values = target.holdable(edge)
                    for id in values.indices {
                        script.update(.text("\(id)"), .text(values[(id + 1) % values.count]), in: place)
                    }
                    script.update("-1", .text(values[0]), in: place)
                }
            }
            try await stage.verify("updated")
            for (place, edge) in edges.enumerated() {
                for value in edge.values where !target.holdable(edge).contains(value) {
                    try await expectRefusal(stage, place, .text(value), value)
                }
            }
            await stage.close()
        }
    }

    /// Expects that a value is refused for good, with its table, without its text, and that nothing of its unit stays.
    private static func expectRefusal(_ stage: Stage, _ place: Int, _ cell: TestCell, _ text: String?) async throws {
        let table = stage.tables[place]
        let builder = stage.builder().begin(lsn: stage.nextLSN())
        builder.insert(["77", cell], table: UInt32(place)).commit()
        let shown = "\(text?.prefix(40) ?? "")"
        let error = try await refusal("\(table.columns[1].type) \"\(shown)\"") {
            _ = try await stage.sink.writeBatch(builder.batch, deadline: .now + Stage.patience)
        }
        try requireEqual(error.kind, .permanent, "kind of \(error)")
        try requireEqual(error.table, table.ref, "table of \(error)")
        if let text, text.utf8.count > 3 {
            try require(!error.description.contains(text), "the error shows the value: \(error)")
        }
        try await stage.verify("after \(table.columns[1].type) \"\(shown)\" was refused")
    }

    /// Types and their values.
    static let valueChecks: [Check] = [
        edges("boolean", "int16", "int32", "int64", "uint32", "uint64"),
        edges("float32", "float64"),
        edges("decimal10", "decimal38", "integral"),
        edges("string", "text", "json", "jsonb"),
        edges("uuid", "bytes"),
        edges("date", "time", "timestamp", "timestampTz"),
        edges("array", "texts", "interval", "inet", "range"),

        Check("values: no type is left out of these checks") { target in
            // Whoever adds a type to the core is stopped by the compiler here, and adds its values.
            func name(_ type: DataType) -> String {
                switch type {
                case .boolean: "boolean"
                case .int16: "int16"
                case .int32: "int32"
                case .int64: "int64"
                case .uint32: "uint32"
                case .uint64: "uint64"
                case .float32: "float32"
                case .float64: "float64"
                case .decimal: "decimal"
                case .string: "string"
                case .text: "text"
                case .json: "json"
                case .jsonb: "jsonb"
                case .uuid: "uuid"
                case .date: "date"
                case .time: "time"
                case .timestamp: "timestamp"
                case .timestampTz: "timestampTz"
                case .bytes: "bytes"
                case .other: "other"
                }
            }
            try requireEqual(Set(EdgeValues.held.map { name($0.column.type) }).count, 20, "types with values")
            // All of them in one row.
            let columns = EdgeValues.held.map { ColumnDef(named: "c_\($0.name.lowercased())", like: $0.column) }
            let stage = try Stage(target)
            try await stage.start(TableSchema("wide", [ColumnDef("id", .int32)] + columns))
            func first(_ id: TestCell) -> [TestCell] {
                [id]
                    + EdgeValues.held.map { edge in
                        TestCell.text(target.holdable(edge).last ?? "")
                    }
            }
            try await stage.write {
                $0.insert(first("1")).insert(["2"] + columns.map { _ in nil })
            }
            try await stage.write { $0.update(first("2")).update(["1"] + columns.map { _ in .unchanged }) }
            try await stage.verify()
            await stage.close()
        },

        Check("values: what a target may lack comes back as it was, or is refused for good") { target in
            let stage = try Stage(target)
            try await stage.start(EdgeValues.heldOrRefused.map(table))
            for (place, edge) in EdgeValues.heldOrRefused.enumerated() {
                for (id, value) in edge.values.enumerated() {
                    let before = stage.rows[place]
                    do {
                        try await stage.write { $0.insert(.text("\(id)"), .text(value), into: place) }
                    } catch let error as SinkError {
                        stage.rows[place] = before
                        try requireEqual(error.kind, .permanent, "kind of \(error)")
                        try requireEqual(error.table, stage.tables[place].ref, "table of \(error)")
                    }
                }
            }
            try await stage.verify()
            await stage.close()
        },

        Check("values: what the target cannot hold is permanent, with its table and without its text") { target in
            let stage = try Stage(target)
            let tables = target.refusedValues.enumerated().map {
                TableSchema("r\($0)", [ColumnDef("id", .int32), ColumnDef(named: "v", like: $1.column)])
            }
            try await stage.start(tables)
            for (place, refused) in target.refusedValues.enumerated() {
                let text = String(validating: refused.bytes, as: UTF8.self)
                try await expectRefusal(stage, place, refused.cell, text)
            }
            try await stage.write { $0.insert("1", nil) }
            try await stage.verify("it goes on")
            await stage.close()
        },

        Check("values: empty and NULL are different, in a batch without any bytes too") { target in
            let stage = try Stage(target)
            try await stage.start(
                TableSchema("t", [ColumnDef("k", .text), ColumnDef("v", .text), ColumnDef("w", .string)])
            )
            try await stage.write { $0.insert("", "", nil) }
            try await stage.verify("inserted")
            try await stage.write { $0.update("", nil, "") }
            try await stage.verify("exchanged")
            await stage.close()
        },

        Check("values: the form that the sink asks for may change with the tables") { target in
            let stage = try Stage(target)
            let binary = TableSchema("plain", [ColumnDef("id", .int32), ColumnDef("v", .float64)])
            let text = TableSchema("odd", [ColumnDef("id", .int32), ColumnDef("v", oid: 1007, "integer[]")])
            try await stage.start(binary, text)
            // Where a type has no binary output the values of its columns are text, whatever the sink asks for.
            try await stage.copy([0], [["1", "0.5"]])
            try await stage.copy([1], [["1", "{1,2}"]])
            try await stage.write { $0.insert("2", "-1e-300").insert("2", "{}", into: 1) }
            try await stage.verify("with a type that has none")
            let session = try Stage(target, after: stage)
            let rows = stage.rows[0]
            await stage.close()
            try await session.start(binary)
            session.rows[0] = rows
            try requireEqual(session.sink.tupleFormat, session.capabilities.tupleFormat, "the form for simple types")
            let odd: TestCell = target.traits.holdsNotANumber ? "Infinity" : "0.1"
            try await session.write { $0.insert("3", odd).update("1", nil).delete("2", nil) }
            try await session.verify("without")
            await session.close()
        },
    ]
}

extension ConformanceTarget {
    /// Those of a type's values that the target holds.
    func holdable(_ edge: EdgeValues) -> [String] {
        edge.values.filter { value in
            let isSpecial = value.hasSuffix("NaN") || value.hasSuffix("Infinity")
            return !traits.unheldValues.contains("\(edge.name) \(value)")
                && (traits.holdsNotANumber || !isSpecial || !edge.name.hasPrefix("float"))
                && value.utf8.count <= traits.longestText ?? .max
        }
    }
}

extension ColumnDef {
    /// A column of another's type.
    init(named name: String, like other: ColumnDef) {
        self.init(name: name, type: other.type, postgresType: other.postgresType, isNullable: other.isNullable)
    }
}
