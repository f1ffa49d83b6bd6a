internal import Glibc

/// Writing to a file descriptor that somebody else may read slowly, or not at all.
struct FileOutput {
    private let file: Int32
    private let kind: Kind

    private enum Kind {
        case pipe(capacity: Int)
        case socket
        case other
    }

    /// What a pipe takes without blocking once poll(2) says that it takes something (PIPE_BUF, see pipe(7)).
    private static let pipeChunk = 4096
    /// F_GETPIPE_SZ, which Swift's Glibc lacks.
    private static let getPipeSize: Int32 = 1032

    /// Looks at what the descriptor is; it stays the caller's.
    init(_ file: Int32) {
        self.file = file
        var status = stat()
        let isKnown = fstat(file, &status) == 0
        kind =
            switch status.st_mode & S_IFMT {
            case S_IFIFO where isKnown: .pipe(capacity: Int(max(0, fcntl(file, FileOutput.getPipeSize))))
            case S_IFSOCK where isKnown: .socket
            default: .other
            }
    }

    /// Writes all bytes, however often the descriptor takes only some of them.
    ///
    /// - Parameters:
    ///   - bytes: what to write.
    ///   - deadline: when to give up waiting for a reader that takes nothing.
    /// - Returns: how many bytes were taken, and 0 or the `errno` of what failed then; ETIMEDOUT at the deadline.
    func write(_ bytes: UnsafeRawBufferPointer, deadline: ContinuousClock.Instant) -> (count: Int, error: Int32) {
        var rest = bytes
        while rest.count > 0 {
            let count = writeOnce(rest, deadline)
            if count > 0 {
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            } else if count < 0 && errno != EINTR && errno != EAGAIN {
                return (bytes.count - rest.count, errno)
            }
        }
        return (bytes.count, 0)
    }

    private func writeOnce(_ rest: UnsafeRawBufferPointer, _ deadline: ContinuousClock.Instant) -> Int {
        switch kind {
        case .other: return Glibc.write(file, rest.baseAddress, rest.count)
        case .socket:
            guard waitForReader(deadline) else { return -1 }
            return send(file, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
        case .pipe(let capacity):
            // All at once into an empty pipe; else in pieces that cannot block, so that the deadline holds. (A pipe is full
            // when its pages are taken, however little is in them.)
            if unread == 0, rest.count <= capacity - FileOutput.pipeChunk {
                return Glibc.write(file, rest.baseAddress, rest.count)
            }
            guard waitForReader(deadline) else { return -1 }
            return Glibc.write(file, rest.baseAddress, min(rest.count, FileOutput.pipeChunk))
        }
    }

    /// Bytes in the pipe that nobody has read.
    private var unread: Int {
        var count: Int32 = 0
        return ioctl(file, UInt(FIONREAD), &count) == 0 ? Int(count) : Int.max / 2
    }

    /// False with errno ETIMEDOUT at the deadline.
    private func waitForReader(_ deadline: ContinuousClock.Instant) -> Bool {
        while true {
            var request = pollfd(fd: file, events: Int16(POLLOUT), revents: 0)
            // Rounded up: poll(2) counts milliseconds, and the deadline is not to be missed by a part of one.
            let left = max(0, ((deadline - .now) / .milliseconds(1)).rounded(.up))
            let ready = poll(&request, 1, Int32(min(left, 1e9)))
            if ready < 0 && errno == EINTR { continue }
            if ready == 0 { errno = ETIMEDOUT }
            // With the reader gone poll reports an error, and so will the write.
            return ready > 0
        }
    }
}
