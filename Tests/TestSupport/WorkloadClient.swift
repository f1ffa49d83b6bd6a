/// One connection of the workload: runs transactions until told to stop, and survives the server's restarts.
final class WorkloadClient {
    let number: Int
    let shared: WorkloadShared
    var random: SeededRandom
    var effects: [Effect] = []
    var connection: PgClient?
    private var transactions = 0
    private var connectedBefore = false

    init(number: Int, shared: WorkloadShared) {
        self.number = number
        self.shared = shared
        random = SeededRandom(seed: shared.options.seed &* 1_000_003 &+ UInt64(number))
    }

    func runUntilStopped() {
        while !shared.isStopping {
            guard shared.enter() else {
                sleepThread(.milliseconds(2))
                continue
            }
            do {
                try transaction(on: connected())
            } catch {
                lost(error)
            }
            shared.leave()
            if shared.options.thinkTime > .zero { sleepThread(shared.options.thinkTime) }
        }
    }

    private func connected() throws -> PgClient {
        if let connection { return connection }
        let opened = try PgClient(shared.url)
        connection = opened
        if connectedBefore { shared.count { $0.reconnects += 1 } }
        connectedBefore = true
        return opened
    }

    private func lost(_ error: any Error) {
        connection = nil
        if let error = error as? PgError, error.isConnectionLost {
            sleepThread(.milliseconds(20))
        } else {
            note(error)
        }
    }

    private func transaction(on client: PgClient) throws {
        transactions += 1
        effects = []
        let options = shared.options
        try client.execute("BEGIN")
        guard let xid = try client.value("SELECT pg_current_xact_id()").flatMap({ UInt64($0) }) else {
            throw HarnessError("pg_current_xact_id gave no number")
        }
        let isLarge = options.largeEvery > 0 && transactions % options.largeEvery == 0
        do {
            if isLarge { try largeStep(client) }
            if options.truncateEvery > 0, random.below(options.truncateEvery) == 0 { try truncate(client) }
            for _ in 0...random.below(isLarge ? 2 : 6) { try step(client, depth: 0) }
        } catch let error as PgError where !error.isConnectionLost {
            note(error)
            return try rollBack(client)
        }
        if random.chance(options.rollbackPercent) { return try rollBack(client) }
        try commit(client, UInt32(truncatingIfNeeded: xid), isLarge: isLarge)
    }

    private func rollBack(_ client: PgClient) throws {
        try client.execute("ROLLBACK")
        shared.count { $0.rolledBack += 1 }
    }

    private func commit(_ client: PgClient, _ xid: UInt32, isLarge: Bool) throws {
        let count = effects.count
        if count > 0 { shared.log.register(xid, effects) }
        do {
            try client.execute("COMMIT")
        } catch {
            guard !error.isConnectionLost else {
                shared.count { $0.ambiguous += 1 }
                throw error
            }
            shared.log.forget(xid)
            note(error)
            return try rollBack(client)
        }
        shared.count {
            $0.committed += 1
            $0.effects += count
            if isLarge { $0.large += 1 }
        }
    }

    /// One statement or short sequence, perhaps inside a savepoint whose effects may be dropped again.
    private func step(_ client: PgClient, depth: Int) throws {
        guard depth < 3, random.chance(shared.options.savepointPercent) else { return try operation(client) }
        let mark = effects.count
        let name = "s\(depth)"
        try client.execute("SAVEPOINT \(name)")
        do {
            for _ in 0...random.below(3) { try step(client, depth: depth + 1) }
        } catch let error as PgError where !error.isConnectionLost {
            note(error)
            return try rollBack(client, to: name, mark)
        }
        if random.chance(50) {
            try rollBack(client, to: name, mark)
            // The savepoint is still there: go on in it, and release it or leave it to COMMIT.
            if random.chance(30) { try operation(client) }
            if random.chance(50) { try client.execute("RELEASE SAVEPOINT \(name)") }
        } else {
            try client.execute("RELEASE SAVEPOINT \(name)")
        }
    }

    private func rollBack(_ client: PgClient, to name: String, _ mark: Int) throws {
        try client.execute("ROLLBACK TO SAVEPOINT \(name)")
        effects.removeSubrange(mark...)
        shared.count { $0.savepointsRolledBack += 1 }
    }

    private func operation(_ client: PgClient) throws {
        let table = random.below(shared.tables.count)
        switch shared.tables[table].role {
        case .keyed: try keyedOperation(client, table)
        case .bag: try bagOperation(client, table)
        case .unique: try uniqueOperation(client, table)
        case .parent: try parentOperation(client, table)
        case .child: try childOperation(client, table)
        case .bulk: try keyedOperation(client, 0)
        }
    }

    /// Conflicts between clients are part of the workload, everything else is a mistake of the harness.
    private func note(_ error: any Error) {
        let conflicts = ["23505", "23503", "40P01", "40001", "55P03"]
        shared.count { statistics in
            let state = (error as? PgError)?.sqlState ?? "none"
            statistics.errors[state, default: 0] += 1
            if !conflicts.contains(state), statistics.unexpected.count < 20 { statistics.unexpected.append("\(error)") }
        }
    }
}
