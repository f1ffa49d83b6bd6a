import Glibc

/// ClickHouse's engine of today behind its HTTP interface, as a process of its own with a directory of its own.
///
/// Tests/Tools/clickhouse-front.py says what of it is the real engine's and what is not.
public final class ClickHouseServer: PythonServer, Sendable {
    /// The port on 127.0.0.1; it stays the same over restarts.
    public let port: Int
    /// Its process, and the directory of data, log and output.
    public let process: ServerProcess

    /// Prepares a server; `start()` starts it.
    ///
    /// - Parameter grants: the privileges of its one user, as `GRANT SELECT ON shop.*`; nil for all of them.
    /// - Throws: `HarnessError` where there is no place for its files.
    public init(grants: [String]? = nil) throws {
        port = try freePort()
        process = ServerProcess("ClickHouse", in: try ServerDirectory("dbmazz-ch"))
        if let grants { try writeText(grants.joined(separator: "\n"), to: process.directory + "/grants") }
    }

    /// A server that runs.
    public static func started(grants: [String]? = nil) throws -> ClickHouseServer {
        let server = try ClickHouseServer(grants: grants)
        try server.start()
        return server
    }

    deinit { remove() }

    /// `SINK_URL`.
    public var url: String { "http://127.0.0.1:\(port)" }

    /// A client whose requests no fault, user or log concerns.
    public func client(database: String = "default") -> ClickHouseClient {
        ClickHouseClient(port: port, database: database)
    }

    /// Starts it and waits until it answers.
    public func start(timeout: Duration) throws {
        try process.start(timeout: timeout, log: logTail) {
            try launch("clickhouse-front.py", python: Self.python(), ["\(port)", directory])
        } isReady: {
            (try? LoopbackHTTP.send("GET", "/ping", port: port))?.status == 200
        }
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

    /// The Python that has the engine.
    public static func python() throws -> String {
        try python(
            variable: "DBMAZZ_TEST_CHDB",
            environment: "chdb-venv",
            missing:
                "no ClickHouse engine: run scripts/install-clickhouse, or set DBMAZZ_TEST_CHDB to a Python that has chdb"
        )
    }
}
