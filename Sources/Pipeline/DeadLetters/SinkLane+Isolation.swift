internal import CdcCore
internal import Logging

/// Why a sink refuses, as far as the log tells refusals apart.
struct Refusal: Hashable {
    var table: TableRef?
    var cause: String

    init(_ error: SinkError) {
        table = error.table
        cause = error.cause
    }

    init(table: TableRef?, cause: String) {
        self.table = table
        self.cause = cause
    }
}

/// Finding the changes that a sink refuses for good: what is left of the batch is written without them.
extension SinkLane {
    enum Search {
        /// Some were found, and are dead letters on disk.
        case found
        /// No change is to blame.
        case nothing
        /// The lane is to answer this.
        case ended(SinkReply)
    }

    private enum Trial {
        case taken
        case refused(SinkError)
        case ended(SinkReply)
    }

    /// After so many finds one by one in a batch, changes are tried alone.
    ///
    /// Each find costs a prefix of the batch: with thousands of refused changes that would be the square of them.
    private static let findsInContext = 16

    /// Whether an error may be about rows that the operator wants to give up.
    func mayBury(_ error: SinkError) -> Bool {
        error.kind == .permanent && error.concernsRows && office?.isWanted == true
    }

    /// After so many attempts of a batch whose refused changes the sink names, their rows' earlier changes go with them.
    ///
    /// A sink that folds names the last change of a row. A row that is refused after each of thousands of changes would
    /// otherwise take an attempt for each.
    private static let attemptsByChange = 8

    /// After so many attempts of a batch the lane looks by itself, although the sink names what it refuses: it may name one
    /// at a time.
    private static let attemptsByName = 32

    /// Finds what the sink refuses of a batch, and makes dead letters of it.
    ///
    /// - Parameters:
    ///   - batch: the batch.
    ///   - error: what the sink said.
    ///   - attempt: how often the batch was refused so far, this time included.
    ///   - sink: the sink.
    /// - Returns: whether some were found.
    func isolate(_ batch: CdcBatch, after error: SinkError, attempt: Int, _ sink: any Sink) async -> Search {
        var hasFound = false
        if !error.changes.isEmpty {
            hasFound = bury(error.changes, of: batch, error, wholeRows: attempt > Self.attemptsByChange)
            guard hasFound else { return .nothing }
        }
        let search: Search
        if !batch.beginsUnit && losesUnits {
            // What the unit's first parts wrote is gone: only what is refused without them, and for the same reason, is found.
            // All of it is looked for at once, because every attempt has to send the whole unit again.
            search = await sift(0..<batch.changeCount, of: batch, [Refusal(error)], sink)
        } else if hasFound && attempt <= Self.attemptsByName {
            search = .found
        } else {
            search = await searchPrefixes(of: batch, sink)
        }
        batch.widen()
        if case .ended = search { return search }
        if case .nothing = search, !hasFound { return search }
        return await saveLetters().map(Search.ended) ?? .found
    }

    /// Looks for the first refused change, goes on without it from there, until the whole rest is taken.
    ///
    /// Prefixes are tried, because a change may need those before it: twice as many more changes each time, then the halves of
    /// what was too many.
    private func searchPrefixes(of batch: CdcBatch, _ sink: any Sink) async -> Search {
        let count = batch.changeCount
        var refusals: Set<Refusal> = []
        var finds = 0
        var maySift = true
        // How many changes from the beginning are taken, without the buried.
        var good = 0
        switch await rehearse(0..<0, of: batch, sink) {
        case .taken: break
        case .refused: return .nothing
        case .ended(let reply): return .ended(reply)
        }
        while true {
            var bad = count + 1
            var failure: SinkError?
            // One is often the only one: then the whole rest is taken at once.
            var triesAll = finds > 0
            var width = 1
            while good < count, bad > good + 1 {
                let end =
                    failure != nil ? good + (bad - good) / 2 : triesAll ? count : min(count, good + width)
                switch await rehearse(0..<end, beyond: good, of: batch, sink) {
                case .taken:
                    good = end
                    width *= 2
                case .refused where triesAll: triesAll = false
                case .refused(let error):
                    bad = end
                    failure = error
                case .ended(let reply): return .ended(reply)
                }
            }
            guard let failure else { return refusals.isEmpty ? .nothing : .found }
            guard failure.concernsRows, bury(failure.changes.isEmpty ? [bad - 1] : failure.changes, of: batch, failure)
            else { return .nothing }
            refusals.insert(Refusal(failure))
            good = bad
            finds += 1
            guard finds % Self.findsInContext == 0, maySift, good < count else { continue }
            switch await sift(good..<count, of: batch, refusals, sink) {
            case .found: break
            case .nothing: maySift = false
            case .ended(let reply): return .ended(reply)
            }
        }
    }

