import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("A sink in trouble") struct SinkTroubleTests {
        private static let lockSeconds = environmentVariable("DBMAZZ_TEST_LOCK_SECONDS").flatMap { Int($0) } ?? 60

        @Test(
            "whose file another process locks for a minute is waited for; the source's connection stays, nothing is lost"
        )
        func lockedFile() throws {
            let rig = try Rig(settings: ["wal_sender_timeout": "5s"])
            let workload = try rig.workload { $0.thinkTime = .milliseconds(15) }
            defer { try? workload.close() }
            try rig.start(workload)
            try rig.awaitProgress()
            let walsender = try Self.walsender(rig)
            let lock = try SQLiteFile(rig.file)
            try lock.lockExclusively()
            let position = try rig.position()
            let line = try rig.awaitLog("sink waits")
            #expect(line["cause"]?.contains("database is locked") == true, "\(line)")
            #expect(line["remedy"]?.contains(rig.file) == true, "\(line)")
            #expect(line.level == "warning")
            sleepThread(.seconds(Self.lockSeconds))
            #expect(rig.daemon.isRunning)
            #expect(try rig.position() == position)
            #expect(try Self.walsender(rig) == walsender)
            try lock.unlock()
            try rig.awaitLog("sink works again")
            try rig.awaitProgress()
            try workload.check(sqlitePath: rig.file)
            try rig.finish(workload)
            #expect(!rig.daemon.logLines().contains { $0.event == "waiting for source" })
        }

        @Test("that refuses a row of the copy ends the daemon with the reason, and the copy is made again afterwards")
        func refusesDuringCopy() throws {
            let rig = try Rig()
            try rig.makeTable(rows: 200_000)
            try runProgram(
                "/usr/bin/sqlite3",
                [
                    rig.file,
                    "CREATE TABLE t(id INTEGER NOT NULL, v TEXT, PRIMARY KEY(id)) STRICT; "
                        + "CREATE TRIGGER no BEFORE INSERT ON t WHEN new.id = 150000 BEGIN SELECT RAISE(ABORT, 'not this'); END",
                ]
            )
            try rig.daemon.start()
            rig.expectEnd(7, "public.t", "not this")
            try SQLiteFile(rig.file).execute("DROP TRIGGER no")
            try rig.startStreaming()
            try rig.waitForSink("SELECT count(*), sum(id) FROM t", [["INTEGER 200000", "INTEGER 20000100000"]])
            try rig.stopDaemon()
        }

        @Test("whose file is locked while the daemon starts and copies is waited for")
        func lockedWhileStarting() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.stopDaemon()
            // The next start finds a locked file and, being another pipeline, has to copy.
            try SQLiteFile(rig.file).execute("DELETE FROM dbmazz_position")
            let lock = try SQLiteFile(rig.file)
            try lock.lockExclusively()
            try rig.insert(4...4)
            try rig.daemon.start()
            try rig.awaitLog("sink waits")
            sleepThread(.seconds(1))
            #expect(rig.daemon.isRunning)
            try lock.unlock()
            try rig.awaitIDs([1, 2, 3, 4])
            try rig.stopDaemon()
        }

        @Test(
            "whose disk is full is waited for, with the reason in the log, until there is room",
            .enabled(if: canMount)
        )
        func fullDisk() throws {
            let directory = try makeTemporaryDirectory("dbmazz-full")
            defer { removeTree(directory) }
            try runProgram("/bin/mount", ["-t", "tmpfs", "-o", "size=24m", "none", directory])
            defer { _ = try? runProgram("/bin/umount", ["-l", directory]) }
            let file = directory + "/sink.db"
            let rig = try Rig(["SINK_URL": file])
            let workload = try rig.workload()
            defer { try? workload.close() }
            try rig.start(workload)
            #expect(try eventually(within: .seconds(20)) { try storedPosition(file) != nil })
            try Self.fill(directory + "/filler")
            let line = try rig.awaitLog("sink waits")
            #expect(line["cause"]?.contains("disk is full") == true, "\(line)")
            #expect(line["remedy"]?.contains("make room") == true, "\(line)")
            sleepThread(.seconds(5))
            #expect(rig.daemon.isRunning)
            try workload.check(sqlitePath: file)
            unlink(directory + "/filler")
            try rig.awaitLog("sink works again")
            let final = try workload.checkFinal(sqlitePath: file)
            #expect(final.commitsTotal > 0)
            try rig.stopDaemon()
        }

        @Test(
            "whose disk is too small for a transaction that goes in parts exhausts its retries, counted over all attempts",
            .enabled(if: canMount)
        )
        func partsOnFullDisk() throws {
            let directory = try makeTemporaryDirectory("dbmazz-full")
            defer { removeTree(directory) }
            try runProgram("/bin/mount", ["-t", "tmpfs", "-o", "size=24m", "none", directory])
            defer { _ = try? runProgram("/bin/umount", ["-l", directory]) }
            let rig = try Rig([
                "SINK_URL": directory + "/sink.db", "SINK_MAX_RETRIES": "3", "SINK_RETRY_MAX_MS": "100",
            ])
            try rig.makeTable()
            try rig.startStreaming()
            try rig.sql("INSERT INTO public.t SELECT i, repeat('x', 500) FROM generate_series(10, 100000) i")
            let error = rig.expectEnd(8, "disk is full", "given up after 3 retries", within: .seconds(60))
            #expect(!error.isEmpty)
            let attempts = rig.daemon.logLines().filter { $0.event == "sink waits" }.compactMap { $0["attempt"] }
            #expect(attempts == ["1", "2", "3"])
        }

        @Test("does not keep the daemon from stopping within SINK_SHUTDOWN_TIMEOUT_MS")
        func stopWhileLocked() throws {
            let rig = try Rig(["SINK_SHUTDOWN_TIMEOUT_MS": "2000"])
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            let lock = try SQLiteFile(rig.file)
            try lock.lockExclusively()
            try rig.insert(4...4)
            try rig.awaitLog("sink waits")
            let begin = ContinuousClock.now
            try rig.stopDaemon()
            let took = ContinuousClock.now - begin
            #expect(took < .seconds(4), "the stop took \(took)")
            try rig.awaitLog("stopped before the sink was done")
            try lock.unlock()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3, 4])
            try rig.stopDaemon()
        }

        @Test("ends the daemon after SINK_MAX_RETRIES; a later start goes on")
        func retriesExhausted() throws {
            let rig = try Rig(["SINK_MAX_RETRIES": "2"])
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            let lock = try SQLiteFile(rig.file)
            try lock.lockExclusively()
            try rig.insert(4...4)
            rig.expectEnd(8, "database is locked", "2 retries")
            #expect(rig.daemon.logLines().filter { $0.event == "sink waits" }.count == 2)
            try lock.unlock()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3, 4])
            try rig.stopDaemon()
        }

        @Test("that refuses rows for good ends the daemon; once it takes them, nothing is lost")
        func refusedRows() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try SQLiteFile(rig.file).execute(
                "CREATE TRIGGER no BEFORE INSERT ON t WHEN new.id = 5 BEGIN SELECT RAISE(ABORT, 'no five'); END"
            )
            try rig.insert(4...6)
            rig.expectEnd(7, "public.t", "SQLITE_CONSTRAINT_TRIGGER", "no five")
            // The transaction's other rows are not there either.
            try rig.awaitIDs([1, 2, 3])
            try SQLiteFile(rig.file).execute("DROP TRIGGER no")
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3, 4, 5, 6])
            try rig.stopDaemon()
        }

        @Test("whose file was removed under the daemon ends it: what it writes would be lost")
        func removedFile() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try runProgram("/bin/mv", [rig.file, rig.file + ".away"])
            try rig.insert(4...4)
            rig.expectEnd(7, rig.file, "renamed or removed")
            try runProgram("/bin/mv", [rig.file + ".away", rig.file])
            #expect(try rig.confirmedFlush() <= #require(try storedPosition(rig.file)))
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3, 4])
            try rig.stopDaemon()
        }

        // MARK: Helpers

        private static func walsender(_ rig: Rig) throws -> String? {
            try rig.source("SELECT pid FROM pg_stat_replication WHERE application_name = 'dbmazz-sink'")
        }

        /// Writes a file until there is no room any more.
        static func fill(_ path: String) throws {
            let file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
            guard file >= 0 else { throw HarnessError("cannot open \(path): errno \(errno)") }
            defer { close(file) }
            let block = [UInt8](repeating: 1, count: 4096)
            while write(file, block, block.count) > 0 {}
            guard errno == ENOSPC else { throw HarnessError("cannot fill \(path): errno \(errno)") }
        }

        /// A small file system of its own needs the right to mount one.
        static let canMount: Bool = {
            guard geteuid() == 0, let directory = try? makeTemporaryDirectory("dbmazz-mount") else { return false }
            defer { removeTree(directory) }
            guard (try? runProgram("/bin/mount", ["-t", "tmpfs", "-o", "size=1m", "none", directory])) != nil else {
                return false
            }
            _ = try? runProgram("/bin/umount", [directory])
            return true
        }()
    }
}
