import Glibc
import TestSupport

/// A listener that accepts nobody and whose backlog is full: Linux drops every further SYN, as a firewall does.
final class FullListener {
    let port: Int
    private var sockets: [Int32] = []

    init() throws {
        port = try freePort()
        let type = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = in_port_t(UInt16(port)).bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        func use(_ call: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
            let socket = socket(AF_INET, type, 0)
            sockets.append(socket)
            return withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    call(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
        guard use(bind) == 0, listen(sockets[0], 0) == 0 else { throw HarnessError("cannot listen on port \(port)") }
        // The backlog of 0 takes one; the rest are on the safe side.
        for _ in 0..<4 { _ = use(connect) }
    }

    deinit { for socket in sockets { close(socket) } }
}

/// Descriptors that this process has open.
func openDescriptors() -> Int {
    guard let folder = opendir("/proc/self/fd") else { return -1 }
    defer { closedir(folder) }
    var count = 0
    while readdir(folder) != nil { count += 1 }
    return count
}
