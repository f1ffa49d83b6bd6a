import Glibc
import TestSupport
import Testing

/// A source, a ClickHouse of its own, and a daemon that writes from one into the other.
final class ClickHouseRig: Sendable {
    let rig: Rig
    let target: ClickHouseServer
    let database: String

    var daemon: Daemon { rig.daemon }

    /// Starts the servers and prepares the daemon.
    ///
    /// - Parameters:
    ///   - environment: for the daemon.
    ///   - database: made before the daemon looks for it.
    ///   - grants: what the user may do at the target; nil for anything.
    /// - Throws: what keeps a server from starting.
    init(_ environment: [String: String] = [:], database: String = "copy", grants: [String]? = nil) throws {
        target = try ClickHouseServer.started(grants: grants)
        self.database = database
        try target.query("CREATE DATABASE IF NOT EXISTS \(ClickHouseClient.quote(database))")
        var all = [
            "SINK_TYPE": "clickhouse", "SINK_URL": target.url, "SINK_DATABASE": database,
            "SINK_FLUSH_INTERVAL_MS": "50",
        ]
        all.merge(environment) { $1 }
        rig = try Rig(all)
    }

    deinit { target.remove() }

    /// A client whom no fault, user or log concerns.
    var client: ClickHouseClient { target.client(database: database) }

    /// What the workload compares.
    var workloadTarget: WorkloadTarget { .clickhouse(client) }

    /// Sees to it that no version goes back.
    func watch(_ tables: [String]) throws -> ClickHouseVersionWatch {
        try ClickHouseVersionWatch(client, source: rig.server.connect(), names: tables)
    }

    /// The first value of a query at the target.
    func value(_ query: String) throws -> String? { try client.value(query) }

    /// Expects that the tables are the same at source and target.
    func expectSame(_ tables: [String], _ when: Comment, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let found = try compareWithSource(rig.server.connect(), clickhouse: client, tables: tables)
        #expect(found == [], when, sourceLocation: sourceLocation)
    }

    /// Waits until `public.t` at the target shows exactly these ids.
    func awaitIDs(_ ids: [Int], within timeout: Duration = .seconds(20)) throws {
        let expected = ids.map(String.init).joined(separator: ",")
        var last: String?
        let reached = eventually(within: timeout, every: .milliseconds(30)) {
            last = try? value("SELECT arrayStringConcat(arraySort(groupArray(id)), ',') FROM t FINAL")
            return last == expected
        }
        guard reached else { throw HarnessError("the ids are \(last ?? "none"), not \(expected)\n\(daemon.logTail())") }
    }

    /// Expects that no row of a table was written twice, which only shows where nothing merges and without FINAL.
    func expectNothingTwice(_ table: String, key: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let rows = try client.query("SELECT count(), uniqExact(\(key), dbmazz_cdc_version) FROM \(table)")
        #expect(rows[0][0] == rows[0][1], "\(table) has \(rows)", sourceLocation: sourceLocation)
    }

    /// Expects of every insert what keeps it from being lost or doubled.
    func expectGuardedInserts(sourceLocation: SourceLocation = #_sourceLocation) throws {
        let inserts = try target.log().filter(\.isInsert)
        #expect(!inserts.isEmpty, sourceLocation: sourceLocation)
        // Rows that the server makes of its own rows (a soft truncate) are no body that could come twice.
        for insert in inserts where !insert.query.contains(" SELECT ") {
            // Left out, the server answers before it has the rows (the default since 26.2).
            let isSynchronous = insert.settings["async_insert"] == "0"
            let hasToken = insert.settings["insert_deduplication_token"]?.isEmpty == false
            #expect(isSynchronous && hasToken, "\(insert)", sourceLocation: sourceLocation)
        }
    }

    /// The final comparison of a workload, and an orderly stop.
    func finish(_ workload: Workload, sourceLocation: SourceLocation = #_sourceLocation) throws {
        try workload.stop()
        try awaitPosition(workload.lastCommit(), within: .seconds(120))
        let final = try workload.checkFinal(workloadTarget)
        print("seed \(Effort.seed), final \(final), \(workload.statistics)")
        #expect(final.commitsTotal > 0, sourceLocation: sourceLocation)
        try rig.stopDaemon(sourceLocation: sourceLocation)
    }
}

extension ClickHouseVersionWatch {
    /// Expects that no row has gone back.
    func expectNothing(sourceLocation: SourceLocation = #_sourceLocation) throws {
        let found = try look()
        #expect(found == [], sourceLocation: sourceLocation)
    }
}
