internal import CdcCore

/// Creates what is missing and compares what is there.
struct ClickHouseSetup {
    let client: ClickHouseClient
    let config: ClickHouseConfig
    let pipeline: PipelineIdentity

    private var state: ClickHouseState { ClickHouseState(client: client, config: config) }
    private var types: ClickHouseTypes { ClickHouseTypes(policy: config.policy) }

    /// What the database has under the names that are wanted.
    private struct Catalog {
        struct Table {
            var engine = ""
            var engineFull = ""
            var sortingKey = ""
            var partitionKey = ""
            var columns: [Column] = []

            struct Column {
                let name: String
                let type: String
                let defaultKind: String
                let isInSortingKey: Bool
            }
        }
        /// By the bytes of their names: ClickHouse tells names apart that Unicode calls equivalent.
        var tables: [[UInt8]: Table] = [:]
        var registrations: [TableRef: ClickHouseState.Registration] = [:]
        var owners: [[UInt8]: String] = [:]
    }

    /// What came out of the comparison of one table.
    private struct Comparison {
        var layout: ClickHouseLayout
        var statements: [String] = []
        var differences: [TableDifference] = []
        var mistakes: [TableDifference] = []
        var warnings: [String] = []
    }

    // MARK: Running

    /// What setting up would do and refuse.
    func plan(_ tables: [TableSchema]) throws(SinkError) -> [TablePlan] {
        try compare(tables).map { compared in
            TablePlan(
                table: compared.layout.ref,
                sinkName: compared.layout.schema.sinkName,
                columns: (compared.layout.columns.map { ($0.name, $0.type) }
                    + ClickHouseLayout.added(to: compared.layout.schema).map { ($0.name, $0.type) })
                    .map { TablePlan.Column(name: $0.0, type: $0.1) },
                statements: compared.statements,
                problems: (compared.mistakes + compared.differences).map { "\($0.cause): \($0.remedy)" },
                warnings: compared.warnings
            )
        }
    }

    /// Makes tables and views; every difference is told at once, and then nothing is made.
    ///
    /// - Returns: the tables as they are written from now on, and what the operator should know.
    func run(_ tables: [TableSchema]) throws(SinkError) -> (layouts: [ClickHouseLayout], warnings: [String]) {
        let known = try state.exists() ? state.position(pipeline.name)?.source.systemIdentifier : nil
        try pipeline.requireSystem(known, "at \(config.url), database \(config.database)")
        let compared = try compare(tables)
        if let error = compared.flatMap(\.mistakes).error(.configuration) { throw error }
        if let error = compared.flatMap(\.differences).error(.schemaMismatch) { throw error }
        try state.create()
        let registered = try state.registrations(pipeline.name)
        try state.register(compared.map(\.layout.schema).filter { registered[$0.ref] == nil }, at: nil, pipeline.name)
        for table in compared {
            for statement in table.statements {
                try client.run(statement, operation: "create table", table: table.layout.ref)
            }
        }
        return (
            compared.map(\.layout),
            compared.flatMap { table in
                table.warnings.map { "\(table.layout.ref): \($0)" }
            }
        )
    }

    // MARK: Comparing

    private func compare(_ tables: [TableSchema]) throws(SinkError) -> [Comparison] {
        let catalog = try catalog(tables)
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
        for index in compared.indices {
            let view = compared[index].layout.viewName
            if names[Array(view.utf8)] != nil {
                compared[index].statements.removeAll { $0.hasPrefix("CREATE VIEW") }
                compared[index].warnings.append("there is no view of its live rows: \"\(view)\" is a table")
            }
        }
        return compared
    }

