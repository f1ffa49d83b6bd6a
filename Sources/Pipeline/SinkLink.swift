internal import CdcCore
internal import PostgresSource

/// The source lane's way to the sink: hands a command over and waits for the answer, hearing the stop signal meanwhile.
struct SinkLink {
    let exchange: SinkExchange
    let stop: StopSignal

    /// Runs a command to its end.
    ///
    /// A stop of the daemon gives it up.
    func call(_ command: SinkCommand) throws(SessionEnd) -> SinkReply {
        exchange.submit(command)
        let reply = awaitReply(until: nil)
        switch reply {
        case .failed(let failure): throw .failed(failure)
        case .abandoned, nil: throw .stopped
        case .some(let reply): return reply
        }
    }

    /// Waits for the answer to the command submitted last, and does nothing meanwhile.
    func awaitReply(until grace: Duration?) -> SinkReply? {
        awaitReply(until: grace) { () throws(Never) in }
    }

    /// Waits for the answer to the command submitted last.
    ///
    /// - Parameters:
    ///   - grace: how long the sink may go on after a stop was asked for; nil for not at all.
    ///   - meanwhile: called about once a second; what it throws ends the waiting, and the answer is still owed.
    /// - Returns: nil if the sink does not even answer that it has given up.
    /// - Throws: what `meanwhile` throws.
    func awaitReply<Failure: Error>(
        until grace: Duration?,
        meanwhile: () throws(Failure) -> Void
    ) throws(Failure) -> SinkReply? {
        var giveUp: ContinuousClock.Instant?
        var leave: ContinuousClock.Instant?
        while true {
            if let reply = exchange.takeReply() { return reply }
            if stop.isStopping {
                let deadline = giveUp ?? .now + (grace ?? .zero)
                giveUp = deadline
                if ContinuousClock.now >= deadline, leave == nil {
                    exchange.abandon()
                    leave = .now + .seconds(5)
                }
                if let leave, ContinuousClock.now >= leave { return nil }
            }
            try meanwhile()
            stop.wait(atMost: stop.isStopping ? .milliseconds(20) : .seconds(1))
        }
    }
}
