import Glibc
import Synchronization

/// How a process ended.
public enum ExitStatus: Equatable, Sendable, CustomStringConvertible {
    /// It returned this code.
    case exited(Int32)
    /// This signal ended it.
    case signaled(Int32)

    /// For messages.
    public var description: String {
        switch self {
        case .exited(let code): "exited with code \(code)"
        case .signaled(let signal): "ended by signal \(signal)"
        }
    }
}

/// A child process whose output goes to files.
///
/// It is killed when the test process exits.
public final class ChildProcess: Sendable {
    /// The process id; meaningful until the process was waited for.
    public let pid: Int32
    private let status = Mutex<ExitStatus?>(nil)
    private let exitAction = Mutex<Int?>(nil)

    /// Starts a program.
    ///
    /// - Parameters:
    ///   - executable: An absolute path.
    ///   - arguments: Without the program's own name.
    ///   - environment: Exactly what the program sees.
    ///   - standardOutput: A file to append to.
    ///   - standardError: A file to append to.
    ///   - workingDirectory: Where it starts.
    ///   - exitSignal: Sent when the test process exits while this one still runs.
    /// - Throws: `HarnessError` when there is no such executable file.
    public init(
        executable: String,
        arguments: [String] = [],
        environment: [String: String],
        standardOutput: String = "/dev/null",
        standardError: String = "/dev/null",
        workingDirectory: String = "/",
        exitSignal: Int32 = 9
    ) throws {
        guard access(executable, X_OK) == 0 else { throw HarnessError("no executable file \(executable)") }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        let append = O_WRONLY | O_CREAT | O_APPEND
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, standardOutput, append, 0o644)
        posix_spawn_file_actions_addopen(&actions, 2, standardError, append, 0o644)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A test runner may block or ignore signals; the child starts with none blocked and all at their default.
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))

        // Swift's Glibc does not show posix_spawn's chdir; env(1) changes the directory and execs, so the id stays.
        let launcher = "/usr/bin/env"
        let argv = CStringArray([launcher, "--chdir=\(workingDirectory)", "--", executable] + arguments)
        let envp = CStringArray(environment.map { "\($0.key)=\($0.value)" })
        var pid: pid_t = 0
        let error = posix_spawn(&pid, launcher, &actions, &attributes, argv.pointers, envp.pointers)
        guard error == 0 else { throw HarnessError("cannot start \(executable): errno \(error)") }
        self.pid = pid
        let number = AtExit.add { [self] in
            guard isRunning else { return }
            kill(exitSignal)
            _ = waitForExit(timeout: .seconds(5))
        }
        exitAction.withLock { $0 = number }
    }

    /// True until the process has ended.
    public var isRunning: Bool { poll() == nil }

    /// How the process ended, nil while it runs.
    public var exitStatus: ExitStatus? { poll() }

    /// Sends a signal, unless the process has ended (its id may then belong to another).
    public func kill(_ signal: Int32) {
        status.withLock { status in
            guard status == nil else { return }
            _ = Glibc.kill(pid, signal)
        }
    }

    /// Waits for the end; nil when the time is over first.
    @discardableResult
    public func waitForExit(timeout: Duration = .seconds(30)) -> ExitStatus? {
        _ = eventually(within: timeout, every: .milliseconds(2)) { poll() != nil }
        return poll()
    }

    private func poll() -> ExitStatus? {
        let (result, ended) = status.withLock { status -> (ExitStatus?, Bool) in
            if let status { return (status, false) }
            var word: Int32 = 0
            guard waitpid(pid, &word, WNOHANG) == pid else { return (nil, false) }
            let signal = word & 0x7F
            let result: ExitStatus = signal == 0 ? .exited((word >> 8) & 0xFF) : .signaled(signal)
            status = result
            return (result, true)
        }
        if ended, let number = exitAction.withLock({ $0 }) { AtExit.remove(number) }
        return result
    }
}

/// Runs a program to its end and returns what it wrote to its standard output.
///
/// - Throws: `HarnessError` with its error output when it ends otherwise than with code 0.
@discardableResult
public func runProgram(
    _ executable: String,
    _ arguments: [String] = [],
    environment: [String: String] = ["PATH": "/usr/bin:/bin", "LC_ALL": "C"],
    timeout: Duration = .seconds(120)
) throws -> String {
    var template = Array("/tmp/dbmazz-run-XXXXXX".utf8CString)
    let file = mkstemp(&template)
    guard file >= 0 else { throw HarnessError("mkstemp: errno \(errno)") }
    close(file)
    let output = template.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } ?? "" }
    let errors = output + ".err"
    defer {
        unlink(output)
        unlink(errors)
    }
    let process = try ChildProcess(
        executable: executable,
        arguments: arguments,
        environment: environment,
        standardOutput: output,
        standardError: errors
    )
    guard let status = process.waitForExit(timeout: timeout) else {
        process.kill(SIGKILL)
        throw HarnessError("\(executable) did not end within \(timeout)")
    }
    guard status == .exited(0) else {
        throw HarnessError("\(executable) \(arguments) \(status): \(readText(errors) ?? "")")
    }
    return readText(output) ?? ""
}

/// A NULL-terminated array of C strings, as exec wants it.
private final class CStringArray {
    let pointers: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
    private let count: Int

    init(_ strings: [String]) {
        count = strings.count
        pointers = .allocate(capacity: strings.count + 1)
        for (index, string) in strings.enumerated() { pointers[index] = strdup(string) }
        pointers[strings.count] = nil
    }

    deinit {
        for index in 0..<count { free(pointers[index]) }
        pointers.deallocate()
    }
}
