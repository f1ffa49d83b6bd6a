import Glibc
import Synchronization

/// A thread of its own for code that blocks (libpq, poll).
public final class WorkerThread: Sendable {
    private let finished = Mutex(false)

    /// Starts `body` on a new thread.
    public init(_ body: @escaping @Sendable () -> Void) {
        let entry = Entry { [finished = FinishedFlag(owner: self)] in
            body()
            finished.set()
        }
        var thread = pthread_t()
        let argument = Unmanaged.passRetained(entry).toOpaque()
        let status = pthread_create(
            &thread,
            nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Entry>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            },
            argument
        )
        precondition(status == 0, "pthread_create failed: \(status)")
        pthread_detach(thread)
    }

    /// Waits until the thread's body has returned.
    public func join() {
        while !finished.withLock({ $0 }) { sleepThread(.milliseconds(1)) }
    }

    /// True until the body has returned.
    public var isRunning: Bool { !finished.withLock { $0 } }

    private final class Entry: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    private struct FinishedFlag: Sendable {
        let owner: WorkerThread
        func set() { owner.finished.withLock { $0 = true } }
    }
}
