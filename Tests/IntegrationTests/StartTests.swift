import Glibc
import TestSupport
import Testing

extension Integration {
    /// The table of contract 2: what sink, slot and SOURCE_SNAPSHOT make of a start.
    @Suite("A start") struct StartTests {
        // MARK: Neither side knows the pipeline

        @Test("with neither slot nor position copies, then streams")
        func nothingInitial() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.startStreaming()
            #expect(try rig.slots() == ["dbmazz_slot"])
            try rig.insert(4...5)
            try rig.awaitIDs([1, 2, 3, 4, 5])
            try rig.stopDaemon()
        }

        @Test("with neither slot nor position and SOURCE_SNAPSHOT=never streams from now on")
        func nothingNever() throws {
            let rig = try Rig(["SOURCE_SNAPSHOT": "never"])
            try rig.makeTable()
            try rig.startStreaming()
            #expect(try rig.slots() == ["dbmazz_slot"])
            try rig.insert(4...5)
            try rig.awaitIDs([4, 5])
            try rig.stopDaemon()
        }

        // MARK: The slot is there

        @Test("with a slot and SOURCE_SNAPSHOT=never begins where the slot is")
        func slotNever() throws {
            let rig = try Rig(["SOURCE_SNAPSHOT": "never"])
            try rig.makeTable()
            try Self.makeSlot(rig)
            try rig.insert(4...5)
            try rig.startStreaming()
            try rig.insert(6...6)
            try rig.awaitIDs([4, 5, 6])
            try rig.stopDaemon()
        }

        @Test("with a slot and no position copies, and streams from the slot without repeating what was copied")
        func slotInitial() throws {
            let rig = try Rig(["SINK_AUDIT_COLUMNS": "true"])
            try rig.makeTable()
            try Self.makeSlot(rig)
            try rig.insert(4...5)
            try rig.startStreaming()
            try rig.insert(6...6)
            try rig.awaitIDs([1, 2, 3, 4, 5, 6])
            // Rows of a copy have ordinal 0, the streamed one has not.
            let copied = try rig.sink("SELECT id FROM t WHERE dbmazz_cdc_version LIKE '%0000000000000000' ORDER BY id")
            #expect(copied == (1...5).map { ["INTEGER \($0)"] })
            try rig.stopDaemon()
        }

