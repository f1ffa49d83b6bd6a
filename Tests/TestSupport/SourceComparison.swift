import Glibc

/// Compares source tables with the SQLite file directly, row by row.
///
/// - Parameters:
///   - source: A connection with the pinned session settings; nothing should write meanwhile.
///   - path: The SQLite file.
///   - tables: `schema.table`, or `table` for the schema public; unquoted.
///   - limit: How many differences to tell.
/// - Returns: The differences, empty when all is equal.
/// - Throws: `PgError`, `SQLiteError`, or `HarnessError` for a table that is not there.
public func compareWithSource(
    _ source: PgClient,
    sqlite path: String,
    tables: [String],
    limit: Int = 10
) throws -> [String] {
    let shapes = try tables.map { name in
        let parts = name.split(separator: ".", maxSplits: 1).map(String.init)
        return try TableShape(source, schema: parts.count == 2 ? parts[0] : "public", table: parts.last ?? name)
    }
    let model = try Model(shapes: shapes, from: source)
    let file = try SQLiteFile(path)
    return try file.snapshot { try model.differences(from: file, limit: limit) }
}

/// The position that the daemon stored in a SQLite file: the commit end LSN of the file's state.
///
/// - Returns: Nil when there is no file, table, row or LSN yet.
public func storedPosition(_ path: String, pipeline: String? = nil) throws -> UInt64? {
    guard access(path, F_OK) == 0 else { return nil }
    return try storedPosition(SQLiteFile(path), pipeline: pipeline)
}

/// The position in an open file, inside the caller's read transaction.
func storedPosition(_ file: SQLiteFile, pipeline: String?) throws -> UInt64? {
    guard try file.hasTable("dbmazz_position") else { return nil }
    let filter = pipeline == nil ? "" : " WHERE pipeline = ?"
    let rows = try file.query("SELECT lsn FROM dbmazz_position" + filter, pipeline.map { [.string($0)] } ?? [])
    guard rows.count <= 1 else { throw HarnessError("dbmazz_position has \(rows.count) rows: name the pipeline") }
    guard let text = rows.first?.first?.string else { return nil }
    guard let lsn = parseLSN(text) else { throw HarnessError("dbmazz_position.lsn is \(text), not an LSN") }
    return lsn
}
