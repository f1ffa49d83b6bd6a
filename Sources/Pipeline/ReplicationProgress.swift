internal import CdcCore

/// What has arrived, what is durable, and therefore what may be acknowledged: contract 1 of the design.
///
/// Pure: no clock, no I/O. Positions that are reported never go back.
struct ReplicationProgress: Equatable {
    /// How far the server has sent.
    private(set) var received: LSN
    /// How far the source may forget.
    private(set) var acknowledgeable: LSN
    /// Where WAL ended when nothing was owed: a position worth storing although nothing changed.
    private(set) var idleEnd: LSN?
    /// The end of a keepalive that came while changes were owed; counts once they are durable and no others have come.
    private var heardEnd: LSN?

    /// Begins at a durable position.
    init(durable: LSN) {
        received = durable
        acknowledgeable = durable
    }

    /// WAL data arrived.
    mutating func data(walEnd: LSN) {
        received = max(received, walEnd)
    }

    /// A keepalive arrived, or a transaction that changed nothing here ended.
    ///
    /// - Parameters:
    ///   - walEnd: its end.
    ///   - owing: whether anything received before it is not durable yet. Then its end proves nothing until it is.
    mutating func idle(at walEnd: LSN, owing: Bool) {
        received = max(received, walEnd)
        heardEnd = walEnd
        idleEnd = nil
        if !owing { settled() }
    }

    /// Everything received is durable.
    ///
    /// The server does not repeat a keepalive that it has had an answer to, so the end of one that came too early
    /// has to be remembered.
    mutating func settled() {
        if let end = heardEnd, end > acknowledgeable { idleEnd = end }
        heardEnd = nil
    }

    /// A change arrived: what was known about idleness is over.
    mutating func change() {
        idleEnd = nil
        heardEnd = nil
    }

    /// The sink is durable up to here.
    mutating func durable(_ position: LSN) {
        acknowledgeable = max(acknowledgeable, position)
        received = max(received, position)
        if let end = idleEnd, end <= acknowledgeable { idleEnd = nil }
    }

    /// For sinks that store no position: the idle end itself may be acknowledged.
    mutating func acknowledgeIdleEnd() {
        if let end = idleEnd { durable(end) }
    }
}
