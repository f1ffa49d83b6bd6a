internal import Glibc

/// Writing to a file descriptor.
enum FileOutput {
    /// Writes all bytes, however often the descriptor takes only some of them.
    ///
    /// - Returns: how many bytes were taken, and 0 or the `errno` of what failed then.
    static func write(_ file: Int32, _ bytes: UnsafeRawBufferPointer) -> (count: Int, error: Int32) {
        var rest = bytes
        while rest.count > 0 {
            let count = Glibc.write(file, rest.baseAddress, rest.count)
            if count > 0 {
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            } else if count < 0 && errno == EAGAIN {
                // Somebody made the pipe non-blocking; wait as a blocking one would.
                var wait = pollfd(fd: file, events: Int16(POLLOUT), revents: 0)
                poll(&wait, 1, -1)
            } else if count < 0 && errno != EINTR {
                return (bytes.count - rest.count, errno)
            }
        }
        return (bytes.count, 0)
    }
}
