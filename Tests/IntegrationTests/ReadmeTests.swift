import Glibc
import TestSupport
import Testing

extension Integration {
    /// Runs the commands that stand in README.md, in the order in which a reader would.
    ///
    /// Only the server's port and, where a command would not come back, the way of starting it are the test's own.
    @Suite("The README") struct ReadmeTests {
        /// A fenced block of README.md.
        private struct Block {
            var language: String
            var text: String
        }

        /// The fenced blocks below a heading, up to the next one of its level or above.
        private static func blocks(below heading: String) throws -> [Block] {
            let lines = try #require(readText(Repository.path("README.md"))).split(
                separator: "\n",
                omittingEmptySubsequences: false
            )
            let level = heading.prefix { $0 == "#" }.count
            let begin = try #require(lines.firstIndex { $0 == heading }, "README.md has no \(heading)")
            var blocks: [Block] = []
            var open: Block?
            for line in lines[(begin + 1)...] {
                if line.hasPrefix("```") {
                    if let block = open {
                        blocks.append(block)
                        open = nil
                    } else {
                        open = Block(language: String(line.dropFirst(3)), text: "")
                    }
                } else if open != nil {
                    open?.text += line + "\n"
                } else if line.hasPrefix("#"), line.prefix(while: { $0 == "#" }).count <= level {
                    break
                }
            }
            return blocks
        }

        private let rig: Rig
        private let shell: [String: String]

        init() throws {
            rig = try Rig()
            // The daemon under its name, and the settings of a reader who has none yet.
            let bin = rig.directory + "/bin"
            mkdir(bin, 0o755)
            try runProgram("/bin/ln", ["-s", Rig.executable, bin + "/dbmazz-sink"])
            let port = UInt16(try freePort())
            shell = [
                "PATH": "\(bin):/usr/bin:/bin", "HOME": rig.directory, "LC_ALL": "C.UTF-8",
                "DBMAZZ_HTTP": "127.0.0.1:\(port)",
            ]
            try rig.sql(
                "CREATE DATABASE shop",
                "CREATE ROLE other"
            )
            let shop = try PgClient(rig.server.url(database: "shop"), pinned: false)
            for statement in [
                "CREATE TABLE customers (id int PRIMARY KEY, name text)",
                "CREATE TABLE orders (id int PRIMARY KEY, customer int, total numeric(10, 2))",
                "CREATE TABLE parts (id int PRIMARY KEY)", "INSERT INTO customers VALUES (1, 'a')",
                "INSERT INTO orders VALUES (1, 1, 9.90)", "INSERT INTO parts VALUES (7)",
            ] {
                try shop.execute(statement)
            }
        }

        private func localized(_ text: String) -> String {
            text.replacing("127.0.0.1:5432", with: "127.0.0.1:\(rig.server.port)")
                .replacing("127.0.0.1:9187", with: shell["DBMAZZ_HTTP"] ?? "").replacing(
                    "127.0.0.1/",
                    with: "127.0.0.1/"
                )
        }

        @discardableResult
        private func run(_ text: String) throws -> String {
            try runProgram(
                "/bin/bash",
                ["-euo", "pipefail", "-c", "cd \(rig.directory)\n" + localized(text)],
                environment: shell
            )
        }

        private func sql(_ text: String) throws {
            let shop = try PgClient(rig.server.url(database: "shop"), pinned: false)
            let lines = text.split(separator: "\n").map { $0.split(separator: "--", maxSplits: 1)[0] }
            for statement in lines.joined(separator: "\n").split(separator: ";")
            where statement.contains(where: \.isLetter) {
                try shop.execute(String(statement))
            }
        }

        /// Starts the daemon as the README does, in the background, and waits until it streams.
        private func start(_ name: String, settings: String = "shop.env") throws -> ChildProcess {
            let log = "\(rig.directory)/\(name).log"
            let daemon = try ChildProcess(
                executable: Rig.executable,
                arguments: ["--env-file", settings],
                environment: shell,
                standardError: log,
                workingDirectory: rig.directory
            )
            let streams = eventually(within: .seconds(30)) { (readText(log) ?? "").contains("INFO  streaming") }
            #expect(streams, "\(readText(log) ?? "")")
            return daemon
        }

        private func end(_ daemon: ChildProcess) {
            daemon.kill(SIGTERM)
            #expect(daemon.waitForExit() == .exited(0))
        }

        private func orders() throws -> String { try run("sqlite3 shop.db 'SELECT count(*) FROM orders'") }

