internal import CdcCore
internal import Glibc
internal import Logging
internal import PostgresSource

/// From a connected source to a running stream: state, decision, tables, slot, copy.
struct SessionStart {
    let setup: SessionSetup
    let link: SinkLink
    let parameters: ConnectionParameters
    let knownRelations: RelationTable.KnownRelations
    let monitor: PipelineMonitor
    let own: OwnSessions

    private var config: PipelineConfig { setup.config }
    private var logger: Logger { setup.config.logger }

    /// Does what the start-up case asks for, then streams.
    ///
    /// - Parameters:
    ///   - lastDurable: the last durable position of this process, for sinks that store none.
    ///   - stream: runs the stream to its end.
    /// - Throws: ``SessionEnd`` for whatever ends the session before or in the stream.
    func run(
        lastDurable: LSN,
        stream: (StreamSession) throws(SessionEnd) -> Void
    ) throws(SessionEnd) {
        let pipeline = config.identity(setup.system)
        monitor.identified(as: pipeline.name)
        guard case .state(let loaded) = try link.call(.loadState(pipeline: pipeline.name)) else { return }
        let state = loaded?.begun(storesPosition: config.capabilities.storesPosition)
        let plan: StartPlan
        do throws(SourceError) {
            if config.source.snapshot == .only, state != nil { try claimForCopy() }
            plan = try StartPlan.decide(
                config,
                state: state,
                slot: setup.slot,
                system: setup.system,
                replication: setup.replication
            )
            if !plan.copies, let state { try StartPlan.refuseOtherTables(setup.selection.tables, state) }
        } catch {
            throw SessionEnd(error)
        }
        logger.info(
            "start decided",
            metadata: ["plan": "\(plan.words(config.source))", "pipeline": "\(pipeline.name)"]
        )
        let schemas = setup.selection.tables.map { $0.schema(sinkName: config.sinkName($0.ref)) }
        if plan.copies {
            do throws(SourceError) {
                try Preflight(setup.session).checkReadable(setup.selection.tables)
            } catch {
                throw SessionEnd(error)
            }
        }
        guard case .ready(let wanted) = try link.call(.setup(schemas, pipeline)) else { return }
        let ready = ReadySink(schemas: schemas, format: format(wanted))
        let side = try sideSession()
        var copies = state?.copies ?? [:]
        guard let begin = try prepare(plan, ready, side: side, copies: &copies) else { return }
        let carried = zip(setup.selection.tables, schemas).map {
            CarriedTable(source: $0, schema: $1, copiedUpTo: copies[$0.ref] ?? .zero)
        }
        try stream(try open(carried, side: side, at: max(begin, lastDurable), format: ready.format))
    }

    /// What the sink is set up for.
    private struct ReadySink {
        let schemas: [TableSchema]
        let format: TupleFormat
    }

    /// The form that the sink wants, unless the server cannot send it.
    private func format(_ wanted: TupleFormat) -> TupleFormat {
        let textOnly = setup.selection.textOnly
        guard wanted == .binary, !textOnly.isEmpty else { return wanted }
        logger.info(
            "values come as text: a column's type has a binary form, but a part of it has none",
            metadata: ["tables": "\(textOnly.map(\.description).joined(separator: ","))"]
        )
        return .text
    }

    /// A copy for its own sake into a target that the pipeline fills: not while a daemon runs it.
    private func claimForCopy() throws(SourceError) {
        try PipelineClaim(
            session: setup.session,
            config: config,
            monitor: monitor,
            stop: link.stop,
            own: own,
            mode: .refuse
        )
        .make()
    }

    private func sideSession() throws(SessionEnd) -> SideSession {
        do throws(SourceError) {
            return try SideSession(
                setup.session,
                parameters: parameters,
                source: config.source,
                hasLock: config.source.snapshot != .only,
                own: own,
                monitor: monitor,
                stop: link.stop,
                logger: logger
            )
        } catch {
            throw SessionEnd(error)
        }
    }

    /// Makes slot and copies; returns where to begin to stream, or nil if the daemon is to end.
    private func prepare(
        _ plan: StartPlan,
        _ sink: ReadySink,
        side: SideSession,
        copies: inout [TableRef: LSN]
    ) throws(SessionEnd) -> LSN? {
        let tables = setup.selection.tables
        switch plan {
        case .createSlot(let copy):
            let point = try createSlot()
            Failpoint.slotCreated.pass()
            guard copy else { return try adopt(sink.schemas, at: point) }
            return try copyAll(tables, sink, side, keepsPosition: true, copies: &copies)
        case .copyThenStream:
            return try copyAll(tables, sink, side, keepsPosition: true, copies: &copies)
        case .copyOnly(let slotExists):
            _ = try copyAll(tables, sink, side, keepsPosition: slotExists, copies: &copies)
            return nil
        case .streamFromSlot(let position):
            return try adopt(sink.schemas, at: position)
        case .resume(let position):
            try copyNew(tables, sink, side, at: position, copies: &copies)
            return position
        }
    }

