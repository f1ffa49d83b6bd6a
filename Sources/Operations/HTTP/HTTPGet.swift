import Glibc
public import Settings

/// A GET to the daemon's own endpoint, for the commands `status` and `health`.
///
/// HTTP/1.0 over a socket: the answer ends with the connection.
public enum HTTPGet {
    /// Why there is no answer.
    public struct Failure: Error, CustomStringConvertible, Sendable {
        /// What failed, and why.
        public let description: String
    }

    /// The longest answer that is read; a status page of ten thousand tables is smaller.
    private static let limit = 16 << 20

    /// Asks for a path.
    ///
    /// - Parameters:
    ///   - path: for example `/healthz`.
    ///   - address: the daemon's `DBMAZZ_HTTP`.
    ///   - timeout: for connecting, and for each piece of the answer.
    /// - Returns: the status code and the body.
    /// - Throws: ``Failure`` without an answer that is HTTP.
    public static func get(
        _ path: String,
        from address: HTTPAddress,
        timeout: Duration = .seconds(5)
    ) throws(Failure) -> (status: Int, body: String) {
        let socket = try connect(address, timeout)
        defer { close(socket) }
        let request = Array("GET \(path) HTTP/1.0\r\nHost: \(address)\r\n\r\n".utf8)
        guard send(socket, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else {
            throw Failure(description: "\(address) took no request (\(reason))")
        }
        var answer: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while answer.count < limit {
            let count = recv(socket, &buffer, buffer.count, 0)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw Failure(description: "\(address) gave no complete answer (\(reason))") }
            guard count > 0 else { break }
            answer += buffer[..<count]
        }
        return try parse(answer, address)
    }

    private static func parse(_ answer: [UInt8], _ address: HTTPAddress) throws(Failure) -> (status: Int, body: String)
    {
        let text = String(decoding: answer, as: UTF8.self)
        // A carriage return and a newline are one Character.
        guard text.hasPrefix("HTTP/1."), let end = text.firstRange(of: "\r\n\r\n"),
            let status = text.split(separator: " ", maxSplits: 2).dropFirst().first.flatMap({ Int($0) })
        else { throw Failure(description: "what answers at \(address) does not speak HTTP") }
        return (status, String(text[end.upperBound...]))
    }

    private static func connect(_ address: HTTPAddress, _ timeout: Duration) throws(Failure) -> Int32 {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        // A daemon that listens everywhere is asked here.
        let host = address.host == "0.0.0.0" ? "127.0.0.1" : address.host == "::" ? "::1" : address.host
        guard getaddrinfo(host, String(address.port), &hints, &found) == 0, let first = found else {
            throw Failure(description: "\(address) is no address")
        }
        defer { freeaddrinfo(first) }
        let descriptor = socket(
            first.pointee.ai_family,
            Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue),
            0
        )
        guard descriptor >= 0 else { throw Failure(description: "no socket (\(reason))") }
        var limit = timeval(tv_sec: Int(timeout.components.seconds), tv_usec: 0)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        guard Glibc.connect(descriptor, first.pointee.ai_addr, first.pointee.ai_addrlen) == 0 else {
            defer { close(descriptor) }
            throw Failure(description: "nothing answers at \(address) (\(reason))")
        }
        return descriptor
    }

    private static var reason: String { String(cString: strerror(errno)) }
}
