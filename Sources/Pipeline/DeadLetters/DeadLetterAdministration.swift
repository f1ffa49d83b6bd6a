public import CdcCore
internal import PostgresSource

/// What the operator does with dead letters: looks at them, and replays them once their cause is mended.
public struct DeadLetterAdministration {
    private let config: PipelineConfig
    private let sink: any Sink
    private let stop = StopSignal()

    /// Looks after the letters of a pipeline.
    ///
    /// - Parameters:
    ///   - config: its settings.
    ///   - sink: its sink, unused so far.
    public init(_ config: PipelineConfig, sink: any Sink) {
        self.config = config
        self.sink = sink
    }

    // MARK: Looking

    /// The pipeline's letters and what became of them.
    ///
    /// Asks the source for the pipeline's name only where settings and files do not tell it.
    public func book() async throws(PipelineFailure) -> DeadLetterBook {
        let name: String
        if let known = try Self.target(knownName) {
            name = known
        } else {
            name = try Source(config, stop).pipeline.name
        }
        return try await load(name).book
    }

    private func load(_ pipeline: String) async throws(PipelineFailure) -> (
        store: DeadLetterStore, book: DeadLetterBook
    ) {
        do throws(SinkError) {
            let store = DeadLetterStore(try DeadLetterStore.Place(config.sink), pipeline: pipeline, sink: sink)
            return (store, DeadLetterBook(try await store.load()))
        } catch {
            throw PipelineFailure(error)
        }
    }

    /// The pipeline's name as settings or files tell it; nil where the source has to be asked.
    private func knownName() throws(SinkError) -> String? {
        if let name = config.sink.pipeline { return name }
        guard case .directory(let path) = try DeadLetterStore.Place(config.sink) else { return nil }
        let names = try DeadLetterDirectory.pipelines(in: path).filter { $0.hasSuffix("_" + config.source.slotName) }
        return names.count == 1 ? names[0] : nil
    }

    private static func target<Value>(_ body: () throws(SinkError) -> Value) throws(PipelineFailure) -> Value {
        do throws(SinkError) { return try body() } catch { throw PipelineFailure(error) }
    }

    private static func misused(_ cause: String) -> PipelineFailure {
        PipelineFailure(.configuration, "replay dead letters failed: \(cause)")
    }

    // MARK: Replaying

    /// Writes letters into the target, in the source's order, and remembers that they are there.
    ///
    /// Only while no daemon runs the pipeline; none starts meanwhile.
    ///
    /// - Parameters:
    ///   - numbers: which ones; nil for all that are pending.
    ///   - table: `schema.table`, to leave out the letters of others.
    ///   - told: hears of each letter that was written.
    /// - Returns: how many were written.
    /// - Throws: ``PipelineFailure`` at the first letter that is still refused; those before it are written and remembered.
    public func replay(
        _ numbers: [Int]?,
        table: String?,
        told: (DeadLetter) -> Void
    ) async throws(PipelineFailure) -> Int {
        let source = try Source(config, stop)
        try source.claim()
        let (store, book) = try await load(source.pipeline.name)
        let letters = try chosen(numbers, table, book)
        guard !letters.isEmpty else { return 0 }
        try Self.requireOrder(letters, of: book)
        let tables = try source.tables(of: letters)
        let outcome: Result<Int, PipelineFailure>
        do throws(PipelineFailure) {
            outcome = .success(try await write(letters, tables, source.pipeline, store, book.last, told))
        } catch {
            outcome = .failure(error)
        }
        await sink.close()
        // The claim goes with the session.
        withExtendedLifetime(source) {}
        return try outcome.get()
    }

    private func chosen(_ numbers: [Int]?, _ table: String?, _ book: DeadLetterBook) throws(PipelineFailure)
        -> [DeadLetter]
    {
        var letters = book.pending
        if let numbers {
            for number in numbers {
                guard let letter = book.letters.first(where: { $0.number == number }) else {
                    throw Self.misused("there is no dead letter \(number); see dbmazz-sink dlq list")
                }
                if book.state(of: letter) == .obsolete {
                    throw Self.misused("dead letter \(number) is obsolete: table \(letter.table) was emptied since")
                }
            }
            letters = letters.filter { numbers.contains($0.number) }
        }
        if let table { letters = letters.filter { $0.table.description.hasSameBytes(as: table) } }
        return letters
    }

    /// A row's letters go in their order, or the last one replayed would win.
    private static func requireOrder(_ letters: [DeadLetter], of book: DeadLetterBook) throws(PipelineFailure) {
        struct Row: Hashable {
            var table: TableRef
            var key: KeyImage
        }
        let chosen = Set(letters.map(\.number))
        var waiting: [Row: Int] = [:]
        for letter in book.pending {
            let rows = letter.keyImages.map { Row(table: letter.table, key: $0) }
            if chosen.contains(letter.number) {
                guard let earlier = rows.lazy.compactMap({ waiting[$0] }).first else { continue }
                throw misused(
                    "dead letter \(earlier) is an earlier change of the row of \(letter.number): replay it, too, or --all"
                )
            }
            for row in rows where waiting[row] == nil { waiting[row] = letter.number }
        }
    }