    private func createSlot() throws(SessionEnd) -> LSN {
        let name = config.source.slotName
        logger.info(
            "creating slot; this waits for transactions that are open at the source",
            metadata: ["slot": "\(name)"]
        )
        do throws(SourceError) {
            let point = try setup.replication.createSlot(name)
            logger.info("slot created", metadata: ["slot": "\(name)", "lsn": "\(point)"])
            return point
        } catch {
            throw SessionEnd(error)
        }
    }

    /// No copy is wanted: the sink's tables count as they are.
    private func adopt(_ schemas: [TableSchema], at point: LSN) throws(SessionEnd) -> LSN {
        _ = try link.call(.finishCopy(schemas, at: point, position: SourcePosition(at: point)))
        return point
    }

    private func copyAll(
        _ tables: [SourceTable],
        _ sink: ReadySink,
        _ side: SideSession,
        keepsPosition: Bool,
        copies: inout [TableRef: LSN]
    ) throws(SessionEnd) -> LSN {
        let point = try copy(tables, sink, side)
        let position = keepsPosition ? SourcePosition(at: point) : nil
        // Without a slot the next start copies again; a sink without a position would take a complete copy for its beginning.
        if keepsPosition || config.capabilities.storesPosition {
            _ = try link.call(.finishCopy(sink.schemas, at: point, position: position))
        }
        Failpoint.copyFinished.pass()
        for table in tables { copies[table.ref] = point }
        logger.info("copy finished", metadata: ["lsn": "\(point)", "tables": .stringConvertible(tables.count)])
        return point
    }

    /// Tables that joined the publication since: copied now, their part of the stream up to that point is dropped.
    private func copyNew(
        _ tables: [SourceTable],
        _ sink: ReadySink,
        _ side: SideSession,
        at position: LSN,
        copies: inout [TableRef: LSN]
    ) throws(SessionEnd) {
        let new = tables.indices.filter { copies[tables[$0].ref] == nil }
        guard !new.isEmpty else { return }
        let newSchemas = new.map { sink.schemas[$0] }
        guard config.source.snapshot == .initial else {
            _ = try link.call(.finishCopy(newSchemas, at: position, position: nil))
            return
        }
        let newTables = new.map { tables[$0] }
        do throws(SourceError) { try Preflight(setup.session).checkReadable(newTables) } catch {
            throw SessionEnd(error)
        }
        let point = try copy(newTables, ReadySink(schemas: newSchemas, format: sink.format), side)
        _ = try link.call(.finishCopy(newSchemas, at: point, position: nil))
        for table in newTables { copies[table.ref] = point }
        logger.info(
            "copy of new tables finished",
            metadata: ["lsn": "\(point)", "tables": .stringConvertible(newTables.count)]
        )
    }

    private func copy(
        _ tables: [SourceTable],
        _ sink: ReadySink,
        _ side: SideSession
    ) throws(SessionEnd) -> LSN {
        let connection: PostgresConnection
        do throws(SourceError) {
            connection = try PostgresConnection(parameters, replication: true, stop: link.stop)
        } catch {
            throw SessionEnd(error)
        }
        // Configuration, source, slot and sink have shown that they work; how long the copy takes is another matter.
        monitor.prove()
        let copy = InitialCopy(
            link: link,
            side: side,
            monitor: monitor,
            options: options,
            format: sink.format,
            logger: logger
        )
        return try copy.run(
            tables,
            schemas: sink.schemas,
            on: connection,
            slot: "dbmazz_copy_\(getpid())_\(UInt32.random(in: 0...(.max)))"
        )
    }

    private var options: StreamOptions { config.streamOptions(statusInterval: setup.statusInterval) }

    private func open(
        _ carried: [CarriedTable],
        side: SideSession,
        at position: LSN,
        format: TupleFormat
    ) throws(SessionEnd) -> StreamSession {
        let publication = Publication(setup.session, config: config.source)
        let relations = RelationTable(
            carried,
            known: knownRelations,
            logger: logger,
            isWanted: { publication.isWanted($0) }
        )
        do throws(SourceError) {
            try setup.replication.startReplication(
                slot: config.source.slotName,
                at: position,
                publication: config.source.publicationName,
                format: format,
                origin: config.source.origin
            )
            logger.info(
                "streaming",
                metadata: ["slot": "\(config.source.slotName)", "lsn": "\(position)", "format": "\(format)"]
            )
            side.streams()
            monitor.prove()
            monitor.enter(.streaming)
            return StreamSession(
                setup.replication,
                side: side,
                link: link,
                tables: relations,
                config: config,
                statusInterval: setup.statusInterval,
                startingAt: position,
                monitor: monitor
            )
        } catch {
            throw SessionEnd(error)
        }
    }
}
