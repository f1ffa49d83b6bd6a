internal import CdcCore
internal import PgOutput
internal import PostgresSource

/// A table of the pipeline: the source's description and the schema that batches and sink know.
struct CarriedTable: Sendable {
    let source: SourceTable
    let schema: TableSchema
    /// Transactions that committed before this are in the table's copy already.
    let copiedUpTo: LSN
}

/// What rows of one RELATION are to become.
struct TableBinding {
    /// Index into the batch's tables; nil if the rows are not carried.
    let table: UInt32?
    let map: ColumnMap
    let copiedUpTo: LSN

    static let ignored = TableBinding(table: nil, map: ColumnMap(places: [], tableColumns: 0), copiedUpTo: .zero)
}

/// How a RELATION stands to the table as the catalog had it when the session began.
enum RelationMatch {
    /// Rows can be taken.
    case bound(ColumnMap)
    /// The same after the catalog was read again: the WAL is older than the last ALTER TABLE. Rows can be taken; columns
    /// dropped since are left out.
    case older(ColumnMap, dropped: [String])
    /// Not the same table, or columns that nobody can place.
    case differs(String)

    /// Compares.
    ///
    /// - Parameters:
    ///   - relation: what the stream says.
    ///   - table: what the catalog says.
    ///   - isFresh: whether the catalog was read after this RELATION had been seen.
    init(_ relation: RelationMessage, _ table: CarriedTable, isFresh: Bool) {
        let columns = table.schema.columns
        guard relation.oid == table.source.oid else {
            self = .differs("the table was dropped and made anew; its old rows would stay at the sink")
            return
        }
        let places = relation.columns.map { column in columns.firstIndex { $0.name.hasSameBytes(as: column.name) } }
        let missing = columns.indices.filter { !places.contains($0) }
        let unknown = relation.columns.indices.filter { places[$0] == nil }
        let sameTypes = zip(relation.columns, places).allSatisfy { column, place in
            place.map { columns[$0].postgresType.oid == column.typeOID } ?? true
        }
        let sameKey = RelationMatch.keyMatches(relation, table.schema)
        if unknown.isEmpty, missing.isEmpty, sameTypes, sameKey {
            self = .bound(ColumnMap(places: places.compactMap(\.self), tableColumns: columns.count))
            return
        }
        guard isFresh else {
            self = .differs("its columns have changed")
            return
        }
        guard sameKey else {
            self = .differs("its key has changed")
            return
        }
        let names = unknown.map { relation.columns[$0].name }
        // A column that is missing here while another is unknown may have been renamed: its values must not vanish.
        guard unknown.isEmpty || missing.isEmpty else {
            self = .differs(
                "WAL that is still to be read has columns which the table has no more, perhaps because they were renamed: "
                    + names.joined(separator: ", ")
            )
            return
        }
        let map = ColumnMap(places: places.map { $0 ?? ColumnMap.leftOut }, tableColumns: columns.count)
        self = .older(map, dropped: names)
    }

    /// Under DEFAULT and INDEX the flagged columns are the key.
    ///
    /// Under FULL every column is flagged: the key's have to be there.
    private static func keyMatches(_ relation: RelationMessage, _ schema: TableSchema) -> Bool {
        func isIn(_ columns: [RelationColumn], _ key: Int) -> Bool {
            columns.contains { $0.name.hasSameBytes(as: schema.columns[key].name) }
        }
        let flagged = relation.columns.filter(\.isKey)
        guard
            schema.key.allSatisfy({ isIn(flagged, $0) || (relation.identity == .nothing && isIn(relation.columns, $0)) }
            )
        else { return false }
        return relation.identity == .full || relation.identity == .nothing || flagged.count == schema.key.count
    }
}
