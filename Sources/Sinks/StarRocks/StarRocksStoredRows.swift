internal import CdcCore
internal import MySQLClient

/// A key of a table: its cells in the form in which the server shows them, and the condition that selects it.
struct StarRocksKey: Hashable {
    /// The cells one behind the other, each after its length.
    let bytes: [UInt8]

    /// Makes a key of cells in the form of ``shown(_:as:)``.
    init(_ cells: [[UInt8]]) {
        var bytes: [UInt8] = []
        for cell in cells {
            withUnsafeBytes(of: UInt32(truncatingIfNeeded: cell.count)) { bytes += $0 }
            bytes += cell
        }
        self.bytes = bytes
    }

    /// The cells again.
    var cells: [ArraySlice<UInt8>] {
        var cells: [ArraySlice<UInt8>] = []
        var place = 0
        while place + 4 <= bytes.count {
            let length = bytes[place..<place + 4].reversed().reduce(0) { $0 << 8 | Int($1) }
            cells.append(bytes[place + 4..<place + 4 + length])
            place += 4 + length
        }
        return cells
    }

    /// A value of PostgreSQL's, or of the server's, in one form for both: BOOLEAN as 1 and 0, DATETIME without zeros at the
    /// end of its fraction and without a zone.
    static func shown(_ text: UnsafeRawBufferPointer, as kind: StarRocksEncoding.Kind) -> [UInt8] {
        switch kind {
        case .boolean:
            return [text.first == UInt8(ascii: "t") || text.first == UInt8(ascii: "1") ? 0x31 : 0x30]
        case .timestamp:
            var bytes = Array(text)
            if bytes.count > 3, bytes[bytes.count - 3] == UInt8(ascii: "+") { bytes.removeLast(3) }
            if bytes.contains(UInt8(ascii: ".")) {
                while bytes.last == UInt8(ascii: "0") { bytes.removeLast() }
                if bytes.last == UInt8(ascii: ".") { bytes.removeLast() }
            }
            return bytes
        default: return Array(text)
        }
    }
}

/// Rows that the target has, read back by key: which there are, with what version, and some of their columns.
struct StarRocksStoredRows {
    struct Row {
        var version: UInt128
        /// Of the columns that were asked for, as they go back into a body; nil is NULL.
        var values: [Int: [UInt8]?]
    }

    private var rows: [StarRocksKey: Row] = [:]
    private static let keysAQuery = 500

    init() {}

    /// Reads the rows of these keys; `columns` are indexes of the source's columns to read besides.
    init(
        _ keys: [StarRocksKey],
        columns: [Int],
        of layout: StarRocksLayout,
        from database: StarRocksDatabase
    ) throws(SinkError) {
        var begin = 0
        while begin < keys.count {
            let end = min(begin + Self.keysAQuery, keys.count)
            try read(keys[begin..<end], columns, layout, database)
            begin = end
        }
    }

    /// The row of a key; nil if the target has none.
    func row(_ key: StarRocksKey) -> Row? { rows[key] }

    private mutating func read(
        _ keys: ArraySlice<StarRocksKey>,
        _ columns: [Int],
        _ layout: StarRocksLayout,
        _ database: StarRocksDatabase
    ) throws(SinkError) {
        let kinds = layout.schema.key.map { layout.columns[$0].encoding.kind }
        let names =
            layout.keyNames.map(\.starRocksIdentifier) + [AuditColumn.version.rawValue]
            + columns.map { index in
                let column = layout.columns[index]
                let quoted = column.name.starRocksIdentifier
                return column.encoding.kind == .bytes ? "hex(\(quoted))" : quoted
            }
        let statement =
            "SELECT \(names.joined(separator: ", ")) FROM \(layout.name) WHERE \(Self.condition(keys, layout, kinds))"
        var found: [(StarRocksKey, Row)] = []
        try database.read(statement, operation: "read rows back", table: layout.ref) {
            found.removeAll()
        } row: { row in
            let key = StarRocksKey(
                kinds.indices.map { index in
                    row.withBytes(index) { $0.map { StarRocksKey.shown($0, as: kinds[index]) } ?? [] }
                }
            )
            let version = row.withBytes(kinds.count) { bytes in
                bytes.flatMap { UInt128(String(decoding: $0, as: UTF8.self)) } ?? 0
            }
            var values: [Int: [UInt8]?] = [:]
            for (offset, column) in columns.enumerated() {
                let value = row.withBytes(kinds.count + 1 + offset) { $0.map { Array($0) } }
                values[column] = .some(value)
            }
            found.append((key, Row(version: version, values: values)))
        }
        for (key, row) in found { rows[key] = row }
    }

    private static func condition(
        _ keys: ArraySlice<StarRocksKey>,
        _ layout: StarRocksLayout,
        _ kinds: [StarRocksEncoding.Kind]
    ) -> String {
        let names = layout.keyNames.map(\.starRocksIdentifier)
        func literal(_ cell: ArraySlice<UInt8>, _ kind: StarRocksEncoding.Kind) -> String {
            let text = String(decoding: cell, as: UTF8.self)
            return kind == .integer || kind == .boolean ? text : text.starRocksLiteral
        }
        if names.count == 1 {
            let values = keys.map { key in key.cells.first.map { literal($0, kinds[0]) } ?? "NULL" }
            return "\(names[0]) IN (\(values.joined(separator: ", ")))"
        }
        return keys.map { key in
            let parts = zip(names, zip(key.cells, kinds)).map { "\($0) = \(literal($1.0, $1.1))" }
            return "(\(parts.joined(separator: " AND ")))"
        }.joined(separator: " OR ")
    }
}

/// The rows of a table without a key that deletes of a batch may take: by content, where each was inserted.
struct StarRocksBag {
    private var ids: [UInt128: [UInt128]] = [:]

    private static let hashesAQuery = 1000

    /// Reads the live rows with these contents.
    init(_ hashes: [UInt128], of layout: StarRocksLayout, from database: StarRocksDatabase) throws(SinkError) {
        let wanted = Array(Set(hashes))
        var begin = 0
        while begin < wanted.count {
            let end = min(begin + Self.hashesAQuery, wanted.count)
            let list = wanted[begin..<end].map { String($0) }.joined(separator: ", ")
            let (rowHash, rowID) = (StarRocksLayout.rowHash, StarRocksLayout.rowID)
            let rows = try database.rows(
                "SELECT \(rowHash), \(rowID) FROM \(layout.name) WHERE \(rowHash) IN (\(list)) "
                    + "AND \(AuditColumn.isDeleted.rawValue) = false ORDER BY \(rowID) DESC",
                operation: "read rows back",
                table: layout.ref
            )
            for row in rows {
                guard row.count == 2, let hash = row[0].flatMap({ UInt128($0) }),
                    let id = row[1].flatMap({ UInt128($0) })
                else { continue }
                ids[hash, default: []].append(id)
            }
            begin = end
        }
    }

    /// Adds a row that the batch inserts.
    mutating func add(_ hash: UInt128, _ id: UInt128) { ids[hash, default: []].append(id) }

    /// The greatest place of a row with this content in a range.
    func greatest(_ hash: UInt128, in range: Range<UInt128>) -> UInt128? {
        ids[hash]?.filter { range.contains($0) }.max()
    }

    /// Takes one row away; nil if there is none.
    mutating func remove(_ hash: UInt128) -> UInt128? { ids[hash]?.popLast() }
}
