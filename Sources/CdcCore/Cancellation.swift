internal import Synchronization

/// A wish that calls into the target end: set by one thread, looked at by the one that waits.
public final class Cancellation: Sendable {
    private let flag = Atomic<Bool>(false)

    /// Makes one that nobody has asked for yet.
    public init() {}

    /// Whether waiting is to end.
    public var isCancelled: Bool { flag.load(ordering: .relaxed) }

    /// Asks for it, once and for all.
    public func cancel() { flag.store(true, ordering: .relaxed) }
}
