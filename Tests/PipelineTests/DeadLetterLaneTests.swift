import CdcCore
import Glibc
import Logging
import PostgresSource
import Testing

@testable import Pipeline

/// The sink's lane with `SINK_ON_ERROR=dead-letter`, over a target that refuses some rows.
@Suite("Dead letters in the sink's lane", .timeLimit(.minutes(1)))
struct DeadLetterLaneTests {
    static let table = TableSchema(
        ref: TableRef(schema: "public", name: "t"),
        sinkName: "t",
        columns: [
            ColumnDef(name: "id", type: .int32, postgresType: PostgresType(oid: 23, name: "integer")),
            ColumnDef(name: "v", type: .text, postgresType: PostgresType(oid: 25, name: "text")),
        ],
        key: [0],
        identity: .default
    )
    static let pipeline = PipelineIdentity(
        name: "p",
        source: SourceIdentity(systemIdentifier: "1", timeline: 1, slot: "s")
    )

    enum Step {
        case insert(Int, String)
        case update(Int, String)
        case rekey(Int, Int, String)
        case delete(Int)
        case truncate
    }

    /// A batch of one transaction.
    static func batch(
        _ steps: [Step],
        lsn: UInt64 = 100,
        from ordinal: UInt64 = 1,
        begins: Bool = true,
        commits: Bool = true,
        isCopy: Bool = false
    ) -> CdcBatch {
        let batch = CdcBatch(tables: [table])
        batch.begin(TransactionInfo(xid: isCopy ? 0 : 7, commitLSN: LSN(rawValue: lsn), commitTime: 5))
        func row(_ id: Int, _ value: String?) -> UInt32 {
            let first = batch.addCells(2, filledWith: .null)
            for (column, text) in [String(id), value].enumerated() {
                guard let text else { continue }
                let bytes = Array(text.utf8)
                batch.setCell(
                    Int(first) + column,
                    offset: batch.copy(bytes.span.bytes),
                    length: bytes.count,
                    isBinary: false
                )
            }
            return first
        }
        for (index, step) in steps.enumerated() {
            let ordinal = isCopy ? 0 : ordinal + UInt64(index)
            switch step {
            case .insert(let id, let value):
                batch.appendInsert(table: 0, newCells: row(id, value), ordinal: ordinal)
            case .update(let id, let value):
                _ = batch.appendUpdate(
                    table: 0,
                    old: .none,
                    oldCells: .max,
                    newCells: row(id, value),
                    ordinal: ordinal
                )
            case .rekey(let old, let new, let value):
                let oldCells = row(old, nil)
                _ = batch.appendUpdate(
                    table: 0,
                    old: .key,
                    oldCells: oldCells,
                    newCells: row(new, value),
                    ordinal: ordinal
                )
            case .delete(let id): batch.appendDelete(table: 0, old: .key, oldCells: row(id, nil), ordinal: ordinal)
            case .truncate: batch.appendTruncate(table: 0, ordinal: ordinal)
            }
        }
        batch.markCommitted()
        batch.beginsUnit = begins
        batch.commitsUnit = commits
        batch.position = commits && !isCopy ? SourcePosition(at: LSN(rawValue: lsn)) : nil
        return batch
    }

    /// A directory for the letters of one test.
    final class Letters: Sendable {
        let path: String
        init() {
            var name = Array("/tmp/dbmazz-letters-XXXXXX".utf8CString)
            path = mkdtemp(&name).map { String(cString: $0) } ?? "/nonexistent"
        }

        deinit {
            if let files = try? DeadLetterDirectoryTests.names(path) { for file in files { unlink("\(path)/\(file)") } }
            rmdir(path)
        }

        func book() throws -> DeadLetterBook {
            DeadLetterBook(try DeadLetterDirectory(path, pipeline: "p").load())
        }

        /// The letters in words: state, change, key, cause.
        func words() throws -> [String] {
            let book = try book()
            return book.letters.map { letter in
                guard case .text(let key) = letter.key.first?.cell else { return "?" }
                let cause = letter.cause == DeadLetter.follows ? "follows" : letter.cause
                return "\(book.state(of: letter)) \(letter.kind) \(String(decoding: key, as: UTF8.self)) \(cause)"
            }
        }
    }

