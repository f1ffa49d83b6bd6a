internal import CLinux
internal import Glibc
internal import Synchronization

/// An actor's own thread, so that blocking C calls never occupy Swift's cooperative pool.
///
/// `@unchecked Sendable`: `jobs` and `isOver` are touched only with `mutex` held; the rest never changes.
final class ThreadExecutor: SerialExecutor, @unchecked Sendable {
    private let mutex: UnsafeMutablePointer<pthread_mutex_t> = .allocate(capacity: 1)
    private let condition: UnsafeMutablePointer<pthread_cond_t> = .allocate(capacity: 1)
    private var jobs: [UnownedJob] = []
    private var isOver = false
    private let name: String

    /// Starts the thread.
    ///
    /// - Parameter name: what `top -H` shows, at most 15 bytes.
    init(name: String) {
        self.name = name
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
        var thread = pthread_t()
        let started = pthread_create(
            &thread,
            nil,
            { context in
                guard let context else { return nil }
                Unmanaged<ThreadExecutor>.fromOpaque(context).takeRetainedValue().run()
                return nil
            },
            Unmanaged.passRetained(self).toOpaque()
        )
        precondition(started == 0, "pthread_create: no thread left")
        pthread_detach(thread)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// Ends the thread once its jobs are done.
    ///
    /// Nothing may be enqueued afterwards.
    func finish() {
        pthread_mutex_lock(mutex)
        isOver = true
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        pthread_mutex_lock(mutex)
        jobs.append(job)
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    private func run() {
        linux_set_thread_name(name)
        while let ready = next() {
            for job in ready { job.runSynchronously(on: asUnownedSerialExecutor()) }
        }
    }

    private func next() -> [UnownedJob]? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while jobs.isEmpty, !isOver { pthread_cond_wait(condition, mutex) }
        guard !jobs.isEmpty else { return nil }
        let ready = jobs
        jobs.removeAll(keepingCapacity: true)
        return ready
    }
}
