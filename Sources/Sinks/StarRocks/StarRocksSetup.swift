internal import CdcCore

/// Creates what is missing and compares what is there.
struct StarRocksSetup {
    let database: StarRocksDatabase
    let state: StarRocksState
    let config: StarRocksConfig
    let pipeline: PipelineIdentity
    let version: StarRocksVersion

    private var types: StarRocksTypes { StarRocksTypes(policy: config.policy) }

    /// What came out of the comparison of one table.
    private struct Comparison {
        var layout: StarRocksLayout
        var statements: [String] = []
        var differences: [TableDifference] = []
        var mistakes: [TableDifference] = []
        var warnings: [String] = []
        var isRegistered = false
    }

    /// The tables as they are written from now on.
    struct Ready {
        var layouts: [StarRocksLayout]
        /// Those that the sink has not had before.
        var new: [TableSchema]
        var warnings: [String]
    }

    // MARK: Running

    /// What setting up would do and refuse.
    func plan(_ tables: [TableSchema]) throws(SinkError) -> [TablePlan] {
        try compare(tables).map { compared in
            TablePlan(
                table: compared.layout.ref,
                sinkName: compared.layout.schema.sinkName,
                columns: (compared.layout.columns.map { ($0.name, $0.type) }
                    + StarRocksLayout.added(to: compared.layout.schema).map { ($0.name, $0.type) })
                    .map { TablePlan.Column(name: $0.0, type: $0.1) },
                statements: compared.statements,
                problems: (compared.mistakes + compared.differences).map { "\($0.cause): \($0.remedy)" },
                warnings: compared.warnings
            )
        }
    }

    /// Makes tables and columns; every difference is told at once, and then nothing is made.
    func run(_ tables: [TableSchema]) throws(SinkError) -> Ready {
        let known = try state.exists() ? state.position()?.source.systemIdentifier : nil
        try pipeline.requireSystem(known, "at \(config.url), database \(config.database)")
        let compared = try compare(tables)
        if let error = compared.flatMap(\.mistakes).error(.configuration) { throw error }
        if let error = compared.flatMap(\.differences).error(.schemaMismatch) { throw error }
        try state.create(version)
        for table in compared {
            for statement in table.statements {
                let isAlter = statement.hasPrefix("ALTER")
                // One change at a time is all that a table bears. How an earlier one ended is no matter of ours.
                if isAlter { try awaitSchemaChange(table.layout, isOurs: false) }
                try database.run(
                    statement,
                    operation: isAlter ? "add columns" : "create table",
                    table: table.layout.ref
                )
                if isAlter { try awaitSchemaChange(table.layout, isOurs: true) }
            }
        }
        return Ready(
            layouts: compared.map(\.layout),
            new: compared.filter { !$0.isRegistered }.map(\.layout.schema),
            warnings: compared.flatMap { table in table.warnings.map { "\(table.layout.ref): \($0)" } }
        )
    }

    /// Waits until the last change of a table's columns has ended.
    ///
    /// See https://docs.starrocks.io/docs/sql-reference/sql-statements/table_bucket_part_index/SHOW_ALTER/
    private func awaitSchemaChange(_ layout: StarRocksLayout, isOurs: Bool) throws(SinkError) {
        let operation = "wait for a change of columns"
        let end = ContinuousClock.now + .seconds(600)
        while true {
            var state = ""
            var message = ""
            for (name, text) in try database.row(
                "SHOW ALTER TABLE COLUMN FROM \(config.database.starRocksIdentifier) WHERE TableName = "
                    + "\(layout.schema.sinkName.starRocksLiteral) ORDER BY CreateTime DESC LIMIT 1",
                operation: operation,
                table: layout.ref
            ) {
                if name.lowercased() == "state" { state = text }
                if name.lowercased() == "msg" { message = text }
            }
            switch state.uppercased() {
            case "", "FINISHED": return
            case "CANCELLED":
                guard isOurs else { return }
                throw SinkError(
                    .configuration,
                    operation: operation,
                    table: layout.ref,
                    cause: "StarRocks cancelled it: \(StarRocksError.brief(message))",
                    remedy: "correct that, and start again"
                )
            default: break
            }
            guard ContinuousClock.now < end, !config.cancellation.isCancelled else {
                throw SinkError(
                    .retriable,
                    operation: operation,
                    table: layout.ref,
                    cause: "it is still \(state)",
                    remedy: "waiting for it; see SHOW ALTER TABLE COLUMN"
                ).ofTarget
            }
            sleep(for: .milliseconds(500))
        }
    }