    private func compare(_ table: TableSchema, _ catalog: Catalog) throws(SinkError) -> Comparison {
        var result: Comparison
        let registration = catalog.registrations[table.ref]
        func wanted() -> ClickHouseLayout {
            ClickHouseLayout(
                schema: table,
                columns: table.columns.indices.map { index in
                    types.column(table.columns[index], isKey: table.key.contains(index))
                },
                database: config.database
            )
        }
        result = Comparison(layout: wanted())
        result.mistakes = mistakes(table)
        let forget =
            "ALTER TABLE \(config.database.clickhouseIdentifier).\(ClickHouseState.tableTable) DELETE WHERE "
            + "pipeline = \(pipeline.name.clickhouseLiteral) AND source_schema = \(table.ref.schema.clickhouseLiteral) "
            + "AND source_table = \(table.ref.name.clickhouseLiteral) SETTINGS mutations_sync = 2;"
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
        guard let there = catalog.tables[Array(table.sinkName.utf8)] else {
            if registration?.consistentPoint != nil {
                result.differences.append(.lost(table, forget: forget))
                return result
            }
            result.statements = [
                result.layout.createStatement(deleteMode: config.deleteMode, cluster: config.cluster)
            ]
            if catalog.tables[Array(result.layout.viewName.utf8)] == nil {
                result.statements.append(result.layout.createView(cluster: config.cluster))
            }
            return result
        }
        compareEngine(table, there, &result, forget)
        compareColumns(table, there, &result, forget)
        if catalog.tables[Array(result.layout.viewName.utf8)] == nil {
            result.statements.append(result.layout.createView(cluster: config.cluster))
        }
        if registration == nil { result.differences += try foreign(table) }
        return result
    }

    /// What no table at the target could mend.
    private func mistakes(_ table: TableSchema) -> [TableDifference] {
        table.columns.map(\.name).filter { name in
            ClickHouseLayout.added(to: table).contains { $0.name == name }
        }.map { .reserved($0, of: table) }
    }

    private func compareEngine(
        _ table: TableSchema,
        _ there: Catalog.Table,
        _ result: inout Comparison,
        _ forget: String
    ) {
        let anew = "DROP TABLE \(result.layout.name); \(forget) (the next start copies the table anew)"
        func add(_ cause: String, _ remedy: String? = nil) {
            result.differences.append(TableDifference(table: table.ref, cause: cause, remedy: remedy ?? anew))
        }
        guard there.engine.hasSuffix("ReplacingMergeTree") else {
            return add(
                "\"\(table.sinkName)\" at the sink is \(there.engine), no ReplacingMergeTree",
                "rename it, or set SINK_TABLE_NAME"
            )
        }
        let arguments = there.engineFull.split(separator: ")").first.map(String.init) ?? ""
        if !arguments.contains(AuditColumn.version.rawValue) {
            add("its engine does not choose rows by \(AuditColumn.version.rawValue)")
        }
        if arguments.contains(AuditColumn.isDeleted.rawValue) != (config.deleteMode == .hard) {
            add(
                "its engine \(config.deleteMode == .hard ? "does not know" : "hides") deleted rows, which is not "
                    + "SINK_DELETE_MODE=\(config.deleteMode.rawValue)"
            )
        }
        if !there.partitionKey.isEmpty {
            add(
                "it is partitioned by \(there.partitionKey), so that an insert would become several, of which some can fail"
            )
        }
        if !ClickHouseSetup.isOrdered(there, by: result.layout.sortingKey) {
            add(
                "it is ordered by (\(there.sortingKey)) instead of (\(result.layout.sortingKey.joined(separator: ", ")))"
            )
        }
        if config.cluster == nil, !there.engineFull.contains("fsync_after_insert = 1"),
            !there.engine.hasPrefix("Replicated"), !there.engine.hasPrefix("Shared")
        {
            result.warnings.append(
                "a power cut can take rows that were acknowledged: ALTER TABLE \(result.layout.name) MODIFY SETTING "
                    + ClickHouseLayout.tableSettings(nil)
            )
        }
    }

    /// Whether the engine tells rows apart by exactly these columns, and not by what a function makes of them.
    private static func isOrdered(_ there: Catalog.Table, by names: [String]) -> Bool {
        let found = there.columns.filter(\.isInSortingKey).map { Array($0.name.utf8) }
        guard Set(found) == Set(names.map { Array($0.utf8) }) else { return false }
        let isPlain = names.allSatisfy { $0.utf8.allSatisfy { $0 != UInt8(ascii: ",") && $0 != UInt8(ascii: "(") } }
        return !isPlain || there.sortingKey.split(separator: "(", omittingEmptySubsequences: true).count <= 1
    }

