internal import CdcCore

extension Conformance {
    private static func check(_ name: String, _ body: @escaping @Sendable (Stage) async throws -> Void) -> Check {
        Check("without a key: " + name) { target in
            guard target.traits.takesTablesWithoutKey else { return try await refuseLog(target) }
            let stage = try Stage(target)
            try await stage.start(Tables.log)
            try await body(stage)
            try await stage.verify()
            await stage.close()
        }
    }

    /// Tables without a key, under REPLICA IDENTITY FULL.
    static let keylessChecks: [Check] = [
        check("equal rows stay apart; a delete removes one of them, an update changes one") { stage in
            try await stage.write { script in
                for _ in 1...3 { script.insert("1", "1.5", "a") }
                script.insert("2", nil, nil).insert("2", nil, nil)
            }
            try await stage.write {
                $0.delete("1", "1.5", "a").update("1", "1.5", "b", of: ["1", "1.5", "a"]).delete("2", nil, nil)
            }
            try stage.expect([["1", "1.5", "a"], ["1", "1.5", "b"], ["2", nil, nil]])
        },

        check("changes of one row after the other, and untouched columns") { stage in
            try await stage.write {
                $0.insert("1", nil, "a").update("1", nil, "b", of: ["1", nil, "a"])
                $0.update("2", nil, .unchanged, of: ["1", nil, "b"]).insert("1", nil, "a").delete("2", nil, "b")
            }
            try stage.expect([["1", nil, "a"]])
        },

        check("-0 and 0, NaN and NULL, empty and NULL are told apart") { stage in
            let odd: TestCell = stage.target.traits.holdsNotANumber ? "NaN" : "2.5"
            try await stage.write {
                $0.insert("1", "0", nil).insert("1", "-0", nil).insert("1", "0", nil).insert("1", odd, nil)
                $0.insert("1", nil, nil).insert("1", nil, "")
            }
            try await stage.verify("inserted")
            try await stage.write {
                $0.update("2", "-0", nil, of: ["1", "-0", nil]).update("3", odd, nil, of: ["1", odd, nil])
                $0.delete("1", "0", nil).delete("1", "0", nil).update("4", nil, "", of: ["1", nil, ""])
            }
        },

        check("a truncate between equal rows") { stage in
            try await stage.write { $0.insert("1", nil, "a").insert("1", nil, "a") }
            try await stage.write { $0.insert("1", nil, "a").truncate().insert("1", nil, "a").insert("1", nil, "a") }
            try stage.expect([["1", nil, "a"], ["1", nil, "a"]])
        },

        check("many deletes in one batch") { stage in
            try await stage.write { script in
                for n in 0..<500 { script.insert(.text("\(n % 50)"), "0.5", "x") }
            }
            try await stage.write { script in
                for n in 0..<250 { script.delete(.text("\(n % 50)"), "0.5", "x") }
            }
        },
    ]
}
