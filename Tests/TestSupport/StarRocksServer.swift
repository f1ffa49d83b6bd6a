import Glibc

/// An emulated StarRocks, as a process of its own with a directory of its own.
///
/// Tests/Tools/starrocks-emulator.py says what it takes and what nobody could find out about the real one.
public final class StarRocksServer: PythonServer, Sendable {
    /// The front end's HTTP port on 127.0.0.1; like the others it stays the same over restarts.
    public let httpPort: Int
    /// The back end's HTTP port.
    public let backEndPort: Int
    /// The MySQL port.
    public let mysqlPort: Int
    /// The port that commands it.
    public let controlPort: Int
    /// Its process, and the directory of rows, labels, log and output.
    public let process: ServerProcess
    private let arguments: [String]

    /// Prepares a server; `start()` starts it.
    ///
    /// - Parameters:
    ///   - version: What `current_version()` says, and what it knows accordingly.
    ///   - advertisedHost: The host to which the front end redirects.
    ///   - arguments: More of the program's options.
    /// - Throws: `HarnessError` when there is no free port or no temporary directory.
    public init(version: String = "3.3.5", advertisedHost: String = "127.0.0.1", arguments: [String] = []) throws {
        (httpPort, backEndPort) = (try freePort(), try freePort())
        (mysqlPort, controlPort) = (try freePort(), try freePort())
        process = ServerProcess("StarRocks", in: try ServerDirectory("dbmazz-sr"))
        self.arguments =
            [
                "--http-port", "\(httpPort)", "--be-port", "\(backEndPort)", "--mysql-port", "\(mysqlPort)",
                "--control-port", "\(controlPort)", "--directory", process.directory, "--version", version,
                "--advertise-host", advertisedHost,
            ] + arguments
    }

    /// A server that runs.
    public static func started(
        version: String = "3.3.5",
        advertisedHost: String = "127.0.0.1",
        arguments: [String] = []
    ) throws -> StarRocksServer {
        let server = try StarRocksServer(version: version, advertisedHost: advertisedHost, arguments: arguments)
        try server.start()
        return server
    }

    deinit { remove() }

    /// The front end's address.
    public var url: String { "http://127.0.0.1:\(httpPort)" }

    /// Starts it and waits until it answers.
    public func start(timeout: Duration) throws {
        try process.start(timeout: timeout, log: logTail) {
            try launch("starrocks-emulator.py", python: Self.python(), arguments)
        } isReady: {
            access(directory + "/ready", R_OK) == 0
                && (try? LoopbackHTTP.send("GET", "/ready", port: controlPort))?.status == 200
        }
    }

    // MARK: rows

    /// Runs a statement and returns its rows as text; no fault, user or log concerns it.
    @discardableResult
    public func query(_ sql: String, database: String? = nil) throws -> [[String?]] {
        let db = database.map { ", \"db\": \(LoopbackHTTP.json($0))" } ?? ""
        return Self.rows(try control("POST", "/sql?format=tsv", "{\"sql\": \(LoopbackHTTP.json(sql))\(db)}"))
    }

    /// All rows of a table in the order of its key, in a form in which equal values are equal texts: numbers exact,
    /// bytes as hex, arrays as JSON.
    public func dump(_ table: String, database: String) throws -> [[String?]] {
        let names = "db=\(LoopbackHTTP.encoded(database))&table=\(LoopbackHTTP.encoded(table))"
        return Self.rows(try control("GET", "/dump?format=tsv&\(names)"))
    }

    private static func rows(_ text: String) -> [[String?]] {
        text.split(separator: "\n").map { line in
            line.split(separator: "\t", omittingEmptySubsequences: false).map { $0 == "\\N" ? nil : unescaped($0) }
        }
    }

    private static func unescaped(_ field: Substring) -> String {
        guard field.contains("\\") else { return String(field) }
        var result = ""
        var isEscaped = false
        for scalar in field.unicodeScalars {
            if isEscaped {
                let meant: [Unicode.Scalar: Unicode.Scalar] = ["t": "\t", "n": "\n", "r": "\r", "0": "\0"]
                result.unicodeScalars.append(meant[scalar] ?? scalar)
                isEscaped = false
            } else if scalar == "\\" {
                isEscaped = true
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    // MARK: what it does wrong, and what it saw

    /// Plans a fault; a killed server forgets it.
    public func fault(_ fault: StarRocksFault) throws { try control("POST", "/faults", fault.json) }

    /// Forgets all faults.
    public func clearFaults() throws { try control("DELETE", "/faults") }

    /// How often the planned faults happened, in the order in which they were planned.
    public func faultsFired() throws -> [Int] {
        try control("GET", "/faults").split(separator: "}").compactMap { rule in
            rule.firstRange(of: "\"fired\": ").flatMap { Int(rule[$0.upperBound...].prefix { $0.isNumber }) }
        }
    }

    /// All requests since the last reset, in the order in which they ended.
    public func log() throws -> [StarRocksRequest] {
        try control("GET", "/requests").split(separator: "\n").map { StarRocksRequest(String($0)) }
    }

    /// What clients did that StarRocks refuses, or silently takes for something else.
    public func violations() throws -> [String] { try log().flatMap(\.violations) }

    /// Forgets faults, log and settings; databases, rows, labels and users stay.
    public func reset() throws { try control("POST", "/reset") }

    /// Sends a command to the control port, and returns the answer's text.
    @discardableResult
    public func control(_ method: String, _ path: String, _ body: String = "") throws -> String {
        let answer = try LoopbackHTTP.send(method, path, port: controlPort, body: Array(body.utf8))
        guard answer.status == 200 else { throw HarnessError("\(path): \(answer.status) \(answer.text)") }
        return answer.text
    }

    /// The Python that has the emulator's packages.
    public static func python() throws -> String {
        try python(
            variable: "DBMAZZ_TEST_STARROCKS",
            environment: "starrocks-venv",
            missing:
                "no StarRocks emulator: run scripts/install-starrocks-emulator, or set DBMAZZ_TEST_STARROCKS to a Python "
                + "that has mysql-mimic"
        )
    }
}
