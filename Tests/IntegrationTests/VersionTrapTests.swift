import Glibc
import TestSupport
import Testing

extension Integration {
    /// The three reasons why a row's version is (commit LSN, ordinal) and nothing simpler.
    @Suite("A row's version") struct VersionTrapTests {
        // MARK: A transaction open at the consistent point

        @Test("lets a transaction win that wrote before the copy's consistent point and commits after it")
        func openAtConsistentPoint() throws {
            let rig = try Rig(["SINK_AUDIT_COLUMNS": "true"])
            try rig.makeTable()
            try rig.sql(
                "CREATE PUBLICATION dbmazz_pub FOR TABLE public.t",
                "SELECT pg_create_logical_replication_slot('dbmazz_slot', 'pgoutput')"
            )
            // A snapshot for a slot is built in steps: PostgreSQL waits for the transactions that run at its starting point,
            // then for those that run when these have ended. One that begins after that may be open at the consistent point.
            let early = try Self.transaction(rig)
            try rig.daemon.start()
            try Self.awaitServerLog(rig, "logical decoding found initial starting point")
            let middle = try Self.transaction(rig)
            try early.execute("COMMIT")
            try Self.awaitServerLog(rig, "logical decoding found initial consistent point")
            let late = try Self.transaction(rig)
            try late.execute("UPDATE public.t SET v = 'late' WHERE id = 1; DELETE FROM public.t WHERE id = 2")
            let written = try #require(try rig.source("SELECT pg_current_wal_insert_lsn()").flatMap(parseLSN))
            try middle.execute("COMMIT")
            try rig.awaitLog("copy finished")
            let point = try #require(
                try SQLiteFile(rig.file).value("SELECT consistent_point FROM dbmazz_table")?.string.flatMap(parseLSN)
            )
            #expect(written <= point, "the change was not written before the consistent point")
            try rig.awaitIDs([1, 2, 3])
            try late.execute("COMMIT")
            try rig.awaitIDs([1, 3])
            let rows = try SQLiteFile(rig.file).query("SELECT v, dbmazz_cdc_version FROM t ORDER BY id")
            #expect(rows.compactMap { $0[0].string } == ["late", "v3"])
            let versions = rows.compactMap { $0[1].string.flatMap(Self.version) }
            try #require(versions.count == 2)
            #expect(versions[1].commit == point && versions[1].ordinal == 0)
            // The commit may begin exactly where the consistent point is: then the ordinal alone decides.
            #expect(versions[0].commit >= point && versions[0].ordinal == 1)
            try rig.stopDaemon()
        }

