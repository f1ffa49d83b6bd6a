import Glibc
import Synchronization

/// A PostgreSQL cluster of its own in a temporary directory, for one test or suite.
///
/// As root it runs under the system's `postgres` user, else as the calling user. Superuser `postgres`, no password,
/// 127.0.0.1 only. It is stopped and removed by `remove()`, at the latest when the test process exits.
public final class PostgresServer: Sendable {
    /// How `stop` ends the server, as `pg_ctl stop -m` names it.
    public enum StopMode: Sendable {
        /// Waits for clients to disconnect (SIGTERM).
        case smart
        /// Rolls back and disconnects clients (SIGINT).
        case fast
        /// Without a checkpoint: the next start recovers (SIGQUIT).
        case immediate
    }

    /// The TCP port on 127.0.0.1; it stays the same over restarts.
    public let port: Int
    /// The temporary directory: `data`, `server.log` and the Unix socket are in it.
    public let directory: String
    /// PGDATA.
    public let dataDirectory: String
    /// Where `postgres`, `initdb`, `pg_ctl` are.
    public let binDirectory: String
    /// The server's log.
    public let logFile: String
    /// The major version, for example 15.
    public let majorVersion: Int
    private let process = Mutex<ChildProcess?>(nil)
    private let place: ServerDirectory

    /// Makes a cluster; `start()` starts it.
    ///
    /// - Parameters:
    ///   - settings: Further lines of postgresql.conf, by name; they win over the harness's own.
    ///   - fsync: False makes commits faster and crash tests of the machine meaningless (a crash of the server is
    ///     still safe: the operating system keeps what was written).
    ///   - binDirectory: Else `DBMAZZ_TEST_PG_BIN`, else the newest `/usr/lib/postgresql/*/bin`.
    ///   - primary: A running server that this one is to be a streaming standby of.
    ///   - isOwnSystem: Whether it has a system identifier of its own; else that of the process's other servers.
    /// - Throws: `HarnessError` when there is no PostgreSQL, or initdb or pg_basebackup fails.
    public init(
        settings: [String: String] = [:],
        fsync: Bool = true,
        binDirectory: String? = nil,
        standbyOf primary: PostgresServer? = nil,
        isOwnSystem: Bool = false
    ) throws {
        let bin = try binDirectory ?? primary?.binDirectory ?? Self.findBinaries()
        self.binDirectory = bin
        port = try freePort()
        place = try Self.makeDirectory()
        directory = place.path
        dataDirectory = directory + "/data"
        logFile = directory + "/server.log"
        let version = try runProgram(bin + "/postgres", ["--version"])
        majorVersion = Self.firstNumber(in: version)
        if let primary {
            let copy = asOrdinaryUser(
                "postgres",
                bin + "/pg_basebackup",
                ["-d", primary.url(), "-D", dataDirectory, "-X", "stream", "-c", "fast", "--no-sync"]
            )
            try runProgram(copy.executable, copy.arguments)
        } else if isOwnSystem {
            try Self.initdb(bin, dataDirectory)
        } else {
            try runProgram("/bin/cp", ["-a", try Self.template(bin), dataDirectory])
        }
        var all = settings
        if let primary {
            // Not by pg_basebackup -R, which writes options that an older libpq beside the server does not know.
            all["primary_conninfo"] = "host=127.0.0.1 port=\(primary.port) user=postgres"
            try writeStandbySignal()
        }
        // Of a standby the primary's own settings come first: these win.
        try writeSettings(all, fsync: fsync)
    }

