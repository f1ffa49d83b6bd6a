import CdcCore

/// The tables that the tests' messages are about.
///
/// Shared with the fuzzer's driver (`Tests/Fuzz`), which has no test framework.
enum Samples {
    /// What a table usually looks like, with the key id.
    static let orders: UInt32 = 0
    /// With the key (tenant, code), in the key's own order, which is not the columns'.
    static let prices: UInt32 = 1
    /// With the key id and REPLICA IDENTITY FULL.
    static let documents: UInt32 = 2
    /// Without a key, under REPLICA IDENTITY FULL.
    static let events: UInt32 = 3

    /// By ``orders`` and so on.
    static let tables = [
        table("orders", [("id", .int32), ("name", .text), ("note", .text)], key: [0], .default),
        table("prices", [("code", .text), ("amount", .float64), ("tenant", .int64)], key: [2, 0], .index),
        table("documents", [("id", .int32), ("title", .text), ("body", .bytes), ("done", .boolean)], key: [0], .full),
        table("events", [("at", .timestampTz), ("what", .text)], key: [], .full),
    ]

    /// The OIDs by which messages name the tables: the index and a little.
    static func oid(_ table: UInt32) -> UInt32 { 16384 + table }

    private static func table(
        _ name: String,
        _ columns: [(String, DataType)],
        key: [Int],
        _ identity: ReplicaIdentity
    ) -> TableSchema {
        let definitions = columns.map { name, type in
            ColumnDef(name: name, type: type, postgresType: PostgresType(oid: 25, name: "text"))
        }
        return TableSchema(
            ref: TableRef(schema: "public", name: name),
            sinkName: name,
            columns: definitions,
            key: key,
            identity: identity
        )
    }

    /// One of every message and form of tuple, without frames.
    static let payloads: [[UInt8]] = control + rows

    /// Messages that are no rows.
    static let control: [[UInt8]] = [
        Wire.begin(commitLSN: 0x1_0000_0200, time: 712_345_678, xid: 4711),
        Wire.commit(commitLSN: 0x1_0000_0200, endLSN: 0x1_0000_0230),
        Wire.origin(commitLSN: 0x1_0000_0200, name: "upstream"),
        Wire.relation(
            oid(orders),
            schema: "public",
            name: "orders",
            columns: [.init(name: "id", isKey: true, type: 23), .init(name: "name"), .init(name: "note")]
        ),
        Wire.relation(
            oid(prices),
            schema: "public",
            name: "prices",
            identity: UInt8(ascii: "i"),
            columns: [
                .init(name: "tenant", isKey: true, type: 20), .init(name: "gone"), .init(name: "code", isKey: true),
            ]
        ),
        Wire.type(90000, schema: "public", name: "mood"),
        Wire.truncate([oid(orders), oid(events)], flags: 1),
        Wire.message(isTransactional: true, lsn: 0x1_0000_0100, prefix: "dbmazz-sink/heartbeat", content: [1, 2, 3]),
    ]

    /// Messages that carry tuples.
    static let rows: [[UInt8]] = [
        Wire.insert(oid(orders), [.text("1"), .text("käse"), .null]),
        Wire.insert(oid(documents), [.binary([0, 0, 0, 9]), .text("t"), .binary([]), .text("f")]),
        Wire.insert(oid(events), [.text("2024-02-29 12:00:00+00"), .text("")]),
        Wire.update(oid(orders), new: [.text("1"), .text("new"), .unchanged]),
        Wire.update(oid(orders), key: [.text("1"), .null, .null], new: [.text("2"), .text("x"), .unchanged]),
        Wire.update(
            oid(prices),
            key: [.text("EUR"), .null, .text("5")],
            new: [.unchanged, .text("1.25"), .text("5")]
        ),
        Wire.update(
            oid(documents),
            full: [.text("9"), .text("t"), .text("\\x00ff"), .text("f")],
            new: [.text("9"), .text("u"), .unchanged, .text("t")]
        ),
        Wire.update(oid(events), full: [.text("now"), .null], new: [.text("now"), .text("a")]),
        Wire.delete(oid(orders), key: [.text("2"), .null, .null]),
        Wire.delete(oid(documents), full: [.text("9"), .text("u"), .null, .text("t")]),
    ]

    /// What comes out of the replication connection: every payload in its frame, and keepalives.
    static let frames: [[UInt8]] =
        payloads.enumerated().map { number, payload in
            let start = 0x1_0000_0000 + UInt64(number) * 16
            return Wire.data(start: start, walEnd: start + 16, payload: payload)
        } + [
            Wire.keepalive(walEnd: 0x1_0000_0300, replyRequested: true),
            Wire.keepalive(walEnd: 0x1_0000_0300, replyRequested: false),
        ]

    /// Lines of a copy of ``orders``.
    static let copyLines: [[UInt8]] = [
        Wire.copyLine([Array("1".utf8), Array("name".utf8), nil]),
        Wire.copyLine([Array("2".utf8), Array("\\N a\tb\nc\rd\u{8}\u{B}\u{C}\\".utf8), Array("käse".utf8)]),
        Wire.copyLine([nil, nil, nil]),
        Wire.copyLine([[], [], []]),
    ]

    /// Messages of a copy of ``orders`` in binary format.
    static let binaryCopy: [[UInt8]] = [
        Wire.copyHeader() + Wire.copyRow([[0, 0, 0, 1], Array("name".utf8), nil]),
        Wire.copyRow([[0, 0, 0, 2], Array("PGCOPY".utf8), [0, 0xFF, 0x0A]]),
        Wire.copyRow([nil, nil, nil]),
        Wire.copyRow([[], [], []]),
        Wire.copyTrailer,
        Wire.copyHeader(flags: 0xFFFF, extension: [1, 2, 3]),
        Wire.copyHeader() + Wire.copyTrailer,
    ]
}
