public import CdcCore
internal import PostgresSource

/// Looks at source and target as a start would, and changes nothing at either.
public struct Validation {
    private let config: PipelineConfig
    private let sink: any Sink
    private let stop = StopSignal()
    private var report: ValidationReport

    /// Makes a validation of a pipeline.
    ///
    /// - Parameters:
    ///   - config: its settings.
    ///   - sink: its sink, unused so far.
    public init(_ config: PipelineConfig, sink: any Sink) {
        self.config = config
        self.sink = sink
        report = ValidationReport(sink: sink.target, deleteMode: config.sink.deleteMode.rawValue)
    }

    /// Looks at everything, and goes on after a finding as far as that makes sense.
    public consuming func run() async -> ValidationReport {
        do throws(SinkError) { try await sink.validateConnection() } catch { note(PipelineFailure(error)) }
        do throws(SourceError) {
            let parameters = try ConnectionParameters(config.source)
            let session = try PostgresConnection(parameters, replication: false, stop: stop)
            report.source = session.server
            report.sourceVersion = Int(session.serverVersion)
            await inspect(session, parameters)
        } catch {
            note(PipelineFailure(error))
        }
        await sink.close()
        return report
    }

    private mutating func note(_ failure: PipelineFailure) {
        if !report.errors.contains(failure.description) { report.errors.append(failure.description) }
        if report.exitCode == 0 { report.exitCode = failure.code.rawValue }
    }

    /// Runs a look at the source; nil and a note where it fails.
    private mutating func look<Value>(_ body: () throws(SourceError) -> Value) -> Value? {
        do throws(SourceError) { return try body() } catch {
            note(PipelineFailure(error))
            return nil
        }
    }

    private mutating func inspect(_ session: PostgresConnection, _ parameters: ConnectionParameters) async {
        let source = config.source
        let isOnly = source.snapshot == .only
        let slot = look { () throws(SourceError) in try ReplicationSlot.find(source.slotName, session) } ?? nil
        _ = look { () throws(SourceError) in
            let copies = source.snapshot != .never && slot == nil
            try Preflight(session).check(
                origin: source.origin,
                needsSlot: slot == nil && !isOnly,
                needsCopy: copies
            )
        }
        let warnings = look { () throws(SourceError) in try Preflight(session).warnings() }
        report.warnings += warnings ?? []
        let lock = PipelineLock(session, slot: source.slotName)
        let holder =
            look { () throws(SourceError) -> SlotHolder? in
                if let holder = try lock.take() { return holder }
                return try lock.reader()
            } ?? nil
        if let holder, config.sink.standby == .refuse, !isOnly {
            note(PipelineFailure(.slotInUse, "slot \(source.slotName) is in use by \(holder), and SINK_STANDBY=refuse"))
        } else if let holder {
            report.warnings.append(
                "slot \(source.slotName) is in use by \(holder): a daemon that is started now would wait for it"
            )
        }
        let selection = look { () throws(SourceError) in
            let inspection = try Publication(session, config: source).inspect()
            if let creation = inspection.creation {
                try Preflight(session).checkMayPublish(inspection.tables, creation: creation)
            }
            return inspection
        }
        let signal = stop
        let identified = look { () throws(SourceError) in
            let replication = try PostgresConnection(parameters, replication: true, stop: signal)
            return (replication, try replication.identifySystem())
        }
        let (replication, system) = (identified?.0, identified?.1)
        report.system = system?.systemIdentifier
        if let selection { await describe(selection, system) }
        if let system, let replication { await plan(slot, system, replication, selection, session) }
    }

    // MARK: Tables

    private mutating func describe(
        _ selection: Publication.Inspection,
        _ system: SystemIdentification?
    ) async {
        report.leftOut = selection.filteredOut.map(\.description)
        report.sourceStatements += [selection.creation.map { $0 + ";" }].compactMap(\.self)
        if !selection.unpublished.isEmpty {
            report.warnings.append(
                "publication \(config.source.publicationName) does not publish \(selection.unpublished.joined(separator: ", ")): "
                    + "the target will not see them"
            )
        }
        let schemas = selection.tables.map { $0.schema(sinkName: config.sinkName($0.ref)) }
        let plans = await plans(schemas, system)
        for (index, table) in selection.tables.enumerated() {
            report.tables.append(
                entry(table, schemas[index], plans.indices.contains(index) ? plans[index] : nil, selection)
            )
        }
        if report.tables.contains(where: { !$0.problems.isEmpty }), report.exitCode == 0 {
            report.exitCode = ExitStatus.schemaMismatch.rawValue
        }
    }

