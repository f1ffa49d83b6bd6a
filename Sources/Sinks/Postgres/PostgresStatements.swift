internal import CdcCore

/// One value of a statement's rows: where it comes from.
enum PostgresField: Hashable {
    /// A column of the new row, or for a delete of the old one; its place among the layout's columns.
    case new(Int)
    /// A column of the old row.
    case old(Int)
    case audit(AuditColumn)
}

/// Where a statement takes its rows from.
enum PostgresSource: Hashable {
    /// One row, a parameter a field.
    case row
    /// Rows, an array a field.
    case arrays
    /// Rows, copied into a table of the session before.
    case staging
}

/// What a statement does with each row.
enum PostgresAction: Hashable {
    /// Adds it.
    case insert
    /// Adds it, or replaces the one with its key.
    case upsert
    /// Changes the row with its key; the columns that stay are named.
    case update(unchanged: [Int])
    /// Removes the row with its key.
    case delete
    /// Marks the row with its key as deleted.
    case mark
    /// Moves the row under the old key to the new one, and changes it.
    case changeKey(unchanged: [Int])
    /// Removes a row that is marked as deleted and stands where another is to move.
    case clearMarked
    /// Changes one copy of a row without key; the fields that are NULL among those an index may know.
    case updateCopy(nulls: [Int])
    /// Removes one copy of a row without key.
    case deleteCopy(nulls: [Int])
    /// Marks one copy of a row without key.
    case markCopy(nulls: [Int])
}

/// The SQL of one table.
///
/// Every statement reads its rows from a relation `s` with one column `c0`, `c1`, … a field, so that one text serves arrays and
/// a staging table alike; a single row is parameters alone, of which there may be more than a relation has columns (1664).
struct PostgresStatements {
    let layout: PostgresLayout
    let audit: [AuditColumn]
    /// Columns by which an index may find a row without key: short, and of types whose equality needs no schema.
    let indexable: [Int]

    init(layout: PostgresLayout, audit: [AuditColumn]) {
        self.layout = layout
        self.audit = audit
        let short = layout.columns.indices.filter { layout.schema.columns[layout.columns[$0].source].type.isShort }
        indexable = Array(short.prefix(4))
    }

    /// What fields are on the wire.
    func wires(_ fields: [PostgresField]) -> [PostgresWire] {
        fields.map { PostgresWire($0, layout, carrier($0)) }
    }

    /// The fields that the rows of an action have.
    func fields(_ action: PostgresAction) -> [PostgresField] {
        let audit = audit.map(PostgresField.audit)
        let all = layout.columns.indices.map(PostgresField.new)
        func except(_ unchanged: [Int]) -> [PostgresField] {
            layout.columns.indices.filter { !unchanged.contains($0) }.map(PostgresField.new)
        }
        return switch action {
        case .insert, .upsert: all + audit
        case .update(let unchanged): except(unchanged) + audit
        case .delete, .clearMarked: layout.key.map(PostgresField.new)
        case .mark: layout.key.map(PostgresField.new) + audit
        case .changeKey(let unchanged): except(unchanged) + layout.key.map(PostgresField.old) + audit
        case .updateCopy: all + layout.columns.indices.map(PostgresField.old) + audit
        case .deleteCopy: layout.columns.indices.map(PostgresField.old)
        case .markCopy: layout.columns.indices.map(PostgresField.old) + audit
        }
    }

    /// The carrier of a field.
    func carrier(_ field: PostgresField) -> PostgresCarrier {
        switch field {
        case .new(let place), .old(let place): layout.columns[place].carrier
        case .audit(.operation): PostgresCarrier(name: "int2", oid: 21, arrayOID: 1005, isBinary: true)
        case .audit(.isDeleted): PostgresCarrier(name: "bool", oid: 16, arrayOID: 1000, isBinary: true)
        case .audit(.syncedAt): PostgresCarrier(name: "timestamptz", oid: 1184, arrayOID: 1185, isBinary: true)
        case .audit(.version): .text(isBinary: true)
        }
    }

    /// The columns that an insert or a copy names.
    var columnList: String {
        (layout.columns.map(\.name) + audit.map { $0.rawValue.quotedIdentifier }).joined(separator: ",")
    }

    // MARK: Whole statements