        @Test("after a copy that was not finished copies again")
        func unfinishedCopy() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.daemon.start(failpoint: "copy-rows-written")
            #expect(rig.daemon.waitForExit() == .signaled(SIGKILL))
            try rig.sql("DELETE FROM public.t WHERE id = 1")
            try rig.insert(4...4)
            // Nobody may take the unfinished content for a state of the source.
            #expect(try rig.position() == nil || rig.position() == "NULL")
            try rig.startStreaming()
            try rig.awaitIDs([2, 3, 4])
            try rig.stopDaemon()
        }

        @Test("with slot and position goes on without a copy", arguments: ["initial", "never"])
        func resume(snapshot: String) throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.startStreaming()
            try rig.insert(4...4)
            try rig.awaitIDs([1, 2, 3, 4])
            try rig.stopDaemon()
            try rig.insert(5...6)
            rig.daemon.setEnvironment("SOURCE_SNAPSHOT", snapshot)
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3, 4, 5, 6])
            #expect(!rig.daemon.logLines().contains { $0.event == "copy begins" })
            try rig.stopDaemon()
        }

        // MARK: Changes are missing

        @Test("with a position and no slot is refused, and the remedy it names works")
        func slotDropped() throws {
            let rig = try Self.stopped()
            try rig.insert(4...4)
            try rig.sql("SELECT pg_drop_replication_slot('dbmazz_slot')")
            rig.daemon.setEnvironment("SOURCE_SNAPSHOT", "never")
            try rig.expectRefusal(4, "dbmazz_slot", "does not exist", "dbmazz_position", "SOURCE_SNAPSHOT=initial")
            #expect(try rig.slots() == [])
            try Self.copyAnew(rig)
            try rig.awaitIDs([1, 2, 3, 4])
            try rig.stopDaemon()
        }

        @Test("with a slot that has moved on past the position is refused, and the remedy it names works")
        func gap() throws {
            let rig = try Self.stopped()
            try rig.insert(4...4)
            try rig.sql("SELECT pg_replication_slot_advance('dbmazz_slot', pg_current_wal_lsn())")
            try rig.insert(5...5)
            let position = try #require(try rig.position())
            let error = try rig.expectRefusal(
                3,
                "pg_drop_replication_slot('dbmazz_slot')",
                "dbmazz_position",
                "SOURCE_SNAPSHOT=initial"
            )
            #expect(error.contains(position.split(separator: " ").last ?? ""))
            #expect(try rig.sink("SELECT id FROM t ORDER BY id").count == 3)
            try rig.sql("SELECT pg_drop_replication_slot('dbmazz_slot')")
            try Self.copyAnew(rig)
            try rig.awaitIDs([1, 2, 3, 4, 5])
            try rig.stopDaemon()
        }

        @Test("with a slot that PostgreSQL has invalidated is refused")
        func slotInvalidated() throws {
            let rig = try Rig(settings: [
                "max_slot_wal_keep_size": "1MB", "max_wal_size": "64MB", "min_wal_size": "32MB",
            ])
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.stopDaemon()
            let client = try rig.server.connect()
            let isLost = try eventually(within: .seconds(30)) {
                try client.execute("INSERT INTO public.t SELECT max(id) + 1, 'x' FROM public.t")
                _ = try client.query("SELECT pg_switch_wal()")
                try client.execute("CHECKPOINT")
                return try client.value("SELECT wal_status FROM pg_replication_slots") == "lost"
            }
            try #require(isLost)
            try rig.expectRefusal(
                4,
                "pg_drop_replication_slot('dbmazz_slot')",
                "lost",
                "max_slot_wal_keep_size",
                "SOURCE_SNAPSHOT=initial"
            )
        }

        @Test(
            "of a sink that stores no position is refused as well when its slot is gone",
            arguments: ["stdout", "null"]
        )
        func slotDroppedWithoutPosition(sink: String) throws {
            let rig = try Rig(["SINK_TYPE": sink])
            rig.daemon.setEnvironment("SINK_URL", nil)
            try rig.makeTable()
            try rig.startStreaming()
            try rig.insert(4...4)
            try rig.catchUp()
            try rig.stopDaemon()
            // It goes on, and copies nothing again.
            try rig.insert(5...5)
            try rig.startStreaming()
            try rig.catchUp()
            #expect(!rig.daemon.logLines().contains { $0.event == "copy begins" })
            try rig.stopDaemon()
            try rig.sql("SELECT pg_drop_replication_slot('dbmazz_slot')")
            try rig.expectRefusal(4, "dbmazz_slot", "does not exist", "STATE_DIRECTORY", "SOURCE_SNAPSHOT=initial")
            #expect(try rig.slots() == [])
            // The remedy.
            try runProgram("/bin/sh", ["-c", "rm \(rig.directory)/*.state"])
            try rig.startStreaming()
            try rig.awaitLog("copy begins")
            try rig.stopDaemon()
        }

        // MARK: Identity

        @Test("with the content of another system is refused")
        func foreignSystem() throws {
            let rig = try Rig(["SINK_PIPELINE": "shop"])
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.stopDaemon()
            let other = try Rig(["SINK_PIPELINE": "shop", "SINK_URL": rig.file], isOwnSystem: true)
            try other.makeTable(rows: 9)
            let mine = try #require(try rig.source("SELECT system_identifier FROM pg_control_system()"))
            let theirs = try #require(try other.source("SELECT system_identifier FROM pg_control_system()"))
            try other.expectRefusal(5, mine, theirs, "SINK_PIPELINE")
            #expect(try other.slots() == [])
            #expect(try rig.sink("SELECT count(*) FROM t") == [["INTEGER 3"]])
        }

        @Test("with another slot for the same pipeline is refused")
        func otherSlot() throws {
            let rig = try Rig(["SINK_PIPELINE": "shop"])
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.stopDaemon()
            rig.daemon.setEnvironment("SOURCE_SLOT_NAME", "dbmazz_other")
            try rig.expectRefusal(5, "dbmazz_slot", "dbmazz_other", "SOURCE_SLOT_NAME")
            #expect(try rig.slots() == ["dbmazz_slot"])
        }

        @Test("on a newer timeline goes on where the position is before the switch")
        func newerTimeline() throws {
            let rig = try Rig(settings: ["restore_command": "false"])
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.stopDaemon()
            try rig.insert(4...4)
            try Self.switchTimeline(rig)
            try rig.insert(5...5)
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3, 4, 5])
            try rig.stopDaemon()
            #expect(try rig.sink("SELECT timeline FROM dbmazz_position") == [["INTEGER 2"]])
            // And it goes on from there once more.
            try rig.insert(6...6)
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3, 4, 5, 6])
            try rig.stopDaemon()
        }

        @Test("on a newer timeline that left before the position is refused")
        func positionNotInTimeline() throws {
            let rig = try Rig(settings: ["restore_command": "false"])
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.stopDaemon()
            try rig.server.stop()
            let data = rig.server.dataDirectory
            try runProgram("/bin/cp", ["-a", data, data + ".old"])
            try rig.server.start()
            try rig.insert(4...4)
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3, 4])
            try rig.stopDaemon()
            // The source comes back from a backup that never saw row 4.
            try rig.server.stop()
            try runProgram("/bin/mv", [data, data + ".new"])
            try runProgram("/bin/mv", [data + ".old", data])
            try rig.server.start()
            try Self.switchTimeline(rig)
            try rig.expectRefusal(5, "timeline 1", "timeline 2")
        }

        // MARK: Only a copy

        @Test("with SOURCE_SNAPSHOT=only copies, ends, and leaves no slot; a later start copies again and streams")
        func onlyCopy() throws {
            let rig = try Rig(["SOURCE_SNAPSHOT": "only"])
            let workload = try rig.workload { $0.seedRows = 100 }
            defer { try? workload.close() }
            let slots = try rig.slots()
            try rig.daemon.start()
            #expect(rig.daemon.waitForExit() == .exited(0), "\(rig.daemon.logTail())")
            #expect(try rig.slots() == slots)
            let client = try rig.server.connect()
            #expect(try compareWithSource(client, sqlite: rig.file, tables: workload.tableNames) == [])
            rig.daemon.setEnvironment("SOURCE_SNAPSHOT", nil)
            try rig.start(workload)
            try rig.awaitProgress()
            try rig.finish(workload)
        }

        // MARK: Helpers

        /// A slot and a publication, as somebody may make them before the first start.
        private static func makeSlot(_ rig: Rig) throws {
            try rig.sql(
                "CREATE PUBLICATION dbmazz_pub FOR TABLE public.t",
                "SELECT pg_create_logical_replication_slot('dbmazz_slot', 'pgoutput')"
            )
        }

        /// A pipeline that has copied three rows and was stopped.
        private static func stopped() throws -> Rig {
            let rig = try Rig()
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.stopDaemon()
            return rig
        }

        /// What the remedy of a gap and of a lost slot says, the slot being gone.
        private static func copyAnew(_ rig: Rig) throws {
            try SQLiteFile(rig.file).execute("DELETE FROM dbmazz_position")
            rig.daemon.setEnvironment("SOURCE_SNAPSHOT", "initial")
            try rig.startStreaming()
        }

        /// Ends the server's timeline and begins another, as a promotion does.
        private static func switchTimeline(_ rig: Rig) throws {
            try rig.server.stop()
            let signal = rig.server.dataDirectory + "/recovery.signal"
            close(open(signal, O_CREAT | O_WRONLY, 0o666))
            chmod(signal, 0o666)
            try rig.server.start()
            let isPromoted = try eventually(within: .seconds(20)) {
                try rig.source("SELECT pg_is_in_recovery()") == "f"
            }
            try #require(isPromoted)
        }
    }
}
