import Glibc
import Synchronization

/// A TCP relay on 127.0.0.1 between the daemon and PostgreSQL whose network can be made bad.
public final class TcpProxy: Sendable {
    /// The port to connect to.
    public let port: Int

    fileprivate enum Command {
        case cut(reset: Bool)
        case orphan
        case stop
    }

    fileprivate struct Control {
        var target: Int
        var stalled = false
        var refusing = false
        var commands: [Command] = []
        var connections = 0
        var accepted = 0
        var bytesToTarget = 0
        var bytesToClient = 0
    }

    private let control: Mutex<Control>
    private let wakeReader: Int32
    private let wakeWriter: Int32
    private let thread = Mutex<WorkerThread?>(nil)

    /// Relays connections to 127.0.0.1:target.
    public init(target: Int) throws {
        port = try freePort()
        let listener = try listenOnLoopback(port: port)
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw HarnessError("pipe: errno \(errno)") }
        for end in ends {
            setNonBlocking(end)
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        wakeReader = ends[0]
        wakeWriter = ends[1]
        control = Mutex(Control(target: target))
        let started = WorkerThread { [self] in
            var loop = RelayLoop(listener: listener, wake: wakeReader)
            loop.run(self)
        }
        thread.withLock { $0 = started }
    }

    /// Closes every connection; new ones are relayed as before.
    ///
    /// - Parameter reset: Both sides see "connection reset" rather than an orderly end.
    public func cut(reset: Bool = true) { send(.cut(reset: reset)) }

    /// Closes every connection at the client's end only: the target goes on believing in it.
    public func orphan() { send(.orphan) }

    /// Forwards nothing any more in either direction; connections stay open, new ones are accepted and wait.
    public func stall() { change { $0.stalled = true } }

    /// Ends `stall` and `refuse`.
    public func resume() {
        change {
            $0.stalled = false
            $0.refusing = false
        }
    }

    /// Cuts every connection, and closes new ones at once until `resume`.
    public func refuse() {
        change { $0.refusing = true }
        cut()
    }

    /// New connections go to another port.
    public func retarget(_ port: Int) { change { $0.target = port } }

    /// Open connections.
    public var connectionCount: Int { control.withLock { $0.connections } }
    /// Connections since the start.
    public var acceptedCount: Int { control.withLock { $0.accepted } }
    /// Bytes relayed to the client so far.
    public var bytesToClient: Int { control.withLock { $0.bytesToClient } }
    /// Bytes relayed to the target so far.
    public var bytesToTarget: Int { control.withLock { $0.bytesToTarget } }

    /// Closes everything and ends the relay's thread.
    public func stop() {
        send(.stop)
        thread.withLock { $0 }?.join()
    }

    private func send(_ command: Command) { change { $0.commands.append(command) } }

    private func change(_ body: (inout Control) -> Void) {
        control.withLock { body(&$0) }
        wake()
    }

    private func wake() {
        var byte: UInt8 = 1
        _ = write(wakeWriter, &byte, 1)
    }

    fileprivate func access<Result: Sendable>(_ body: (inout Control) -> sending Result) -> Result {
        control.withLock { body(&$0) }
    }

    fileprivate func closeWakePipe() {
        close(wakeReader)
        close(wakeWriter)
    }
}

/// One direction of a connection: what was read from `from` and is not yet written to `to`.
private struct Flow {
    var pending: [UInt8] = []
    var written = 0
    var ended = false

    var isEmpty: Bool { written == pending.count }
}

/// A client's socket and the one to the target.
private struct Relay {
    let client: Int32
    let target: Int32
    var toTarget = Flow()
    var toClient = Flow()
}

