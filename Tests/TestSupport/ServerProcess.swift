import Glibc
import Synchronization

/// A server's process, started and ended again and again over one directory.
///
/// The directory goes with `remove()`, at the latest when the test process exits.
public final class ServerProcess: Sendable {
    /// For messages.
    let name: String
    private let place: ServerDirectory
    private let child = Mutex<ChildProcess?>(nil)

    init(_ name: String, in place: ServerDirectory) {
        self.name = name
        self.place = place
    }

    /// A temporary directory of its own.
    var directory: String { place.path }

    /// The process while it runs.
    var running: ChildProcess? { child.withLock { $0 }.flatMap { $0.isRunning ? $0 : nil } }

    /// Starts a process and waits until it is ready.
    func start(
        timeout: Duration,
        every pause: Duration = .milliseconds(20),
        log: () -> String,
        _ launch: () throws -> ChildProcess,
        isReady: () -> Bool
    ) throws {
        guard running == nil else { throw HarnessError("\(name) runs already") }
        let started = try launch()
        child.withLock { $0 = started }
        let isUp = eventually(within: timeout, every: pause) { !started.isRunning || isReady() }
        guard isUp, started.isRunning else {
            started.kill(SIGKILL)
            throw HarnessError("\(name) did not start: \(log())")
        }
    }

    /// Asks it to end, and waits.
    func stop(timeout: Duration, log: () -> String) throws {
        guard let child = child.withLock({ $0 }) else { return }
        child.kill(SIGTERM)
        guard child.waitForExit(timeout: timeout) != nil else {
            throw HarnessError("\(name) did not stop within \(timeout): \(log())")
        }
    }

    /// SIGKILL, and waits until it is gone.
    func kill() {
        guard let child = child.withLock({ $0 }) else { return }
        child.kill(SIGKILL)
        child.waitForExit()
    }

    /// Sends it a signal.
    func signal(_ number: Int32) { child.withLock { $0 }?.kill(number) }

    /// Kills it and deletes its directory.
    func remove() {
        kill()
        place.remove()
    }
}

/// A server that is a process with a directory of its own, which outlives kills.
public protocol ProcessServer: AnyObject {
    /// The process.
    var process: ServerProcess { get }
    /// What it said last.
    func logTail() -> String
    /// Starts it and waits until it answers.
    func start(timeout: Duration) throws
}

extension ProcessServer {
    /// Where its data and its logs are.
    public var directory: String { process.directory }

    /// Its process id while it runs.
    public var pid: Int32? { process.running?.pid }

    /// True while it runs.
    public var isRunning: Bool { process.running != nil }

    /// Starts it and waits until it answers.
    public func start() throws { try start(timeout: .seconds(60)) }

    /// Ends it in order and waits.
    public func stop(timeout: Duration = .seconds(60)) throws { try process.stop(timeout: timeout, log: logTail) }

    /// SIGKILL, and waits until the process is gone; the data stays.
    public func killAndWait() { process.kill() }

    /// Stops it, in order or by SIGKILL, and starts it again.
    public func restart(killed: Bool = false) throws {
        if killed { killAndWait() } else { try stop() }
        try start()
    }

    /// Kills it and deletes its directory.
    public func remove() { process.remove() }

    /// Stops the process where it stands, or lets it go on.
    public func freeze(_ isFrozen: Bool) { process.signal(isFrozen ? SIGSTOP : SIGCONT) }
}

/// A server of the tests' own tools, in Python.
protocol PythonServer: ProcessServer {}

extension PythonServer {
    /// Starts `Tests/Tools/PROGRAM`, whose output goes to the directory.
    func launch(_ program: String, python: String, _ arguments: [String]) throws -> ChildProcess {
        try ChildProcess(
            executable: python,
            arguments: [repositoryPath + "/Tests/Tools/" + program] + arguments,
            environment: [
                "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": directory, "DBMAZZ_FRONT_WITH_PARENT": "1",
            ],
            standardOutput: outputPath,
            standardError: outputPath,
            workingDirectory: directory
        )
    }

    private var outputPath: String { directory + "/output.log" }

    /// What it said last.
    public func logTail() -> String { readText(outputPath) ?? "no output" }

    /// The Python that has a tool's packages.
    static func python(variable: String, environment: String, missing: String) throws -> String {
        let places = [environmentVariable(variable), repositoryPath + "/.build-servers/\(environment)/bin/python"]
        for place in places.compactMap(\.self) where access(place, X_OK) == 0 { return place }
        throw HarnessError(missing)
    }
}

/// The checkout that these tests were built from.
public let repositoryPath: String = {
    let file = realpath(#filePath, nil).map { String(cString: $0) } ?? #filePath
    return file.split(separator: "/").dropLast(3).map { "/\($0)" }.joined()
}()
