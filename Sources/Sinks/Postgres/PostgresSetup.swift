internal import CdcCore

/// Creates what is missing at the target and compares what is there.
///
/// Finds every difference of every table before it reports, and looks at some hundred tables at a time: the catalog of ten
/// thousand is not held in memory.
struct PostgresSetup {
    let client: PostgresClient
    let config: PostgresConfig
    let pipeline: PipelineIdentity
    /// Whether triggers and foreign keys of the target are off.
    let isReplica: Bool
    /// What the target knows of the tables' types, once it was asked.
    private(set) var types = PostgresTypes()

    /// What is to be done for one table, or why it cannot be taken.
    private struct Verdict {
        var statements: [String] = []
        var differences: [TableDifference] = []
        var columns: [TablePlan.Column] = []
        /// Whether a privilege is missing, or a setting gives a name that cannot be: then it is not the tables that have to be
        /// mended.
        var needsOperator = false
    }

    private static let tablesAtOnce = 500
    private static let statementsAtOnce = 100

    /// Where a table goes.
    func target(_ table: TableSchema) -> TableRef {
        TableRef(schema: config.schema ?? table.ref.schema, name: table.sinkName)
    }

    /// What ``Sink/setup(_:for:)`` would do and refuse; changes nothing.
    mutating func plan(_ tables: [TableSchema]) throws(PostgresSetupFailure) -> [TablePlan] {
        try refuseWithoutState()
        let verdicts = try judge(tables)
        let warnings = try firing(tables)
        return zip(tables, verdicts).map { table, verdict in
            TablePlan(
                table: table.ref,
                sinkName: target(table).description,
                columns: verdict.columns,
                statements: verdict.statements,
                problems: verdict.differences.map { "\($0.cause); \($0.remedy)" },
                warnings: warnings[target(table)] ?? []
            )
        }
    }

    /// Creates what is missing, the state tables first; in parts, each of which is there or is not.
    mutating func run(_ tables: [TableSchema]) throws(PostgresSetupFailure) {
        try refuseWithoutState()
        let verdicts = try judge(tables)
        let madeTypes: Bool
        let kind: SinkError.Kind = verdicts.contains(where: \.needsOperator) ? .configuration : .schemaMismatch
        if let error = verdicts.flatMap(\.differences).error(kind) { throw .differs(error) }
        do throws(PostgresError) {
            try PostgresState(client: client).create()
        } catch {
            throw .server(error, "create state tables")
        }
        do throws(PostgresError) {
            let typeStatements = try missingTypes(tables)
            let schemas = try PostgresCatalog(client: client).missingSchemas(Set(tables.map { target($0).schema }))
            try execute(schemas + typeStatements)
            var waiting: [String] = []
            for verdict in verdicts {
                waiting += verdict.statements
                guard waiting.count >= PostgresSetup.statementsAtOnce else { continue }
                try execute(waiting)
                waiting.removeAll()
            }
            try execute(waiting)
            madeTypes = !typeStatements.isEmpty
        } catch {
            throw .server(error, "create tables")
        }
        // What was made has to be known by its OID.
        if madeTypes { try readTypes(tables) }
    }

    /// The bookkeeping needs a schema of its own.
    private func refuseWithoutState() throws(PostgresSetupFailure) {
        do throws(PostgresError) {
            guard try !PostgresState(client: client).mayCreate() else { return }
        } catch {
            throw .server(error, "look for state tables")
        }
        let schema = TableRef.positionState.schema
        throw .differs(
            SinkError(
                .configuration,
                operation: "set up sink",
                cause:
                    "the role may not make the schema \(schema) and its tables, in which the sink keeps its position",
                remedy: "GRANT CREATE ON DATABASE … TO the role, or CREATE SCHEMA \(schema) AUTHORIZATION the role;"
            )
        )
    }

    private func execute(_ statements: [String]) throws(PostgresError) {
        guard !statements.isEmpty else { return }
        // One message is one transaction.
        try client.execute(statements.joined(separator: ";"))
    }

    // MARK: Types and schemas

