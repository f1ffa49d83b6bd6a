internal import CdcCore

extension Conformance {
    /// Keys that change, and keys that are hard to tell apart.
    static let keyChecks: [Check] = [
        Check("keys: a change moves the row, and keeps its unchanged columns") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "long").insert("2", "b", "x") }
            try await stage.write {
                $0.update("5", "b", .unchanged, of: ["1", nil, nil]).update("6", "B", "X", of: ["2", nil, nil])
            }
            try stage.expect([["5", "b", "long"], ["6", "B", "X"]])
            try await stage.verify()
            await stage.close()
        },

        Check("keys: a chain of changes, then an update and a delete") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "long").insert("9", "z", nil) }
            try await stage.write {
                $0.update("2", .unchanged, .unchanged, of: ["1", nil, nil])
                $0.update("3", "b", .unchanged, of: ["2", nil, nil]).update("3", "c", .unchanged)
                $0.update("4", .unchanged, "short", of: ["3", nil, nil])
            }
            try stage.expect([["4", "c", "short"], ["9", "z", nil]])
            try await stage.write {
                $0.update("5", "d", .unchanged, of: ["4", nil, nil]).update("5", .unchanged, "e").delete("5", nil, nil)
            }
            try await stage.verify("deleted")
            try await stage.write { $0.insert("1", "a", nil).insert("5", "b", nil) }
            try await stage.verify("inserted again")
            await stage.close()
        },

        Check("keys: an insert, a change of its key and an insert of the old key, in one batch") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write {
                $0.insert("1", "first", "long").update("2", .unchanged, .unchanged, of: ["1", nil, nil])
                $0.insert("1", "second", nil).delete("2", nil, nil)
                $0.update("2", "third", .unchanged, of: ["1", nil, nil])
            }
            try stage.expect([["2", "third", nil]])
            try await stage.verify()
            await stage.close()
        },

        Check("keys: two rows swap theirs over a third") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "one", "long one").insert("2", "two", "long two") }
            try await stage.write {
                $0.update("-1", "one", .unchanged, of: ["1", nil, nil])
                $0.update("1", "two", .unchanged, of: ["2", nil, nil])
                $0.update("2", "one", .unchanged, of: ["-1", nil, nil])
            }
            try stage.expect([["1", "two", "long two"], ["2", "one", "long one"]])
            try await stage.verify()
            await stage.close()
        },

        Check("keys: every row moves on by one") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { script in
                for id in 1...20 { script.insert(.text("\(id)"), .text("v\(id)"), "x") }
            }
            try await stage.write { script in
                for id in (1...20).reversed() {
                    script.update(.text("\(id + 1)"), .unchanged, "y", of: [.text("\(id)"), nil, nil])
                }
            }
            try await stage.verify()
            await stage.close()
        },

        Check("keys: an old key that comes along without a change is an ordinary update") { target in
            let stage = try Stage(target)
            try await stage.start(Tables.items)
            try await stage.write { $0.insert("1", "a", "long") }
            try await stage.write { $0.update(.unchanged, "b", .unchanged, of: ["1", nil, nil]) }
            try stage.expect([["1", "b", "long"]])
            await stage.close()
        },

        Check("keys: composite ones, in the key's order") { target in
            let lines = TableSchema(
                "lines",
                [ColumnDef("n", .int32), ColumnDef("value", .text), ColumnDef("doc", .text)],
                key: [2, 0]
            )
            let stage = try Stage(target)
            try await stage.start(lines)
            try await stage.write { $0.insert("1", "a", "x").insert("1", "b", "y").insert("2", "c", "x") }
            try await stage.write {
                $0.update("1", "A", "x").delete("1", nil, "y").update("3", .unchanged, "x", of: ["2", nil, "x"])
            }
            try stage.expect([["1", "A", "x"], ["3", "c", "x"]])
            try await stage.verify()
            await stage.close()
        },

        Check("keys: texts that differ in case, in a blank or only in Unicode's normal form are different keys") {
            target in
            let stage = try Stage(target)
            try await stage.start(Tables.orders)
            try await stage.write {
                $0.insert("\u{E9}", "1").insert("e\u{301}", "2").insert("", "3").insert("A", "4").insert("a", "5")
                $0.insert("a ", "6").insert(" a", "7").insert("\u{C9}", "8").insert("ss", "9").insert("\u{DF}", "10")
            }
            try await stage.verify("inserted")
            try await stage.write {
                $0.delete("\u{E9}", nil).update("a", "50").update("", nil).delete("ss", nil).update("a ", "60")
            }
            try await stage.verify("changed")
            try await stage.write { $0.update("\u{E9}", "20", of: ["e\u{301}", nil]) }
            try await stage.verify("moved to the other form")
            await stage.close()
        },

        Check("keys: a table that is nothing but its key") { target in
            let stage = try Stage(target)
            try await stage.start(TableSchema("flags", [ColumnDef("on", .boolean)]))
            try await stage.write { $0.insert("t").insert("f") }
            try await stage.write { $0.update("t").delete("f") }
            try stage.expect([["t"]])
            try await stage.write { $0.update("f", of: ["t"]) }
            try await stage.verify()
            await stage.close()
        },

        Check("keys: uuid, bytea, date and exact numeric ones find their rows") { target in
            let columns = [
                ColumnDef("u", .uuid), ColumnDef("b", .bytes), ColumnDef("d", .date),
                ColumnDef("n", .decimal(precision: 20, scale: 4)), ColumnDef("v", .text),
            ]
            let uuid: TestCell = "12e50000-0000-0000-0000-000000000000"
            let stage = try Stage(target)
            try await stage.start(TableSchema("exact", columns, key: [0, 1, 2, 3]))
            try await stage.write {
                $0.insert(uuid, "\\x00", "2024-02-29", "1.1000", "a").insert(
                    uuid,
                    "\\x0000",
                    "2024-02-29",
                    "1.1000",
                    "b"
                )
                $0.insert(uuid, "\\x00", "2024-03-01", "1.1000", "c").insert(uuid, "\\x00", "2024-02-29", "1.1001", "d")
                $0.insert(uuid, "\\x", "2024-02-29", "-0.0001", "e")
            }
            try await stage.write {
                $0.update(uuid, "\\x00", "2024-02-29", "1.1000", "A").delete(
                    uuid,
                    "\\x0000",
                    "2024-02-29",
                    "1.1000",
                    nil
                )
                $0.update(
                    uuid,
                    "\\xff",
                    "2024-02-29",
                    "-0.0001",
                    .unchanged,
                    of: [uuid, "\\x", "2024-02-29", "-0.0001", nil]
                )
            }
            try await stage.verify()
            await stage.close()
        },

        Check("names: quotes, back-ticks, backslashes, blanks, other scripts, 63 bytes and reserved words") {
            target in
            let names = hostileNames.filter { !target.traits.refusedNames.contains($0) }
            try require(names.count > hostileNames.count / 2, "most names are refused")
            for name in target.traits.refusedNames {
                let error = try await refusal("a column named \(name)") {
                    let table = TableSchema("t", [ColumnDef("id", .int32), ColumnDef(name, .text)])
                    try await Stage(target).start(table)
                }
                try require(error.description.contains("public.t"), "the refusal of column \(name): \(error)")
            }
            let columns = names.enumerated().map { ColumnDef($1, $0 == 0 ? .int32 : .text) }
            let tables = names.filter { !target.traits.refusedTableNames.contains($0) }.map { TableSchema($0, columns) }
            let stage = try Stage(target)
            try await stage.start(tables)
            func row(_ id: Int, _ value: TestCell) -> [TestCell] {
                [.text("\(id)")] + Array(repeating: value, count: columns.count - 1)
            }
            try await stage.write { script in
                for table in tables.indices {
                    script.insert(row(1, .text("v\(table)")), into: table).insert(row(2, nil), into: table)
                }
            }
            try await stage.verify("inserted")
            try await stage.write { script in
                for table in tables.indices {
                    var partial = row(1, .unchanged)
                    partial[1] = "new"
                    script.update(partial, in: table).update(row(3, .unchanged), of: row(2, nil), in: table)
                    script.delete(row(1, nil), from: table)
                }
            }
            try await stage.verify("changed")
            try await stage.write { script in for table in tables.indices { script.truncate(table) } }
            try await stage.restart()
            try await stage.verify("emptied")
            await stage.close()
        },

    ]

    /// Names that PostgreSQL lets a table or column have, the first for the key.
    public static let hostileNames = [
        "order", "select", "a \"b\" \"\"", "it's; --", "`tick` ``", "back\\slash\\", " blank ", "tab\tline\nend",
        "größe", "表\u{1F600}", "e\u{301}", "100%s $1 ?1 :x @y {z}", "[bracket]", "a.b", "/* no comment",
        String(repeating: "n", count: 63), "null",
    ]
}
