import CdcCore
import Glibc
import TestSupport

@testable import Sinks

/// A SQLite file in a directory of its own, a sink that writes it, and a second connection that looks.
final class SQLiteFixture {
    let directory: String
    let path: String
    private(set) var sink: SQLiteSink
    private let configure: (inout SinkConfig) -> Void
    private(set) var tables: [TableSchema] = []

    static let identity = SourceIdentity(systemIdentifier: "7412345678901234567", timeline: 1, slot: "dbmazz_slot")
    static let pipeline = PipelineIdentity(name: "shop", source: identity)

    init(_ configure: @escaping (inout SinkConfig) -> Void = { _ in }) throws {
        directory = try makeTemporaryDirectory("sqlite-sink")
        path = directory + "/sink.db"
        self.configure = configure
        sink = try SQLiteFixture.makeSink(path, configure)
    }

    deinit { removeTree(directory) }

    static func makeSink(_ path: String, _ configure: (inout SinkConfig) -> Void = { _ in }) throws -> SQLiteSink {
        var config = SinkConfig(type: "sqlite", url: path, capabilities: SQLiteSink.capabilities)
        configure(&config)
        return try SQLiteSink(config)
    }

    /// Sets the tables up, as a start of the daemon does.
    @discardableResult
    func start(_ tables: TableSchema..., as pipeline: PipelineIdentity = SQLiteFixture.pipeline) async throws
        -> BatchBuilder
    {
        self.tables = tables
        try await sink.validateConnection()
        _ = try await sink.loadState(of: pipeline.name)
        try await sink.setup(tables, for: pipeline)
        return BatchBuilder(tables)
    }

    /// Ends the sink and makes another on the same file.
    func restart() async throws {
        await sink.close()
        sink = try SQLiteFixture.makeSink(path, configure)
    }

    @discardableResult
    func write(_ builder: BatchBuilder) async throws -> SinkResult {
        try await sink.writeBatch(builder.batch, deadline: .now + .seconds(5))
    }

    /// Writes what the closure puts into one transaction, as one unit.
    func write(lsn: UInt64 = 0x1000, _ fill: (BatchBuilder) -> Void) async throws {
        let builder = BatchBuilder(tables).begin(lsn: lsn)
        fill(builder)
        try await write(builder.commit())
    }

    /// The error of a write that must fail.
    func refusal(lsn: UInt64 = 0x2000, _ fill: (BatchBuilder) -> Void) async -> SinkError? {
        do {
            try await write(lsn: lsn, fill)
            return nil
        } catch {
            return error as? SinkError
        }
    }

    /// What another connection sees.
    func query(_ sql: String) throws -> [[SQLiteValue]] {
        try SQLiteFile(path).query(sql)
    }

    /// Rows as text, values joined by `|`, NULL as `NULL`, as the sqlite3 shell prints them.
    func rows(_ sql: String) throws -> [String] {
        try query(sql).map { row in row.map(SQLiteFixture.shown).joined(separator: "|") }
    }

    static func shown(_ value: SQLiteValue) -> String {
        switch value {
        case .null: "NULL"
        case .integer(let number): "\(number)"
        case .real(let number): "\(number)"
        case .text(let bytes): String(decoding: bytes, as: UTF8.self)
        case .blob(let bytes): "x'" + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() + "'"
        }
    }
}

/// Runs an operation that must throw a `SinkError`, and returns it.
func sinkError(_ body: () async throws -> Void) async -> SinkError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? SinkError
    }
}
