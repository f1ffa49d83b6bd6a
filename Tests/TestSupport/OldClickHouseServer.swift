import Glibc

/// Debian's clickhouse-server (18.16), which is older than what the daemon writes to.
///
/// As root it runs under the user `postgres`, as the tests' other servers do. 127.0.0.1 only.
public final class OldClickHouseServer: Sendable {
    /// The port of its HTTP interface.
    public let port: Int
    private let place: ServerDirectory
    private let process: ChildProcess

    /// Starts it and waits until it answers.
    ///
    /// - Throws: `HarnessError` when it is not installed or does not start.
    public init() throws {
        let executable = "/usr/sbin/clickhouse-server"
        guard access(executable, X_OK) == 0 else {
            throw HarnessError("no \(executable): run scripts/install-clickhouse")
        }
        port = try freePort()
        place = try ServerDirectory("dbmazz-oldch", user: "postgres")
        let (port, directory) = (port, place.path)
        try writeText(Self.configuration(directory, port, try freePort()), to: directory + "/config.xml")
        try writeText(Self.users, to: directory + "/users.xml")
        let command = asOrdinaryUser("postgres", executable, ["--config-file=\(directory)/config.xml"])
        let child = try ChildProcess(
            executable: command.executable,
            arguments: command.arguments,
            environment: ["PATH": "/usr/bin:/bin:/usr/sbin", "LC_ALL": "C"],
            standardOutput: directory + "/output.log",
            standardError: directory + "/output.log"
        )
        process = child
        let isReady = eventually(within: .seconds(30)) {
            !child.isRunning || (try? LoopbackHTTP.send("GET", "/ping", port: port))?.status == 200
        }
        guard isReady, child.isRunning else {
            throw HarnessError("the old ClickHouse did not start: \(readText(directory + "/error.log") ?? "")")
        }
    }

    deinit {
        process.kill(SIGKILL)
        process.waitForExit(timeout: .seconds(5))
        place.remove()
    }

    /// `SINK_URL`.
    public var url: String { "http://127.0.0.1:\(port)" }

    /// Runs a statement.
    @discardableResult
    public func query(_ sql: String) throws -> [[String?]] { try ClickHouseClient(port: port).query(sql) }

    private static func configuration(_ directory: String, _ http: Int, _ native: Int) -> String {
        """
        <?xml version="1.0"?>
        <yandex>
          <logger>
            <level>warning</level><log>\(directory)/server.log</log><errorlog>\(directory)/error.log</errorlog>
          </logger>
          <http_port>\(http)</http_port>
          <tcp_port>\(native)</tcp_port>
          <listen_host>127.0.0.1</listen_host>
          <path>\(directory)/data/</path>
          <tmp_path>\(directory)/tmp/</tmp_path>
          <user_files_path>\(directory)/user_files/</user_files_path>
          <format_schema_path>\(directory)/format_schemas/</format_schema_path>
          <users_config>users.xml</users_config>
          <default_profile>default</default_profile>
          <default_database>default</default_database>
          <mark_cache_size>5368709</mark_cache_size>
          <timezone>UTC</timezone>
        </yandex>
        """
    }

    private static let users = """
        <?xml version="1.0"?>
        <yandex>
          <profiles><default/></profiles>
          <users>
            <default>
              <password></password><networks><ip>127.0.0.1</ip></networks>
              <profile>default</profile><quota>default</quota>
            </default>
          </users>
          <quotas><default/></quotas>
        </yandex>
        """
}