    private func write(
        _ letters: [DeadLetter],
        _ tables: [TableRef: SourceTable],
        _ pipeline: PipelineIdentity,
        _ store: DeadLetterStore,
        _ last: Int,
        _ told: (DeadLetter) -> Void
    ) async throws(PipelineFailure) -> Int {
        try await requireReached(letters, pipeline)
        var schemas: [TableRef: TableSchema] = [:]
        var isText: Bool?
        var number = last
        for letter in letters {
            let asText =
                tables[letter.table].map { letter.isText($0.schema(sinkName: config.sinkName($0.ref))) } ?? false
            if isText != asText {
                schemas = try await setUp(tables, asText: asText, pipeline)
                isText = asText
            }
            guard let schema = schemas[letter.table] else {
                throw Self.misused("table \(letter.table) of dead letter \(letter.number) is not in the publication")
            }
            try await write(letter, schema)
            number += 1
            do throws(SinkError) {
                let line = DeadLetterLine.replayed(number: number, letter: letter.number, at: DeadLetterOffice.now())
                try await store.append([line], pipeline: pipeline.name)
            } catch {
                throw PipelineFailure(error)
            }
            told(letter)
        }
        return letters.count
    }

    /// What the daemon has not passed yet it would write before, or again.
    private func requireReached(_ letters: [DeadLetter], _ pipeline: PipelineIdentity) async throws(PipelineFailure) {
        let state: PipelineState?
        do throws(SinkError) {
            try await sink.validateConnection()
            state = try await sink.loadState(of: pipeline.name)
        } catch {
            throw PipelineFailure(error)
        }
        guard config.capabilities.storesPosition else { return }
        for letter in letters {
            let isCopied = letter.version.ordinal == 0
            let reached = max(
                state?.position?.commitLSN ?? .zero,
                isCopied ? state?.copies[letter.table] ?? .zero : .zero
            )
            guard letter.version.commitLSN <= reached else {
                throw Self.misused(
                    "the target is at \(reached), before dead letter \(letter.number) (\(letter.version.commitLSN)): start "
                        + "the daemon until it has passed it, then replay"
                )
            }
        }
    }

    /// Sets the sink up as a start would, in the form in which the letters' values came.
    private func setUp(
        _ tables: [TableRef: SourceTable],
        asText: Bool,
        _ pipeline: PipelineIdentity
    ) async throws(PipelineFailure) -> [TableRef: TableSchema] {
        func schemas(asText: Bool) -> [TableSchema] {
            tables.values.sorted { $0.ref < $1.ref }
                .map { (asText ? $0.asText : $0).schema(sinkName: config.sinkName($0.ref)) }
        }
        var found = schemas(asText: false)
        do throws(SinkError) {
            try await sink.setup(found, for: pipeline)
            if asText, sink.tupleFormat == .binary {
                found = schemas(asText: true)
                try await sink.setup(found, for: pipeline)
            }
        } catch {
            throw PipelineFailure(error)
        }
        return Dictionary(found.map { ($0.ref, $0) }) { first, _ in first }
    }

    private func write(_ letter: DeadLetter, _ schema: TableSchema) async throws(PipelineFailure) {
        let batch: CdcBatch
        do throws(DeadLetter.Misfit) { batch = try letter.batch(for: schema) } catch {
            throw Self.misused(
                "dead letter \(letter.number) does not fit table \(letter.table) any more: \(error.cause)"
            )
        }
        do throws(SinkError) {
            _ = try await sink.writeBatch(batch, deadline: .now + config.hangTimeout)
        } catch {
            let failure = PipelineFailure(error)
            throw PipelineFailure(
                failure.code,
                "dead letter \(letter.number) is not written: \(failure.description); it and those after it stay pending"
            )
        }
    }
}

/// The source as a replay needs it: who the pipeline is, and its tables.
private final class Source {
    let pipeline: PipelineIdentity
    private let session: PostgresConnection
    private let config: PipelineConfig

    init(_ config: PipelineConfig, _ stop: StopSignal) throws(PipelineFailure) {
        self.config = config
        do throws(SourceError) {
            let parameters = try ConnectionParameters(config.source)
            session = try PostgresConnection(parameters, replication: false, stop: stop)
            let replication = try PostgresConnection(parameters, replication: true, stop: stop)
            pipeline = config.identity(try replication.identifySystem())
        } catch {
            throw PipelineFailure(error)
        }
    }

    /// Becomes the one that runs the pipeline.
    func claim() throws(PipelineFailure) {
        let holder: SlotHolder?
        do throws(SourceError) {
            let lock = PipelineLock(session, slot: config.source.slotName)
            if let found = try lock.take() { holder = found } else { holder = try lock.reader() }
        } catch {
            throw PipelineFailure(error)
        }
        guard let holder else { return }
        throw PipelineFailure(
            .slotInUse,
            "replay dead letters failed: a daemon runs the pipeline (slot \(config.source.slotName) is in use by \(holder)); "
                + "stop it first, because it writes later changes of other rows meanwhile"
        )
    }

    /// The letters' tables as they are now.
    func tables(of letters: [DeadLetter]) throws(PipelineFailure) -> [TableRef: SourceTable] {
        let wanted = Set(letters.map(\.table))
        do throws(SourceError) {
            let found = try Publication(session, config: config.source).inspect().tables
            return Dictionary(found.filter { wanted.contains($0.ref) }.map { ($0.ref, $0) }) { first, _ in first }
        } catch {
            throw PipelineFailure(error)
        }
    }
}
