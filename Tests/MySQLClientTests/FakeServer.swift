import Glibc
import Synchronization
import TestSupport

/// One connection to something that is no MySQL server, or a bad one.
final class FakeServer: Sendable {
    /// The other end of the client's connection; used by the server's thread alone.
    struct Peer {
        let socket: Int32

        func send(_ bytes: [UInt8]) {
            _ = Glibc.send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL))
        }

        /// What the client sends until it closes or the time has passed.
        func read(until limit: Duration) -> [UInt8] {
            let end = ContinuousClock.now + limit
            var all: [UInt8] = []
            while ContinuousClock.now < end, let more = readSome(end), !more.isEmpty { all += more }
            return all
        }

        /// The next bytes of the client; empty when the time has passed, nil when it has closed.
        func readSome(_ end: ContinuousClock.Instant = .now + .seconds(5)) -> [UInt8]? {
            var entry = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
            let rest = (end - ContinuousClock.now) / .milliseconds(1)
            guard poll(&entry, 1, Int32(max(0, rest))) > 0 else { return [] }
            var chunk = [UInt8](repeating: 0, count: 65_536)
            let count = recv(socket, &chunk, chunk.count, 0)
            return count > 0 ? Array(chunk[..<count]) : nil
        }
    }

    let port: Int
    private let answer = Mutex<[UInt8]>([])
    private let thread = Mutex<WorkerThread?>(nil)

    /// Serves one connection with `body`, whose result `result()` gives, and closes it.
    init(_ body: @escaping @Sendable (Peer) -> [UInt8]) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        port = try freePort()
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(port)).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let bound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard bound == 0, listen(listener, 1) == 0 else { throw HarnessError("cannot listen on port \(port)") }
        let started = WorkerThread { [self] in
            defer { close(listener) }
            var entry = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
            guard poll(&entry, 1, 10_000) > 0 else { return }
            let socket = accept(listener, nil, nil)
            guard socket >= 0 else { return }
            let result = body(Peer(socket: socket))
            answer.withLock { $0 = result }
            close(socket)
        }
        thread.withLock { $0 = started }
    }

    /// What the server's closure returned; waits for it.
    func result() -> [UInt8] {
        thread.withLock { $0 }?.join()
        return answer.withLock { $0 }
    }

    /// CLIENT_SSL beside what every server of today can do.
    static let withTLS = plain | 0x800
    /// LONG_PASSWORD, CONNECT_WITH_DB, LOCAL_FILES, PROTOCOL_41, TRANSACTIONS, SECURE_CONNECTION, PLUGIN_AUTH.
    static let plain: UInt32 = 0x1 | 0x8 | 0x80 | 0x200 | 0x2000 | 0x8000 | 0x80000

    /// A packet of the protocol: length in three bytes, number, content.
    static func packet(_ number: UInt8, _ content: [UInt8]) -> [UInt8] {
        let count = content.count
        return [UInt8(count & 255), UInt8(count >> 8 & 255), UInt8(count >> 16 & 255), number] + content
    }

    /// The server's greeting, protocol 10.
    static func greeting(capabilities: UInt32 = plain, plugin: String = "mysql_native_password") -> [UInt8] {
        var content: [UInt8] = [10] + Array("8.0.33-fake".utf8) + [0]
        content += [1, 0, 0, 0] + Array("abcdefgh".utf8) + [0]
        content += [UInt8(capabilities & 255), UInt8(capabilities >> 8 & 255), 45, 2, 0]
        content += [UInt8(capabilities >> 16 & 255), UInt8(capabilities >> 24 & 255), 21]
        content += [UInt8](repeating: 0, count: 10) + Array("ijklmnopqrst".utf8) + [0]
        return packet(0, content + Array(plugin.utf8) + [0])
    }

    /// OK: nothing affected, autocommit.
    static func ok(_ number: UInt8) -> [UInt8] { packet(number, [0, 0, 0, 2, 0, 0, 0]) }
}
