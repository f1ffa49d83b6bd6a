import Glibc
import Settings

/// A TCP socket that listens.
enum ListeningSocket {
    static func open(_ address: HTTPAddress) throws(HTTPEndpointError) -> Int32 {
        var hints = addrinfo()
        hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let failure = getaddrinfo(address.host, String(address.port), &hints, &found)
        guard failure == 0, let first = found else {
            throw HTTPEndpointError(
                description:
                    "DBMAZZ_HTTP=\(address): no such address (\(String(cString: gai_strerror(failure)))); write an "
                    + "address of this machine, for example 127.0.0.1:9187, or off"
            )
        }
        defer { freeaddrinfo(first) }
        let descriptor = socket(
            first.pointee.ai_family,
            Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue),
            0
        )
        guard descriptor >= 0 else {
            throw HTTPEndpointError(
                description: "DBMAZZ_HTTP=\(address): no socket (\(String(cString: strerror(errno))))"
            )
        }
        var yes: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &yes, socklen_t(MemoryLayout<Int32>.size))
        guard bind(descriptor, first.pointee.ai_addr, first.pointee.ai_addrlen) == 0,
            listen(descriptor, 64) == 0
        else {
            let reason = String(cString: strerror(errno))
            close(descriptor)
            throw HTTPEndpointError(
                description: "DBMAZZ_HTTP=\(address): cannot listen (\(reason)); set it to another address, or to off"
            )
        }
        return descriptor
    }
}
