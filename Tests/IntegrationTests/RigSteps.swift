import Glibc
import TestSupport
import Testing

/// Steps that many tests take.
extension Rig {
    /// Prepares a workload on the rig's server: its tables, their publication and SOURCE_TABLES.
    ///
    /// Nothing runs yet.
    func workload(_ change: (inout WorkloadOptions) -> Void = { _ in }) throws -> Workload {
        var options = WorkloadOptions(seed: Effort.seed)
        options.thinkTime = .milliseconds(10)
        change(&options)
        let workload = Workload(server: server, options: options)
        try workload.createSchema()
        daemon.setEnvironment("SOURCE_TABLES", workload.tableNames.joined(separator: ","))
        return workload
    }

    /// Starts daemon and workload, and waits until the daemon streams.
    func start(_ workload: Workload) throws {
        try workload.start()
        try startStreaming()
    }

    /// Starts the daemon and waits until it streams.
    @discardableResult
    func startStreaming(within timeout: Duration = .seconds(30)) throws -> LogLine {
        try daemon.start()
        guard let line = daemon.waitForLog(event: "streaming", timeout: timeout) else {
            throw HarnessError("the daemon does not stream\n\(daemon.logTail())")
        }
        return line
    }

    /// Waits until the file's position has moved on, which needs a source that is written to.
    func awaitProgress(within timeout: Duration = .seconds(30)) throws {
        let before = try position()
        let moved = try eventually(within: timeout) { try position() != before }
        guard moved else { throw HarnessError("the position stays at \(before ?? "none")\n\(daemon.logTail())") }
    }

    /// Waits for a log line of the current run.
    @discardableResult
    func awaitLog(
        _ event: String,
        within timeout: Duration = .seconds(20),
        where matches: (LogLine) -> Bool = { _ in true }
    ) throws -> LogLine {
        guard let line = daemon.waitForLog(event: event, timeout: timeout, matching: matches) else {
            throw HarnessError("no event \"\(event)\" as expected in the log\n\(daemon.logTail())")
        }
        return line
    }

    /// Expects that the daemon ends by itself with this code and an error that has all these texts; returns the error.
    @discardableResult
    func expectEnd(
        _ code: Int32,
        _ texts: String...,
        within timeout: Duration = .seconds(30),
        sourceLocation: SourceLocation = #_sourceLocation
    ) -> String {
        let status = daemon.waitForExit(timeout: timeout)
        #expect(status == .exited(code), "\(daemon.logTail())", sourceLocation: sourceLocation)
        let error = daemon.logLines().last { $0.event == "ended" }?["error"] ?? ""
        for text in texts {
            #expect(error.contains(text), "\(text) is not in: \(error)", sourceLocation: sourceLocation)
        }
        return error
    }

    /// Starts the daemon and expects that it refuses.
    @discardableResult
    func expectRefusal(
        _ code: Int32,
        _ texts: String...,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> String {
        try daemon.start()
        let error = expectEnd(code, sourceLocation: sourceLocation)
        for text in texts {
            #expect(error.contains(text), "\(text) is not in: \(error)", sourceLocation: sourceLocation)
        }
        return error
    }

    /// Stops the daemon and expects that it ends in order.
    func stopDaemon(sourceLocation: SourceLocation = #_sourceLocation) throws {
        #expect(try daemon.terminate() == .exited(0), "\(daemon.logTail())", sourceLocation: sourceLocation)
        // The server lets the slot go a moment later.
        guard server.isRunning else { return }
        let isFree = try eventually(within: .seconds(10)) {
            try source("SELECT count(*) FROM pg_replication_slots WHERE active AND slot_name LIKE 'dbmazz%'") == "0"
        }
        #expect(isFree, sourceLocation: sourceLocation)
    }

    /// The final comparison of a workload, and an orderly stop.
    func finish(_ workload: Workload, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let final = try workload.checkFinal(sqlitePath: file)
        print("seed \(Effort.seed), final \(final), \(workload.statistics)")
        #expect(final.commitsTotal > 0, sourceLocation: sourceLocation)
        try stopDaemon(sourceLocation: sourceLocation)
    }

    /// The first column of the first row of a query at the source.
    func source(_ query: String) throws -> String? { try server.connect().value(query) }

    /// Makes `public.t (id, v)` with rows 1 to `rows`, a table for tests that need no more.
    func makeTable(rows: Int = 3) throws {
        try sql(
            "CREATE TABLE public.t (id int4 PRIMARY KEY, v text)",
            "INSERT INTO public.t SELECT i, 'v' || i FROM generate_series(1, \(rows)) i"
        )
    }

    /// Inserts rows into `public.t`.
    func insert(_ ids: ClosedRange<Int>) throws {
        try sql("INSERT INTO public.t SELECT i, 'v' || i FROM generate_series(\(ids.lowerBound), \(ids.upperBound)) i")
    }

    /// Waits until `public.t` at the sink has exactly these ids.
    func awaitIDs(_ ids: [Int], within timeout: Duration = .seconds(20)) throws {
        try waitForSink("SELECT id FROM t ORDER BY id", ids.map { ["INTEGER \($0)"] }, within: timeout)
    }

    /// The names of the slots that are there, temporary ones too.
    func slots() throws -> [String] {
        try server.connect().query("SELECT slot_name FROM pg_replication_slots ORDER BY 1").compactMap { $0[0] }
    }

    /// How far the slot is acknowledged.
    func confirmedFlush() throws -> UInt64 {
        try source("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'dbmazz_slot'")
            .flatMap(parseLSN) ?? 0
    }
}