        @Test("every command, from the first pipeline to the end of operations")
        func commands() throws {
            let first = try Self.blocks(below: "## Your first own pipeline, in five minutes")
            #expect(first.map(\.language) == ["sql", "sql", "sh", "sh", "sql"])
            try sql(first[1].text)
            // The last line of the third block runs the daemon, which does not come back.
            var lines = first[2].text.split(separator: "\n").map(String.init)
            #expect(lines.removeLast() == "dbmazz-sink --env-file shop.env")
            #expect(try run(lines.joined(separator: "\n")).contains("The daemon would start."))
            var daemon = try start("first")
            #expect(try run(first[3].text).contains("state                   streaming"))

            for block in try Self.blocks(below: "### Watch it") { try run(block.text) }
            for block in try Self.blocks(below: "### Add a table") { try sql(block.text) }
            try sql("INSERT INTO parts VALUES (8)")
            #expect(
                eventually(within: .seconds(20)) { (try? run("sqlite3 shop.db 'SELECT id FROM parts'")) == "7\n8\n" }
            )
            end(daemon)

            for block in try Self.blocks(below: "### Dead letters") {
                #expect(try run(block.text) == "no dead letters\n")
            }
            try schemaChange()
            try copyAnew()

            daemon = try start("last")
            end(daemon)
            #expect(try rig.slots() == ["dbmazz_slot"])
            try sql(first[4].text)
            #expect(try rig.slots() == [])
            try helpers()
        }

        @Test("PostgreSQL to PostgreSQL")
        func postgres() throws {
            try sql(try Self.blocks(below: "## Your first own pipeline, in five minutes")[1].text)
            let blocks = try Self.blocks(below: "## PostgreSQL to PostgreSQL")
            #expect(blocks.map(\.language) == ["sql", "sh", "sh"])
            var target = blocks[0].text.split(separator: "\n")
            let grant = target.removeLast()
            #expect(grant.hasPrefix("GRANT SET ON PARAMETER"))
            try sql(target.joined(separator: "\n"))
            if rig.server.majorVersion >= 15 { try sql(String(grant)) }
            var lines = blocks[1].text.split(separator: "\n").map(String.init)
            #expect(lines.removeLast() == "dbmazz-sink --env-file copy.env")
            #expect(try run(lines.joined(separator: "\n")).contains("The daemon would start."))
            let daemon = try start("copy", settings: "copy.env")
            let seen = try run(blocks[2].text)
            #expect(seen.contains("9.90") && seen.contains("dbmazz_copy"), "\(seen)")
            end(daemon)
        }

        private func schemaChange() throws {
            try sql("ALTER TABLE customers ADD COLUMN email text")
            try sql("INSERT INTO customers VALUES (2, 'b', 'b@example.com')")
            let refused = try ChildProcess(
                executable: Rig.executable,
                arguments: ["--env-file", "shop.env"],
                environment: shell,
                standardError: rig.directory + "/refused.log",
                workingDirectory: rig.directory
            )
            #expect(refused.waitForExit() == .exited(6), "\(readText(rig.directory + "/refused.log") ?? "")")
            let text = readText(rig.directory + "/refused.log") ?? ""
            // The README's own example of the statement is what the daemon says.
            let statement = "ALTER TABLE \"customers\" ADD COLUMN \"email\" TEXT;"
            #expect(readText(Repository.path("README.md"))?.contains(statement) == true)
            #expect(text.contains(statement.replacing("\"", with: "\\\"")) || text.contains(statement), "\(text)")
            try run("sqlite3 shop.db '\(statement)'")
            let blocks = try Self.blocks(below: "### The schema changes")
            #expect(blocks.count == 1)
            try run(withoutStart(blocks[0].text))
            let daemon = try start("changed")
            #expect(try run("sqlite3 shop.db 'SELECT email FROM customers WHERE id = 2'") == "b@example.com\n")
            end(daemon)
        }

        private func copyAnew() throws {
            let blocks = try Self.blocks(below: "### Copy everything anew")
            #expect(blocks.map(\.language) == ["sh", "sh"])
            let before = try orders()
            try run("sqlite3 shop.db 'DELETE FROM orders'")
            try run(blocks[0].text)
            #expect(try orders() == before)
            try run(withoutStart(blocks[1].text))
            let daemon = try start("anew")
            #expect(try orders() == before)
            end(daemon)
        }

        private func withoutStart(_ text: String) -> String {
            text.split(separator: "\n").filter { $0 != "dbmazz-sink --env-file shop.env" }.joined(separator: "\n")
        }

        private func helpers() throws {
            // In the table of commands.
            for command in ["dbmazz-sink manual", "dbmazz-sink config --env-file shop.env"] {
                #expect(try !run(command).isEmpty)
            }
            for shell in ["bash", "zsh", "fish"] {
                #expect(try !run("dbmazz-sink --generate-completion-script \(shell)").isEmpty)
            }
        }
    }
}
