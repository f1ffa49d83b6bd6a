internal import CdcCore

/// A sink on its target, and the rows that the target has to show: every change is applied to them one after the other as it
/// is put into a batch, without any folding.
final class Stage {
    let target: any ConformanceTarget
    let pipeline: PipelineIdentity
    private let configure: (inout SinkConfig) -> Void
    private(set) var sink: any Sink
    private(set) var tables: [TableSchema] = []
    /// The rows of each table.
    var rows: [[[TestCell]]] = []
    /// The commit that comes next: it only grows, as at a source.
    private var lsn: UInt64 = 0x10_0000
    /// The position that the target owes.
    private(set) var position: SourcePosition?

    var capabilities: SinkCapabilities { target.sinkType.capabilities }

    static let source = SourceIdentity(systemIdentifier: "7412345678901234567", timeline: 1, slot: "dbmazz_slot")

    /// A sink that goes on where an earlier one on the same target stopped, or on an empty target.
    init(
        _ target: any ConformanceTarget,
        pipeline: String = "conformance",
        after earlier: Stage? = nil,
        configure: @escaping (inout SinkConfig) -> Void = { _ in }
    ) throws {
        self.target = target
        self.configure = configure
        self.pipeline = PipelineIdentity(name: pipeline, source: Stage.source)
        sink = try Stage.makeSink(target, self.pipeline.name, configure)
        if let earlier { (lsn, position) = (earlier.lsn, earlier.position) }
    }

    private static func makeSink(
        _ target: any ConformanceTarget,
        _ pipeline: String,
        _ configure: (inout SinkConfig) -> Void
    ) throws -> any Sink {
        var config = try target.config()
        config.pipeline = pipeline
        configure(&config)
        return try target.sinkType.init(config)
    }

    // MARK: Life

    /// Starts as the daemon does, on tables that are then known by their place.
    func start(_ tables: TableSchema...) async throws { try await start(tables) }

    func start(_ tables: [TableSchema]) async throws {
        self.tables = tables.map(suited)
        rows = tables.map { _ in [] }
        try await open()
    }

    /// The table as the sink takes it.
    func suited(_ table: TableSchema) -> TableSchema {
        guard !target.traits.keepsUnchangedColumns, table.identity != .full else { return table }
        return table.copy(identity: .full)
    }

    private func open() async throws {
        for attempt in 1... {
            do throws(SinkError) {
                try await sink.validateConnection()
                _ = try await sink.loadState(of: pipeline.name)
                return try await sink.setup(tables, for: pipeline)
            } catch {
                // What an instance that was killed has left open may be in the way for a moment.
                guard error.kind == .retriable, attempt < 200 else { throw error }
                try await Task.sleep(for: .milliseconds(50))
            }
        }
    }

    /// Ends the sink, in good order or as a kill would, and starts another on the same target.
    func restart(orderly: Bool = true) async throws {
        if orderly { await sink.close() }
        sink = try Stage.makeSink(target, pipeline.name, configure)
        tables = tables.map { $0.copy() }
        try await open()
    }

    func close() async { await sink.close() }

    // MARK: Writing

    static let patience = Duration.seconds(30)

    /// What the source has committed next: an LSN behind all others.
    func nextLSN() -> UInt64 {
        lsn += 0x100
        return lsn
    }

    /// An empty batch of these tables, filled in the form that the sink asks for.
    func builder(_ tables: [TableSchema]? = nil) -> BatchBuilder {
        let builder = BatchBuilder(tables ?? self.tables)
        if sink.tupleFormat == .binary { builder.encode = WireForm.binary }
        return builder
    }

    /// The batches of a unit, and the position that it earns.
    struct Unit {
        var parts: [CdcBatch]
        var position: SourcePosition?
    }

    /// Makes one transaction of the changes, cut into a part for each closure; the rows are then as after its commit.
    func unit(_ fills: [(Script) -> Void]) -> Unit {
        let lsn = nextLSN()
        var ordinal: UInt64 = 0
        var unit = Unit(parts: [])
        for (part, fill) in fills.enumerated() {
            let builder = self.builder().begin(lsn: lsn, after: ordinal)
            builder.batch.beginsUnit = part == 0
            builder.batch.commitsUnit = part == fills.count - 1
            fill(Script(builder, self))
            ordinal = builder.ordinal
            if part == fills.count - 1 {
                builder.commit()
                unit.position = builder.position
            }
            unit.parts.append(builder.batch)
        }
        return unit
    }

    func unit(_ fills: ((Script) -> Void)...) -> Unit { unit(fills) }

    /// Writes one transaction as one batch.
    func write(_ fill: @escaping (Script) -> Void) async throws {
        try await send(unit([fill]))
    }

    /// Writes all parts of a unit, as the pipeline does.
    func send(_ unit: Unit) async throws {
        for part in unit.parts { try await send(part) }
        if let position = unit.position { self.position = position }
    }

    /// Notes that a unit whose parts were sent one by one is committed.
    func earned(_ unit: Unit) { position = unit.position ?? position }

