import Glibc
import Synchronization

/// What went wrong in the harness itself (not in the program under test).
public struct HarnessError: Error, CustomStringConvertible, Sendable {
    /// What happened, for a person.
    public let description: String

    /// An error with this text.
    public init(_ description: String) { self.description = description }
}

/// Blocks the calling thread.
public func sleepThread(_ duration: Duration) {
    let (seconds, attoseconds) = duration.components
    var time = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
    var rest = timespec()
    while nanosleep(&time, &rest) != 0, errno == EINTR { time = rest }
}

/// Asks again and again until `condition` holds or the time is over; false when it never held.
///
/// The pauses grow from `interval` to 150 ms: most questions are connections of their own, and keep the machine from what is
/// waited for.
public func eventually(
    within timeout: Duration,
    every interval: Duration = .milliseconds(10),
    _ condition: () throws -> Bool
) rethrows -> Bool {
    let deadline = ContinuousClock.now + timeout
    var pause = interval
    while true {
        if try condition() { return true }
        if ContinuousClock.now >= deadline { return false }
        sleepThread(pause)
        pause = max(interval, min(pause * 1.5, .milliseconds(150)))
    }
}

/// Writes a text to a file, in the place of what is there or behind it; `mode` is that of a file that is made.
public func writeText(_ text: String, to path: String, appending: Bool = false, mode: UInt32 = 0o644) throws {
    let file = open(path, O_WRONLY | O_CREAT | (appending ? O_APPEND : O_TRUNC) | O_CLOEXEC, mode)
    guard file >= 0 else { throw HarnessError("cannot open \(path): errno \(errno)") }
    defer { close(file) }
    let bytes = Array(text.utf8)
    guard write(file, bytes, bytes.count) == bytes.count else { throw HarnessError("cannot write \(path)") }
}

/// The value of an environment variable of the test process.
public func environmentVariable(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }
}

/// The whole content of a file, nil when it cannot be opened.
public func readFile(_ path: String) -> [UInt8]? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var content: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = read(file, &chunk, chunk.count)
        guard count > 0 else { return content }
        content.append(contentsOf: chunk[..<count])
    }
}

/// The content of a file as text; bytes that are not UTF-8 are repaired.
public func readText(_ path: String) -> String? {
    readFile(path).map { String(decoding: $0, as: UTF8.self) }
}

/// A new directory `/tmp/<name>-XXXXXX` that belongs to this process; remove it with `removeTree`.
public func makeTemporaryDirectory(_ name: String) throws -> String {
    var template = Array("/tmp/\(name)-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw HarnessError("mkdtemp /tmp/\(name): errno \(errno)") }
    return template.withUnsafeBufferPointer { buffer in
        buffer.baseAddress.map { String(cString: $0) } ?? ""
    }
}

/// Removes a directory made by `makeTemporaryDirectory`, with everything in it; refuses any other place.
public func removeTree(_ path: String) {
    guard path.hasPrefix("/tmp/"), path.utf8.count > 12, !path.contains("..") else { return }
    _ = try? runProgram("/bin/rm", ["-rf", "--", path])
}

/// A TCP port on 127.0.0.1 that nobody listens on.
///
/// It lies below the ephemeral range: a client that keeps trying a
/// closed port of that range can connect to itself and so take the port away from a server that restarts.
public func freePort() throws -> Int {
    for _ in 0..<200 {
        let port = Int.random(in: 15_000..<32_000)
        guard let listener = try? listenOnLoopback(port: port) else { continue }
        close(listener)
        return port
    }
    throw HarnessError("no free port on 127.0.0.1 between 15000 and 32000")
}

/// A non-blocking listening socket on 127.0.0.1.
func listenOnLoopback(port: Int) throws -> Int32 {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | 0o2_000_000 | 0o4_000, 0)
    guard listener >= 0 else { throw HarnessError("socket: errno \(errno)") }
    var yes: Int32 = 1
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
    let bound = withLoopbackAddress(port: port) { bind(listener, $0, $1) }
    guard bound == 0, listen(listener, 64) == 0 else {
        close(listener)
        throw HarnessError("cannot listen on 127.0.0.1:\(port): errno \(errno)")
    }
    return listener
}

/// Lends the socket address of 127.0.0.1:port.
func withLoopbackAddress(port: Int, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(UInt16(port)).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
}
