internal import CdcCore

/// The rows of a table without a key that deletes of a batch may take: by content, where each was inserted.
struct ClickHouseBag {
    private var ids: [UInt128: [UInt128]] = [:]

    private static let hashesAQuery = 10_000

    /// Reads the live rows with these contents.
    init(
        _ hashes: [UInt128],
        of layout: ClickHouseLayout,
        from client: ClickHouseClient,
        deadline: ContinuousClock.Instant
    ) throws(SinkError) {
        var begin = 0
        let wanted = Array(Set(hashes))
        while begin < wanted.count {
            let end = min(begin + ClickHouseBag.hashesAQuery, wanted.count)
            try read(wanted[begin..<end], layout, client, deadline)
            begin = end
        }
    }

    private mutating func read(
        _ hashes: ArraySlice<UInt128>,
        _ layout: ClickHouseLayout,
        _ client: ClickHouseClient,
        _ deadline: ContinuousClock.Instant
    ) throws(SinkError) {
        let keys = hashes.map { hash in withUnsafeBytes(of: hash.littleEndian) { Array($0) } }
        let (rowHash, rowID) = (ClickHouseLayout.rowHash, ClickHouseLayout.rowID)
        let answer = try client.read(
            """
            SELECT \(rowHash), \(rowID) FROM \(layout.name) FINAL
            WHERE \(rowHash) IN (SELECT h FROM format(RowBinary, 'h UInt128', \
            unhex('\(ClickHouseStoredRows.hex(keys[...]))'))) AND \(AuditColumn.isDeleted.rawValue) = 0
            ORDER BY \(rowHash), \(rowID) DESC FORMAT RowBinary
            """,
            operation: "read rows back",
            table: layout.ref,
            deadline: deadline
        )
        answer.withUnsafeBytes { bytes in
            for place in stride(from: 0, through: bytes.count - 32, by: 32) {
                func number(_ offset: Int) -> UInt128 {
                    UInt128(littleEndian: bytes.loadUnaligned(fromByteOffset: place + offset, as: UInt128.self))
                }
                ids[number(0), default: []].append(number(16))
            }
        }
    }

    /// Adds a row that the batch inserts.
    mutating func add(_ hash: UInt128, _ id: UInt128) { ids[hash, default: []].append(id) }

    /// Takes one row away; nil if there is none.
    mutating func remove(_ hash: UInt128) -> UInt128? { ids[hash]?.popLast() }
}
