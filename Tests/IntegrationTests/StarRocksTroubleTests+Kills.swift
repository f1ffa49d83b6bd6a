import Glibc
import TestSupport
import Testing

extension Integration.StarRocksTroubleTests {
    private static let places = [
        "load-sent@1", "load-sent@2", "load-sent@3", "load-sent@4", "load-announced@1", "load-announced@4",
        "before-sink-commit", "before-sink-commit",
    ]

    @Test("finds after a kill what is loaded, by labels, and by rows where labels are forgotten")
    func kills() throws {
        let rig = try StarRocksRig()
        let changes = try StarRocksChanges(rig)
        try rig.rig.startStreaming()
        try changes.expectArrived("copy")
        try rig.rig.stopDaemon()
        for (index, failpoint) in Self.places.enumerated() {
            try rig.target.reset()
            try rig.daemon.start(failpoint: failpoint)
            try rig.rig.awaitLog("streaming")
            try changes.commit()
            let status = rig.daemon.waitForExit(timeout: .seconds(10))
            try #require(status == .signaled(SIGKILL), "\(failpoint): \(rig.daemon.logTail())")
            let isForgotten = index % 2 == 0
            if isForgotten { try rig.target.control("POST", "/expire-labels") }
            if index % 3 == 0 { try changes.commit() }
            try rig.rig.startStreaming()
            try changes.expectArrived("\(failpoint)\(isForgotten ? ", labels forgotten" : "")")
            try rig.rig.stopDaemon()
        }
    }

    @Test("forgets labels between a lost reply and the question, with the daemon killed in between")
    func forgotten() throws {
        let rig = try StarRocksRig()
        let changes = try StarRocksChanges(rig)
        try rig.rig.startStreaming()
        try changes.expectArrived("copy")
        for place in Place.telling {
            try rig.target.reset()
            try rig.target.fault(Self.everywhere[0].fault(place))
            try rig.target.fault(StarRocksFault("delay", on: "state", count: 0, seconds: 5))
            try changes.commit()
            let isLost = eventually(within: .seconds(10)) { (try? rig.target.faultsFired().first) == 1 }
            #expect(isLost, "\(place.name): \(rig.daemon.logTail())")
            rig.daemon.killAndWait()
            try rig.target.control("POST", "/expire-labels")
            try rig.target.clearFaults()
            try changes.commit()
            try rig.rig.startStreaming()
            try changes.expectArrived("forgotten, \(place.name)")
        }
        try rig.rig.stopDaemon()
    }

    /// What `dbmazz_position` announces of `public.t`: the label, and the version of the last change.
    private func announced(_ rig: StarRocksRig) throws -> (label: String, version: String) {
        let text = try rig.query("SELECT loads FROM dbmazz_position ORDER BY revision DESC LIMIT 1").first?[0] ?? ""
        let load = text.split(separator: ",").first { $0.hasPrefix("public:t:") } ?? ""
        let parts = load.split(separator: ":", omittingEmptySubsequences: false)
        try #require(parts.count == 7, "\(text)")
        let version = try #require(UInt128(parts[4], radix: 16))
        return ("\(parts[2])_end", "\(version)")
    }

    /// Sends one row of `t` under a label, as a daemon would; returns the answer.
    private func send(_ rig: StarRocksRig, _ label: String, _ row: String) throws -> String {
        let file = rig.rig.directory + "/row"
        let shell = """
            printf '%s\\n' "$1" > "$2"; curl -s -m 30 --location-trusted -u root: -H Expect:100-continue -H "label:$3" \
            -H column_separator:, -H 'columns:id,v,dbmazz_op_type,dbmazz_is_deleted,dbmazz_synced_at,dbmazz_cdc_version' \
            -H merge_condition:dbmazz_cdc_version -T "$2" "$4/api/copy/t/_stream_load" > "$2.answer"
            """
        try runProgram("/bin/sh", ["-c", shell, "sh", row, file, label, rig.target.url])
        return readText(file + ".answer") ?? ""
    }

