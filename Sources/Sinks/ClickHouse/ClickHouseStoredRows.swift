internal import CdcCore

/// Rows that the target has, read back for changes that do not carry all of a row: the last version of each key, deleted or not.
///
/// Values stay as RowBinary has them, so that they go back byte for byte.
struct ClickHouseStoredRows {
    private var bytes: [UInt8] = []
    private var rows: [Row] = []
    private var places: [[UInt8]: Int] = [:]
    private let layout: ClickHouseLayout

    struct Row {
        let isDeleted: Bool
        /// Of each of the source's columns; of the key's, too.
        let values: [Range<Int>]
    }

    /// How much memory the rows take.
    var byteCount: Int { bytes.count }

    /// How many keys one query asks for.
    private static let keysAQuery = 1000

    /// Reads the rows of these keys.
    ///
    /// - Parameters:
    ///   - keys: the key's columns as RowBinary, one behind the other.
    ///   - layout: the table.
    ///   - client: the server.
    ///   - deadline: when to give up.
    /// - Throws: what the server says, or that it did not.
    init(
        _ keys: [[UInt8]],
        of layout: ClickHouseLayout,
        from client: ClickHouseClient,
        deadline: ContinuousClock.Instant
    ) throws(SinkError) {
        self.layout = layout
        var begin = 0
        while begin < keys.count {
            let end = min(begin + ClickHouseStoredRows.keysAQuery, keys.count)
            try read(keys[begin..<end], client, deadline)
            begin = end
        }
    }

    /// The row of a key; nil if the target has never had one.
    func row(_ key: [UInt8]) -> Row? { places[key].map { rows[$0] } }

    /// A value as it came.
    func append(_ range: Range<Int>, to buffer: inout RowBuffer) {
        bytes.withUnsafeBytes { buffer.append(UnsafeRawBufferPointer(rebasing: $0[range])) }
    }

    private mutating func read(
        _ keys: ArraySlice<[UInt8]>,
        _ client: ClickHouseClient,
        _ deadline: ContinuousClock.Instant
    ) throws(SinkError) {
        let key = layout.schema.key.map { layout.columns[$0] }
        let names = key.map(\.name.clickhouseIdentifier).joined(separator: ", ")
        let structure = key.indices.map { "k\($0) \(key[$0].type)" }.joined(separator: ", ")
        let parts = key.indices.map { "k\($0)" }.joined(separator: ", ")
        let version = AuditColumn.version.rawValue
        let columns = layout.columns.map(\.name.clickhouseIdentifier).joined(separator: ", ")
        // The table of keys goes along as bytes: nothing is written as text and read again.
        let query = """
            SELECT \(AuditColumn.isDeleted.rawValue), \(columns) FROM \(layout.name)
            WHERE (\(names)) IN (SELECT \(parts) FROM format(RowBinary, \(structure.clickhouseLiteral), \
            unhex('\(ClickHouseStoredRows.hex(keys))')))
            ORDER BY \(names), \(version) DESC LIMIT 1 BY \(names) FORMAT RowBinary
            """
        let answer = try client.read(query, operation: "read rows back", table: layout.ref, deadline: deadline)
        var offset = bytes.count
        bytes += answer
        while offset < bytes.count {
            guard let (row, next) = parse(at: offset) else {
                throw SinkError(
                    .retriable,
                    operation: "read rows back",
                    table: layout.ref,
                    cause: "the answer ends in the middle of a row",
                    remedy: "trying again"
                )
            }
            var key: [UInt8] = []
            for column in layout.schema.key { key += bytes[row.values[column]] }
            places[key] = rows.count
            rows.append(row)
            offset = next
        }
    }

    private func parse(at begin: Int) -> (Row, Int)? {
        guard begin < bytes.count else { return nil }
        var offset = begin + 1
        var values: [Range<Int>] = []
        values.reserveCapacity(layout.columns.count)
        for column in layout.columns {
            guard let end = end(of: column.encoding, at: offset) else { return nil }
            values.append(offset..<end)
            offset = end
        }
        return (Row(isDeleted: bytes[begin] != 0, values: values), offset)
    }

    /// Where a value that begins at `offset` ends; nil beyond the answer.
    private func end(of encoding: ClickHouseEncoding, at offset: Int) -> Int? {
        var offset = offset
        guard offset < bytes.count else { return nil }
        if encoding.isNullable {
            guard bytes[offset] == 0 else { return offset + 1 }
            offset += 1
        }
        guard encoding.size == 0 else {
            return offset + encoding.size <= bytes.count ? offset + encoding.size : nil
        }
        guard let length = length(&offset) else { return nil }
        guard encoding.kind == .array else { return length <= bytes.count - offset ? offset + length : nil }
        for _ in 0..<length {
            guard let end = end(of: encoding.elementEncoding, at: offset) else { return nil }
            offset = end
        }
        return offset
    }

    private func length(_ offset: inout Int) -> Int? {
        var value = 0
        var shift = 0
        while offset < bytes.count, shift < 56 {
            let byte = bytes[offset]
            offset += 1
            value |= Int(byte & 0x7F) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }

    static func hex(_ keys: ArraySlice<[UInt8]>) -> String {
        let digits = Array("0123456789abcdef".utf8)
        let count = keys.reduce(0) { $0 + $1.count * 2 }
        return String(unsafeUninitializedCapacity: count) { text in
            var place = 0
            for key in keys {
                for byte in key {
                    text[place] = digits[Int(byte >> 4)]
                    text[place + 1] = digits[Int(byte & 15)]
                    place += 2
                }
            }
            return place
        }
    }
}