    private static func initdb(_ bin: String, _ directory: String) throws {
        let make = asOrdinaryUser(
            "postgres",
            bin + "/initdb",
            ["-D", directory, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        )
        try runProgram(make.executable, make.arguments)
    }

    /// A cluster of these binaries that was never started, made once for the process: a copy takes a tenth of initdb's time.
    private static func template(_ bin: String) throws -> String {
        try templates.withLock { templates in
            if let made = templates[bin] { return made.path + "/data" }
            let template = try makeDirectory()
            try initdb(bin, template.path + "/data")
            templates[bin] = template
            return template.path + "/data"
        }
    }

    private static let templates = Mutex<[String: ServerDirectory]>([:])

    private static func makeDirectory() throws -> ServerDirectory {
        try ServerDirectory(
            "dbmazz-pg",
            user: "postgres",
            leftBehind: #"pid=$(head -n 1 "$2/data/postmaster.pid" 2>/dev/null) && kill -QUIT "$pid"; sleep 2"#
        )
    }

    /// A cluster that already runs.
    ///
    /// - Parameters:
    ///   - version: The major version, whose binaries scripts/install-servers has fetched; nil for the default one.
    ///   - settings: As for the initializer.
    ///   - fsync: As for the initializer.
    ///   - isOwnSystem: As for the initializer.
    /// - Returns: The running cluster.
    /// - Throws: As the initializer and `start()`.
    public static func started(
        version: Int? = nil,
        settings: [String: String] = [:],
        fsync: Bool = true,
        isOwnSystem: Bool = false
    ) throws -> PostgresServer {
        let bin = try version.map(binaries)
        let server = try PostgresServer(
            settings: settings,
            fsync: fsync,
            binDirectory: bin,
            isOwnSystem: isOwnSystem
        )
        try server.start()
        return server
    }

    /// The binaries of a version: what `DBMAZZ_TEST_PG_ROOT` has (scripts/test sets it), or the system's.
    private static func binaries(of version: Int) throws -> String {
        let places = [
            environmentVariable("DBMAZZ_TEST_PG_ROOT").map { "\($0)/pg\(version)/bin" },
            "/usr/lib/postgresql/\(version)/bin",
        ]
        for place in places.compactMap(\.self) where access(place + "/postgres", X_OK) == 0 { return place }
        throw HarnessError(
            "no PostgreSQL \(version): run scripts/install-servers \(version), and the tests by scripts/test"
        )
    }

    deinit { remove() }

    /// Starts the server and waits until it accepts connections (crash recovery included).
    public func start(timeout: Duration = .seconds(60)) throws {
        guard !isRunning else { throw HarnessError("the server on port \(port) runs already") }
        let command = asOrdinaryUser("postgres", binDirectory + "/postgres", ["-D", dataDirectory])
        // SIGQUIT is the postmaster's immediate stop: it ends its own children too, which SIGKILL would not.
        let child = try ChildProcess(
            executable: command.executable,
            arguments: command.arguments,
            environment: ["PATH": "/usr/bin:/bin", "LC_ALL": "C"],
            standardOutput: logFile,
            standardError: logFile,
            exitSignal: SIGQUIT
        )
        process.withLock { $0 = child }
        let ready = eventually(within: timeout) { !child.isRunning || isReady(child.pid) }
        guard ready, child.isRunning else {
            child.kill(SIGQUIT)
            throw HarnessError("PostgreSQL did not start: \(child.exitStatus.map(\.description) ?? "")\n\(logTail())")
        }
    }

    /// Sends the signal of a stop and returns at once.
    public func requestStop(_ mode: StopMode = .fast) {
        let signal =
            switch mode {
            case .smart: SIGTERM
            case .fast: SIGINT
            case .immediate: SIGQUIT
            }
        process.withLock { $0 }?.kill(signal)
    }

    /// Waits until the server has ended; false when the time is over first.
    public func waitForStop(timeout: Duration = .seconds(60)) -> Bool {
        guard let child = process.withLock({ $0 }) else { return true }
        return child.waitForExit(timeout: timeout) != nil
    }

    /// Stops the server and waits for it.
    ///
    /// - Throws: When it still runs after `timeout`, for example because a client holds up a smart or fast stop.
    public func stop(_ mode: StopMode = .fast, timeout: Duration = .seconds(60)) throws {
        requestStop(mode)
        guard waitForStop(timeout: timeout) else {
            throw HarnessError("PostgreSQL did not stop (\(mode)) within \(timeout)\n\(logTail())")
        }
    }

    /// Stops and starts again on the same port.
    public func restart(_ mode: StopMode = .fast, timeout: Duration = .seconds(60)) throws {
        try stop(mode, timeout: timeout)
        try start(timeout: timeout)
    }

    /// True while the postmaster lives.
    public var isRunning: Bool { process.withLock { $0 }?.isRunning ?? false }

    /// The postmaster's process id, nil when it does not run.
    public var pid: Int32? { process.withLock { $0 }.flatMap { $0.isRunning ? $0.pid : nil } }

    /// A libpq URI of a database of this server, or of another port such as that of a `TcpProxy`.
    public func url(database: String = "postgres", user: String = "postgres", port: Int? = nil) -> String {
        "postgresql://\(user)@127.0.0.1:\(port ?? self.port)/\(database)"
    }

    /// A new connection with the pinned session settings.
    public func connect(database: String = "postgres") throws -> PgClient {
        try PgClient(url(database: database))
    }

    /// Stops the server at once and deletes its directory.
    public func remove() {
        if isRunning {
            requestStop(.immediate)
            if !waitForStop(timeout: .seconds(10)) { process.withLock { $0 }?.kill(SIGKILL) }
        }
        place.remove()
    }

    /// The last lines of the server's log.
    public func logTail(lines: Int = 40) -> String {
        let all = (readText(logFile) ?? "").split(separator: "\n", omittingEmptySubsequences: true)
        return all.suffix(lines).joined(separator: "\n")
    }

    /// postmaster.pid: line 1 is the process id, line 8 the status.
    private func isReady(_ pid: Int32) -> Bool {
        let lines = (readText(dataDirectory + "/postmaster.pid") ?? "").split(
            separator: "\n",
            omittingEmptySubsequences: false
        )
        return lines.count >= 8 && lines[0] == "\(pid)" && lines[7].hasPrefix("ready")
    }

    private func writeSettings(_ settings: [String: String], fsync: Bool) throws {
        var all = [
            "listen_addresses": "127.0.0.1",
            "port": "\(port)",
            "unix_socket_directories": directory,
            "wal_level": "logical",
            "max_wal_senders": "16",
            "max_replication_slots": "16",
            "max_connections": "64",
            "shared_buffers": "32MB",
            "fsync": fsync ? "on" : "off",
            "max_wal_size": "1GB",
            "deadlock_timeout": "50ms",
            "log_checkpoints": "off",
            "autovacuum_naptime": "5s",
        ]
        all.merge(settings) { $1 }
        let text = all.sorted { $0.key < $1.key }
            .map { name, value in
                let parts = value.split(separator: "'", omittingEmptySubsequences: false)
                return "\(name) = '\(parts.joined(separator: "''"))'\n"
            }
            .joined()
        try writeText("\n" + text, to: dataDirectory + "/postgresql.conf", appending: true)
    }

    private func writeStandbySignal() throws {
        let touch = asOrdinaryUser("postgres", "/usr/bin/touch", [dataDirectory + "/standby.signal"])
        try runProgram(touch.executable, touch.arguments)
    }

    private static func findBinaries() throws -> String {
        if let path = environmentVariable("DBMAZZ_TEST_PG_BIN"), !path.isEmpty { return path }
        let root = "/usr/lib/postgresql"
        var newest: Int?
        if let folder = opendir(root) {
            defer { closedir(folder) }
            while let entry = readdir(folder) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                    pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                guard let version = Int(name), access("\(root)/\(name)/bin/postgres", X_OK) == 0 else { continue }
                newest = max(newest ?? version, version)
            }
        }
        guard let newest else {
            throw HarnessError("no PostgreSQL under \(root): install one or set DBMAZZ_TEST_PG_BIN to its bin folder")
        }
        return "\(root)/\(newest)/bin"
    }

    private static func firstNumber(in text: String) -> Int {
        let digits = text.drop { !$0.isNumber }.prefix { $0.isNumber }
        return Int(digits) ?? 0
    }
}