    /// Writes a batch, and holds the sink to what it has to answer.
    @discardableResult
    func send(_ batch: CdcBatch, within patience: Duration = Stage.patience) async throws -> SinkResult {
        let result = try await sink.writeBatch(batch, deadline: .now + patience)
        try requireEqual(result.recordsWritten, batch.changeCount, "recordsWritten")
        try requireEqual(result.bytesWritten, batch.tupleBytes, "bytesWritten")
        let durable = batch.commitsUnit ? batch.position ?? position : nil
        try requireEqual(result.durablePosition?.endLSN, durable?.endLSN, "the result's durablePosition")
        return result
    }

    /// Writes one unit, again and again until it is taken, as the pipeline does after errors that may pass.
    func sendAgain(_ unit: Unit) async throws {
        for _ in 0..<50 {
            do {
                return try await send(unit)
            } catch let error as SinkError where error.kind == .retriable || error.kind == .ambiguous {
                guard try await !isWritten(unit) else { return }
                try await Task.sleep(for: .milliseconds(100))
            }
        }
        throw ConformanceFailure("the unit was not taken although the target is back")
    }

    /// What the pipeline asks after an ambiguous outcome.
    private func isWritten(_ unit: Unit) async throws -> Bool {
        guard let wanted = unit.position else { return false }
        for _ in 0..<50 {
            do throws(SinkError) {
                guard try await sink.durablePosition()?.endLSN == wanted.endLSN else { return false }
                position = wanted
                return true
            } catch {
                guard error.kind == .retriable else { throw error }
                try await Task.sleep(for: .milliseconds(100))
            }
        }
        throw ConformanceFailure("durablePosition is not told although the target is back")
    }

    // MARK: Copying

    /// Copies rows into tables, given by their place, as one batch for each table.
    func copy(_ places: [Int], _ newRows: [[TestCell]], finishing: Bool = true) async throws {
        let copied = places.map { tables[$0] }
        try await sink.beginCopy(of: copied)
        for place in places { rows[place] = [] }
        let order = try await sink.copyOrder(of: copied)
        try requireEqual(order.sorted(), Array(copied.indices), "copyOrder, sorted")
        let point = nextLSN()
        for index in order {
            let builder = self.builder(copied).begin(xid: 0, lsn: point)
            for row in newRows {
                builder.insert(row, table: UInt32(index), ordinal: 0)
                rows[places[index]].append(row)
            }
            builder.batch.markCommitted()
            try await send(builder.batch)
        }
        if finishing { try await finishCopy(places, at: LSN(rawValue: point)) }
    }

    func finishCopy(_ places: [Int], at point: LSN, moving: Bool = true) async throws {
        let earned = moving ? SourcePosition(at: point) : nil
        try await sink.finishCopy(of: places.map { tables[$0] }, at: point, position: earned)
        if let earned { position = earned }
    }

    // MARK: Looking

    /// Compares every table, and the position, with what has to be there.
    func verify(_ when: @autoclosure () -> String = "") async throws {
        for (place, table) in tables.enumerated() {
            let found = Rows.keys(try target.rows(of: table), of: table)
            if let difference = Rows.difference(found: found, expected: Rows.keys(rows[place], of: table)) {
                throw ConformanceFailure("\(when()) table \(table.ref): \(difference)")
            }
        }
        let durable = try await sink.durablePosition()
        try requireEqual(durable?.endLSN, position?.endLSN, "\(when()) durablePosition")
    }

    /// What a table shows, for a check that knows better than the model.
    func expect(_ expected: [[TestCell]], in place: Int = 0, _ when: String = "") throws {
        let table = tables[place]
        let found = Rows.keys(try target.rows(of: table), of: table)
        if let difference = Rows.difference(found: found, expected: Rows.keys(expected, of: table)) {
            throw ConformanceFailure("\(when) table \(table.ref): \(difference)")
        }
    }

    /// What another instance is told of the pipeline.
    func loadState() async throws -> PipelineState? {
        let other = try Stage.makeSink(target, pipeline.name, configure)
        let state = try await other.loadState(of: pipeline.name)
        await other.close()
        return state
    }

    /// The position that `loadState` has to tell.
    var storedPosition: LSN? { capabilities.storesPosition ? position?.endLSN : nil }
}

/// The error that an operation must throw.
func refusal(_ what: String, _ body: () async throws -> Void) async throws -> SinkError {
    do {
        try await body()
    } catch let error as SinkError {
        return error
    }
    throw ConformanceFailure("\(what) is not refused")
}

extension TableSchema {
    /// The same table as another object, as each session brings it.
    func copy(
        columns: [ColumnDef]? = nil,
        key: [Int]? = nil,
        identity: ReplicaIdentity? = nil,
        sinkName: String? = nil
    ) -> TableSchema {
        TableSchema(
            ref: ref,
            sinkName: sinkName ?? self.sinkName,
            columns: columns ?? self.columns,
            key: key ?? self.key,
            identity: identity ?? self.identity,
            oid: oid
        )
    }
}