    private static func userTypes(_ tables: [TableSchema]) -> [PostgresType] {
        var seen: Set<String> = []
        var types: [PostgresType] = []
        for table in tables {
            for column in table.columns
            where !(PostgresTypes.isBuiltIn(column.postgresType) && column.postgresType.kind == .base) {
                for type in PostgresTypes.userTypes(of: column.postgresType) where seen.insert(type.name).inserted {
                    types.append(type)
                }
            }
        }
        return types
    }

    /// Reads what the target knows of the tables' types.
    private mutating func readTypes(_ tables: [TableSchema]) throws(PostgresSetupFailure) {
        do throws(PostgresError) {
            types = PostgresTypes()
            try types.readCommon(client)
            try types.read(named: PostgresSetup.userTypes(tables).map(\.name), client)
        } catch {
            throw .server(error, "read types")
        }
    }

    /// Statements that make the enums and domains which the target lacks, those below first.
    private func missingTypes(_ tables: [TableSchema]) throws(PostgresError) -> [String] {
        let missing = PostgresSetup.userTypes(tables).filter { types.there($0) == nil }
        let made = missing.compactMap(PostgresSetup.creation)
        guard !made.isEmpty else { return [] }
        let schemas = Set(
            missing.filter { PostgresSetup.creation($0) != nil }.compactMap { PostgresSetup.schema(of: $0.name) }
        )
        return try PostgresCatalog(client: client).missingSchemas(schemas) + made
    }

    private static func creation(_ type: PostgresType) -> String? {
        switch type.kind {
        case .enumeration(let labels):
            return "CREATE TYPE \(type.name) AS ENUM (\(labels.map(\.quotedLiteral).joined(separator: ",")))"
        case .domain(let domain):
            // CREATE DOMAIN does not take NOT VALID, which says that older values were not checked.
            let checks = domain.checks.map {
                " CONSTRAINT \($0.name.quotedIdentifier) \($0.definition.replacing(" NOT VALID", with: ""))"
            }
            return "CREATE DOMAIN \(type.name) AS \(domain.base.name)\(domain.isNotNull ? " NOT NULL" : "")"
                + checks.joined()
        case .base, .array, .composite, .range: return nil
        }
    }

    /// The schema of a qualified name as `format_type` prints it, unquoted.
    static func schema(of name: String) -> String? {
        var schema = ""
        var isQuoted = false
        for character in name {
            switch character {
            case "\"": isQuoted.toggle()
            case "." where !isQuoted: return schema
            default: schema.append(character)
            }
        }
        return nil
    }

    // MARK: Tables

    private mutating func judge(_ tables: [TableSchema]) throws(PostgresSetupFailure) -> [Verdict] {
        try readTypes(tables)
        var verdicts: [Verdict] = []
        do throws(PostgresError) {
            let state = PostgresState(client: client)
            let isKnown = try state.exists()
            let registered = isKnown ? try state.registrations(pipeline.name) : [:]
            let owners = isKnown ? try state.owners(besides: pipeline.name) : [:]
            var names: [TableRef: TableRef] = [:]
            for start in stride(from: 0, to: tables.count, by: PostgresSetup.tablesAtOnce) {
                let part = tables[start..<min(start + PostgresSetup.tablesAtOnce, tables.count)]
                let there = try PostgresCatalog(client: client).tables(part.map(target))
                try types.read(oids: Set(there.values.flatMap { $0.columns.map(\.typeOID) }), client)
                for table in part {
                    let name = target(table)
                    var verdict = judge(table, there[name], registered[table.ref], owners[name])
                    if let other = names.updateValue(table.ref, forKey: name) {
                        verdict.differences.append(same(table, as: other))
                        verdict.needsOperator = true
                    }
                    verdicts.append(verdict)
                }
            }
        } catch {
            throw .server(error, "read the target's catalog")
        }
        return verdicts
    }

