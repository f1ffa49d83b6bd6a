internal import CdcCore
internal import Glibc

/// Decides which changes are dead letters, and keeps them: those that the sink refused, and those of the same rows after them.
///
/// The sink's lane owns it. As long as no letter is pending it costs nothing per row.
final class DeadLetterOffice {
    /// Whether refused changes become letters (`SINK_ON_ERROR=dead-letter`).
    let isWanted: Bool
    private let place: DeadLetterStore.Place
    private var store: DeadLetterStore?
    private var pipeline = ""
    private var last = 0
    /// Rows whose letters are pending, and tables with any.
    private var held: [TableRef: HeldRows] = [:]
    /// Letters beyond the sink's position: their changes come again, and are given up again.
    private var known: Set<RowVersion> = []
    /// What was given up and is not in the store yet.
    private var unsaved: [DeadLetterLine] = []

    init(_ config: SinkConfig) throws(SinkError) {
        isWanted = config.onError == .deadLetter
        place = try DeadLetterStore.Place(config)
    }

    /// How many rows wait for a replay, for the log.
    private(set) var pendingCount = 0

    /// Whether letters are kept in the target: in the unit that is open there, where one is.
    var isInTarget: Bool { place == .table }

    /// Reads what is there of a pipeline's letters.
    ///
    /// - Parameters:
    ///   - pipeline: its name.
    ///   - position: the sink's; letters beyond it come again.
    ///   - sink: has the table, where it is one.
    /// - Throws: ``SinkError``.
    func open(_ pipeline: String, at position: SourcePosition?, _ sink: any Sink) async throws(SinkError) {
        self.pipeline = pipeline
        let store = DeadLetterStore(place, pipeline: pipeline, sink: sink)
        if isWanted { try await store.prepare() }
        let book = DeadLetterBook(try await store.load())
        self.store = store
        last = book.last
        unsaved = []
        held = [:]
        let pending = book.pending
        pendingCount = pending.count
        for letter in pending { hold(letter) }
        let durable = position?.commitLSN ?? .zero
        known = Set(book.letters.lazy.map(\.version).filter { $0.ordinal > 0 && $0.commitLSN > durable })
    }

    private func hold(_ letter: DeadLetter) {
        held[letter.table, default: HeldRows()].hold(letter.keyImages, letter.version)
    }

    // MARK: Giving up

    /// Hides the changes of a batch that cannot be written because earlier ones of their rows were not.
    func admit(_ batch: CdcBatch) {
        guard !held.isEmpty || !known.isEmpty else { return }
        sweep(batch, from: 0, refused: [:])
    }

    /// Gives changes up, and those after them that concern the same rows.
    ///
    /// - Parameters:
    ///   - refused: causes by the changes' places in the batch.
    ///   - batch: the batch.
    ///   - wholeRows: whether the rows' earlier changes in the batch go as well.
    /// - Returns: false if one is no row's: a TRUNCATE has no letter.
    func bury(_ refused: [Int: String], of batch: CdcBatch, wholeRows: Bool = false) -> Bool {
        let refused = wholeRows ? rows(of: refused, batch) : refused
        guard let first = refused.keys.min(),
            refused.keys.allSatisfy({ $0 < batch.changeCount && batch.change($0).kind != .truncate })
        else { return false }
        sweep(batch, from: first, refused: refused)
        return true
    }

    /// The changes refused, and those before them of the same rows.
    private func rows(of refused: [Int: String], _ batch: CdcBatch) -> [Int: String] {
        struct Row: Hashable {
            var table: UInt32
            var key: KeyImage
        }
        func keys(_ index: Int) -> [Row] {
            let change = batch.change(index)
            let table = batch.tables[Int(change.table)]
            return KeyImage.all(of: change, in: batch, table).map { Row(table: change.table, key: $0) }
        }
        var all = refused
        var causes: [Row: String] = [:]
        for (index, cause) in refused where index < batch.changeCount {
            for key in keys(index) { causes[key] = cause }
        }
        for index in 0..<(refused.keys.max() ?? 0) where batch.isSelected(index) && all[index] == nil {
            guard batch.change(index).kind != .truncate else { continue }
            all[index] = keys(index).lazy.compactMap { causes[$0] }.first
        }
        return all
    }

    private func sweep(_ batch: CdcBatch, from first: Int, refused: [Int: String]) {
        var hidden: Set<Int> = []
        for index in first..<batch.changeCount where batch.isSelected(index) {
            let change = batch.change(index)
            let table = batch.tables[Int(change.table)]
            let version = batch.version(of: change)
            if change.ordinal > 0, !known.isEmpty, known.contains(version) {
                hidden.insert(index)
            } else if change.kind == .truncate {
                emptied(table.ref, version, "TRUNCATE")
            } else if let cause = refused[index] {
                hidden.insert(index)
                give(change, of: batch, cause)
            } else if let rows = held[table.ref], rows.contains(change, of: batch, table, version) {
                hidden.insert(index)
                give(change, of: batch, DeadLetter.follows)
            }
        }
        guard !hidden.isEmpty else { return }
        batch.select { batch.isSelected($0) && !hidden.contains($0) }
    }

    private func give(_ change: Change, of batch: CdcBatch, _ cause: String) {
        last += 1
        let letter = DeadLetter(
            change,
            of: batch,
            number: last,
            pipeline: pipeline,
            at: DeadLetterOffice.now(),
            cause: cause
        )
        hold(letter)
        if change.ordinal > 0 { known.insert(letter.version) }
        unsaved.append(.letter(letter))
    }

    /// The tables' rows go, to be copied anew: their letters mean nothing any more.
    func copyBegins(_ tables: [TableSchema]) {
        let end = RowVersion(commitLSN: LSN(rawValue: .max), ordinal: .max)
        for table in tables { emptied(table.ref, end, "a copy of the table has begun") }
    }

    private func emptied(_ table: TableRef, _ version: RowVersion, _ cause: String) {
        guard var rows = held[table], rows.first < version else { return }
        last += 1
        unsaved.append(
            .emptied(number: last, table: table, version: version, at: DeadLetterOffice.now(), cause: cause)
        )
        held[table] = rows.empty(at: version) ? nil : rows
    }

    // MARK: Keeping

    /// The letters that are not in the store yet.
    var unsavedLetters: [DeadLetter] {
        unsaved.compactMap { if case .letter(let letter) = $0 { letter } else { nil } }
    }

    var hasUnsaved: Bool { !unsaved.isEmpty }

    /// Keeps what was given up; to be done before the sink writes what moves the position.
    func save() async throws(SinkError) {
        guard !unsaved.isEmpty else { return }
        guard let store else {
            throw SinkError(
                .configuration,
                operation: "write dead letters",
                cause: "the dead letters were not opened",
                remedy: "restart the daemon"
            )
        }
        try await store.append(unsaved, pipeline: pipeline)
        unsaved.removeAll()
    }

    /// The sink's position has moved: what was given up before it does not come again.
    func committed() {
        if !known.isEmpty { known.removeAll() }
    }

    /// Milliseconds since 1970.
    static func now() -> Int {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
    }
}