        @Test("is the same rule for every row, however many transactions cross the copy's consistent point")
        func manyOpen() throws {
            let rig = try Rig(["SINK_AUDIT_COLUMNS": "true", "SINK_BATCH_BYTES": "65536"])
            let workload = try rig.workload {
                $0.clients = 8
                $0.thinkTime = .milliseconds(2)
                $0.truncateEvery = 0
            }
            defer { try? workload.close() }
            try workload.start()
            for _ in 0..<4 {
                try rig.startStreaming()
                try rig.awaitProgress()
                try rig.stopDaemon()
                try SQLiteFile(rig.file).execute("DELETE FROM dbmazz_position")
            }
            try rig.startStreaming()
            try rig.awaitProgress()
            try workload.stop()
            try rig.catchUp()
            #expect(
                try compareWithSource(rig.server.connect(), sqlite: rig.file, tables: workload.tableNames) == []
            )
            // Copied rows are (consistent point, 0), streamed ones (a later commit, 1 and more).
            let file = try SQLiteFile(rig.file)
            var copied = 0
            var streamed = 0
            for table in try file.query("SELECT sink_table, consistent_point FROM dbmazz_table") {
                let name = try #require(table[0].string)
                let point = try #require(table[1].string.flatMap(parseLSN))
                for row in try file.query("SELECT dbmazz_cdc_version FROM \(quoted(name))") {
                    let version = try #require(row[0].string.flatMap(Self.version))
                    if version.ordinal == 0 { copied += 1 } else { streamed += 1 }
                    #expect(version.ordinal == 0 ? version.commit == point : version.commit >= point, "\(name)")
                }
            }
            print("seed \(Effort.seed): \(copied) copied rows, \(streamed) streamed")
            #expect(copied > 0 && streamed > 0)
            try workload.close()
            try rig.stopDaemon()
        }

        // MARK: An insert before its unique check

        @Test("keeps the row whose insert waited for the delete of the same key", arguments: [true, false])
        func insertBeforeUniqueCheck(live: Bool) throws {
            let rig = try Rig(["SINK_AUDIT_COLUMNS": "true"])
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            // Not live: both transactions come in one batch.
            if !live { try rig.stopDaemon() }
            for round in 1...5 {
                let deleter = try Self.transaction(rig)
                try deleter.execute("DELETE FROM public.t WHERE id = 1")
                let blocked = BlockedStatement(rig, "INSERT INTO public.t VALUES (1, 'round \(round)')")
                try blocked.awaitBlock()
                try deleter.execute("COMMIT")
                try blocked.join()
            }
            if !live { try rig.startStreaming() }
            try rig.waitForSink(
                "SELECT v FROM t ORDER BY id",
                [["TEXT \"round 5\""], ["TEXT \"v2\""], ["TEXT \"v3\""]]
            )
            try rig.stopDaemon()
        }

        // MARK: A replay that is cut elsewhere

        @Test("is the same when the stream is killed and cut into other batches, as when it never was")
        func cutElsewhere() throws {
            let environment = ["SINK_AUDIT_COLUMNS": "true", "SOURCE_SNAPSHOT": "never"]
            let rig = try Rig(environment)
            let calm = try Rig(
                environment.merging(["SOURCE_URL": rig.server.url(), "SOURCE_SLOT_NAME": "dbmazz_calm"]) { $1 }
            )
            let workload = try rig.workload {
                $0.seedRows = 0
                $0.largeEvery = 25
                $0.largeRows = 200...1_500
                $0.thinkTime = .milliseconds(2)
            }
            defer { try? workload.close() }
            calm.daemon.setEnvironment("SOURCE_TABLES", workload.tableNames.joined(separator: ","))
            // Nothing is written between the two slots: both pipelines begin with the same empty tables.
            for slot in ["dbmazz_slot", "dbmazz_calm"] {
                try rig.sql("SELECT pg_create_logical_replication_slot('\(slot)', 'pgoutput')")
            }
            try calm.startStreaming()
            try workload.start()
            var random = SeededRandom(seed: Effort.seed)
            for _ in 0..<12 {
                rig.daemon.setEnvironment(
                    "SINK_BATCH_SIZE",
                    "\([1, 7, 100, 10_000].randomElement(using: &random) ?? 1)"
                )
                rig.daemon.setEnvironment(
                    "SINK_BATCH_BYTES",
                    "\([65_536, 300_000].randomElement(using: &random) ?? 65_536)"
                )
                rig.daemon.setEnvironment("SINK_FLUSH_INTERVAL_MS", "\([0, 1, 50].randomElement(using: &random) ?? 0)")
                try rig.daemon.start()
                sleepThread(.milliseconds(Int.random(in: 200...700, using: &random)))
                rig.daemon.killAndWait()
            }
            try rig.startStreaming()
            let final = try workload.checkFinal(sqlitePath: rig.file)
            let target = try workload.lastCommit()
            #expect(
                try eventually(within: .seconds(30)) { try storedPosition(calm.file).map { $0 >= target } ?? false }
            )
            try workload.close()
            // Both read from one server, whose slots have to be free when the second has stopped.
            try calm.stopDaemon()
            try rig.stopDaemon()
            let left = try Self.contents(rig.file)
            let right = try Self.contents(calm.file)
            #expect(left.keys.sorted() == right.keys.sorted())
            var rows = 0
            for (table, content) in left {
                rows += content.count
                #expect(content == right[table], "table \(table), seed \(Effort.seed)")
            }
            print("seed \(Effort.seed): \(rows) rows with equal versions, \(final)")
            #expect(rows > 0)
        }

        // MARK: Helpers

        /// Every table's rows, with all columns but the time of writing.
        ///
        /// Of tables without a key, any of several equal rows may be the one that was removed: their versions are left out.
        private static func contents(_ path: String) throws -> [String: [[SQLiteValue]]] {
            let file = try SQLiteFile(path)
            var contents: [String: [[SQLiteValue]]] = [:]
            for table in try file.query("SELECT sink_table FROM dbmazz_table").compactMap({ $0[0].string }) {
                let columns = try file.query(
                    "SELECT name, pk FROM pragma_table_info(?) WHERE name != 'dbmazz_synced_at'",
                    [.string(table)]
                )
                let hasKey = columns.contains { $0[1].integer ?? 0 > 0 }
                let names = columns.compactMap { $0[0].string }.filter { hasKey || !$0.hasPrefix("dbmazz_") }
                    .map(quoted).joined(separator: ", ")
                contents[table] = try file.query("SELECT \(names) FROM \(quoted(table)) ORDER BY \(names)")
            }
            return contents
        }

        private static func version(_ text: String) -> (commit: UInt64, ordinal: UInt64)? {
            guard text.utf8.count == 32, let commit = UInt64(text.prefix(16), radix: 16),
                let ordinal = UInt64(text.suffix(16), radix: 16)
            else { return nil }
            return (commit, ordinal)
        }

        /// A connection in a transaction that counts as one that writes.
        private static func transaction(_ rig: Rig) throws -> PgClient {
            let client = try rig.server.connect()
            try client.execute("BEGIN; SELECT pg_current_xact_id()")
            return client
        }

        private static func awaitServerLog(_ rig: Rig, _ text: String) throws {
            let found = eventually(within: .seconds(30), every: .milliseconds(50)) {
                (readText(rig.server.logFile) ?? "").contains(text)
            }
            guard found else { throw HarnessError("\(text) is not in the server's log\n\(rig.server.logTail())") }
        }
    }
}

private func quoted(_ name: String) -> String { "\"" + name.split(separator: "\"").joined(separator: "\"\"") + "\"" }

/// A statement on a connection of its own that another transaction holds up.
private final class BlockedStatement {
    private let rig: Rig
    private let process: ChildProcess?
    private let marker: String

    /// Begins the statement in another process: this thread has the other transaction to end.
    init(_ rig: Rig, _ statement: String) {
        self.rig = rig
        marker = statement
        process = try? ChildProcess(
            executable: rig.server.binDirectory + "/psql",
            arguments: ["-X", "-v", "ON_ERROR_STOP=1", "-d", rig.server.url(), "-c", statement],
            environment: ["PATH": "/usr/bin:/bin", "LC_ALL": "C"]
        )
    }

    func awaitBlock() throws {
        let isBlocked = try eventually(within: .seconds(10)) {
            try rig.server.connect().query(
                "SELECT 1 FROM pg_stat_activity WHERE query = $1 AND wait_event_type = 'Lock'",
                [marker]
            ).count == 1
        }
        guard isBlocked else { throw HarnessError("the insert does not wait") }
    }

    func join() throws {
        guard process?.waitForExit(timeout: .seconds(10)) == .exited(0) else { throw HarnessError("the insert failed") }
    }
}
