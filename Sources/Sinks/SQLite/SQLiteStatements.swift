internal import CdcCore

/// The SQL of one table.
///
/// Parameters have the same number in every statement: the new row's columns come first, then the
/// audit columns, then the old row's columns.
struct SQLiteStatements {
    let schema: TableSchema
    let hasAudit: Bool
    let deleteMode: DeleteMode

    private var table: String { schema.sinkName.quotedIdentifier }
    private var columnCount: Int { schema.columns.count }

    /// The parameter of a column of the new row.
    func newParameter(_ column: Int) -> Int32 { Int32(column + 1) }
    /// The parameter of an audit column.
    func auditParameter(_ column: AuditColumn) -> Int32 {
        let place = AuditColumn.allCases.firstIndex(of: column) ?? 0
        return Int32(columnCount + place + 1)
    }
    /// The parameter of a column of the old row.
    func oldParameter(_ column: Int) -> Int32 { Int32(columnCount + AuditColumn.allCases.count + column + 1) }

    /// Adds a row whose key is new.
    var insert: String {
        var names = schema.columns.map { $0.name.quotedIdentifier }
        var values = schema.columns.indices.map { "?\(newParameter($0))" }
        if hasAudit {
            names += AuditColumn.allCases.map { $0.rawValue.quotedIdentifier }
            values += AuditColumn.allCases.map { "?\(auditParameter($0))" }
        }
        return "INSERT INTO \(table)(\(names.joined(separator: ","))) VALUES(\(values.joined(separator: ",")))"
    }

    /// Adds a row, or replaces the one with its key.
    var upsert: String {
        let key = schema.key.map(quotedName).joined(separator: ",")
        var others = schema.columns.indices.filter { !schema.key.contains($0) }.map(quotedName)
        if hasAudit { others += AuditColumn.allCases.map { $0.rawValue.quotedIdentifier } }
        let action =
            others.isEmpty
            ? "NOTHING" : "UPDATE SET " + others.map { "\($0)=excluded.\($0)" }.joined(separator: ",")
        return "\(insert) ON CONFLICT(\(key)) DO \(action)"
    }

    /// Changes a row that is there, found by its key: the old key where the update moves it.
    func update(_ shape: UpdateShape) -> String {
        var columns = schema.columns.indices.filter {
            !shape.isUnchanged($0) && (shape.changesKey || !schema.key.contains($0))
        }
        // SET needs a column: the key to itself tells whether the row is there.
        if columns.isEmpty && !hasAudit { columns = schema.key }
        let assignments = columns.map { "\(quotedName($0))=?\(newParameter($0))" } + auditAssignments
        let parameter = shape.changesKey ? oldParameter : newParameter
        return "UPDATE \(table) SET \(assignments.joined(separator: ",")) WHERE \(keyMatches(parameter))"
    }

    /// Removes or marks the row with the key.
    var delete: String {
        switch deleteMode {
        case .hard:
            "DELETE FROM \(table) WHERE \(keyMatches(newParameter))"
        case .soft:
            "UPDATE \(table) SET \(auditAssignments.joined(separator: ",")) WHERE \(keyMatches(newParameter))"
        }
    }

    /// Removes the marked row that stands where another row is to move.
    var clearDeleted: String {
        "DELETE FROM \(table) WHERE \(keyMatches(newParameter)) AND \(isDeleted)=1"
    }

    /// Changes one copy of a row without key, found by all its old values.
    var updateByValues: String {
        let assignments =
            schema.columns.indices.map { "\(quotedName($0))=?\(newParameter($0))" } + auditAssignments
        return "UPDATE \(table) SET \(assignments.joined(separator: ",")) WHERE \(isOneCopy)"
    }

    /// Removes or marks one copy of a row without key.
    var deleteByValues: String {
        switch deleteMode {
        case .hard: "DELETE FROM \(table) WHERE \(isOneCopy)"
        case .soft: "UPDATE \(table) SET \(auditAssignments.joined(separator: ",")) WHERE \(isOneCopy)"
        }
    }

    /// Removes or marks every row.
    ///
    /// DELETE without WHERE empties the table at once, and rolls back.
    var truncate: String {
        switch deleteMode {
        case .hard: "DELETE FROM \(table)"
        case .soft: "UPDATE \(table) SET \(auditAssignments.joined(separator: ",")) WHERE \(isDeleted)=0"
        }
    }

    private var isDeleted: String { AuditColumn.isDeleted.rawValue.quotedIdentifier }

    private func quotedName(_ column: Int) -> String { schema.columns[column].name.quotedIdentifier }

    private var auditAssignments: [String] {
        guard hasAudit else { return [] }
        return AuditColumn.allCases.map { "\($0.rawValue.quotedIdentifier)=?\(auditParameter($0))" }
    }

    private func keyMatches(_ parameter: (Int) -> Int32) -> String {
        schema.key.map { "\(quotedName($0))=?\(parameter($0))" }.joined(separator: " AND ")
    }

    private var isOneCopy: String {
        let rowid = SQLiteStatements.rowid(of: schema) ?? "rowid"
        let deleted = deleteMode == .soft ? " AND \(isDeleted)=0" : ""
        return "\(rowid)=(SELECT \(rowid) FROM \(table) WHERE \(oldValuesMatch)\(deleted) LIMIT 1)"
    }

    /// In groups, because SQLite limits an expression to a depth of 1000 and PostgreSQL a table to 1600 columns.
    private var oldValuesMatch: String {
        let terms = schema.columns.indices.map { "\(quotedName($0)) IS ?\(oldParameter($0))" }
        guard terms.count > 100 else { return terms.joined(separator: " AND ") }
        return stride(from: 0, to: terms.count, by: 100)
            .map { "(" + terms[$0..<min($0 + 100, terms.count)].joined(separator: " AND ") + ")" }
            .joined(separator: " AND ")
    }

    /// A name of SQLite's row number that no column hides; nil if the table has columns of all three names.
    static func rowid(of schema: TableSchema) -> String? {
        let taken = Set(schema.columns.map { $0.name.sqliteFolded })
        return ["rowid", "_rowid_", "oid"].first { !taken.contains($0.sqliteFolded) }
    }
}
