#if FAILPOINTS
internal import CLinux
internal import Glibc
internal import Synchronization
#endif

/// Places at which a test can have the daemon killed, as a power cut would: debug builds only.
///
/// `DBMAZZ_FAILPOINT=name@3` sends SIGKILL to the process the third time it passes `name`. `name@3:hang` lets the thread that
/// passes sleep for ever instead, and `name@3:exit-thread` ends that thread alone, as if it had crashed and nobody noticed.
public enum Failpoint: String, CaseIterable, Sendable {
    /// The permanent slot exists, the copy has not begun.
    case slotCreated = "slot-created"
    /// A part of the copy is in the sink.
    case copyPartWritten = "copy-part-written"
    /// All rows are copied, the sink does not know yet.
    case copyRowsWritten = "copy-rows-written"
    /// The sink has the copy and its position.
    case copyFinished = "copy-finished"
    /// A part of a large transaction is in the sink's open transaction.
    case unitPartWritten = "unit-part-written"
    /// The sink has applied a truncate and not committed.
    case truncateApplied = "truncate-applied"
    /// The sink has applied a unit and not committed.
    case beforeSinkCommit = "before-sink-commit"
    /// The sink has said which rows it is about to load, and not sent them.
    case loadAnnounced = "load-announced"
    /// The target has loaded rows, and nobody has noted it.
    case loadSent = "load-sent"
    /// Dead letters are on disk, the sink has not committed what goes on without them.
    case deadLettersWritten = "dead-letters-written"
    /// The sink has committed, the source does not know.
    case sinkCommitted = "sink-committed"
    /// The source was told.
    case statusSent = "status-sent"
    /// The connection was lost and is not back.
    case reconnecting = "reconnecting"
    /// Streaming has begun, nothing was read.
    case streamStarted = "stream-started"

    /// Passes the place; does not return if a test has armed it.
    @inline(__always)
    public func pass() {
        #if FAILPOINTS
        Failpoint.check(self)
        #endif
    }

    #if FAILPOINTS
    private static let armed: (name: String, count: Int, action: Substring)? = {
        guard let value = getenv("DBMAZZ_FAILPOINT") else { return nil }
        let parts = String(cString: value).split(separator: ":")
        let place = parts.first?.split(separator: "@") ?? []
        let count = place.count > 1 ? Int(place[1]) ?? 1 : 1
        return place.first.map { (String($0), count, parts.count > 1 ? parts[1] : "kill") }
    }()
    private static let passes = Atomic<Int>(0)

    private static func check(_ point: Failpoint) {
        guard let armed, armed.name == point.rawValue else { return }
        guard passes.wrappingAdd(1, ordering: .relaxed).newValue == armed.count else { return }
        switch armed.action {
        case "hang": while true { sleep(3600) }
        // Not pthread_exit, which would unwind Swift's frames: the thread is to be gone without a trace.
        case "exit-thread": linux_exit_thread()
        default: kill(getpid(), SIGKILL)
        }
    }
    #endif
}
