import Glibc
import Operations
import Pipeline
import Settings
import TestSupport
import Testing

extension Integration {
    @Suite("What a running daemon says of itself") struct StatusTests {
        private func rig(
            _ environment: [String: String] = [:],
            settings: [String: String] = [:]
        ) throws -> (Rig, HTTPAddress) {
            let address = HTTPAddress(host: "127.0.0.1", port: UInt16(try freePort()))
            var all = ["DBMAZZ_HTTP": "\(address)", "SOURCE_HEARTBEAT_INTERVAL_MS": "1000"]
            all.merge(environment) { $1 }
            return (try Rig(all, settings: settings), address)
        }

        private func status(_ address: HTTPAddress) throws -> PipelineStatus {
            try #require(StatusJSON.decode(try HTTPGet.get("/status", from: address).body))
        }

        @Test("counts what arrived, by table and operation, in /status and /metrics alike")
        func counts() throws {
            let (rig, address) = try rig()
            try rig.makeTable(rows: 5)
            try rig.startStreaming()
            try rig.insert(6...8)
            try rig.sql("UPDATE public.t SET v = 'x' WHERE id <= 2", "DELETE FROM public.t WHERE id = 3")
            try rig.waitForSink("SELECT count(*), sum(v = 'x') FROM t", [["INTEGER 7", "INTEGER 2"]])
            let matches = eventually(within: .seconds(10)) { (try? self.status(address))?.totals.rows == 11 }
            #expect(matches)
            let status = try self.status(address)
            let table = try #require(status.tables.first)
            #expect([table.copied, table.inserts, table.updates, table.deletes, table.truncates] == [5, 3, 2, 1, 0])
            #expect(status.totals.transactions == 3)
            #expect(status.phase == .streaming && status.ready && status.healthy)
            #expect(status.copy?.tablesDone == 1 && status.copy?.rows == 5)
            #expect(status.slot.walStatus == "reserved")
            let metrics = try HTTPGet.get("/metrics", from: address).body
            for line in [
                "dbmazz_rows_total{table=\"public.t\",operation=\"copy\"} 5",
                "dbmazz_rows_total{table=\"public.t\",operation=\"insert\"} 3",
                "dbmazz_rows_total{table=\"public.t\",operation=\"update\"} 2",
                "dbmazz_rows_total{table=\"public.t\",operation=\"delete\"} 1", "dbmazz_transactions_total 3",
                "dbmazz_commit_to_durable_seconds_count 3", "dbmazz_pipeline_state{state=\"streaming\"} 1",
                "dbmazz_slot_wal_status{status=\"reserved\"} 1", "dbmazz_copy_rows 5", "dbmazz_healthy 1",
                "dbmazz_ready 1",
            ] {
                #expect(metrics.contains(line + "\n"), "\(line) is not in\n\(metrics)")
            }
            let shown = try rig.daemon.command("status")
            #expect(shown.status == .exited(0), "\(shown)")
            #expect(
                shown.output.contains("public.t") && shown.output.contains("+3 ~2 -1 truncated 0 copied 5"),
                "\(shown)"
            )
            #expect(try rig.daemon.command("health").status == .exited(0))
            #expect(try rig.daemon.command("health", "--ready").status == .exited(0))
            try rig.stopDaemon()
            let gone = try rig.daemon.command("health")
            #expect(gone.status == .exited(1) && gone.error.contains("nothing answers"), "\(gone)")
            #expect(try rig.daemon.command("status").status == .exited(1))
        }

