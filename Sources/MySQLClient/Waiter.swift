internal import CMariadb
internal import CdcCore
internal import Glibc

/// Waits for a connection's socket in the library's place, so that a deadline or a cancellation ends the wait.
///
/// libmariadb's time-outs are whole seconds for each read and write; its non-blocking API still blocks in the TLS
/// handshake. With `MARIADB_OPT_IO_WAIT` it calls here wherever it would block, on the thread that called it. The function
/// gets nothing but the socket, so the waiter of the call is the thread's.
final class Waiter {
    /// What the library is about to do.
    enum Phase {
        case connecting
        case sending
        case receiving
        /// Nothing is waited for any more.
        case closing
    }

    /// Why a wait was ended.
    enum GivenUp {
        case deadline
        case cancelled
    }

    private let cancellation: Cancellation
    var phase = Phase.connecting
    var deadline = ContinuousClock.now
    /// Why the call in hand was ended, if it was.
    private(set) var givenUp: GivenUp?

    init(_ cancellation: Cancellation) { self.cancellation = cancellation }

    /// Runs calls of the library whose waits come here.
    func attached<Result>(_ body: () -> Result) -> Result {
        let previous = pthread_getspecific(Self.key)
        pthread_setspecific(Self.key, Unmanaged.passUnretained(self).toOpaque())
        defer { pthread_setspecific(Self.key, previous) }
        // The thread's pointer is not a reference that counts.
        return withExtendedLifetime(self) { body() }
    }

    /// Whether the deadline has passed or the cancellation was asked for; remembered until ``reset(_:until:)``.
    func isOver() -> Bool {
        if givenUp != nil { return true }
        if cancellation.isCancelled {
            givenUp = .cancelled
        } else if ContinuousClock.now >= deadline {
            givenUp = .deadline
        }
        return givenUp != nil
    }

    /// Begins a call.
    func reset(_ phase: Phase, until deadline: ContinuousClock.Instant) {
        self.phase = phase
        self.deadline = deadline
        givenUp = nil
    }

    /// Waits for a descriptor; false when the wait was given up.
    ///
    /// Nobody wakes this wait when the cancellation is asked for, so it looks again ten times a second.
    func wait(_ descriptor: Int32, events: Int32) -> Bool {
        while !isOver() {
            let rest = min(.milliseconds(100), deadline - ContinuousClock.now)
            var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
            let ready = poll(&entry, 1, max(1, Int32(rest / .milliseconds(1)) + 1))
            if ready > 0 { return true }
            if ready < 0, errno != EINTR { return false }
        }
        return false
    }

    /// For the library: below 1 means failure.
    fileprivate func libraryWaits(_ descriptor: Int32, reads: Bool) -> Int32 {
        guard phase != .closing else { return 0 }
        if phase == .connecting { prepareSocket(descriptor) }
        // Over TLS the library says "read" while it wants to write, and would wait for an answer to half a statement.
        let writes = phase == .sending || !reads
        return wait(descriptor, events: writes ? Int32(POLLOUT) : Int32(POLLIN)) ? 1 : 0
    }

    /// Keeps OpenSSL from blocking in the handshake: once it has connected, the library makes the socket blocking.
    ///
    /// The first call comes from the library's wait for connect(2), which never succeeds at once.
    private func prepareSocket(_ socket: Int32) {
        var limit = timeval(tv_sec: 0, tv_usec: 50_000)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(socket, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        makeNonBlocking(socket)
    }

    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        precondition(pthread_key_create(&key, nil) == 0, "no thread-specific key is left")
        return key
    }()

    fileprivate static var current: Waiter? {
        pthread_getspecific(key).map { Unmanaged<Waiter>.fromOpaque($0).takeUnretainedValue() }
    }
}

/// Makes a socket non-blocking, and has it closed on exec, which the library forgets.
func makeNonBlocking(_ socket: Int32) {
    let mode = fcntl(socket, F_GETFL)
    if mode >= 0 { _ = fcntl(socket, F_SETFL, mode | O_NONBLOCK) }
    _ = fcntl(socket, F_SETFD, FD_CLOEXEC)
}

/// `MARIADB_OPT_IO_WAIT`.
func waitForSocket(_ socket: my_socket, _ reads: my_bool, _ milliseconds: Int32) -> Int32 {
    // A call that nobody attached a waiter to must not wait.
    Waiter.current?.libraryWaits(socket, reads: reads != 0) ?? 0
}
