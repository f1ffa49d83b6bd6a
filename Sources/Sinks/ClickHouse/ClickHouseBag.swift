internal import CdcCore

/// The rows of a table without a key that deletes of a batch may take: by content, each with where it was inserted.
struct ClickHouseBag {
    private struct Entry {
        let id: UInt128
        /// The delete that took it; nil while it is there.
        var takenBy: UInt128?
    }

    private var entries: [UInt128: [Entry]] = [:]

    /// Reads the rows with these contents, those already deleted included.
    init(
        _ hashes: [UInt128],
        of layout: ClickHouseLayout,
        from client: ClickHouseClient,
        deadline: ContinuousClock.Instant
    ) throws(SinkError) {
        var begin = 0
        let wanted = Array(Set(hashes))
        while begin < wanted.count {
            let end = min(begin + 10_000, wanted.count)
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
        let version = AuditColumn.version.rawValue
        let answer = try client.read(
            """
            SELECT \(rowHash), \(rowID), \(version), \(AuditColumn.isDeleted.rawValue) FROM \(layout.name)
            WHERE \(rowHash) IN (SELECT h FROM format(RowBinary, 'h UInt128', \
            unhex('\(ClickHouseStoredRows.hex(keys[...]))')))
            ORDER BY \(rowHash), \(rowID), \(version) DESC LIMIT 1 BY \(rowHash), \(rowID) FORMAT RowBinary
            """,
            operation: "read rows back",
            table: layout.ref,
            deadline: deadline
        )
        answer.withUnsafeBytes { bytes in
            for place in stride(from: 0, to: bytes.count - 48, by: 49) {
                func number(_ index: Int) -> UInt128 {
                    UInt128(littleEndian: bytes.loadUnaligned(fromByteOffset: place + 16 * index, as: UInt128.self))
                }
                let entry = Entry(id: number(1), takenBy: bytes[place + 48] != 0 ? number(2) : nil)
                entries[number(0), default: []].append(entry)
            }
        }
    }

    /// A row that the batch inserts; one that came before is known already.
    mutating func add(_ hash: UInt128, _ id: UInt128) {
        guard entries[hash]?.contains(where: { $0.id == id }) != true else { return }
        entries[hash, default: []].append(Entry(id: id))
    }

    /// Takes one row away; the same one for a delete that came before.
    ///
    /// - Returns: its id; nil if there is none.
    mutating func remove(_ hash: UInt128, _ version: UInt128) -> UInt128? {
        guard let known = entries[hash] else { return nil }
        if let again = known.first(where: { $0.takenBy == version }) { return again.id }
        let free = known.indices.filter { known[$0].takenBy == nil && known[$0].id < version }
        guard let place = free.min(by: { known[$0].id < known[$1].id }) else { return nil }
        entries[hash]?[place].takenBy = version
        return known[place].id
    }
}
