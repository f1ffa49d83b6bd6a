import Glibc
import Operations
import Settings
import Synchronization
import TestSupport
import Testing

/// A source, a target of its own, and a daemon that writes from one into the other.
final class PostgresRig: Sendable {
    let rig: Rig
    let target: PostgresServer
    let database: String
    let isSoft: Bool

    var daemon: Daemon { rig.daemon }

    /// Starts the servers and prepares the daemon.
    ///
    /// - Parameters:
    ///   - environment: for the daemon.
    ///   - source: the source's version; nil for the default one.
    ///   - target: the target's version; nil for the default one.
    ///   - targetSettings: of the target's server.
    ///   - role: the target's role, made without any right but to the database.
    /// - Throws: what keeps a server from starting.
    init(
        _ environment: [String: String] = [:],
        source: Int? = nil,
        target: Int? = nil,
        targetSettings: [String: String] = [:],
        role: String? = nil
    ) throws {
        self.target = try PostgresServer.started(version: target, settings: targetSettings)
        database = "copy"
        let client = try self.target.connect()
        if let role { try client.execute("CREATE ROLE \(role) LOGIN") }
        try client.execute("CREATE DATABASE copy\(role.map { " OWNER \($0)" } ?? "")")
        isSoft = environment["SINK_DELETE_MODE"] == "soft"
        var all = ["SINK_TYPE": "postgres", "SINK_URL": self.target.url(database: "copy", user: role ?? "postgres")]
        all.merge(environment) { $1 }
        rig = try Rig(all, version: source)
    }

    deinit { target.remove() }

    /// What the workload compares.
    var workloadTarget: WorkloadTarget { .postgres(target.url(database: database), isSoft: isSoft) }

    /// A connection to the target's database.
    func connect() throws -> PgClient { try target.connect(database: database) }

    /// Runs SQL at the target.
    func run(_ statements: String...) throws {
        let client = try connect()
        for statement in statements { try client.execute(statement) }
    }

    /// Puts a proxy between daemon and target, from the next start on; the caller stops it.
    func proxied() throws -> TcpProxy {
        let proxy = try TcpProxy(target: target.port)
        daemon.setEnvironment("SINK_URL", target.url(database: database, port: proxy.port))
        return proxy
    }

    /// The rows of a query at the target, as text.
    func rows(_ query: String) throws -> [[String?]] { try connect().query(query) }

    /// The first value of a query at the target.
    func value(_ query: String) throws -> String? { try connect().value(query) }

    /// How often the daemon left its fast way, by its metrics; needs DBMAZZ_HTTP.
    func fallbacks(_ kind: String) throws -> Int {
        let port = daemon.environmentValue("DBMAZZ_HTTP")?.split(separator: ":").last.flatMap { UInt16($0) }
        let address = HTTPAddress(host: "127.0.0.1", port: try #require(port))
        let text = try HTTPGet.get("/metrics", from: address).body
        let line = text.split(separator: "\n").first { $0.hasPrefix("dbmazz_sink_fallbacks_total{kind=\"\(kind)\"}") }
        return try #require(line?.split(separator: " ").last.flatMap { Int($0) }, "\(text)")
    }

    /// The differences between the tables at source and target, byte by byte as COPY TO writes them.
    func differences(_ tables: [String]) throws -> [String] {
        let source = try rig.server.connect()
        let here = try connect()
        var differences: [String] = []
        for table in tables {
            let columns = try source.query(
                "SELECT quote_ident(attname) FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0 "
                    + "AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
                [table]
            ).compactMap { $0[0] }.joined(separator: ", ")
            let live = isSoft ? " WHERE NOT dbmazz_is_deleted" : ""
            // A table's rows as one array of bytes, in an order that both servers see alike.
            func content(_ client: PgClient, _ filter: String) throws -> [[[UInt8]?]] {
                let rows = try client.queryBytes("SELECT \(columns) FROM \(table)\(filter)")
                return rows.sorted { PostgresRig.precedes($0[...], $1[...]) }
            }
            let (expected, found) = (try content(source, ""), try content(here, live))
            guard expected != found else { continue }
            let first = zip(expected, found).first { $0 != $1 }
            func words(_ row: [[UInt8]?]?) -> String {
                row?.map { $0.map { String(decoding: $0.prefix(60), as: UTF8.self) } ?? "NULL" }.joined(separator: ",")
                    ?? "nothing"
            }
            differences.append(
                "\(table): \(expected.count) rows at the source, \(found.count) at the target; first: "
                    + "\(words(first?.0)) and \(words(first?.1))"
            )
        }
        return differences
    }

    /// Expects that the tables are the same at source and target.
    func expectSame(_ tables: [String], _ when: Comment, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let found = try differences(tables)
        #expect(found == [], when, sourceLocation: sourceLocation)
    }

    private static func precedes(_ left: ArraySlice<[UInt8]?>, _ right: ArraySlice<[UInt8]?>) -> Bool {
        for (one, other) in zip(left, right) where one != other {
            guard let one, let other else { return one == nil }
            return one.lexicographicallyPrecedes(other)
        }
        return false
    }

    /// The final comparison of a workload, and an orderly stop.
    func finish(_ workload: Workload, sourceLocation: SourceLocation = #_sourceLocation) throws {
        let final = try workload.checkFinal(workloadTarget)
        print("seed \(Effort.seed), final \(final), \(workload.statistics)")
        #expect(final.commitsTotal > 0, sourceLocation: sourceLocation)
        try rig.stopDaemon(sourceLocation: sourceLocation)
    }
}

extension PostgresRig {
    /// Waits until `public.t` at the target has exactly these ids.
    func awaitIDs(_ ids: String, within timeout: Duration = .seconds(20)) throws {
        var last: String?
        let reached = eventually(within: timeout) {
            last = (try? value("SELECT string_agg(id::text, ',' ORDER BY id) FROM public.t")) ?? nil
            return last == ids
        }
        guard reached else { throw HarnessError("the ids are \(last ?? "none"), not \(ids)\n\(daemon.logTail())") }
    }
}

/// A list that one thread fills and another reads.
final class SharedList<Element: Sendable>: Sendable {
    private let state = Mutex<(elements: [Element], isClosed: Bool)>(([], false))

    var isClosed: Bool { state.withLock { $0.isClosed } }
    var all: [Element] { state.withLock { $0.elements } }
    func append(_ element: Element) { state.withLock { $0.elements.append(element) } }
    func close() { state.withLock { $0.isClosed = true } }
}