    private func compareColumns(
        _ table: TableSchema,
        _ there: Catalog.Table,
        _ result: inout Comparison,
        _ forget: String
    ) {
        let name = result.layout.name
        func add(_ cause: String, _ remedy: String) {
            result.differences.append(TableDifference(table: table.ref, cause: cause, remedy: remedy))
        }
        var extra = there.columns
        var columns: [ClickHouseColumn] = []
        for (index, column) in table.columns.enumerated() {
            let wanted = types.column(column, isKey: table.key.contains(index))
            let quoted = column.name.clickhouseIdentifier
            guard let place = extra.firstIndex(where: { $0.name.hasSameBytes(as: column.name) }) else {
                add("column \"\(column.name)\" is missing", "ALTER TABLE \(name) ADD COLUMN \(quoted) \(wanted.type);")
                continue
            }
            let found = extra.remove(at: place)
            guard let usable = types.column(column, isKey: table.key.contains(index), found: found.type) else {
                add(
                    "column \"\(column.name)\" is \(found.type) instead of \(wanted.type)",
                    "ALTER TABLE \(name) MODIFY COLUMN \(quoted) \(wanted.type); or, where that fails, DROP TABLE "
                        + "\(name); \(forget) (the next start copies the table anew)"
                )
                continue
            }
            columns.append(usable)
        }
        for added in ClickHouseLayout.added(to: table) {
            let quoted = added.name.clickhouseIdentifier
            guard let place = extra.firstIndex(where: { $0.name == added.name }) else {
                let clock = added.name == AuditColumn.syncedAt.rawValue ? " DEFAULT now64(3)" : ""
                add(
                    "column \"\(added.name)\" is missing",
                    "ALTER TABLE \(name) ADD COLUMN \(quoted) \(added.type)\(clock);"
                )
                continue
            }
            let found = extra.remove(at: place)
            if found.type != added.type {
                add(
                    "column \"\(added.name)\" is \(found.type) instead of \(added.type)",
                    "ALTER TABLE \(name) MODIFY COLUMN \(quoted) \(added.type);"
                )
            }
        }
        for column in extra where column.defaultKind.isEmpty {
            let quoted = column.name.clickhouseIdentifier
            add("column \"\(column.name)\" is not in the source", "ALTER TABLE \(name) DROP COLUMN \(quoted);")
        }
        if columns.count == table.columns.count {
            result.layout = ClickHouseLayout(schema: table, columns: columns, database: config.database)
        }
    }

    /// A table that somebody else filled.
    private func foreign(_ table: TableSchema) throws(SinkError) -> [TableDifference] {
        let name = "\(config.database.clickhouseIdentifier).\(table.sinkName.clickhouseIdentifier)"
        let rows = try client.rows("SELECT 1 FROM \(name) LIMIT 1", operation: "read table", table: table.ref)
        guard !rows.isEmpty else { return [] }
        return [.foreign(table)]
    }

    // MARK: Catalog

    private func catalog(_ tables: [TableSchema]) throws(SinkError) -> Catalog {
        var catalog = Catalog()
        let operation = "read catalog"
        let database = config.database.clickhouseLiteral
        let known = try client.rows(
            "SELECT name, engine, engine_full, sorting_key, partition_key FROM system.tables WHERE database = \(database)",
            operation: operation
        )
        for row in known {
            guard let name = row[0] else { continue }
            catalog.tables[Array(name.utf8)] = Catalog.Table(
                engine: row[1] ?? "",
                engineFull: row[2] ?? "",
                sortingKey: row[3] ?? "",
                partitionKey: row[4] ?? ""
            )
        }
        let wanted = tables.map(\.sinkName).filter { catalog.tables[Array($0.utf8)] != nil }
        if !wanted.isEmpty {
            let columns = try client.rows(
                "SELECT table, name, type, default_kind, is_in_sorting_key FROM system.columns WHERE database = \(database) AND table IN ("
                    + wanted.map(\.clickhouseLiteral).joined(separator: ", ") + ") ORDER BY table, position",
                operation: operation
            )
            for row in columns {
                catalog.tables[Array((row[0] ?? "").utf8)]?.columns.append(
                    Catalog.Table.Column(
                        name: row[1] ?? "",
                        type: row[2] ?? "",
                        defaultKind: row[3] ?? "",
                        isInSortingKey: row[4] == "1"
                    )
                )
            }
        }
        if catalog.tables[Array(ClickHouseState.tableTable.utf8)] != nil {
            catalog.registrations = try state.registrations(pipeline.name)
            catalog.owners = try state.owners(besides: pipeline.name)
        }
        return catalog
    }
}
