import Glibc
import Synchronization

/// A file descriptor that takes log lines, and may be slow, full or gone.
///
/// A log must never hold up the stream: a line waits for a reader for a tenth of a second, then it is dropped and
/// counted, and until somebody reads again the following lines do not wait at all.
public final class LogOutput: Sendable {
    /// Standard error.
    public static let standardError = LogOutput(descriptor: STDERR_FILENO)

    /// How long a line waits for a reader.
    private static let patience: CInt = 100
    /// What a pipe takes at once without blocking, once poll says that it takes something (PIPE_BUF).
    private static let pipeChunk = 4096

    private struct State {
        var droppedLines = 0
        var isStalled = false
        /// What stands below the last line of a terminal.
        var footer = ""
        /// A dropped line had already begun: the next one has to start on a line of its own.
        var isMidLine = false
    }

    private enum Kind {
        case socket
        case pipe
        case other
    }

    private let descriptor: CInt
    private let kind: Kind
    private let state = Mutex(State())

    /// Makes an output on a descriptor, which stays the caller's.
    public init(descriptor: CInt) {
        self.descriptor = descriptor
        var status = stat()
        let isKnown = fstat(descriptor, &status) == 0
        kind =
            switch status.st_mode & S_IFMT {
            case S_IFSOCK where isKnown: .socket
            case S_IFIFO where isKnown: .pipe
            default: .other
            }
    }

    /// Whether a person's terminal is at the other end.
    public var isTerminal: Bool { isatty(descriptor) == 1 }

    /// Lines that nobody took since this was last asked.
    func takeDroppedLines() -> Int {
        state.withLock { state in
            defer { state.droppedLines = 0 }
            return state.droppedLines
        }
    }

    /// Shows a line below the log on a terminal, until the next one; nothing elsewhere.
    ///
    /// Empty takes it away.
    public func setFooter(_ text: String) {
        guard isTerminal, getenv("TERM").map({ String(cString: $0) }) != "dumb" else { return }
        let text = String(text.prefix(width - 1))
        state.withLock { state in
            guard state.footer != text else { return }
            state.footer = text
            _ = send(Array("\(Self.eraseLine)\(text)".utf8)[...], isStalled: state.isStalled)
        }
    }

    /// Columns of the terminal.
    private var width: Int {
        var size = winsize()
        return ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 1 ? Int(size.ws_col) : 80
    }

    /// ECMA-48: to the line's begin, then erase to its end.
    private static let eraseLine = "\r\u{1B}[K"

    /// Writes a line, by one system call where the line is not longer than a pipe takes.
    ///
    /// - Returns: whether the line was taken.
    @discardableResult func write(_ line: [UInt8]) -> Bool {
        state.withLock { state in
            let newline = [UInt8(ascii: "\n")]
            if state.isMidLine, send(newline[...], isStalled: state.isStalled) == 1 { state.isMidLine = false }
            let line = state.footer.isEmpty ? line : Array(Self.eraseLine.utf8) + line + Array(state.footer.utf8)
            let written = state.isMidLine ? 0 : send(line[...], isStalled: state.isStalled)
            state.isStalled = written < line.count
            guard state.isStalled else { return true }
            state.isMidLine = state.isMidLine || written > 0
            state.droppedLines += 1
            return false
        }
    }

    /// Sends bytes until they are all gone or nobody takes them; returns how many went.
    private func send(_ bytes: ArraySlice<UInt8>, isStalled: Bool) -> Int {
        var rest = bytes
        while !rest.isEmpty {
            guard waitForReader(isStalled ? 0 : Self.patience) else { break }
            let count = rest.withUnsafeBytes(sendOnce)
            if count >= 0 {
                rest = rest.dropFirst(count)
            } else if errno != EINTR && errno != EAGAIN {
                break
            }
        }
        return bytes.count - rest.count
    }

    private func sendOnce(_ bytes: UnsafeRawBufferPointer) -> Int {
        switch kind {
        case .socket: Glibc.send(descriptor, bytes.baseAddress, bytes.count, CInt(MSG_NOSIGNAL | MSG_DONTWAIT))
        case .pipe: Glibc.write(descriptor, bytes.baseAddress, min(bytes.count, Self.pipeChunk))
        case .other: Glibc.write(descriptor, bytes.baseAddress, bytes.count)
        }
    }

    private func waitForReader(_ milliseconds: CInt) -> Bool {
        guard kind != .other else { return true }
        var request = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        while true {
            let ready = poll(&request, 1, milliseconds)
            if ready < 0 && errno == EINTR { continue }
            // With the reader gone poll reports an error, and so will the write.
            return ready > 0
        }
    }
}
