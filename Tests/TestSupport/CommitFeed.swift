import CLibpq
import CLinux
import Glibc
import Synchronization

/// The order of commits, from a replication slot of the harness's own.
///
/// A thread streams the slot by pgoutput and keeps of every transaction only its xid and the end of its commit. It
/// reconnects by itself; what the server sends again is skipped.
final class CommitFeed: Sendable {
    /// A transaction that is in the publication.
    struct Commit: Sendable {
        let xid: UInt32
        let end: UInt64
    }

    private struct State {
        var commits: [Commit] = []
        var last: UInt64 = 0
        /// Every commit that ends at or before this place was received.
        var reached: UInt64 = 0
        var wanted: UInt64 = 0
        var stopping = false
        var lastError = ""
    }

    private let state = Mutex(State())
    private let url: String
    private let slot: String
    private let publication: String
    private let wake: Int32
    private let thread = Mutex<WorkerThread?>(nil)

    /// Begins to stream an existing slot; `start` is its consistent point.
    init(url: String, slot: String, publication: String, start: UInt64) {
        self.url = url
        self.slot = slot
        self.publication = publication
        wake = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        state.withLock {
            $0.reached = start
            $0.last = start
        }
        let started = WorkerThread { [self] in
            while !isStopping {
                do { try stream() } catch { state.withLock { $0.lastError = "\(error)" } }
                if !isStopping { sleepThread(.milliseconds(50)) }
            }
        }
        thread.withLock { $0 = started }
    }

    // Not when the thread ends: `take` still signals then, and the number may be another's.
    deinit { close(wake) }

    /// Waits until every commit up to `lsn` was received and returns the ones that were not taken before.
    func take(through lsn: UInt64, timeout: Duration) throws -> [Commit] {
        state.withLock { $0.wanted = max($0.wanted, lsn) }
        linux_eventfd_signal(wake)
        guard eventually(within: timeout, every: .milliseconds(2), { state.withLock { $0.reached } >= lsn }) else {
            let (reached, error) = state.withLock { ($0.reached, $0.lastError) }
            throw HarnessError(
                "the harness's slot gave commits up to \(formatLSN(reached)) only, not \(formatLSN(lsn)), within "
                    + "\(timeout); \(error)"
            )
        }
        return state.withLock { state in
            let commits = state.commits
            state.commits = []
            return commits
        }
    }

    func stop() {
        let running = thread.withLock { thread in
            defer { thread = nil }
            return thread
        }
        guard let running else { return }
        state.withLock { $0.stopping = true }
        linux_eventfd_signal(wake)
        running.join()
    }

    private var isStopping: Bool { state.withLock { $0.stopping } }

    private func stream() throws {
        let client = try PgClient(url, pinned: false)
        try client.run(
            """
            START_REPLICATION SLOT "\(slot)" LOGICAL 0/0 (proto_version '1', publication_names '"\(publication)"')
            """,
            simple: ()
        ).close()
        let connection = client.connection
        var xid: UInt32 = 0
        var nextStatus = ContinuousClock.now
        while !isStopping {
            let (behind, reached) = state.withLock { ($0.reached < $0.wanted, $0.reached) }
            if behind || ContinuousClock.now >= nextStatus {
                sendStatus(connection, reached, asksReply: behind)
                nextStatus = ContinuousClock.now + .seconds(1)
            }
            linux_eventfd_clear(wake)
            let wait: Int64 = behind ? 5_000_000 : 200_000_000
            _ = linux_wait(PQsocket(connection), Int16(POLLIN), wake, -1, wait)
            guard PQconsumeInput(connection) == 1 else { throw client.connectionError() }
            while true {
                var buffer: UnsafeMutablePointer<CChar>?
                let count = PQgetCopyData(connection, &buffer, 1)
                if count == 0 { break }
                guard count > 0, let start = buffer else { throw client.connectionError() }
                let message = UnsafeRawBufferPointer(start: start, count: Int(count))
                if read(message, &xid) { sendStatus(connection, state.withLock { $0.reached }, asksReply: false) }
                PQfreemem(start)
            }
        }
    }

    /// Notes a message; true when the server asks for a reply.
    private func read(_ message: UnsafeRawBufferPointer, _ xid: inout UInt32) -> Bool {
        switch message.first {
        case UInt8(ascii: "k"):
            guard message.count >= 18 else { return false }
            let end = number(message, 1)
            state.withLock { $0.reached = max($0.reached, end) }
            return message[17] != 0
        case UInt8(ascii: "w"):
            guard message.count > 25 else { return false }
            if message[25] == UInt8(ascii: "B"), message.count >= 46 {
                xid = UInt32(truncatingIfNeeded: number(message, 38))
            } else if message[25] == UInt8(ascii: "C"), message.count >= 43 {
                let end = number(message, 35)
                state.withLock { state in
                    guard end > state.last else { return }
                    state.last = end
                    state.reached = max(state.reached, end)
                    state.commits.append(Commit(xid: xid, end: end))
                }
            }
            return false
        default: return false
        }
    }

    /// Eight bytes, big-endian.
    private func number(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
        UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    private func sendStatus(_ connection: OpaquePointer, _ position: UInt64, asksReply: Bool) {
        var message: [CChar] = [CChar(bitPattern: UInt8(ascii: "r"))]
        for value in [position, position, position, 0] {
            withUnsafeBytes(of: value.bigEndian) { message.append(contentsOf: $0.map { CChar(bitPattern: $0) }) }
        }
        message.append(asksReply ? 1 : 0)
        PQputCopyData(connection, message, Int32(message.count))
        PQflush(connection)
    }
}