    /// Runs a lane over the target: the body gets its exchange after a setup.
    func withLane(
        _ target: PickyTarget,
        _ letters: Letters,
        onError: ErrorPolicy = .deadLetter,
        retries: Int? = nil,
        inTarget: Bool = false,
        _ body: (SinkExchange) async throws -> Void
    ) async throws {
        var sink = SinkConfig(type: PickySink.name, capabilities: PickySink.capabilities)
        sink.onError = onError
        sink.deadLetterURL = inTarget ? "table" : letters.path
        sink.retry = RetryPolicy(maxRetries: retries, initial: .milliseconds(5), maximum: .milliseconds(10))
        let config = PipelineConfig(
            source: SourceConfig(url: Secret("host=none")),
            sink: sink,
            capabilities: PickySink.capabilities,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        )
        let exchange = SinkExchange(waking: StopSignal())
        let lane = SinkLane(
            exchange: exchange,
            config: config,
            monitor: PipelineMonitor(config),
            makeSink: { PickySink(target) }
        )
        async let end: Void = lane.run()
        do {
            guard case .state = try await ask(exchange, .loadState(pipeline: "p")) else { throw Unexpected("state") }
            guard case .ready = try await ask(exchange, .setup([Self.table], Self.pipeline)) else {
                throw Unexpected("setup")
            }
            try await body(exchange)
        } catch {
            exchange.abandon()
            exchange.close()
            await end
            throw error
        }
        exchange.close()
        await end
    }

    func ask(_ exchange: SinkExchange, _ command: SinkCommand) async throws -> SinkReply {
        exchange.submit(command)
        while true {
            if let reply = exchange.takeReply() { return reply }
            try await Task.sleep(for: .milliseconds(1))
        }
    }

    func write(_ exchange: SinkExchange, _ batch: CdcBatch) async throws -> SinkResult {
        guard case .written(_, let result) = try await ask(exchange, .write(batch)) else {
            throw Unexpected("not written")
        }
        return result
    }

    private static let poisoned = PickyTarget { $0.poison = { $0 == "bad" } }

    private static func target(names: Bool = false) -> PickyTarget {
        PickyTarget {
            $0.poison = { $0.hasPrefix("bad") }
            $0.namesChanges = names
        }
    }

    // MARK: Finding

    @Test("a poisoned row in the middle of 10 000: the others arrive", arguments: [false, true])
    func oneInTheMiddle(names: Bool) async throws {
        let (target, letters) = (Self.target(names: names), Letters())
        try await withLane(target, letters) { exchange in
            let steps = (0..<10_000).map { Step.insert($0, $0 == 5_000 ? "bad" : "v") }
            let result = try await write(exchange, Self.batch(steps))
            #expect(result.recordsWritten == 9_999)
            #expect(result.durablePosition?.endLSN == LSN(rawValue: 100))
        }
        #expect(target.read { $0.rows.count } == 9_999)
        #expect(try letters.words() == ["pending insert 5000 write: poison"])
        let letter = try #require(try letters.book().letters.first)
        #expect(letter.version == RowVersion(commitLSN: LSN(rawValue: 100), ordinal: 5_001))
        #expect(letter.xid == 7 && letter.commitTime == 5)
        #expect(letter.new == [.text(Array("5000".utf8)), .text(Array("bad".utf8))])
        #expect(target.read { $0.rehearsals } <= (names ? 0 : 32))
    }

    @Test("of many poisoned rows every one is found, in a bounded number of trials", arguments: [2, 10, 1_000_000])
    func many(every: Int) async throws {
        let (target, letters) = (Self.target(), Letters())
        let isBad = { (id: Int) in every == 1_000_000 || id % every == 1 }
        try await withLane(target, letters) { exchange in
            let steps = (0..<2_000).map { Step.insert($0, isBad($0) ? "bad" : "v") }
            _ = try await write(exchange, Self.batch(steps))
        }
        let bad = (0..<2_000).filter(isBad).count
        #expect(target.read { $0.rows.count } == 2_000 - bad)
        #expect(try letters.book().pending.count == bad)
        #expect(target.read { $0.rehearsals } < 2 * 2_000 + 200)
        #expect(target.read { $0.rehearsedRows } < 2_000 * 60)
    }

    @Test("where the sink names one at a time, the lane looks by itself after a while")
    func namedOneByOne() async throws {
        let (target, letters) = (Self.target(names: true), Letters())
        try await withLane(target, letters) { exchange in
            let steps = (0..<2_000).map { Step.insert($0, $0 % 2 == 0 ? "bad" : "v") }
            _ = try await write(exchange, Self.batch(steps))
        }
        #expect(target.read { $0.rows.count } == 1_000)
        #expect(try letters.book().pending.count == 1_000)
        #expect(target.read { $0.attempts } < 4_200)
    }

    @Test("copied rows become letters, too: with the consistent point and their key")
    func copied() async throws {
        let (target, letters) = (Self.target(), Letters())
        try await withLane(target, letters) { exchange in
            let steps = (0..<100).map { Step.insert($0, $0 % 50 == 7 ? "bad" : "v") }
            _ = try await write(exchange, Self.batch(steps, isCopy: true))
        }
        #expect(target.read { $0.rows.count } == 98)
        #expect(try letters.words() == ["pending insert 7 write: poison", "pending insert 57 write: poison"])
        #expect(try letters.book().letters.allSatisfy { $0.version.ordinal == 0 && $0.xid == 0 })
    }