/// The relay's thread: one poll over all sockets.
private struct RelayLoop {
    let listener: Int32
    let wake: Int32
    var relays: [Relay] = []
    /// Sockets to the target whose client is gone.
    var orphans: [Int32] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)

    init(listener: Int32, wake: Int32) {
        self.listener = listener
        self.wake = wake
    }

    mutating func run(_ proxy: TcpProxy) {
        while true {
            let (stalled, refusing, target, commands) = proxy.access { control in
                let commands = control.commands
                control.commands = []
                control.connections = relays.count
                return (control.stalled, control.refusing, control.target, commands)
            }
            for command in commands {
                switch command {
                case .cut(let reset): closeAll(reset: reset)
                case .orphan: orphanAll()
                case .stop:
                    closeAll(reset: false)
                    for socket in orphans { close(socket) }
                    close(listener)
                    proxy.closeWakePipe()
                    return
                }
            }
            var descriptors = [
                pollfd(fd: wake, events: Int16(POLLIN), revents: 0),
                pollfd(fd: listener, events: Int16(POLLIN), revents: 0),
            ]
            for relay in relays {
                descriptors.append(watch(relay.client, reads: relay.toTarget, writes: relay.toClient, stalled))
                descriptors.append(watch(relay.target, reads: relay.toClient, writes: relay.toTarget, stalled))
            }
            guard poll(&descriptors, UInt(descriptors.count), 1000) > 0 else { continue }
            if descriptors[0].revents != 0 { while read(wake, &chunk, chunk.count) > 0 {} }
            // Commands first: a stall that arrives together with data must hold the data back.
            if descriptors[0].revents != 0 { continue }
            if !stalled { pump(proxy) }
            if descriptors[1].revents != 0 { acceptOne(proxy, target: target, refusing: refusing) }
        }
    }

    private func watch(_ socket: Int32, reads: Flow, writes: Flow, _ stalled: Bool) -> pollfd {
        var events: Int32 = 0
        if !stalled {
            if reads.isEmpty, !reads.ended { events |= Int32(POLLIN) }
            if !writes.isEmpty { events |= Int32(POLLOUT) }
        }
        // A negative descriptor is ignored: else a hang-up would end every poll at once.
        return pollfd(fd: events == 0 ? -1 : socket, events: Int16(events), revents: 0)
    }

    private mutating func pump(_ proxy: TcpProxy) {
        var kept: [Relay] = []
        for var relay in relays {
            let up = move(from: relay.client, to: relay.target, &relay.toTarget)
            let down = move(from: relay.target, to: relay.client, &relay.toClient)
            proxy.access { control in
                control.bytesToTarget += max(0, up)
                control.bytesToClient += max(0, down)
            }
            let over = relay.toTarget.ended && relay.toClient.ended && relay.toTarget.isEmpty && relay.toClient.isEmpty
            if up < 0 || down < 0 || over {
                close(relay.client)
                close(relay.target)
            } else {
                kept.append(relay)
            }
        }
        relays = kept
    }

    /// Writes what is pending, then reads more; gives the bytes written, -1 when a socket is broken.
    private mutating func move(from: Int32, to: Int32, _ flow: inout Flow) -> Int {
        var moved = 0
        while true {
            while !flow.isEmpty {
                let start = flow.written
                let count = flow.pending.withUnsafeBytes { buffer in
                    send(to, buffer.baseAddress.map { $0 + start }, buffer.count - start, Int32(MSG_NOSIGNAL))
                }
                if count < 0 { return errno == EAGAIN ? moved : -1 }
                flow.written += count
                moved += count
            }
            if flow.ended { return moved }
            let count = read(from, &chunk, chunk.count)
            if count < 0 { return errno == EAGAIN ? moved : -1 }
            if count == 0 {
                flow.ended = true
                shutdown(to, Int32(SHUT_WR))
                return moved
            }
            flow.pending = Array(chunk[..<count])
            flow.written = 0
        }
    }

    private mutating func acceptOne(_ proxy: TcpProxy, target port: Int, refusing: Bool) {
        let client = accept(listener, nil, nil)
        guard client >= 0 else { return }
        _ = fcntl(client, F_SETFD, FD_CLOEXEC)
        guard !refusing else {
            closeSocket(client, reset: true)
            return
        }
        let target = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | 0o2_000_000, 0)
        let connected = withLoopbackAddress(port: port) { connect(target, $0, $1) }
        guard connected == 0 else {
            closeSocket(client, reset: true)
            close(target)
            return
        }
        for socket in [client, target] {
            setNonBlocking(socket)
            var yes: Int32 = 1
            setsockopt(socket, Int32(IPPROTO_TCP), 1, &yes, socklen_t(MemoryLayout<Int32>.size))  // TCP_NODELAY
        }
        relays.append(Relay(client: client, target: target))
        proxy.access { $0.accepted += 1 }
    }

    private mutating func orphanAll() {
        for relay in relays {
            closeSocket(relay.client, reset: true)
            orphans.append(relay.target)
        }
        relays = []
    }

    private mutating func closeAll(reset: Bool) {
        for relay in relays {
            closeSocket(relay.client, reset: reset)
            closeSocket(relay.target, reset: reset)
        }
        relays = []
    }

    private func closeSocket(_ socket: Int32, reset: Bool) {
        if reset {
            var lingering = linger(l_onoff: 1, l_linger: 0)
            setsockopt(socket, SOL_SOCKET, SO_LINGER, &lingering, socklen_t(MemoryLayout<linger>.size))
        }
        close(socket)
    }
}

private func setNonBlocking(_ descriptor: Int32) {
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
}