    private func judge(
        _ table: TableSchema,
        _ there: PostgresTable?,
        _ registered: PostgresState.Registration?,
        _ owner: String?
    ) -> Verdict {
        let name = target(table)
        let wanted = columns(table)
        var verdict = Verdict()
        verdict.columns = wanted.map { TablePlan.Column(name: $0.name, type: $0.type) }
        verdict.differences = nameProblems(table, name)
        guard verdict.differences.isEmpty else {
            verdict.needsOperator = true
            return verdict
        }
        if let registered, registered.sinkTable != name {
            verdict.differences = [renamed(table, from: registered.sinkTable, to: name)]
        } else if registered == nil, let owner {
            verdict.differences = [owned(table, name, by: owner)]
        } else if there == nil, registered?.consistentPoint != nil {
            verdict.differences = [lost(table, name)]
        } else if let there {
            var comparison = PostgresComparison(table: table, name: name, there: there, types: types, config: config)
            comparison.compare(wanted)
            verdict.differences = comparison.differences
            verdict.statements = comparison.additions
            verdict.needsOperator = comparison.isForbidden
        } else {
            verdict.statements = creation(of: table, name, wanted)
        }
        return verdict
    }

    /// A column as it is to be at the target.
    struct Wanted {
        let name: String
        let type: String
        /// Of the source; nil for an audit column.
        let definition: ColumnDef?
    }

    private func columns(_ table: TableSchema) -> [Wanted] {
        table.columns.map { Wanted(name: $0.name, type: typeName($0.postgresType), definition: $0) }
            + config.audit.map { Wanted(name: $0.rawValue, type: $0.postgresType, definition: nil) }
    }

    /// The source's type where the target has it or will have it, else text.
    private func typeName(_ type: PostgresType) -> String {
        PostgresTypes.userTypes(of: type).allSatisfy { types.there($0) != nil || isMade($0) } ? type.name : "text"
    }

    /// Whether ``run(_:)`` makes the type: an enum or domain itself, an array with its element.
    private func isMade(_ type: PostgresType) -> Bool {
        switch type.kind {
        case .enumeration, .domain: true
        case .array(let element): isMade(element) || types.there(element) != nil
        case .base, .composite, .range: false
        }
    }

    private func creation(of table: TableSchema, _ name: TableRef, _ columns: [Wanted]) -> [String] {
        var parts = columns.map { column in
            let rule =
                column.name == AuditColumn.isDeleted.rawValue && column.definition == nil
                ? " NOT NULL DEFAULT false" : ""
            return "\(column.name.quotedIdentifier) \(column.type)\(rule)"
        }
        if table.hasKey {
            parts.append(
                "PRIMARY KEY (\(table.key.map { table.columns[$0].name.quotedIdentifier }.joined(separator: ", ")))"
            )
        }
        let quoted = PostgresLayout.quoted(name)
        return ["CREATE TABLE \(quoted) (\(parts.joined(separator: ", ")))"] + oldRowIndex(table, quoted)
    }

    /// Without a key, under REPLICA IDENTITY FULL, each update and delete looks its row up by its values: without an index
    /// that reads the whole table each time.
    private func oldRowIndex(_ table: TableSchema, _ quoted: String) -> [String] {
        guard !table.hasKey, table.identity == .full else { return [] }
        let narrow = table.columns.filter { $0.type.isShort }.prefix(4).map { $0.name.quotedIdentifier }
        return narrow.isEmpty ? [] : ["CREATE INDEX ON \(quoted) (\(narrow.joined(separator: ", ")))"]
    }

    // MARK: Triggers and foreign keys

    /// What will fire at the target with each change, where the role may not switch it off.
    private func firing(_ tables: [TableSchema]) throws(PostgresSetupFailure) -> [TableRef: [String]] {
        guard !isReplica else { return [:] }
        let names = tables.map(target)
        do throws(PostgresError) {
            let rows = try client.query(
                """
                SELECT n.nspname, c.relname, 'trigger ' || t.tgname FROM pg_catalog.pg_trigger t
                JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                JOIN unnest($1::text[], $2::text[]) w(s, t) ON n.nspname = w.s AND c.relname = w.t
                WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
                UNION ALL SELECT n.nspname, c.relname, 'foreign key ' || k.conname FROM pg_catalog.pg_constraint k
                JOIN pg_catalog.pg_class c ON c.oid IN (k.conrelid, k.confrelid)
                JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                JOIN unnest($1::text[], $2::text[]) w(s, t) ON n.nspname = w.s AND c.relname = w.t
                WHERE k.contype = 'f' ORDER BY 1, 2, 3
                """,
                [PostgresCatalog.array(names.map(\.schema)), PostgresCatalog.array(names.map(\.name))]
            )
            var firing: [TableRef: [String]] = [:]
            for row in rows {
                guard let schema = row[0], let name = row[1], let what = row[2] else { continue }
                firing[TableRef(schema: schema, name: name), default: []].append(
                    "\(what) of the target fires: the role may not set session_replication_role"
                )
            }
            return firing
        } catch {
            throw .server(error, "read the target's triggers")
        }
    }