    @Test("with stop the daemon ends with code 7, and nothing is written")
    func stop() async throws {
        let (target, letters) = (Self.target(), Letters())
        try await withLane(target, letters, onError: .stop) { exchange in
            let steps = (0..<10).map { Step.insert($0, $0 == 5 ? "bad" : "v") }
            guard case .failed(let failure) = try await ask(exchange, .write(Self.batch(steps))) else {
                throw Unexpected("written")
            }
            #expect(failure.code == .sinkRefused)
        }
        #expect(target.read { $0.rows.isEmpty && $0.commits == 0 })
        #expect(try letters.words() == [])
    }

    @Test("what refuses everything is no row's fault: the daemon ends, and nothing is given up")
    func everything() async throws {
        let target = PickyTarget { $0.refusesAll = true }
        let letters = Letters()
        try await withLane(target, letters) { exchange in
            guard case .failed(let failure) = try await ask(exchange, .write(Self.batch([.insert(1, "v")]))) else {
                throw Unexpected("written")
            }
            #expect(failure.code == .sinkRefused)
        }
        #expect(try letters.words() == [])
    }

    @Test("a row that is refused after each of its many changes takes few attempts where the sink names the last one")
    func foldedRow() async throws {
        let (target, letters) = (Self.target(names: true), Letters())
        target.change { $0.namesLast = true }
        try await withLane(target, letters) { exchange in
            let steps = [Step.insert(1, "v")] + (0..<500).map { Step.insert($0 == 250 ? 2 : 3, "bad\($0)") }
            _ = try await write(exchange, Self.batch(steps))
        }
        #expect(target.read { $0.rows } == ["1": "v"])
        #expect(try letters.book().pending.count == 500)
        #expect(target.read { $0.attempts } < 15)
    }

    // MARK: Rows that are held

