import Glibc
import Operations
import Settings
import TestSupport
import Testing

extension Integration {
    @Suite("The commands") struct CommandTests {
        @Test("validate shows the plan of each table and touches nothing")
        func validate() throws {
            let rig = try Rig()
            try rig.sql(
                "CREATE TABLE public.orders (id int8 PRIMARY KEY, note text, twice int GENERATED ALWAYS AS (1 * 2) STORED)",
                "CREATE TABLE public.log (line text)",
                "ALTER TABLE public.log REPLICA IDENTITY FULL"
            )
            let result = try rig.daemon.command("validate")
            #expect(result.status == .exited(0), "\(result)")
            for part in [
                "make slot dbmazz_slot, copy the tables, then stream", "CREATE PUBLICATION \"dbmazz_pub\"",
                "public.orders -> orders: key (id), replica identity default", "id    bigint -> INTEGER",
                "note  text -> TEXT",
                "will run: CREATE TABLE \"orders\"", "columns that are not published do not arrive: twice",
                "public.log -> log: no key", "max_slot_wal_keep_size is -1", "The daemon would start.",
            ] {
                #expect(result.output.contains(part), "\(part) is not in \(result)")
            }
            #expect(result.error == "", "\(result)")
            #expect(try rig.slots() == [])
            #expect(try rig.source("SELECT count(*) FROM pg_publication") == "0")
            #expect(access(rig.file, F_OK) != 0)
            #expect(!result.output.contains("\u{1B}"), "colours without a terminal")
        }

        @Test("validate's JSON is for programs, and its exit code is the daemon's")
        func validateJSON() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.stopDaemon()
            let good = try rig.daemon.command("validate", "--json")
            #expect(good.status == .exited(0), "\(good)")
            let fields = LogLine(good.output.split(separator: "\n").joined())
            #expect(fields["plan"]?.hasPrefix("go on streaming from") == true, "\(good)")
            #expect(fields["exit_code"] == "0")
            // A table that the target has otherwise: the daemon would end with 6.
            try SQLiteFile(rig.file).execute("ALTER TABLE t ADD COLUMN more TEXT")
            let differs = try rig.daemon.command("validate")
            #expect(differs.status == .exited(6), "\(differs)")
            #expect(differs.output.contains("ALTER TABLE \"t\" DROP COLUMN \"more\";"), "\(differs)")
            // Several findings at once: no slot any more, and the wrong table.
            try rig.sql("SELECT pg_drop_replication_slot('dbmazz_slot')")
            let lost = try rig.daemon.command("validate")
            #expect(lost.output.contains("slot dbmazz_slot does not exist"), "\(lost)")
            #expect(lost.output.contains("DROP COLUMN"), "\(lost)")
            #expect(lost.output.contains("The daemon would not start."), "\(lost)")
        }