    /// How many triggers and foreign keys will fire, for the log.
    func firingWarning(_ tables: [TableSchema]) throws(PostgresSetupFailure) -> String? {
        let firing = try firing(tables)
        guard !firing.isEmpty else { return nil }
        let tables = firing.keys.sorted().prefix(5).map(\.description).joined(separator: ", ")
        return "triggers and foreign keys of the target fire, because the role may not set session_replication_role: "
            + "\(tables)\(firing.count > 5 ? " and \(firing.count - 5) more tables" : ""); dbmazz-sink validate names them; "
            + "GRANT SET ON PARAMETER session_replication_role TO the role (PostgreSQL 15 and later) switches them off"
    }

    // MARK: Reports

    private func nameProblems(_ table: TableSchema, _ name: TableRef) -> [TableDifference] {
        var problems: [TableDifference] = []
        func add(_ cause: String, _ remedy: String) {
            problems.append(TableDifference(table: table.ref, cause: cause, remedy: remedy))
        }
        if name.name.utf8.count > 63 {
            add("its name at the target is longer than PostgreSQL's 63 bytes", "set SINK_TABLE_NAME")
        }
        if name.isState {
            add(
                "the name \(PostgresLayout.quoted(name)) is that of the sink's own table",
                "leave the table out of SOURCE_TABLES"
            )
        }
        for column in table.columns where config.audit.contains(where: { $0.rawValue == column.name }) {
            add(
                "column \"\(column.name)\" has the name of an audit column",
                "set SINK_AUDIT_COLUMNS=false, or leave the table out of SOURCE_TABLES"
            )
        }
        if table.columns.isEmpty { add("it has no columns", "leave the table out of SOURCE_TABLES") }
        return problems
    }

    private func same(_ table: TableSchema, as other: TableRef) -> TableDifference {
        TableDifference(
            table: table.ref,
            cause: "it and \(other) have one name at the target (\(target(table)))",
            remedy: "set SINK_TABLE_NAME so that every table has a name of its own"
        )
    }

    private func registration(_ table: TableSchema) -> String {
        "WHERE pipeline = \(pipeline.name.quotedLiteral) AND source_schema = \(table.ref.schema.quotedLiteral) "
            + "AND source_table = \(table.ref.name.quotedLiteral)"
    }

    private func renamed(_ table: TableSchema, from old: TableRef, to new: TableRef) -> TableDifference {
        TableDifference(
            table: table.ref,
            cause: "it was copied to table \(old), and is now to be \(new)",
            remedy: "move the table there, then UPDATE \(PostgresState.tableTable) SET sink_schema = "
                + "\(new.schema.quotedLiteral), sink_table = \(new.name.quotedLiteral) \(registration(table));"
        )
    }

    private func lost(_ table: TableSchema, _ name: TableRef) -> TableDifference {
        TableDifference(
            table: table.ref,
            cause: "table \(name), which was copied, is gone",
            remedy: "to copy it again: DELETE FROM \(PostgresState.tableTable) \(registration(table));"
        )
    }

    private func owned(_ table: TableSchema, _ name: TableRef, by owner: String) -> TableDifference {
        TableDifference(
            table: table.ref,
            cause: "table \(name) belongs to pipeline \"\(owner)\"",
            remedy: "set SINK_TABLE_NAME, SINK_SCHEMA or SINK_URL to another one"
        )
    }
}

/// Why a setup ended.
enum PostgresSetupFailure: Error {
    case server(PostgresError, String)
    case differs(SinkError)
}

extension AuditColumn {
    /// Its type at a PostgreSQL target.
    var postgresType: String {
        switch self {
        case .operation: "smallint"
        case .isDeleted: "boolean"
        case .syncedAt: "timestamp with time zone"
        case .version: "text"
        }
    }
}