    // MARK: Comparing

    private func compare(_ tables: [TableSchema]) throws(SinkError) -> [Comparison] {
        let catalog = try StarRocksCatalog(tables.map(\.sinkName), state)
        var names: [[UInt8]: TableRef] = [:]
        var compared: [Comparison] = []
        for table in tables {
            var found = try compare(table, catalog)
            if let other = names[Array(table.sinkName.utf8)] {
                found.mistakes.append(.sharedName(table, with: other))
            }
            names[Array(table.sinkName.utf8)] = table.ref
            compared.append(found)
        }
        return compared
    }

    private func compare(_ table: TableSchema, _ catalog: StarRocksCatalog) throws(SinkError) -> Comparison {
        let registration = catalog.registrations[table.ref]
        let columns = table.columns.indices.map { index in
            types.column(table.columns[index], isKey: table.key.contains(index))
        }
        var result = Comparison(
            layout: StarRocksLayout(schema: table, columns: columns, database: config.database)
        )
        result.isRegistered = registration != nil
        if table.hasKey, !types.fitsKey(table.key.map { table.columns[$0] }) {
            result.warnings.append(
                "its key may have more than \(StarRocksTypes.longestKey) bytes, which the server refuses row by row"
            )
        }
        func add(_ cause: String, _ remedy: String) {
            result.differences.append(TableDifference(table: table.ref, cause: cause, remedy: remedy))
        }
        result.mistakes = mistakes(table)
        let forget = state.forgetStatement(table.ref)
        if let registration, !registration.sinkTable.hasSameBytes(as: table.sinkName) {
            result.differences.append(
                .renamed(
                    table,
                    from: registration.sinkTable,
                    remedy: "set SINK_TABLE_NAME as it was, or, to copy it again: \(forget)"
                )
            )
            return result
        }
        if let owner = catalog.owners[Array(table.sinkName.utf8)] {
            result.mistakes.append(.owned(table, by: owner, settings: "SINK_TABLE_NAME or SINK_DATABASE"))
            return result
        }
        guard let there = catalog[table.sinkName] else {
            if registration?.consistentPoint != nil {
                result.differences.append(.lost(table, forget: forget))
                return result
            }
            result.statements = [
                result.layout.createStatement(replicationNumber: config.replicationNumber, version: version)
            ]
            return result
        }
        guard there.model.uppercased().hasPrefix("PRIMARY") else {
            add(
                "\"\(table.sinkName)\" at the sink is \(there.model.isEmpty ? "no table" : there.model), no primary-key table",
                "rename it, or set SINK_TABLE_NAME"
            )
            return result
        }
        compareColumns(table, there, &result, forget)
        if registration == nil { result.differences += try foreign(table) }
        return result
    }