    /// The statement for rows of the given source.
    func sql(_ action: PostgresAction, from source: PostgresSource, staging: String) -> String {
        let fields = fields(action)
        let rows = rows(fields, source, staging)
        return switch action {
        case .insert: insert(rows)
        case .upsert: "\(insert(rows)) ON CONFLICT (\(keyNames)) DO \(replacement)"
        case .update(let unchanged):
            "UPDATE \(layout.table) t SET \(assignments(rows, unchanged, movesKey: false))\(rows.joined("FROM")) "
                + "WHERE \(keyMatches(rows, PostgresField.new))"
        case .delete:
            "DELETE FROM \(layout.table) t\(rows.joined("USING")) WHERE \(keyMatches(rows, PostgresField.new))"
        case .mark:
            "UPDATE \(layout.table) t SET \(auditAssignments(rows).joined(separator: ","))\(rows.joined("FROM")) "
                + "WHERE \(keyMatches(rows, PostgresField.new))"
        case .changeKey(let unchanged): changeKey(rows, unchanged)
        case .clearMarked:
            "DELETE FROM \(layout.table) t\(rows.joined("USING")) WHERE \(keyMatches(rows, PostgresField.new)) "
                + "AND t.\(isDeleted)"
        case .updateCopy(let nulls):
            "UPDATE \(layout.table) t SET \(assignments(rows, [], movesKey: true))\(rows.joined("FROM")) "
                + "WHERE \(isOneCopy(rows, nulls))"
        case .deleteCopy(let nulls):
            "DELETE FROM \(layout.table) t\(rows.joined("USING")) WHERE \(isOneCopy(rows, nulls))"
        case .markCopy(let nulls):
            "UPDATE \(layout.table) t SET \(auditAssignments(rows).joined(separator: ","))\(rows.joined("FROM")) "
                + "WHERE \(isOneCopy(rows, nulls))"
        }
    }

    /// Copies rows straight into the table.
    func directCopy(_ form: PostgresLayout.DirectCopy) -> String {
        "COPY \(layout.table) (\(columnList)) FROM STDIN" + (form == .binary ? " (FORMAT binary)" : "")
    }

    /// Makes the staging table for any action of this table.
    func createStaging(_ name: String) -> String {
        let all = layout.columns.indices.map(PostgresField.new) + audit.map(PostgresField.audit)
        let columns = all.map { "\(PostgresStatements.stagingColumn($0)) \(carrier($0).name)" }
        return "CREATE TEMP TABLE IF NOT EXISTS \(name) (\(columns.joined(separator: ",")))"
    }

    /// Copies rows into the staging table.
    func copyStaging(_ action: PostgresAction, _ name: String) -> String {
        let names = fields(action).map(PostgresStatements.stagingColumn)
        return "COPY pg_temp.\(name) (\(names.joined(separator: ","))) FROM STDIN (FORMAT binary)"
    }

    /// Removes or marks every row; a marking one is given the fields of ``fields(_:)`` for `.mark` without the key.
    func truncate(_ mode: DeleteMode, _ truncate: TruncateMode) -> String {
        switch (mode, truncate) {
        case (.hard, .delete): "DELETE FROM \(layout.table)"
        case (.hard, .truncate): "TRUNCATE \(layout.table)"
        case (.soft, _):
            "UPDATE \(layout.table) t SET "
                + auditAssignments(rows(audit.map(PostgresField.audit), .row, "")).joined(separator: ",")
                + " WHERE NOT t.\(isDeleted)"
        }
    }

    // MARK: Parts

    /// The relation `s` of a statement, and how its columns are named there.
    private struct Rows {
        let layout: PostgresLayout
        let fields: [PostgresField]
        /// What each field is before it is cast to the column's type.
        let expressions: [String]
        /// Nil where the fields are parameters.
        let relation: String?

        /// The relation behind a keyword or comma; nothing where there is none.
        func joined(_ keyword: String) -> String { relation.map { " \(keyword) \($0)" } ?? "" }

        /// A field's value, cast to the target's type where assignment would not do it.
        func value(_ field: PostgresField) -> String {
            let expression = expressions[fields.firstIndex(of: field) ?? 0]
            return switch field {
            case .new(let column), .old(let column): layout.columns[column].cast(expression)
            case .audit: expression
            }
        }
    }

    private func rows(_ fields: [PostgresField], _ source: PostgresSource, _ staging: String) -> Rows {
        let columns = fields.indices.map { "s.c\($0)" }
        let names = fields.indices.map { "c\($0)" }.joined(separator: ",")
        switch source {
        case .row:
            let parameters = fields.enumerated().map { "$\($0 + 1)::\(carrier($1).name)" }
            return Rows(layout: layout, fields: fields, expressions: parameters, relation: nil)
        case .arrays:
            // Not qualified: only the plain name takes several arrays.
            let arrays = fields.enumerated().map { "$\($0 + 1)::\(carrier($1).name)[]" }.joined(separator: ",")
            let relation = "unnest(\(arrays)) AS s(\(names))"
            return Rows(layout: layout, fields: fields, expressions: columns, relation: relation)
        case .staging:
            let columnsThere = fields.enumerated().map { "\(PostgresStatements.stagingColumn($1)) AS c\($0)" }
            let relation = "(SELECT \(columnsThere.joined(separator: ",")) FROM pg_temp.\(staging)) s"
            return Rows(layout: layout, fields: fields, expressions: columns, relation: relation)
        }
    }