        @Test("is ready while its lag is small, and not while the target stands")
        func readiness() throws {
            let (rig, address) = try rig(["DBMAZZ_READY_MAX_LAG": "200000"])
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            func ready() -> Int { (try? HTTPGet.get("/readyz", from: address).status) ?? 0 }
            #expect(eventually(within: .seconds(5)) { ready() == 200 })
            let lock = try SQLiteFile(rig.file)
            try lock.lockExclusively()
            try rig.sql("INSERT INTO public.t SELECT i, repeat('x', 100) FROM generate_series(10, 20000) i")
            #expect(eventually(within: .seconds(10)) { ready() == 503 })
            let behind = try self.status(address)
            #expect(behind.lagBytes > 200_000 && behind.lagSeconds > 0, "\(behind)")
            #expect(eventually(within: .seconds(5)) { (try? self.status(address))?.totals.sinkRetries ?? 0 > 0 })
            let retried = try self.status(address)
            #expect(
                retried.totals.sinkRetries > 0 && retried.troubles.first?.error.contains("database is locked") == true
            )
            #expect(behind.healthy)
            try lock.unlock()
            #expect(eventually(within: .seconds(20)) { ready() == 200 })
            try rig.waitForSink("SELECT count(*) FROM t", [["INTEGER 19994"]])
            #expect(eventually(within: .seconds(10)) { (try? self.status(address))?.lagSeconds == 0 })
            try rig.stopDaemon()
        }

        @Test("serves metrics that promtool and the alert rules and dashboard of deploy/ agree with")
        func promtool() throws {
            // With a limit at the source every metric there can be is there.
            let (rig, address) = try rig(settings: ["max_slot_wal_keep_size": "1GB"])
            rig.daemon.setEnvironment("SINK_ON_UNREPRESENTABLE", "null")
            try rig.sql(
                "CREATE TABLE public.f (id int4 PRIMARY KEY, d float8)",
                "INSERT INTO public.f VALUES (1, 'NaN')"
            )
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            #expect(eventually(within: .seconds(10)) { (try? self.status(address))?.slot.walStatus != nil })
            let file = rig.directory + "/metrics.txt"
            let metrics = try HTTPGet.get("/metrics", from: address).body
            try writeText(metrics, to: file)
            let output = try runProgram("/bin/sh", ["-c", "promtool check metrics <\(file)"])
            #expect(output == "", "\(output)")
            let checked = try runProgram(
                "/bin/bash",
                [Repository.path("scripts/check-deploy"), file],
                environment: ["PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": rig.directory, "LC_ALL": "C.UTF-8"],
                timeout: .seconds(300)
            )
            print(checked)
            try rig.stopDaemon()
        }

        @Test("shows on its page, in a real browser, the figures of /status")
        func page() throws {
            let (rig, address) = try rig()
            try rig.makeTable(rows: 123)
            try rig.startStreaming()
            try rig.insert(1000...1007)
            try rig.waitForSink("SELECT count(*) FROM t", [["INTEGER 131"]])
            #expect(eventually(within: .seconds(10)) { (try? self.status(address))?.totals.rows == 131 })
            let image = rig.directory + "/page.png"
            func browse(_ more: [String]) throws -> String {
                try runProgram(
                    "/usr/bin/chromium",
                    [
                        "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=\(rig.directory)/chromium",
                        "--window-size=1000,1400",
                    ] + more + ["http://\(address)/"],
                    environment: ["PATH": "/usr/bin:/bin", "HOME": rig.directory, "LC_ALL": "C.UTF-8"]
                )
            }
            let before = try self.status(address)
            let dom = try browse(["--dump-dom"])
            let after = try self.status(address)
            func cell(_ id: String) -> String? {
                guard let start = dom.firstRange(of: "<td id=\"\(id)\">")?.upperBound else { return nil }
                return dom[start...].firstRange(of: "</td>").map { String(dom[start..<$0.lowerBound]) }
            }
            #expect(cell("phase") == "streaming", "\(dom)")
            #expect(cell("rows") == "\(before.totals.rows)" && before.totals.rows == after.totals.rows)
            #expect(cell("bytes") == "\(before.totals.bytes)")
            #expect(cell("transactions") == "\(before.totals.transactions)")
            #expect(cell("copy-rows") == "123 rows" || cell("copy-rows")?.hasPrefix("123 of about") == true)
            #expect(cell("pipeline") == before.pipeline)
            #expect(cell("slot") == "dbmazz_slot")
            #expect([before, after].map { $0.positions.flushed }.contains(cell("flushed-lsn") ?? ""))
            #expect(dom.contains("<td>public.t</td><td class=\"n\">8</td>"), "\(dom)")
            _ = try browse(["--screenshot=\(image)"])
            let picture = readFile(image) ?? []
            #expect(picture.starts(with: [0x89, 0x50, 0x4E, 0x47]) && picture.count > 10_000, "\(picture.count) bytes")
            if let keep = environmentVariable("DBMAZZ_TEST_SCREENSHOT") { try runProgram("/bin/cp", [image, keep]) }
            try rig.stopDaemon()
        }

        @Test("warns and runs without where the default's port is taken, and refuses where the address was chosen")
        func taken() throws {
            let (rig, address) = try rig()
            try rig.makeTable()
            let endpoint = try HTTPEndpoint(address) { _ in nil }
            let error = try rig.expectRefusal(2, "DBMAZZ_HTTP=\(address)", "Address already in use")
            #expect(error.contains("set it to another address, or to off"))
            withExtendedLifetime(endpoint) {}
            rig.daemon.setEnvironment("DBMAZZ_HTTP", nil)
            // Somebody else may have the default's port here; else this one takes it.
            let other = try? HTTPEndpoint(HTTPAddress(host: "127.0.0.1", port: 9187)) { _ in nil }
            try rig.startStreaming()
            let line = try rig.awaitLog("status not served")
            #expect(line.level == "warning")
            try rig.stopDaemon()
            withExtendedLifetime(other) {}
        }
    }

    @Suite("The WAL guard") struct WALGuardTests {
        @Test("warns, alarms, and the daemon ends with 4 and the remedy once PostgreSQL has invalidated the slot")
        func invalidation() throws {
            let address = HTTPAddress(host: "127.0.0.1", port: UInt16(try freePort()))
            let rig = try Rig(
                ["SOURCE_HEARTBEAT_INTERVAL_MS": "1000", "DBMAZZ_HTTP": "\(address)"],
                settings: [
                    "max_slot_wal_keep_size": "160MB", "max_wal_size": "64MB", "min_wal_size": "32MB",
                    "wal_sender_timeout": "10s",
                ]
            )
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            func alarm() -> String? {
                StatusJSON.decode((try? HTTPGet.get("/status", from: address).body) ?? "")?.slot.alarm
            }
            #expect(eventually(within: .seconds(10)) { alarm() == "none" })
            let lock = try SQLiteFile(rig.file)
            try lock.lockExclusively()
            func writeWAL(_ times: Int) throws {
                for _ in 0..<times {
                    try rig.sql(
                        "INSERT INTO public.t SELECT i + (SELECT max(id) FROM public.t), repeat('y', 800) FROM generate_series(1, 15000) i"
                    )
                }
            }
            try writeWAL(7)
            let warning = try rig.awaitLog("WAL alarm", within: .seconds(15)) { $0.level == "warning" }
            #expect(warning["cause"]?.contains("max_slot_wal_keep_size") == true, "\(warning)")
            let metrics = try HTTPGet.get("/metrics", from: address).body
            #expect(metrics.contains("dbmazz_slot_wal_limit_bytes \(160 << 20)\n"))
            #expect(metrics.contains("dbmazz_wal_alarm 1\n"))
            #expect(try rig.daemon.command("status").output.contains("WAL ALARM") == false)
            try writeWAL(8)
            try rig.awaitLog("WAL alarm", within: .seconds(15)) { $0.level == "error" }
            try writeWAL(4)
            // A stuck target must not keep the source from its checkpoints, which wait for the slot's walsender.
            let began = ContinuousClock.now
            try rig.sql("CHECKPOINT")
            #expect(.now - began < .seconds(30))
            try lock.unlock()
            // The server has ended the walsender; what the daemon has read it writes, then it finds the slot lost.
            let error = rig.expectEnd(4, "slot dbmazz_slot is lost", within: .seconds(60))
            #expect(error.contains("raise max_slot_wal_keep_size"), "\(error)")
        }

        @Test(
            "without a limit at the source the operator's own threshold counts, and the alarm ends when the slot moves on"
        )
        func threshold() throws {
            let rig = try Rig(["SOURCE_HEARTBEAT_INTERVAL_MS": "1000", "SOURCE_WAL_ALARM_MB": "8"])
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            let lock = try SQLiteFile(rig.file)
            try lock.lockExclusively()
            try rig.sql("INSERT INTO public.t SELECT i, repeat('y', 800) FROM generate_series(10, 20000) i")
            let warning = try rig.awaitLog("WAL alarm", within: .seconds(15))
            #expect(warning["cause"]?.contains("SOURCE_WAL_ALARM_MB") == true, "\(warning)")
            try lock.unlock()
            try rig.waitForSink("SELECT count(*) FROM t", [["INTEGER 19994"]], within: .seconds(30))
            // The slot's restart_lsn follows running-transactions records, which a checkpoint writes.
            let isOver = try eventually(within: .seconds(60), every: .milliseconds(500)) {
                try rig.sql("CHECKPOINT")
                return rig.daemon.logLines().contains { $0.event == "WAL alarm over" }
            }
            #expect(isOver)
            try rig.stopDaemon()
        }
    }

    @Suite("Units and deployment files") struct DeployTests {
        @Test("systemd-analyze finds the units clean and safe")
        func units() throws {
            print(
                try runProgram(
                    "/bin/bash",
                    [Repository.path("scripts/check-units")],
                    environment: [
                        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/tmp", "LC_ALL": "C.UTF-8",
                    ]
                )
            )
        }
    }
}

/// The checkout that these tests were built from.
enum Repository {
    static func path(_ name: String) -> String { repositoryPath + "/" + name }
}
