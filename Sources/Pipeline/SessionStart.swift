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
    /// Whether values have to come as text, whatever the sink wants.
    let needsText: Bool

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
        if plan.copies {
            do throws(SourceError) {
                try Preflight(setup.session).checkReadable(setup.selection.tables)
            } catch {
                throw SessionEnd(error)
            }
        }
        guard let ready = try setUp(pipeline) else { return }
        let side = try sideSession()
        var copies = state?.copies ?? [:]
        guard let begin = try prepare(plan, ready, side: side, copies: &copies) else { return }
        let carried = zip(ready.tables, ready.schemas).map {
            CarriedTable(source: $0, schema: $1, copiedUpTo: copies[$0.ref] ?? .zero)
        }
        try stream(try open(carried, side: side, at: max(begin, lastDurable), format: ready.format))
    }

    /// What the sink is set up for.
    private struct ReadySink {
        var tables: [SourceTable]
        /// The same tables as the sink knows them.
        var schemas: [TableSchema]
        let format: TupleFormat
    }

    /// Sets the sink up, and hears in which form it wants values.
    ///
    /// Where the server cannot send them as binary, the sink knows of no column that has a binary form.
    private func setUp(_ pipeline: PipelineIdentity) throws(SessionEnd) -> ReadySink? {
        let textOnly = setup.selection.textOnly
        let isTextOnly = needsText || !textOnly.isEmpty
        let tables = isTextOnly ? setup.selection.tables.map(\.asText) : setup.selection.tables
        let schemas = tables.map { $0.schema(sinkName: config.sinkName($0.ref)) }
        guard case .ready(let format) = try link.call(.setup(schemas, pipeline)) else { return nil }
        if format == .binary, !textOnly.isEmpty {
            logger.info(
                "values come as text: a column's type has a binary form, but a part of it has none",
                metadata: ["tables": "\(textOnly.map(\.description).joined(separator: ","))"]
            )
        }
        return ReadySink(tables: tables, schemas: schemas, format: isTextOnly ? .text : format)
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
        switch plan {
        case .createSlot(let copy):
            let point = try createSlot()
            Failpoint.slotCreated.pass()
            guard copy else { return try adopt(sink.schemas, at: point) }
            return try copyAll(sink, side, keepsPosition: true, copies: &copies)
        case .copyThenStream:
            return try copyAll(sink, side, keepsPosition: true, copies: &copies)
        case .copyOnly(let slotExists):
            _ = try copyAll(sink, side, keepsPosition: slotExists, copies: &copies)
            return nil
        case .streamFromSlot(let position):
            return try adopt(sink.schemas, at: position)
        case .resume(let position):
            try copyNew(sink, side, at: position, copies: &copies)
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
        _ sink: ReadySink,
        _ side: SideSession,
        keepsPosition: Bool,
        copies: inout [TableRef: LSN]
    ) throws(SessionEnd) -> LSN {
        let tables = sink.tables
        let point = try copy(sink, side)
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
        _ sink: ReadySink,
        _ side: SideSession,
        at position: LSN,
        copies: inout [TableRef: LSN]
    ) throws(SessionEnd) {
        let places = sink.tables.indices.filter { copies[sink.tables[$0].ref] == nil }
        guard !places.isEmpty else { return }
        var new = sink
        new.tables = places.map { sink.tables[$0] }
        new.schemas = places.map { sink.schemas[$0] }
        guard config.source.snapshot == .initial else {
            _ = try link.call(.finishCopy(new.schemas, at: position, position: nil))
            return
        }
        do throws(SourceError) { try Preflight(setup.session).checkReadable(new.tables) } catch {
            throw SessionEnd(error)
        }
        let point = try copy(new, side)
        _ = try link.call(.finishCopy(new.schemas, at: point, position: nil))
        for table in new.tables { copies[table.ref] = point }
        logger.info(
            "copy of new tables finished",
            metadata: ["lsn": "\(point)", "tables": .stringConvertible(new.tables.count)]
        )
    }

    private func copy(
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
            sink.tables,
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
                format: format,
                monitor: monitor
            )
        } catch {
            throw SessionEnd(error)
        }
    }
}