    /// What no table at the target could mend.
    private func mistakes(_ table: TableSchema) -> [TableDifference] {
        var found: [TableDifference] = []
        var names: [String: String] = [:]
        for column in table.columns {
            let name = column.name
            let folded = name.lowercased()
            if folded == "__op" || StarRocksLayout.added(to: table).contains(where: { $0.name == folded }) {
                found.append(.reserved(name, of: table))
            }
            if name.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) {
                found.append(
                    TableDifference(
                        table: table.ref,
                        cause: "the name of a column has a control character, and column names travel in a header",
                        remedy: "rename the column, or leave it out of the publication"
                    )
                )
            }
            if let other = names[folded] {
                found.append(
                    TableDifference(
                        table: table.ref,
                        cause:
                            "columns \"\(other)\" and \"\(name)\" have one name at the sink, where case makes no difference",
                        remedy: "leave one of them out of the publication"
                    )
                )
            }
            names[folded] = name
        }
        return found
    }

    private func compareColumns(
        _ table: TableSchema,
        _ there: StarRocksCatalog.Table,
        _ result: inout Comparison,
        _ forget: String
    ) {
        let name = result.layout.name
        let anew = "DROP TABLE \(name); \(forget) (the next start copies the table anew)"
        func add(_ cause: String, _ remedy: String) {
            result.differences.append(TableDifference(table: table.ref, cause: cause, remedy: remedy))
        }
        let wantedKey = result.layout.keyNames.map { $0.lowercased() }
        if Set(there.key.map { $0.lowercased() }) != Set(wantedKey) || there.key.count != wantedKey.count {
            add(
                "its primary key is (\(there.key.joined(separator: ", "))) instead of "
                    + "(\(result.layout.keyNames.joined(separator: ", ")))",
                anew
            )
        }
        var extra = there.columns
        var columns: [StarRocksColumn] = []
        var missing: [String] = []
        for (index, column) in table.columns.enumerated() {
            let isKey = table.key.contains(index)
            let wanted = types.column(column, isKey: isKey)
            let quoted = column.name.starRocksIdentifier
            guard let place = extra.firstIndex(where: { $0.name.lowercased() == column.name.lowercased() }) else {
                if isKey {
                    add("column \"\(column.name)\" of its key is missing", anew)
                } else {
                    missing.append("\(quoted) \(wanted.type) NULL")
                    columns.append(wanted)
                }
                continue
            }
            let found = extra.remove(at: place)
            guard let usable = types.column(column, isKey: isKey, found: found.type) else {
                add(
                    "column \"\(column.name)\" is \(found.type) instead of \(wanted.type)",
                    "ALTER TABLE \(name) MODIFY COLUMN \(quoted) \(wanted.type)\(isKey ? "" : " NULL"); or, where that fails, "
                        + anew
                )
                continue
            }
            if !isKey, !found.isNullable {
                add(
                    "column \"\(column.name)\" is NOT NULL, and a delete carries the key alone",
                    "ALTER TABLE \(name) MODIFY COLUMN \(quoted) \(found.type) NULL;"
                )
            }
            if types.isNarrower(column, isKey: isKey, found: found.type) {
                result.warnings.append(
                    "column \"\(column.name)\" is \(found.type), where the sink would make \(wanted.type): the server refuses "
                        + "what does not fit"
                )
            }
            columns.append(usable)
        }
        for added in StarRocksLayout.added(to: table) {
            guard let place = extra.firstIndex(where: { $0.name.lowercased() == added.name }) else {
                if added.name == StarRocksLayout.rowID { continue }
                missing.append("\(added.name.starRocksIdentifier) \(added.type) NULL")
                continue
            }
            let found = extra.remove(at: place)
            if StarRocksTypes.normalized(found.type) != StarRocksTypes.normalized(added.type) {
                add(
                    "column \"\(added.name)\" is \(found.type) instead of \(added.type)",
                    "ALTER TABLE \(name) MODIFY COLUMN \(added.name.starRocksIdentifier) \(added.type);"
                )
            }
        }
        for column in extra {
            let quoted = column.name.starRocksIdentifier
            add("column \"\(column.name)\" is not in the source", "ALTER TABLE \(name) DROP COLUMN \(quoted);")
        }
        if !missing.isEmpty {
            // There is no IF NOT EXISTS: what is there was looked up.
            result.statements.append("ALTER TABLE \(name) ADD COLUMN (\(missing.joined(separator: ", ")))")
            result.warnings.append(
                "columns are added: \(missing.joined(separator: ", ")); rows that are there have NULL in them until they "
                    + "change or the table is copied anew"
            )
        }
        if columns.count == table.columns.count {
            result.layout = StarRocksLayout(schema: table, columns: columns, database: config.database)
        }
    }

    /// A table that somebody else filled.
    private func foreign(_ table: TableSchema) throws(SinkError) -> [TableDifference] {
        let name = "\(config.database.starRocksIdentifier).\(table.sinkName.starRocksIdentifier)"
        let rows = try database.rows("SELECT 1 FROM \(name) LIMIT 1", operation: "read table", table: table.ref)
        guard !rows.isEmpty else { return [] }
        return [.foreign(table)]
    }
}
