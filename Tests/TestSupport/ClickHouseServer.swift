import Glibc
import Synchronization

/// ClickHouse's engine of today behind its HTTP interface, as a process of its own with a directory of its own.
///
/// Tests/Tools/clickhouse-front.py says what of it is the real engine's and what is not.
public final class ClickHouseServer: Sendable {
    /// The port on 127.0.0.1; it stays the same over restarts.
    public let port: Int
    /// Where data, log and the front's output are.
    public let directory: String
    private let process = Mutex<ChildProcess?>(nil)
    private let exitAction = Mutex<Int?>(nil)

    /// Prepares a server; `start()` starts it.
    public init() throws {
        port = try freePort()
        directory = try makeTemporaryDirectory("dbmazz-ch")
        let directory = directory
        exitAction.withLock { $0 = AtExit.add { removeTree(directory) } }
    }

    /// A server that runs.
    public static func started() throws -> ClickHouseServer {
        let server = try ClickHouseServer()
        try server.start()
        return server
    }

    deinit { remove() }

    /// `SINK_URL`.
    public var url: String { "http://127.0.0.1:\(port)" }

    /// Its process id while it runs.
    public var pid: Int32? { process.withLock { $0 }.flatMap { $0.isRunning ? $0.pid : nil } }

    /// True while it runs.
    public var isRunning: Bool { pid != nil }

    /// A client whose requests no fault, user or log concerns.
    public func client(database: String = "default") -> ClickHouseClient {
        ClickHouseClient(port: port, database: database)
    }

    /// Starts it and waits until it answers.
    public func start(timeout: Duration = .seconds(60)) throws {
        guard !isRunning else { throw HarnessError("ClickHouse on port \(port) runs already") }
        let child = try ChildProcess(
            executable: try Self.python(),
            arguments: [Self.repository + "/Tests/Tools/clickhouse-front.py", "\(port)", directory],
            environment: [
                "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": directory, "DBMAZZ_FRONT_WITH_PARENT": "1",
            ],
            standardOutput: directory + "/front.log",
            standardError: directory + "/front.log",
            workingDirectory: directory
        )
        process.withLock { $0 = child }
        let isReady = eventually(within: timeout) {
            !child.isRunning || (try? LoopbackHTTP.send("GET", "/ping", port: port))?.status == 200
        }
        guard isReady, child.isRunning else {
            child.kill(SIGKILL)
            throw HarnessError("ClickHouse did not start: \(readText(directory + "/front.log") ?? "no output")")
        }
    }

    /// Ends it in order.
    public func stop(timeout: Duration = .seconds(30)) throws {
        guard let child = process.withLock({ $0 }) else { return }
        child.kill(SIGTERM)
        guard child.waitForExit(timeout: timeout) != nil else {
            throw HarnessError("ClickHouse did not stop within \(timeout)")
        }
    }

    /// SIGKILL, and waits until the process is gone; the data stays.
    public func killAndWait() {
        guard let child = process.withLock({ $0 }) else { return }
        child.kill(SIGKILL)
        child.waitForExit()
    }

    /// Stops it, in order or by SIGKILL, and starts it again.
    public func restart(killed: Bool = false) throws {
        if killed { killAndWait() } else { try stop() }
        try start()
    }

    /// Stops the process where it stands, or lets it go on.
    public func freeze(_ isFrozen: Bool) { process.withLock { $0 }?.kill(isFrozen ? SIGSTOP : SIGCONT) }

    /// Kills it and deletes its directory.
    public func remove() {
        killAndWait()
        removeTree(directory)
        if let number = exitAction.withLock({ $0.take() }) { AtExit.remove(number) }
    }

    /// Runs a statement and returns its rows as text; no fault, user or log concerns it.
    @discardableResult
    public func query(_ sql: String, database: String = "default") throws -> [[String?]] {
        try client(database: database).query(sql)
    }

    // MARK: what the front does wrong, and what it saw

    /// Plans a fault; a killed front forgets it.
    public func fault(_ fault: ClickHouseFault, _ occasion: ClickHouseFault.Occasion) throws {
        try administer("POST", "/_fault", fault.json(occasion))
    }

    /// How often the planned faults happened, in the order in which they were planned.
    public func faultsFired() throws -> [Int] {
        let text = try administer("GET", "/_fault").text
        return text.split(separator: "}").compactMap { rule in
            rule.firstRange(of: "\"fired\": ").flatMap { Int(rule[$0.upperBound...].prefix { $0.isNumber }) }
        }
    }

    /// All requests since the last reset, in the order in which they ended.
    public func log() throws -> [ClickHouseRequest] {
        try administer("GET", "/_log").text.split(separator: "\n").map { ClickHouseRequest(String($0)) }
    }

    /// Forgets faults, users, log and numbers; the tables stay.
    public func reset() throws { try administer("POST", "/_reset") }

    /// Who may log in, with which password; at first only `default` without one.
    public func setUsers(_ users: [String: String]) throws {
        let fields = users.map { "\(LoopbackHTTP.json($0)): \(LoopbackHTTP.json($1))" }
        try administer("POST", "/_users", "{\(fields.joined(separator: ", "))}")
    }

    @discardableResult
    private func administer(_ method: String, _ path: String, _ body: String = "") throws -> LoopbackHTTP.Answer {
        let answer = try LoopbackHTTP.send(method, path, port: port, body: Array(body.utf8))
        guard answer.status == 200 else { throw HarnessError("\(path): \(answer.status) \(answer.text)") }
        return answer
    }

    // MARK: where things are

    /// The checkout that these tests were built from.
    static let repository: String = {
        let file = realpath(#filePath, nil).map { String(cString: $0) } ?? #filePath
        return file.split(separator: "/").dropLast(3).map { "/\($0)" }.joined()
    }()

    /// The Python that has the engine.
    public static func python() throws -> String {
        let places = [environmentVariable("DBMAZZ_TEST_CHDB"), repository + "/.build-servers/chdb-venv/bin/python"]
        for place in places.compactMap(\.self) where access(place, X_OK) == 0 { return place }
        throw HarnessError(
            "no ClickHouse engine: run scripts/install-clickhouse, or set DBMAZZ_TEST_CHDB to a Python that has chdb"
        )
    }
}