    /// Tries a range of a batch without what is before it, halves what is refused, and gives up the single changes that are
    /// refused alone for a reason that is known.
    ///
    /// A change that needs one before it may be given up by mistake; it is then replayed like the others.
    private func sift(
        _ range: Range<Int>,
        of batch: CdcBatch,
        _ refusals: Set<Refusal>,
        _ sink: any Sink
    ) async -> Search {
        var rest = [range]
        var found: [Int: String] = [:]
        while let part = rest.popLast() {
            let places = part.filter { batch.isKept($0) }
            guard let first = places.first, let last = places.last else { continue }
            switch await rehearse(first..<(last + 1), of: batch, sink) {
            case .taken: break
            case .refused(let error):
                if places.count > 1 {
                    let middle = places[places.count / 2]
                    rest.append(middle..<(last + 1))
                    rest.append(first..<middle)
                } else if refusals.contains(Refusal(error)), batch.change(first).kind != .truncate {
                    found[first] = Self.cause(error)
                }
            case .ended(let reply): return .ended(reply)
            }
        }
        batch.widen()
        guard !found.isEmpty, let office, office.bury(found, of: batch) else { return .nothing }
        return .found
    }

    /// Tries a range of the selected changes.
    ///
    /// - Parameters:
    ///   - range: their places.
    ///   - beyond: nothing is to be tried if no change from here on is selected.
    ///   - batch: the batch; it stays narrowed to the range.
    ///   - sink: the sink.
    /// - Returns: whether the sink would take them.
    private func rehearse(
        _ range: Range<Int>,
        beyond: Int? = nil,
        of batch: CdcBatch,
        _ sink: any Sink
    ) async -> Trial {
        if let beyond, !(beyond..<range.upperBound).contains(where: { batch.isKept($0) }) { return .taken }
        batch.narrow(to: range)
        while true {
            guard !exchange.isAbandoned else { return .ended(.abandoned) }
            let limit = callTimeout + .seconds(batch.byteCount / SinkLane.slowestBytesPerSecond)
            exchange.health.calling(for: limit)
            do throws(SinkError) {
                try await sink.rehearse(batch, deadline: .now + limit)
                return .taken
            } catch {
                if error.kind == .permanent { return .refused(error) }
                if let end = await wait(after: error) { return .ended(end) }
            }
        }
    }

    private func bury(_ places: [Int], of batch: CdcBatch, _ error: SinkError, wholeRows: Bool = false) -> Bool {
        let refused = Dictionary(places.map { ($0, Self.cause(error)) }) { first, _ in first }
        batch.widen()
        return office?.bury(refused, of: batch, wholeRows: wholeRows) ?? false
    }

    private static func cause(_ error: SinkError) -> String { "\(error.operation): \(error.cause)" }

    // MARK: Keeping

    /// Makes letters durable before the write that goes on without their changes.
    ///
    /// - Parameter part: the batch that is to follow, where its unit may be open.
    /// - Returns: a reply if that ends the lane's work.
    func saveLetters(before part: CdcBatch? = nil) async -> SinkReply? {
        guard let letters = office?.unsavedLetters, office?.hasUnsaved == true else { return nil }
        while true {
            do throws(SinkError) {
                exchange.health.calling(for: callTimeout)
                try await office?.save()
                Failpoint.deadLettersWritten.pass()
                tell(letters)
                return nil
            } catch {
                if let end = await wait(after: error) { return end }
                // What failed in the target's open unit has voided it.
                if let part, !part.beginsUnit, losesUnits, office?.isInTarget == true { return .unitLost(part, error) }
            }
        }
    }

    private func tell(_ letters: [DeadLetter]) {
        var counts: [Refusal: Int] = [:]
        for letter in letters { counts[Refusal(table: letter.table, cause: letter.cause), default: 0] += 1 }
        for (refusal, count) in counts {
            let isNew = toldRefusals.insert(refusal).inserted
            logger.log(
                level: isNew ? .warning : .debug,
                "dead letters",
                metadata: [
                    "table": "\(refusal.table?.description ?? "-")", "cause": "\(refusal.cause)",
                    "count": .stringConvertible(count),
                    "remedy": "mend the cause, stop the daemon, and run dbmazz-sink dlq replay",
                ]
            )
            if let table = refusal.table { monitor.deadLetters(of: table, count) }
        }
    }
}
