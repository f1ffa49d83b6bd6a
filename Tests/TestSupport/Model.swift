/// What one statement of the workload did to one row or table.
enum Effect: Sendable {
    /// A keyed row is there now with these values.
    case put(table: Int, key: Bytes, row: Bytes)
    /// A keyed row is gone.
    case drop(table: Int, key: Bytes)
    /// One more copy of a row without a key.
    case add(table: Int, row: Bytes)
    /// One copy less of a row without a key.
    case remove(table: Int, row: Bytes)
    /// TRUNCATE.
    case clear(table: Int)

    var isClear: Bool {
        guard case .clear = self else { return false }
        return true
    }
}

/// The exact content of the tables after a number of commits.
struct Model: Sendable {
    /// A table's content: rows by key, or copies by row.
    struct Content: Sendable {
        var rows: [Bytes: Bytes] = [:]
        var copies: [Bytes: Int] = [:]

        var count: Int { rows.count + copies.values.reduce(0, +) }
    }

    let shapes: [TableShape]
    var contents: [Content]

    init(shapes: [TableShape]) {
        self.shapes = shapes
        contents = shapes.map { _ in Content() }
    }

    /// Reads the tables' present content from a server, in the client's transaction.
    ///
    /// - Throws: `PgError`.
    init(shapes: [TableShape], from client: PgClient, filter: String = "") throws {
        self.init(shapes: shapes)
        for (table, shape) in shapes.enumerated() {
            let result = try client.run(shape.sourceSelect + filter, [])
            defer { result.close() }
            for index in 0..<result.rowCount {
                if shape.hasKey {
                    contents[table].rows[shape.key(result, index)] = shape.row(result, index)
                } else {
                    contents[table].copies[shape.row(result, index), default: 0] += 1
                }
            }
        }
    }

    var rowCount: Int { contents.reduce(0) { $0 + $1.count } }

    /// Applies a transaction, and tells an effect that finds no row: the harness, not the daemon, is then wrong.
    mutating func apply(_ effects: [Effect]) -> String? {
        var problem: String?
        for effect in effects {
            switch effect {
            case .put(let table, let key, let row):
                contents[table].rows[key] = row
            case .drop(let table, let key):
                if contents[table].rows.removeValue(forKey: key) == nil {
                    problem = "\(shapes[table].qualifiedName): a deleted key was not there: \(RowEncoder.describe(key))"
                }
            case .add(let table, let row):
                contents[table].copies[row, default: 0] += 1
            case .remove(let table, let row):
                let left = contents[table].copies[row, default: 0] - 1
                contents[table].copies[row] = left == 0 ? nil : left
                if left < 0 { problem = "\(shapes[table].qualifiedName): a deleted row was not there" }
            case .clear(let table):
                contents[table] = Content()
            }
        }
        return problem
    }

    /// What differs between this model and another (the source), at most `limit` of it.
    func differences(from other: Model, limit: Int = 10) -> [String] {
        var report = Report(limit: limit)
        for (table, shape) in shapes.enumerated() {
            let (expected, found) = (contents[table], other.contents[table])
            for (key, row) in found.rows {
                report.compare(shape, key: key, expected: expected.rows[key], found: row)
            }
            for key in expected.rows.keys where found.rows[key] == nil { report.missing(shape, key: key) }
            report.compareCopies(shape, expected: expected.copies, found: found.copies)
        }
        return report.lines
    }

    /// What differs between this model and a SQLite file, inside the caller's read transaction.
    func differences(from file: SQLiteFile, limit: Int = 10) throws -> [String] {
        var report = Report(limit: limit)
        for (table, shape) in shapes.enumerated() {
            let expected = contents[table]
            guard try file.hasTable(shape.sqliteName) else {
                report.add("table \(shape.sqliteName): missing in SQLite, expected with \(expected.count) rows")
                continue
            }
            var copies: [Bytes: Int] = [:]
            var seen: Set<Bytes> = []
            do {
                try file.forEachRow(shape.sqliteSelect) { row in
                    let (key, found) = shape.found(row)
                    guard shape.hasKey else {
                        copies[found, default: 0] += 1
                        return
                    }
                    if !seen.insert(key).inserted {
                        report.add("table \(shape.sqliteName): key \(RowEncoder.describe(key)) is there twice")
                    }
                    report.compare(shape, key: key, expected: expected.rows[key], found: found)
                }
            } catch {
                guard !error.isBusy else { throw error }
                // A column that is missing, or a file that is no database any more.
                report.add("table \(shape.sqliteName): \(error)")
                continue
            }
            for key in expected.rows.keys where !seen.contains(key) { report.missing(shape, key: key) }
            report.compareCopies(shape, expected: expected.copies, found: copies)
        }
        return report.lines
    }
}

/// Collects differences up to a limit.
private struct Report {
    let limit: Int
    var lines: [String] = []
    var more = 0

    init(limit: Int) { self.limit = limit }

    mutating func add(_ line: @autoclosure () -> String) {
        if lines.count < limit {
            lines.append(line())
        } else {
            more += 1
            if more == 1 { lines.append("and more") }
        }
    }

    mutating func compare(_ shape: TableShape, key: Bytes, expected: Bytes?, found: Bytes) {
        guard let expected else {
            add("table \(shape.sqliteName): key \(RowEncoder.describe(key)) should not be there")
            return
        }
        guard expected != found else { return }
        add(
            "table \(shape.sqliteName): key \(RowEncoder.describe(key)): "
                + shape.differences(expected: expected, found: found)
        )
    }

    mutating func missing(_ shape: TableShape, key: Bytes) {
        add("table \(shape.sqliteName): key \(RowEncoder.describe(key)) is missing")
    }

    mutating func compareCopies(_ shape: TableShape, expected: [Bytes: Int], found: [Bytes: Int]) {
        for (row, count) in found where expected[row] != count {
            add(
                "table \(shape.sqliteName): expected \(expected[row] ?? 0) copies, found \(count) of row "
                    + "\(RowEncoder.describe(row))"
            )
        }
        for (row, count) in expected where found[row] == nil {
            add("table \(shape.sqliteName): expected \(count) copies, found 0 of row \(RowEncoder.describe(row))")
        }
    }
}
