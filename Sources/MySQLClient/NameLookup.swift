internal import Glibc

/// Looks a host's name up on a thread of its own: getaddrinfo has no deadline, and the library calls it too.
///
/// A name server that does not answer is met here, where the wait can be given up; the thread then ends when the resolver
/// gives up (resolv.conf: 5 s twice for each server), and takes its descriptor along. Once there was an answer the library
/// asks again and gets one at once, as a rule.
enum NameLookup {
    /// What is lent to the thread.
    private final class Request: Sendable {
        let host: String
        /// Closed when the answer is there.
        let writer: Int32

        init(host: String, writer: Int32) {
            self.host = host
            self.writer = writer
        }
    }

    /// Whether the host is an address, which needs no looking up.
    static func isAddress(_ host: String) -> Bool {
        var address = in6_addr()
        return inet_pton(AF_INET, host, &address) == 1 || inet_pton(AF_INET6, host, &address) == 1
    }

    /// Waits until the resolver has answered, whatever it says: the library will say it better.
    ///
    /// - Returns: False when the wait was given up, or there is no thread or descriptor to be had.
    static func wait(for host: String, _ waiter: Waiter) -> Bool {
        guard !isAddress(host) else { return true }
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { return false }
        defer { close(ends[0]) }
        let request = Unmanaged.passRetained(Request(host: host, writer: ends[1]))
        var thread = pthread_t()
        let status = pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                let request = Unmanaged<Request>.fromOpaque(argument).takeRetainedValue()
                NameLookup.ask(request.host)
                close(request.writer)
                return nil
            },
            request.toOpaque()
        )
        guard status == 0 else {
            request.release()
            close(ends[1])
            return false
        }
        pthread_detach(thread)
        // The other end's close wakes this.
        return waiter.wait(ends[0], events: Int32(POLLIN))
    }

    private static func ask(_ host: String) {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        if getaddrinfo(host, nil, &hints, &found) == 0 { freeaddrinfo(found) }
    }
}
