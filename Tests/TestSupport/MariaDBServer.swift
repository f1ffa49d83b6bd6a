import Glibc

/// A MariaDB server of its own in a temporary directory, for one test or suite.
///
/// As root it runs under the package's user `mysql`, else as the calling user. User `root` without a password, on 127.0.0.1
/// only. It is killed and removed by `remove()`, at the latest when the test process exits.
public final class MariaDBServer: ProcessServer, Sendable {
    /// The TCP port on 127.0.0.1; it stays the same over restarts.
    public let port: Int
    /// Its process, and the directory: `data`, `server.log`, the Unix socket and `tls` are in it.
    public let process: ServerProcess
    /// Its certificates, if it speaks TLS.
    public let certificates: TestCertificates?
    private let settings: [String]

    /// Makes a server's data; `start()` starts it.
    ///
    /// - Parameters:
    ///   - settings: Further options of mariadbd, by name; they win over the harness's own.
    ///   - certificate: The name of the certificate in `TestCertificates` that it shows; nil for a server without TLS.
    /// - Throws: `HarnessError` when there is no MariaDB, or its mariadb-install-db fails.
    public init(settings: [String: String] = [:], certificate: String? = nil) throws {
        guard access(Self.program, X_OK) == 0 else {
            throw HarnessError("no \(Self.program): scripts/install-dependencies tests installs it (mariadb-server)")
        }
        port = try freePort()
        let place = try ServerDirectory(
            "dbmazz-maria",
            user: "mysql",
            leftBehind: #"pid=$(head -n 1 "$2/pid" 2>/dev/null) && kill -KILL "$pid"; sleep 1"#
        )
        process = ServerProcess("MariaDB", in: place)
        let directory = place.path
        var all = [
            "datadir": directory + "/data", "bind-address": "127.0.0.1", "port": "\(port)",
            "socket": directory + "/s.sock", "pid-file": directory + "/pid", "log-error": directory + "/server.log",
            "innodb-buffer-pool-size": "64M", "innodb-flush-log-at-trx-commit": "0", "max-allowed-packet": "64M",
            "skip-name-resolve": "1",
        ]
        if let certificate {
            mkdir(directory + "/tls", 0o755)
            let made = try TestCertificates(in: directory + "/tls")
            all["ssl-ca"] = made.path("ca.crt")
            all["ssl-cert"] = made.path("\(certificate).crt")
            all["ssl-key"] = made.path("\(certificate).key")
            certificates = made
        } else {
            certificates = nil
        }
        all.merge(settings) { $1 }
        self.settings = ["--no-defaults"] + all.sorted { $0.key < $1.key }.map { "--\($0.key)=\($0.value)" }
        let make = asOrdinaryUser(
            "mysql",
            "/usr/bin/mariadb-install-db",
            [
                "--no-defaults", "--datadir=\(directory)/data", "--auth-root-authentication-method=normal",
                "--skip-test-db", "--innodb-log-file-size=16M",
            ]
        )
        try runProgram(make.executable, make.arguments)
    }

    /// A server that runs.
    public static func started(
        settings: [String: String] = [:],
        certificate: String? = nil
    ) throws -> MariaDBServer {
        let server = try MariaDBServer(settings: settings, certificate: certificate)
        try server.start()
        return server
    }

    deinit { remove() }

    /// Starts it and waits until it answers.
    public func start(timeout: Duration) throws {
        let command = asOrdinaryUser("mysql", Self.program, settings)
        try process.start(timeout: timeout, every: .milliseconds(50), log: logTail) {
            try ChildProcess(
                executable: command.executable,
                arguments: command.arguments,
                environment: ["PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": directory],
                standardOutput: directory + "/output",
                standardError: directory + "/output"
            )
        } isReady: {
            (try? sql("SELECT 1")) != nil
        }
    }

    /// Stops the process where it stands (SIGSTOP): connections stay open and nothing answers; `resume()` ends it.
    ///
    /// Waits until every thread has stopped: one may still answer when the signal has been sent.
    public func freeze() throws {
        guard let child = process.running else { return }
        child.kill(SIGSTOP)
        let hasStopped = eventually(within: .seconds(10)) {
            Self.threads(of: child.pid).allSatisfy { thread in
                // The state stands behind the name in parentheses.
                let stat = readText("/proc/\(child.pid)/task/\(thread)/stat") ?? ") T"
                return stat[(stat.lastIndex(of: ")") ?? stat.startIndex)...].hasPrefix(") T")
            }
        }
        guard hasStopped else { throw HarnessError("MariaDB did not stop where it stood") }
    }

    private static func threads(of pid: Int32) -> [Int] {
        guard let folder = opendir("/proc/\(pid)/task") else { return [] }
        defer { closedir(folder) }
        var threads: [Int] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let thread = Int(name) { threads.append(thread) }
        }
        return threads
    }

    /// Ends `freeze()`.
    public func resume() { process.signal(SIGCONT) }

    /// Runs statements as root over the Unix socket, with MariaDB's own client.
    ///
    /// - Returns: The rows, columns separated by tabs.
    @discardableResult
    public func sql(_ text: String, database: String? = nil) throws -> String {
        let place = ["--no-defaults", "-S", directory + "/s.sock", "-u", "root", "-N", "-B", "-e", text]
        return try runProgram("/usr/bin/mariadb", place + (database.map { [$0] } ?? []))
    }

    /// The last lines of the server's log.
    public func logTail() -> String {
        let all = (readText(directory + "/server.log") ?? "") + (readText(directory + "/output") ?? "")
        return all.split(separator: "\n").suffix(30).joined(separator: "\n")
    }

    private static let program = "/usr/sbin/mariadbd"
}
