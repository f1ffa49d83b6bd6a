/// Where the daemon under test writes.
public enum WorkloadTarget: Sendable {
    /// A SQLite file.
    case sqlite(String)
    /// A PostgreSQL database by its URI, with the source's names; with soft deletes only live rows count.
    case postgres(String, isSoft: Bool = false)
    /// A ClickHouse database, with the sink's names. It has no snapshots: only an idle or finished one can be checked.
    case clickhouse(ClickHouseClient)
    /// A StarRocks database, with the sink's names; it has no snapshots either.
    case starrocks(StarRocksDatabase)

    /// The commit end LSN that the target names; nil before the first copy is complete.
    func position(_ pipeline: String?) throws -> UInt64? {
        switch self {
        case .sqlite(let path): try storedPosition(path, pipeline: pipeline)
        case .postgres, .clickhouse, .starrocks:
            // A target that is down for the moment names nothing.
            try? snapshot { try $0.position(pipeline) }
        }
    }

    /// Lends a view in which nothing changes.
    func snapshot<Result>(_ body: (View) throws -> Result) throws -> Result {
        switch self {
        case .sqlite(let path):
            let file = try SQLiteFile(path)
            return try file.snapshot { try body(.sqlite(file)) }
        case .postgres(let url, let isSoft):
            let client = try PgClient(url)
            try client.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return try body(.postgres(client, isSoft: isSoft))
        case .clickhouse(let client): return try body(.clickhouse(client))
        case .starrocks(let database): return try body(.starrocks(database))
        }
    }

    /// One state of a target.
    enum View {
        case sqlite(SQLiteFile)
        case postgres(PgClient, isSoft: Bool)
        case clickhouse(ClickHouseClient)
        case starrocks(StarRocksDatabase)

        func position(_ pipeline: String?) throws -> UInt64? {
            switch self {
            case .sqlite(let file): return try storedPosition(file, pipeline: pipeline)
            case .postgres(let client, _):
                guard try client.value("SELECT to_regclass('dbmazz.position')") != nil else { return nil }
                let rows = try client.query(
                    "SELECT lsn FROM dbmazz.position WHERE $1::text IS NULL OR pipeline = $1",
                    [pipeline]
                )
                guard rows.count <= 1 else { throw HarnessError("dbmazz.position has \(rows.count) rows") }
                return rows.first?.first.flatMap { $0 }.flatMap(parseLSN)
            case .clickhouse(let client): return try client.position(pipeline)
            case .starrocks(let target): return try target.server.position(pipeline, database: target.name)
            }
        }

        func differences(from model: Model) throws -> [String] {
            switch self {
            case .sqlite(let file): return try model.differences(from: file)
            case .postgres(let client, let isSoft):
                let filter = isSoft ? " WHERE NOT dbmazz_is_deleted" : ""
                return model.differences(from: try Model(shapes: model.shapes, from: client, filter: filter))
            case .clickhouse(let client): return try model.differences(from: client)
            case .starrocks(let target): return try model.differences(from: target)
            }
        }
    }
}