    @Test("later changes of a row follow its first letter, a key change takes the new key along; other rows go on")
    func follow() async throws {
        let (target, letters) = (Self.target(), Letters())
        try await withLane(target, letters) { exchange in
            _ = try await write(exchange, Self.batch([.insert(1, "bad"), .insert(2, "v"), .update(1, "good")]))
            _ = try await write(
                exchange,
                Self.batch(
                    [.rekey(1, 3, "x"), .update(2, "w"), .update(3, "y"), .insert(1, "z"), .delete(3)],
                    lsn: 200
                )
            )
        }
        #expect(target.read { $0.rows } == ["2": "w"])
        #expect(
            try letters.words() == [
                "pending insert 1 write: poison", "pending update 1 follows", "pending update 1 follows",
                "pending update 3 follows", "pending insert 1 follows", "pending delete 3 follows",
            ]
        )
    }

    @Test(
        "another lane over the same directory holds the rows, also with SINK_ON_ERROR=stop",
        arguments: ErrorPolicy.allCases
    )
    func heldAfterRestart(policy: ErrorPolicy) async throws {
        let (target, letters) = (Self.target(), Letters())
        try await withLane(target, letters) { exchange in
            _ = try await write(exchange, Self.batch([.insert(1, "bad"), .insert(2, "v")]))
        }
        try await withLane(target, letters, onError: policy) { exchange in
            _ = try await write(exchange, Self.batch([.update(1, "w"), .update(2, "w")], lsn: 200))
        }
        #expect(target.read { $0.rows } == ["2": "w"])
        #expect(try letters.words() == ["pending insert 1 write: poison", "pending update 1 follows"])
    }

    @Test("a change that comes again, because its letter was written and its position not, is one letter")
    func comesAgain() async throws {
        let (target, letters) = (Self.target(), Letters())
        let steps = [Step.insert(1, "bad"), .insert(2, "v"), .update(1, "x")]
        try await withLane(target, letters) { exchange in _ = try await write(exchange, Self.batch(steps)) }
        target.change {
            $0.rows = [:]
            $0.position = nil
        }
        try await withLane(target, letters) { exchange in _ = try await write(exchange, Self.batch(steps)) }
        #expect(target.read { $0.rows } == ["2": "v"])
        #expect(try letters.words() == ["pending insert 1 write: poison", "pending update 1 follows"])
    }

    @Test("TRUNCATE makes the table's letters obsolete and frees their rows; a copy that begins does as well")
    func emptied() async throws {
        let (target, letters) = (Self.target(), Letters())
        try await withLane(target, letters) { exchange in
            _ = try await write(
                exchange,
                Self.batch([.insert(1, "bad"), .update(1, "x"), .truncate, .insert(1, "v"), .insert(2, "bad")])
            )
            #expect(target.read { $0.rows } == ["1": "v"])
            guard case .order = try await ask(exchange, .beginCopy([Self.table])) else { throw Unexpected("copy") }
            _ = try await write(exchange, Self.batch([.insert(2, "v")], lsn: 200, isCopy: true))
        }
        #expect(target.read { $0.rows } == ["2": "v"])
        #expect(
            try letters.words() == [
                "obsolete insert 1 write: poison", "obsolete update 1 follows", "obsolete insert 2 write: poison",
            ]
        )
    }

    // MARK: Units in parts

    @Test("a later part with poison loses its unit; when it comes again, it goes without", arguments: [false, true])
    func laterPart(names: Bool) async throws {
        let (target, letters) = (Self.target(names: names), Letters())
        let first = (0..<10).map { Step.insert($0, "v") }
        // Updates of the first part's rows are not to be taken for poison.
        let later = (0..<10).map { Step.update($0, $0 == 4 ? "bad" : "w") } + [.insert(20, "bad"), .update(4, "x")]
        try await withLane(target, letters) { exchange in
            _ = try await write(exchange, Self.batch(first, commits: false))
            let part = Self.batch(later, from: 11, begins: false)
            var reply = try await ask(exchange, .write(part))
            var attempts = 1
            while case .unitLost(_, let error) = reply, attempts < 4 {
                #expect(error.kind == .permanent)
                guard case .ready = try await ask(exchange, .setup([Self.table], Self.pipeline)) else {
                    throw Unexpected("setup")
                }
                _ = try await write(exchange, Self.batch(first, commits: false))
                reply = try await ask(exchange, .write(Self.batch(later, from: 11, begins: false)))
                attempts += 1
            }
            guard case .written(_, let result) = reply else { throw Unexpected(reply) }
            #expect(result.recordsWritten == 9)
            #expect(names || attempts == 2)
        }
        #expect(target.read { $0.rows.count } == 10)
        #expect(target.read { $0.rows["4"] } == "v")
        #expect(try letters.book().pending.count == 3)
    }

    @Test("letters that could not be kept in the target's open unit lose the unit, and come again with it")
    func partInTarget() async throws {
        let (target, letters) = (Self.target(), Letters())
        try await withLane(target, letters, inTarget: true) { exchange in
            _ = try await write(exchange, Self.batch([.insert(1, "bad")]))
            let (first, later) = ([Step.insert(2, "v")], [Step.update(1, "w"), .insert(3, "v")])
            _ = try await write(exchange, Self.batch(first, lsn: 200, commits: false))
            target.change { $0.failingStores = 1 }
            let reply = try await ask(exchange, .write(Self.batch(later, lsn: 200, from: 2, begins: false)))
            guard case .unitLost = reply else { throw Unexpected(reply) }
            guard case .ready = try await ask(exchange, .setup([Self.table], Self.pipeline)) else {
                throw Unexpected("setup")
            }
            _ = try await write(exchange, Self.batch(first, lsn: 200, commits: false))
            _ = try await write(exchange, Self.batch(later, lsn: 200, from: 2, begins: false))
        }
        #expect(target.read { $0.rows } == ["2": "v", "3": "v"])
        let book = DeadLetterBook(target.read { $0.lines }.compactMap { DeadLetterLine(Array($0.utf8)[...]) })
        #expect(book.pending.map(\.kind) == [.insert, .update])
    }

    // MARK: The store

    @Test("while letters cannot be written nothing is acknowledged; once they can, everything goes on")
    func unwritable() async throws {
        let (target, letters) = (Self.target(), Letters())
        try await withLane(target, letters) { exchange in
            try #require(rmdir(letters.path) == 0)
            exchange.submit(.write(Self.batch([.insert(1, "bad"), .insert(2, "v")])))
            try await Task.sleep(for: .milliseconds(100))
            #expect(exchange.takeReply() == nil && target.read { $0.commits } == 0)
            try #require(mkdir(letters.path, 0o700) == 0)
            while true {
                if let reply = exchange.takeReply() {
                    guard case .written = reply else { throw Unexpected(reply) }
                    break
                }
                try await Task.sleep(for: .milliseconds(1))
            }
        }
        #expect(target.read { $0.rows } == ["2": "v"])
        #expect(try letters.words() == ["pending insert 1 write: poison"])
    }

    @Test("and when that lasts, the retries are exhausted")
    func unwritableForGood() async throws {
        let (target, letters) = (Self.target(), Letters())
        try await withLane(target, letters, retries: 2) { exchange in
            try #require(rmdir(letters.path) == 0)
            guard case .failed(let failure) = try await ask(exchange, .write(Self.batch([.insert(1, "bad")]))) else {
                throw Unexpected("written")
            }
            #expect(failure.code == .retriesExhausted)
        }
        #expect(target.read { $0.commits } == 0)
    }
}
