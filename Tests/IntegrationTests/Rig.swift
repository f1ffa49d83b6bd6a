import Glibc
import TestSupport

/// A server, a workload's file and a daemon, in a directory of their own that goes with the rig.
final class Rig: Sendable {
    let server: PostgresServer
    let directory: String
    let daemon: Daemon
    /// The SQLite file.
    let file: String

    /// Starts a server and prepares a daemon that captures into SQLite.
    ///
    /// - Parameters:
    ///   - environment: added to SOURCE_URL, SINK_URL and LOG_LEVEL=debug.
    ///   - settings: of the server.
    ///   - version: of the server; nil for the default one.
    ///   - isOwnSystem: whether it has a system identifier of its own.
    /// - Throws: what keeps the server from starting.
    init(
        _ environment: [String: String] = [:],
        settings: [String: String] = [:],
        version: Int? = nil,
        isOwnSystem: Bool = false
    ) throws {
        server = try PostgresServer.started(version: version, settings: settings, isOwnSystem: isOwnSystem)
        directory = try makeTemporaryDirectory("dbmazz-test")
        file = directory + "/sink.db"
        var all = [
            "SOURCE_URL": server.url(), "SINK_URL": file, "LOG_LEVEL": "debug", "STATE_DIRECTORY": directory,
            "SINK_RETRY_INITIAL_MS": "20", "SINK_RETRY_MAX_MS": "500", "DBMAZZ_HTTP": "off",
        ]
        all.merge(environment) { $1 }
        daemon = Daemon(executable: Rig.executable, environment: all, directory: directory)
    }

    deinit {
        daemon.killAndWait()
        server.remove()
        removeTree(directory)
    }

    /// The daemon that was built together with these tests, or the one that DBMAZZ_TEST_DAEMON names.
    static let executable: String = {
        if let path = environmentVariable("DBMAZZ_TEST_DAEMON") { return path }
        var path = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &path, path.count - 1)
        let own = String(decoding: path.prefix(max(0, length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return own.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 } + "/dbmazz-sink"
    }()

    /// Runs SQL at the source.
    func sql(_ statements: String...) throws {
        let client = try server.connect()
        for statement in statements { try client.execute(statement) }
    }

    /// The rows of a query at the sink, as text.
    func sink(_ query: String) throws -> [[String]] {
        try SQLiteFile(file).query(query).map { $0.map(\.description) }
    }

    /// The position that the file names.
    func position() throws -> String? {
        guard try SQLiteFile(file).hasTable("dbmazz_position") else { return nil }
        return try SQLiteFile(file).value("SELECT lsn FROM dbmazz_position")?.string
    }

    /// Waits until the sink has what the source had when this was called.
    func catchUp(within timeout: Duration = .seconds(30)) throws {
        let client = try server.connect()
        // A change of nothing that still moves the position: an empty transaction's end is stored when asked for.
        let target = try client.value("SELECT pg_current_wal_insert_lsn()") ?? ""
        let reached = try eventually(within: timeout) {
            try client.execute("SELECT pg_logical_emit_message(true, 'test', 'x')")
            let slots = try client.query(
                "SELECT coalesce(bool_and(confirmed_flush_lsn >= $1::pg_lsn), false) FROM pg_replication_slots "
                    + "WHERE slot_name LIKE 'dbmazz%' AND NOT temporary",
                [target]
            )
            return slots.first?.first == "t"
        }
        guard reached else { throw HarnessError("the daemon does not reach \(target)\n\(daemon.logTail())") }
    }

    /// Waits for a state of the sink.
    func waitForSink(_ query: String, _ expected: [[String]], within timeout: Duration = .seconds(20)) throws {
        var last: [[String]] = []
        let reached = eventually(within: timeout) {
            last = (try? sink(query)) ?? []
            return last == expected
        }
        guard reached else { throw HarnessError("\(query) gives \(last), not \(expected)\n\(daemon.logTail())") }
    }
}