        @Test("validate warns of what a publication leaves out")
        func validateWarnings() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.sql("CREATE PUBLICATION dbmazz_pub FOR TABLE public.t WITH (publish = 'insert, update')")
            let result = try rig.daemon.command("validate")
            #expect(result.output.contains("does not publish deletes, truncates"), "\(result)")
        }

        @Test("validate finds a role that may not make the publication, and a pipeline that is run already")
        func validateRefusals() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.sql("CREATE ROLE reader LOGIN REPLICATION", "GRANT SELECT ON public.t TO reader")
            let url = rig.server.url()
            rig.daemon.setEnvironment("SOURCE_URL", rig.server.url(user: "reader"))
            let refused = try rig.daemon.command("validate")
            #expect(refused.status == .exited(2), "\(refused)")
            #expect(refused.output.contains("have the tables' owner run CREATE PUBLICATION"), "\(refused)")
            rig.daemon.setEnvironment("SOURCE_URL", url)
            try rig.startStreaming()
            rig.daemon.setEnvironment("SINK_STANDBY", "refuse")
            let busy = try rig.daemon.command("validate")
            #expect(busy.status == .exited(11), "\(busy)")
            #expect(busy.output.contains("sqlite \(rig.file)"), "\(busy)")
            try rig.stopDaemon()
        }

        @Test("validate without a server says so with the daemon's remedy")
        func validateNoServer() throws {
            let rig = try Rig()
            try rig.server.stop()
            let result = try rig.daemon.command("validate")
            #expect(result.status == .exited(8), "\(result)")
            #expect(result.output.contains("Connection refused"), "\(result)")
        }

        @Test("slot shows the slot, and drops it only when told so and when nobody reads it")
        func slot() throws {
            let rig = try Rig()
            try rig.makeTable()
            let none = try rig.daemon.command("slot")
            #expect(none.status == .exited(4))
            #expect(none.error.contains("slot dbmazz_slot does not exist"), "\(none)")
            try rig.startStreaming()
            let shown = try rig.daemon.command("slot", "show")
            #expect(shown.status == .exited(0), "\(shown)")
            #expect(shown.output.contains("read by          PID"), "\(shown)")
            let json = try rig.daemon.command("slot", "show", "--json")
            #expect(LogLine(json.output.split(separator: "\n").joined())["wal_status"] == "reserved", "\(json)")
            let unsure = try rig.daemon.command("slot", "drop")
            #expect(unsure.status == .exited(2))
            #expect(unsure.error.contains("--yes"), "\(unsure)")
            let busy = try rig.daemon.command("slot", "drop", "--yes")
            #expect(busy.status == .exited(11), "\(busy)")
            #expect(busy.error.contains("it is in use by PID"), "\(busy)")
            #expect(try rig.slots() == ["dbmazz_slot"])
            try rig.stopDaemon()
            let dropped = try rig.daemon.command("slot", "drop", "--yes")
            #expect(dropped.status == .exited(0), "\(dropped)")
            #expect(try rig.slots() == [])
        }

        @Test("config lists every variable with value, origin and default, without secrets")
        func config() throws {
            let rig = try Rig(["SINK_BATCH_SIZE": "77"])
            rig.daemon.setEnvironment("SOURCE_URL", "postgres://u:hunter2@127.0.0.1/x")
            let result = try rig.daemon.command("config")
            #expect(result.status == .exited(0), "\(result)")
            for variable in Variable.all {
                #expect(result.output.contains(variable.name), "\(variable.name)")
            }
            #expect(result.output.contains("77  (environment; default: "), "\(result)")
            #expect(!(result.output + result.error).contains("hunter2"))
            let json = try rig.daemon.command("config", "--json")
            #expect(json.output.hasPrefix("[") && json.output.contains("\"origin\" : \"environment\""), "\(json)")
            rig.daemon.setEnvironment("SINK_BATCH_SIZE", "many")
            let wrong = try rig.daemon.command("config")
            #expect(wrong.status == .exited(2))
            #expect(wrong.output == "" && wrong.error.contains("SINK_BATCH_SIZE=\"many\""), "\(wrong)")
        }

        @Test("help, man page and completions know every command, and nothing but data goes to standard output")
        func helpers() throws {
            let rig = try Rig()
            let manual = try rig.daemon.command("manual")
            #expect(manual.status == .exited(0))
            for variable in Variable.all {
                #expect(manual.output.contains(".B \(variable.name)\n"), "\(variable.name)")
            }
            for command in ["run", "validate", "status", "health", "slot", "config"] {
                #expect(manual.output.contains(".SS \(command)"), "\(command)")
                let help = try rig.daemon.command(command, "--help")
                #expect(help.status == .exited(0) && help.output.contains("USAGE: dbmazz-sink \(command)"), "\(help)")
                for shell in ["bash", "zsh", "fish"] {
                    let script = try rig.daemon.command("--generate-completion-script", shell)
                    #expect(script.status == .exited(0) && script.output.contains(command), "\(shell) \(command)")
                }
            }
            let unknown = try rig.daemon.command("frobnicate")
            #expect(unknown.status == .exited(64), "\(unknown)")
            #expect(unknown.output == "", "\(unknown)")
        }

        @Test("draws the copy's progress on a terminal, and nothing of it elsewhere")
        func progressBar() throws {
            let rig = try Rig()
            try rig.makeTable(rows: 600_000)
            try rig.sql("ANALYZE public.t")
            let screen = rig.directory + "/screen"
            rig.daemon.setEnvironment("LOG_FORMAT", "text")
            let environment = [
                "PATH": "/usr/bin:/bin", "TERM": "xterm", "SOURCE_URL": rig.server.url(), "SINK_URL": rig.file,
                "STATE_DIRECTORY": rig.directory, "LOG_FORMAT": "text", "DBMAZZ_HTTP": "off", "SOURCE_SNAPSHOT": "only",
            ]
            // script(1) gives the daemon a terminal.
            let terminal = try ChildProcess(
                executable: "/usr/bin/script",
                arguments: ["-qefc", "stty cols 160; exec \(Rig.executable)", screen],
                environment: environment
            )
            #expect(terminal.waitForExit(timeout: .seconds(60)) == .exited(0), "\(readText(screen) ?? "")")
            let text = readText(screen) ?? ""
            #expect(text.contains("% "), "\(text.suffix(2000))")
            #expect(text.contains("of about 600000 rows, 0 of 1 tables, public.t"), "\(text.suffix(2000))")
            #expect(text.contains("copy finished"))
            // Every log line is whole: the bar is erased before and drawn again after.
            #expect(
                text.split(whereSeparator: \.isNewline).contains {
                    $0.contains("table copied") && !$0.contains("rows/s")
                },
                "\(text.suffix(2000))"
            )
        }
    }
}