    private mutating func plans(_ schemas: [TableSchema], _ system: SystemIdentification?) async -> [TablePlan] {
        guard let system else { return [] }
        let pipeline = config.identity(system)
        report.pipeline = pipeline.name
        do throws(SinkError) { return try await sink.plan(schemas, for: pipeline) } catch {
            note(PipelineFailure(error))
            return []
        }
    }

    private func entry(
        _ table: SourceTable,
        _ schema: TableSchema,
        _ plan: TablePlan?,
        _ selection: Publication.Inspection
    ) -> ValidationReport.Table {
        ValidationReport.Table(
            table: table.ref.description,
            sinkTable: plan?.sinkName ?? schema.sinkName,
            key: table.key.map { table.columns[$0].name },
            replicaIdentity: "\(table.identity)",
            rowFilter: table.rowFilter,
            columns: table.columns.enumerated().map { index, column in
                ValidationReport.Column(
                    name: column.name,
                    type: column.postgresType.name,
                    sinkType: plan?.columns.first { $0.name == column.name }?.type,
                    isKey: table.key.contains(index)
                )
            },
            statements: plan?.statements ?? [],
            problems: plan?.problems ?? [],
            warnings: warnings(table, selection) + (plan?.warnings ?? [])
        )
    }

    private func warnings(_ table: SourceTable, _ selection: Publication.Inspection) -> [String] {
        var warnings: [String] = []
        if table.key.isEmpty {
            warnings.append(
                "it has no key: updates and deletes look rows up by all their values, equal rows are told apart by number"
            )
        } else if table.identity == .full {
            warnings.append("REPLICA IDENTITY FULL writes the whole old row to WAL with every update and delete")
        }
        if !table.leftOut.isEmpty {
            warnings.append("columns that are not published do not arrive: \(table.leftOut.joined(separator: ", "))")
        }
        if let filter = table.rowFilter {
            warnings.append("only rows that match the publication's filter arrive: \(filter)")
        }
        if table.isPartitioned, !selection.publishesRoots {
            warnings.append(
                "its publication has publish_via_partition_root off: every partition arrives as a table of its own"
            )
        }
        return warnings
    }

    // MARK: The start

    private mutating func plan(
        _ slot: ReplicationSlot?,
        _ system: SystemIdentification,
        _ replication: PostgresConnection,
        _ selection: Publication.Inspection?,
        _ session: PostgresConnection
    ) async {
        let config = config
        let found: PipelineState?
        do throws(SinkError) {
            found = try await sink.loadState(of: config.identity(system).name)?
                .begun(storesPosition: config.capabilities.storesPosition)
        } catch {
            return note(PipelineFailure(error))
        }
        let plan = look { () throws(SourceError) in
            let plan = try StartPlan.decide(config, state: found, slot: slot, system: system, replication: replication)
            if plan.copies {
                try Preflight(session).checkReadable(selection?.tables ?? [])
            } else if let found, let selection {
                try StartPlan.refuseOtherTables(selection.tables, found)
            }
            return plan
        }
        report.plan = plan?.words(config.source)
    }
}

extension StartPlan {
    /// The plan for people.
    func words(_ source: SourceConfig) -> String {
        switch self {
        case .createSlot(true): "make slot \(source.slotName), copy the tables, then stream"
        case .createSlot(false): "make slot \(source.slotName) and stream from there, without a copy"
        case .copyThenStream: "copy the tables, then stream from slot \(source.slotName)"
        case .streamFromSlot(let position): "stream from \(position), where slot \(source.slotName) is, without a copy"
        case .resume(let position):
            "go on streaming from \(position); tables that are new to the target are copied first"
        case .copyOnly: "copy the tables from a temporary slot and end"
        }
    }
}
