internal import Glibc
internal import Synchronization

/// Looks a host's name up on a thread of its own: getaddrinfo has no deadline, and the library calls it too.
///
/// A name server that does not answer is met here, where the wait can be given up; the thread then ends when the resolver
/// gives up (resolv.conf: 5 s twice for each server), and takes its descriptor along. Once there was an answer the library
/// asks again and gets one at once, as a rule. A name without an answer never reaches it: it would ask for half a minute.
enum NameLookup {
    /// What came out.
    enum Answer {
        case found
        /// getaddrinfo's words.
        case failed(String)
        /// The deadline passed, or the cancellation was asked for.
        case givenUp
    }

    /// What is lent to the thread.
    private final class Request: Sendable {
        let host: String
        /// Closed when the answer is there.
        let writer: Int32
        /// What getaddrinfo returned.
        let code = Atomic<Int32>(EAI_AGAIN)

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

    /// Looks a name up.
    static func look(up host: String, _ waiter: Waiter) -> Answer {
        guard !isAddress(host) else { return .found }
        let type = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        var ends: [Int32] = [-1, -1]
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { return .failed(String(cString: strerror(errno))) }
        defer { close(ends[0]) }
        let request = Request(host: host, writer: ends[1])
        let lent = Unmanaged.passRetained(request)
        var thread = pthread_t()
        let status = pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                NameLookup.ask(Unmanaged<Request>.fromOpaque(argument).takeRetainedValue())
                return nil
            },
            lent.toOpaque()
        )
        guard status == 0 else {
            lent.release()
            close(ends[1])
            return .failed(String(cString: strerror(status)))
        }
        pthread_detach(thread)
        // The other end's close wakes this.
        guard waiter.wait(ends[0], events: Int32(POLLIN)) else { return .givenUp }
        let code = request.code.load(ordering: .acquiring)
        return code == 0 ? .found : .failed(String(cString: gai_strerror(code)))
    }

    private static func ask(_ request: Request) {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        let code = getaddrinfo(request.host, nil, &hints, &found)
        if code == 0 { freeaddrinfo(found) }
        request.code.store(code, ordering: .releasing)
        close(request.writer)
    }
}
