internal import CdcCore

/// A table as the sink writes it: columns in the order of every insert, and the statements about it.
struct ClickHouseLayout: Sendable {
    let schema: TableSchema
    /// Of the source's columns, in their order.
    let columns: [ClickHouseColumn]
    let database: String

    /// A table without a key tells its rows apart by these: where a row was inserted, and what it holds.
    static let rowID = "dbmazz_row_id"
    static let rowHash = "dbmazz_row_hash"

    var ref: TableRef { schema.ref }
    /// With the database, quoted.
    var name: String { "\(database.clickhouseIdentifier).\(schema.sinkName.clickhouseIdentifier)" }
    /// The view of live rows.
    var viewName: String { schema.sinkName + "_current" }
    var quotedView: String { "\(database.clickhouseIdentifier).\(viewName.clickhouseIdentifier)" }

    /// What the table is ordered by, quoted.
    var sortingKey: [String] {
        guard schema.hasKey else { return [ClickHouseLayout.rowHash, ClickHouseLayout.rowID] }
        return schema.key.map { columns[$0].name }
    }

    /// The columns that the sink adds, with their types.
    static func added(to schema: TableSchema) -> [(name: String, type: String)] {
        let ids = schema.hasKey ? [] : [(rowID, "UInt128"), (rowHash, "UInt128")]
        return ids + [
            (AuditColumn.operation.rawValue, "UInt8"), (AuditColumn.isDeleted.rawValue, "UInt8"),
            (AuditColumn.syncedAt.rawValue, "DateTime64(3, 'UTC')"), (AuditColumn.version.rawValue, "UInt128"),
        ]
    }

    /// Up to the format: everything but the time, which the server sets.
    var insertStatement: String { insertStatement(into: name) }

    /// The same into a table of the same columns, its name quoted.
    func insertStatement(into name: String) -> String {
        let added = ClickHouseLayout.added(to: schema).map(\.name).filter { $0 != AuditColumn.syncedAt.rawValue }
        let names = (columns.map(\.name) + added).map(\.clickhouseIdentifier).joined(separator: ", ")
        return "INSERT INTO \(name) (\(names))"
    }

    // MARK: Making it

    /// The table, its engine chosen by how deletes are kept and whether there is a cluster.
    func createStatement(deleteMode: DeleteMode, cluster: String?) -> String {
        let lines =
            columns.map { "    \($0.name.clickhouseIdentifier) \($0.type)" }
            + ClickHouseLayout.added(to: schema).map { column in
                let isClock = column.name == AuditColumn.syncedAt.rawValue
                return "    \(column.name.clickhouseIdentifier) \(column.type)\(isClock ? " DEFAULT now64(3)" : "")"
            }
        let version = AuditColumn.version.rawValue
        let arguments = deleteMode == .hard ? "\(version), \(AuditColumn.isDeleted.rawValue)" : version
        let key = sortingKey.map(\.clickhouseIdentifier).joined(separator: ", ")
        return """
            CREATE TABLE IF NOT EXISTS \(name)\(ClickHouseLayout.onCluster(cluster))
            (
            \(lines.joined(separator: ",\n"))
            )
            ENGINE = \(cluster == nil ? "" : "Replicated")ReplacingMergeTree(\(arguments))
            ORDER BY (\(key))
            SETTINGS \(ClickHouseLayout.tableSettings(cluster))
            """
    }

    static func onCluster(_ cluster: String?) -> String {
        cluster.map { " ON CLUSTER \($0.clickhouseIdentifier)" } ?? ""
    }

    /// A 200 is durable through a power cut only with these, or on a quorum of replicas.
    static func tableSettings(_ cluster: String?) -> String {
        cluster == nil
            ? "non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1"
            : "replicated_deduplication_window = 10000"
    }

    /// The live rows with the source's columns.
    func createView(cluster: String?) -> String {
        let names = columns.map(\.name.clickhouseIdentifier).joined(separator: ", ")
        return "CREATE VIEW IF NOT EXISTS \(quotedView)\(ClickHouseLayout.onCluster(cluster)) AS SELECT \(names) "
            + "FROM \(name) FINAL WHERE \(AuditColumn.isDeleted.rawValue) = 0"
    }
}
