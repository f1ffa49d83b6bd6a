package import CdcCore
package import HTTPClient

/// The bodies that the sink would send for batches of one table, made by the sink's own writer without a server.
///
/// For `make bench`: nothing of the daemon uses it.
package final class StarRocksBodies {
    private let writer: StarRocksTableWriter
    private let state: StarRocksState
    private var fold = FoldIndex()

    /// Makes it for a table with a key, in the columns that the sink would make.
    package init(_ table: TableSchema, _ config: SinkConfig) throws(SinkError) {
        let config = try StarRocksConfig(config)
        let types = StarRocksTypes(policy: config.policy)
        let client = try StarRocksClient(config)
        let database = StarRocksDatabase(config)
        let columns = table.columns.indices.map { index in
            types.column(table.columns[index], isKey: table.key.contains(index))
        }
        state = StarRocksState(database: database, client: client, config: config, pipeline: "bench")
        writer = StarRocksTableWriter(
            StarRocksLayout(schema: table, columns: columns, database: config.database),
            client: client,
            database: database,
            config: config,
            version: StarRocksVersion(3, 3),
            body: BodyWriter(config.compression)
        )
    }

    /// Calls `take` with each body that a streamed batch comes to.
    ///
    /// - Throws: where rows are refused, or where the target's own rows would be needed.
    package func encode(_ batch: CdcBatch, take: (BodyWriter) -> Void) throws(SinkError) {
        let context = StarRocksTableWriter.Context(
            batch: batch,
            table: 0,
            mode: .stream,
            now: Timestamp.starRocks(),
            deadline: .now + .seconds(60),
            state: state,
            announce: nil,
            transaction: nil
        )
        guard case .rows? = writer.slice(from: 0, context) else { return }
        let slice = try writer.gather(context, &fold)
        for part in slice.parts {
            guard try writer.encode(part, slice, "bench_end", context, fold) != nil else { continue }
            take(writer.body)
        }
    }
}