    @Test("a load of a dead daemon is known where it came in time, and finds its label claimed where it comes late")
    func late() throws {
        let rig = try StarRocksRig()
        try rig.rig.makeTable()
        for isInTime in [true, false] {
            let id = isInTime ? 10 : 20
            try rig.daemon.start(failpoint: "load-announced@\(isInTime ? 2 : 1)")
            try rig.rig.awaitLog("streaming")
            try rig.rig.insert(id...id)
            #expect(rig.daemon.waitForExit(timeout: .seconds(10)) == .signaled(SIGKILL), "\(rig.daemon.logTail())")
            let (label, version) = try announced(rig)
            let row = "\(id),v\(id),0,0,2024-01-01 00:00:00,\(version)"
            if isInTime { #expect(try send(rig, label, row).contains("Success")) }
            try rig.target.reset()
            try rig.rig.sql("UPDATE public.t SET v = 'newer' WHERE id = \(id)")
            try rig.rig.startStreaming()
            try rig.rig.catchUp()
            try rig.expectSame(["public.t"], "after the kill")
            let loads = try rig.target.log().filter { $0.kind == "load" && $0.table == "t" }
            #expect(loads.map(\.rows) == [1], "what was loaded is not loaded again: \(loads)")
            if !isInTime { #expect(try send(rig, label, row).contains("Label Already Exists")) }
            try rig.rig.sql("DELETE FROM public.t WHERE id = \(id)")
            try rig.rig.catchUp()
            if !isInTime { #expect(try send(rig, label, row).contains("Label Already Exists")) }
            try rig.expectSame(["public.t"], "after the late load")
            try rig.rig.stopDaemon()
        }
    }

    @Test("is not overtaken by loads that a killed daemon left behind at the front end or back end")
    func leftBehind() throws {
        let rig = try StarRocksRig()
        let changes = try StarRocksChanges(rig)
        try rig.rig.startStreaming()
        try changes.expectArrived("copy")
        let unknown = Trouble(name: "before its label is known", kind: "delay", seconds: 1.5)
        let running = Trouble(name: "running, then visible", kind: "hang", seconds: 1.5)
        let aborted = Trouble(name: "running, then aborted", kind: "hang", seconds: 1.5, texts: ["then": "aborted"])
        for (trouble, place) in [
            (unknown, Place.keyless), (unknown, .last), (unknown, .announcement), (running, .keyless),
            (running, .first),
            (running, .position), (aborted, .last),
        ] {
            try rig.target.reset()
            try rig.target.fault(trouble.fault(place))
            try changes.commit()
            let isUnderWay = eventually(within: .seconds(10)) { (try? rig.target.faultsFired()) == [1] }
            #expect(isUnderWay, "\(rig.daemon.logTail())")
            sleepThread(.milliseconds(100))
            rig.daemon.killAndWait()
            try changes.commit()
            try rig.rig.startStreaming()
            try changes.expectArrived("\(trouble.name), \(place.name)")
        }
        // The last of them has ended by then.
        sleepThread(.seconds(1.5))
        try rig.expectSame(StarRocksChanges.tables, "later")
        try rig.rig.stopDaemon()
    }

    @Test("a daemon that was frozen while another took over ends, and changes nothing")
    func second() throws {
        let rig = try StarRocksRig()
        let changes = try StarRocksChanges(rig)
        try rig.rig.startStreaming()
        try changes.expectArrived("copy")
        try rig.target.fault(
            StarRocksFault("delay-after-commit", matching: ["table": "^dbmazz_position$"], seconds: 1)
        )
        try changes.commit()
        #expect(eventually(within: .seconds(10)) { (try? rig.target.faultsFired()) == [1] })
        rig.daemon.kill(SIGSTOP)
        let directory = rig.rig.directory + "/second"
        mkdir(directory, 0o700)
        var environment: [String: String] = [:]
        for name in [
            "SOURCE_URL", "SOURCE_TABLES", "SINK_TYPE", "SINK_URL", "SINK_PORT", "SINK_DATABASE", "DBMAZZ_HTTP",
            "SINK_FLUSH_INTERVAL_MS", "LOG_LEVEL", "SINK_RETRY_MAX_MS",
        ] { environment[name] = rig.daemon.environmentValue(name) }
        environment["STATE_DIRECTORY"] = directory
        let second = Daemon(executable: Rig.executable, environment: environment, directory: directory)
        defer { second.killAndWait() }
        _ = try rig.rig.source(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename IS NOT NULL AND pid <> pg_backend_pid() AND application_name LIKE 'dbmazz%'"
        )
        try second.start()
        #expect(second.waitForLog(event: "streaming") != nil, "\(second.logTail())")
        try rig.rig.catchUp()
        rig.daemon.kill(SIGCONT)
        rig.rig.expectEnd(7, "stop the other daemon")
        try rig.expectSame(StarRocksChanges.tables, "after the other has ended")
        let late = try rig.target.log().filter { $0.kind == "load" && $0.reply == "Label Already Exists" }
        #expect(!late.isEmpty && late.allSatisfy { $0.table != "dbmazz_position" }, "\(late)")
        #expect(try second.terminate() == .exited(0), "\(second.logTail())")
    }
}
