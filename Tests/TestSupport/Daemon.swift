import Glibc
import Synchronization

/// The program under test as a process that can be started again and again; each run has its own log files.
public final class Daemon: Sendable {
    /// Where the executable is.
    public let executable: String
    /// Where each run leaves `stderr.N.log` and `stdout.N.log`.
    public let directory: String
    private struct State {
        var environment: [String: String]
        var arguments: [String]
        var runs = 0
        var process: ChildProcess?
    }
    private let state: Mutex<State>

    /// A daemon that is not started yet.
    ///
    /// - Parameters:
    ///   - executable: Absolute path of `dbmazz-sink`.
    ///   - environment: Its variables; `PATH`, `HOME` and `LOG_FORMAT=json` are added where missing, nothing else.
    ///   - directory: For its logs; exists already.
    ///   - arguments: Of the command line.
    public init(
        executable: String,
        environment: [String: String],
        directory: String,
        arguments: [String] = []
    ) {
        self.executable = executable
        self.directory = directory
        let base = ["PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": directory, "LOG_FORMAT": "json"]
        let merged = base.merging(environment) { $1 }
        state = Mutex(State(environment: merged, arguments: arguments))
    }

    /// The variables that capture `tables` of a server into a SQLite file.
    public static func sqliteEnvironment(
        source: String,
        tables: [String],
        file: String,
        snapshot: String = "initial"
    ) -> [String: String] {
        [
            "SOURCE_URL": source, "SOURCE_TABLES": tables.joined(separator: ","), "SOURCE_SNAPSHOT": snapshot,
            "SINK_TYPE": "sqlite", "SINK_URL": file, "LOG_LEVEL": "debug",
        ]
    }

    /// Sets or, with nil, removes a variable for the next start.
    public func setEnvironment(_ name: String, _ value: String?) {
        state.withLock { $0.environment[name] = value }
    }

    /// Sets the command line for the next start.
    public func setArguments(_ arguments: [String]) {
        state.withLock { $0.arguments = arguments }
    }

    /// Runs a command of the program to its end, with the daemon's variables.
    public func command(_ arguments: String..., timeout: Duration = .seconds(60)) throws -> CommandResult {
        let environment = state.withLock { $0.environment }
        let name = "\(directory)/command.\(UInt32.random(in: 0...(.max)))"
        let process = try ChildProcess(
            executable: executable,
            arguments: arguments,
            environment: environment,
            standardOutput: name + ".out",
            standardError: name + ".err",
            workingDirectory: directory
        )
        guard let status = process.waitForExit(timeout: timeout) else {
            process.kill(SIGKILL)
            throw HarnessError("\(arguments) did not end within \(timeout)")
        }
        return CommandResult(
            status: status,
            output: readText(name + ".out") ?? "",
            error: readText(name + ".err") ?? ""
        )
    }

    /// Starts the program; `failpoint` ("name" or "name@N") is for this run alone.
    public func start(failpoint: String? = nil) throws {
        try state.withLock { state in
            guard state.process?.isRunning != true else { throw HarnessError("the daemon runs already") }
            state.runs += 1
            var environment = state.environment
            if let failpoint { environment["DBMAZZ_FAILPOINT"] = failpoint }
            state.process = try ChildProcess(
                executable: executable,
                arguments: state.arguments,
                environment: environment,
                standardOutput: "\(directory)/stdout.\(state.runs).log",
                standardError: "\(directory)/stderr.\(state.runs).log",
                workingDirectory: directory
            )
        }
    }

    /// True while the current run lives.
    public var isRunning: Bool { process?.isRunning ?? false }
    /// How the current run ended.
    public var exitStatus: ExitStatus? { process?.exitStatus }
    /// The current run's process id.
    public var pid: Int32? { process?.pid }
    /// How often it was started.
    public var runs: Int { state.withLock { $0.runs } }
    /// The current run's error output.
    public var standardErrorFile: String { "\(directory)/stderr.\(runs).log" }
    /// The current run's standard output.
    public var standardOutputFile: String { "\(directory)/stdout.\(runs).log" }

    private var process: ChildProcess? { state.withLock { $0.process } }

    /// A variable as the next run gets it.
    public func environmentValue(_ name: String) -> String? { state.withLock { $0.environment[name] } }

    /// Sends a signal, SIGKILL unless told otherwise.
    public func kill(_ signal: Int32 = 9) { process?.kill(signal) }

    /// SIGKILL, and waits until the process is gone.
    public func killAndWait() {
        kill(SIGKILL)
        waitForExit()
    }

    /// SIGTERM, and waits; SIGKILL and an error when it does not end in time.
    @discardableResult
    public func terminate(timeout: Duration = .seconds(30)) throws -> ExitStatus {
        kill(SIGTERM)
        if let status = waitForExit(timeout: timeout) { return status }
        killAndWait()
        throw HarnessError("the daemon did not end within \(timeout) after SIGTERM\n\(logTail())")
    }

    /// Waits for the end; nil when the time is over first.
    @discardableResult
    public func waitForExit(timeout: Duration = .seconds(30)) -> ExitStatus? {
        process?.waitForExit(timeout: timeout)
    }

    /// The current run's log.
    public func logLines() -> [LogLine] {
        (readText(standardErrorFile) ?? "").split(separator: "\n").map { LogLine(String($0)) }
    }

    /// The last lines of the current run's log, for messages.
    public func logTail(lines: Int = 30) -> String {
        (readText(standardErrorFile) ?? "").split(separator: "\n").suffix(lines).joined(separator: "\n")
    }

    /// Waits for a log line with this event (of the current run, from its beginning) that `matches`.
    ///
    /// - Returns: Nil when the time is over, or when the process ended without such a line.
    public func waitForLog(
        event: String,
        timeout: Duration = .seconds(30),
        matching matches: (LogLine) -> Bool = { _ in true }
    ) -> LogLine? {
        var found: LogLine?
        _ = eventually(within: timeout, every: .milliseconds(20)) {
            let running = isRunning
            found = logLines().first { $0.event == event && matches($0) }
            return found != nil || !running
        }
        return found
    }

    /// Memory and CPU time of the current run, nil when it has ended.
    public func usage() -> ProcessUsage? {
        guard let process, process.isRunning else { return nil }
        return ProcessUsage(pid: process.pid)
    }
}