    private static func stagingColumn(_ field: PostgresField) -> String {
        switch field {
        case .new(let place): "n\(place)"
        case .old(let place): "o\(place)"
        case .audit(let column): column.rawValue
        }
    }

    private func insert(_ rows: Rows) -> String {
        let values = (layout.columns.indices.map(PostgresField.new) + audit.map(PostgresField.audit)).map(rows.value)
        // A value for GENERATED ALWAYS AS IDENTITY is the source's, too.
        return "INSERT INTO \(layout.table) AS t (\(columnList)) OVERRIDING SYSTEM VALUE "
            + "SELECT \(values.joined(separator: ","))\(rows.joined("FROM"))"
    }

    private var replacement: String {
        // The key as well: keys that are equal to an index, as 0 and -0 are, need not be the same.
        let columns = layout.columns.filter { !$0.isIdentityAlways }.map(\.name)
        let names = columns + audit.map { $0.rawValue.quotedIdentifier }
        guard !names.isEmpty else { return "NOTHING" }
        return "UPDATE SET " + names.map { "\($0)=excluded.\($0)" }.joined(separator: ",")
    }

    private func assignments(_ rows: Rows, _ unchanged: [Int], movesKey: Bool) -> String {
        let places = layout.columns.indices.filter { place in
            let column = layout.columns[place]
            return !unchanged.contains(place) && !column.isIdentityAlways && (movesKey || column.equality == nil)
        }
        var parts = places.map { "\(layout.columns[$0].name)=\(rows.value(.new($0)))" } + auditAssignments(rows)
        // SET needs a column: the key to itself tells whether the row is there.
        if parts.isEmpty, let first = layout.key.first {
            let name = layout.columns[first].name
            parts = ["\(name)=t.\(name)"]
        }
        return parts.joined(separator: ",")
    }

    private func auditAssignments(_ rows: Rows) -> [String] {
        audit.map { "\($0.rawValue.quotedIdentifier)=\(rows.value(.audit($0)))" }
    }

    private var keyNames: String { layout.key.map { layout.columns[$0].name }.joined(separator: ",") }
    private var isDeleted: String { AuditColumn.isDeleted.rawValue.quotedIdentifier }

    private func keyMatches(_ rows: Rows, _ field: (Int) -> PostgresField) -> String {
        layout.key.map { place in
            let column = layout.columns[place]
            return "t.\(column.name) \(column.equality ?? "=") \(rows.value(field(place)))"
        }.joined(separator: " AND ")
    }

    /// An identity column that is always generated cannot be set by UPDATE: such a row is removed and added under its new key.
    private func changeKey(_ rows: Rows, _ unchanged: [Int]) -> String {
        guard layout.key.contains(where: { layout.columns[$0].isIdentityAlways }) else {
            return "UPDATE \(layout.table) t SET \(assignments(rows, unchanged, movesKey: true))\(rows.joined("FROM")) "
                + "WHERE \(keyMatches(rows, PostgresField.old))"
        }
        let values = layout.columns.indices.map { place in
            unchanged.contains(place) ? "g.\(layout.columns[place].name)" : rows.value(.new(place))
        }
        return "WITH g AS (DELETE FROM \(layout.table) t\(rows.joined("USING")) "
            + "WHERE \(keyMatches(rows, PostgresField.old)) RETURNING t.*) "
            + "INSERT INTO \(layout.table) (\(columnList)) OVERRIDING SYSTEM VALUE SELECT "
            + (values + audit.map { rows.value(.audit($0)) }).joined(separator: ",") + " FROM g\(rows.joined(","))"
    }

    /// One row among those that equal the old one byte for byte (`*=` compares what is stored, for types without `=` as well).
    ///
    /// The plain comparisons before it say nothing new; an index may know their columns.
    private func isOneCopy(_ rows: Rows, _ nulls: [Int]) -> String {
        let old = layout.columns.indices.map(PostgresField.old)
        let known = indexable.map { place in
            let name = "x.\(layout.columns[place].name)"
            return nulls.contains(place)
                ? "\(name) IS NULL" : "\(name) = (\(rows.value(.old(place))))::\(layout.columns[place].type)"
        }
        let mine = layout.columns.map { "x.\($0.name)" }.joined(separator: ",")
        // The comparison refuses rows whose types differ.
        let theirs = zip(layout.columns, old).map { "(\(rows.value($1)))::\($0.type)" }.joined(separator: ",")
        let image = "ROW(\(mine))::record OPERATOR(pg_catalog.*=) ROW(\(theirs))::record"
        let live = audit.isEmpty ? [] : ["NOT x.\(isDeleted)"]
        let conditions = (known + live + [image]).joined(separator: " AND ")
        // A row's place counts from the beginning of its partition.
        return "(t.tableoid, t.ctid) = (SELECT x.tableoid, x.ctid FROM \(layout.table) x WHERE \(conditions) LIMIT 1)"
    }
}
