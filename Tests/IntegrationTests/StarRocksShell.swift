import Glibc
import TestSupport
import Testing

/// An emulated StarRocks and a shell beside it, for commands as StarRocks' documents have them.
///
/// In the commands `$FE` is the front end's address, `$BE` the back end's, `$SQL` a mariadb client and `$LOAD` the
/// beginning of each curl command; `test_db` is there.
struct StarRocksShell {
    let server: StarRocksServer
    let directory: String

    /// What a command did.
    struct Answer: CustomStringConvertible {
        let code: Int32
        let output: String
        /// The fields of the JSON object that was printed.
        var json: LogLine { LogLine(output.replacing("\n", with: " ")) }
        var status: String? { json["Status"] }
        var message: String { json["Message"] ?? "" }
        /// The lines, for rows of SQL.
        var lines: [String] {
            output.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map(String.init)
        }
        var description: String { "\(code): \(output)" }
    }

    init(version: String = "3.3.5", arguments: [String] = []) throws {
        directory = try makeTemporaryDirectory("dbmazz-srshell")
        server = try StarRocksServer.started(version: version, arguments: arguments)
        try server.query("CREATE DATABASE test_db")
    }

    func remove() {
        server.remove()
        removeTree(directory)
    }

    /// Writes a file that commands name without its folder.
    func file(_ name: String, _ text: String) throws {
        try writeText(text, to: directory + "/" + name)
    }

    /// Runs a command to its end.
    @discardableResult
    func run(_ command: String, user: String = "root:") throws -> Answer {
        let sql =
            "mariadb -h127.0.0.1 -P\(server.mysqlPort) -u\(user.split(separator: ":")[0]) --skip-ssl -N -B "
            + (user.hasSuffix(":") ? "" : "-p\(user.split(separator: ":")[1]) ") + "-e"
        let process = try ChildProcess(
            executable: "/bin/bash",
            arguments: ["-c", command],
            environment: [
                "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "FE": "http://127.0.0.1:\(server.httpPort)",
                "BE": "http://127.0.0.1:\(server.backEndPort)", "SQL": sql,
                "LOAD": "curl -s -m 30 --location-trusted -u \(user) -H Expect:100-continue",
            ],
            standardOutput: directory + "/output",
            standardError: directory + "/output",
            workingDirectory: directory
        )
        let status = try #require(process.waitForExit(timeout: .seconds(60)))
        defer { unlink(directory + "/output") }
        guard case .exited(let code) = status else { throw HarnessError("\(command): \(status)") }
        return Answer(code: code, output: readText(directory + "/output") ?? "")
    }

    /// Loads a file into a table of `test_db`; `options` are curl's.
    @discardableResult
    func load(_ file: String, _ table: String, label: String? = nil, _ options: String = "") throws -> Answer {
        let name = label.map { "-H label:\($0)" } ?? ""
        let command =
            "$LOAD \(name) -H 'column_separator:,' \(options) -T \(file) -XPUT $FE/api/test_db/\(table)/_stream_load"
        return try run(command)
    }

    /// The state of a label.
    func state(_ label: String) throws -> String? {
        try run("curl -s -u root: \"$FE/api/test_db/get_load_state?label=\(label)\"").json["state"]
    }

    /// All rows of a table of `test_db` in the order of its key, NULL as `-`.
    func rows(_ table: String) throws -> [String] {
        try server.dump(table, database: "test_db").map { $0.map { $0 ?? "-" }.joined(separator: "|") }
    }

    /// The table of most documents.
    func makeTable1() throws {
        let answer = try run(
            """
            $SQL 'CREATE TABLE test_db.`table1` (`id` int(11) NOT NULL COMMENT "user ID", \
            `name` varchar(65533) NULL COMMENT "user name", `score` int(11) NOT NULL COMMENT "user score") ENGINE=OLAP \
            PRIMARY KEY(`id`) DISTRIBUTED BY HASH(`id`)'
            """
        )
        #expect(answer.code == 0, "\(answer)")
        try file("example1.csv", "1,Lily,23\n2,Rose,23\n3,Alice,24\n4,Julia,25\n")
    }

    /// A statement's rows, the columns divided by `|`, or what went wrong.
    func sql(_ statement: String) throws -> [String] {
        try file("statement.sql", statement)
        let answer = try run("$SQL \"$(cat statement.sql)\" test_db")
        return answer.code == 0 ? answer.lines.map { $0.replacing("\t", with: "|") } : [answer.output]
    }

    /// What a statement that has to fail says, without `ERROR `.
    func error(_ statement: String) throws -> String {
        let lines = try sql(statement)
        // Before the error the client shows the statement.
        let text = lines.joined(separator: "\n")
        let error = text.firstRange(of: "ERROR ").map { String(text[$0.upperBound...]) }
        #expect(error != nil, "\(statement): \(lines)")
        return error ?? ""
    }
}
