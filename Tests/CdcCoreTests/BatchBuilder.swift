import CdcCore

/// A cell as tests write it: `"text"`, `nil`, `.unchanged`, or bytes.
enum TestCell: Hashable, ExpressibleByStringLiteral, ExpressibleByNilLiteral {
    case null
    case unchanged
    case bytes([UInt8])
    case binary([UInt8])

    init(stringLiteral value: String) { self = .text(value) }
    init(nilLiteral: ()) { self = .null }

    static func text(_ text: String) -> TestCell { .bytes(Array(text.utf8)) }
}

/// Fills a batch the way the decoder does.
final class BatchBuilder {
    let batch: CdcBatch
    /// The form in which a cell's text is sent; nil for text.
    var encode: ((TestCell, ColumnDef) -> TestCell)?
    /// The place of the change added last in its transaction.
    private(set) var ordinal: UInt64 = 0
    private var lsn: UInt64 = 0x1000

    init(_ tables: TableSchema...) { batch = CdcBatch(tables: tables) }
    init(_ tables: [TableSchema]) { batch = CdcBatch(tables: tables) }

    /// Begins a transaction, or a further part of one that has had `ordinal` changes; its commit record begins at `lsn` and
    /// ends 0x30 bytes on.
    @discardableResult
    func begin(xid: UInt32 = 7, lsn: UInt64, time: Int64 = 0, after ordinal: UInt64 = 0) -> BatchBuilder {
        self.lsn = lsn
        self.ordinal = ordinal
        batch.begin(TransactionInfo(xid: xid, commitLSN: LSN(rawValue: lsn), commitTime: time))
        return self
    }

    /// Ends the transaction begun last.
    @discardableResult
    func commit() -> BatchBuilder {
        batch.commit(position)
        return self
    }

    /// The commit of the transaction begun last.
    var position: SourcePosition { SourcePosition(commitLSN: LSN(rawValue: lsn), endLSN: LSN(rawValue: lsn + 0x30)) }

    /// Empties the batch for another.
    @discardableResult
    func reset(beginsUnit: Bool = true, commitsUnit: Bool = true) -> BatchBuilder {
        batch.reset()
        batch.beginsUnit = beginsUnit
        batch.commitsUnit = commitsUnit
        return self
    }

    @discardableResult
    func insert(_ cells: TestCell..., table: UInt32 = 0) -> BatchBuilder { insert(cells, table: table) }

    @discardableResult
    func insert(_ cells: [TestCell], table: UInt32 = 0, ordinal: UInt64? = nil) -> BatchBuilder {
        batch.appendInsert(table: table, newCells: add(cells, table), ordinal: ordinal ?? nextOrdinal())
        return self
    }

    /// An update; `key` is the old key tuple, `old` the whole old row.
    @discardableResult
    func update(_ cells: TestCell..., key: [TestCell]? = nil, old: [TestCell]? = nil, table: UInt32 = 0) -> BatchBuilder
    {
        update(cells, key: key, old: old, table: table)
    }

    @discardableResult
    func update(_ cells: [TestCell], key: [TestCell]? = nil, old: [TestCell]? = nil, table: UInt32 = 0) -> BatchBuilder
    {
        let kind: OldTuple = old != nil ? .full : key != nil ? .key : .none
        let oldCells = (old ?? key).map { add($0, table) } ?? .max
        let isTaken = batch.appendUpdate(
            table: table,
            old: kind,
            oldCells: oldCells,
            newCells: add(cells, table),
            ordinal: nextOrdinal()
        )
        precondition(isTaken, "an update without its key")
        return self
    }

    /// A delete by the old key's tuple, or by the whole old row.
    @discardableResult
    func delete(key: [TestCell]? = nil, old: [TestCell]? = nil, table: UInt32 = 0) -> BatchBuilder {
        let cells = add(old ?? key ?? [], table)
        batch.appendDelete(table: table, old: old != nil ? .full : .key, oldCells: cells, ordinal: nextOrdinal())
        return self
    }

    @discardableResult
    func truncate(table: UInt32 = 0) -> BatchBuilder {
        batch.appendTruncate(table: table, ordinal: nextOrdinal())
        return self
    }

    private func nextOrdinal() -> UInt64 {
        ordinal += 1
        return ordinal
    }

    private func add(_ cells: [TestCell], _ table: UInt32) -> UInt32 {
        precondition(cells.count == batch.tables[Int(table)].columns.count, "a row has as many cells as columns")
        let first = batch.addCells(cells.count, filledWith: .null)
        for (column, cell) in cells.enumerated() {
            let index = Int(first) + column
            switch encode?(cell, batch.tables[Int(table)].columns[column]) ?? cell {
            case .null: batch.setCell(index, .null)
            case .unchanged: batch.setCell(index, .unchanged)
            case .bytes(let bytes):
                batch.setCell(index, offset: batch.copy(bytes.span.bytes), length: bytes.count, isBinary: false)
            case .binary(let bytes):
                batch.setCell(index, offset: batch.copy(bytes.span.bytes), length: bytes.count, isBinary: true)
            }
        }
        return first
    }
}

extension TableSchema {
    /// A table of the public schema.
    convenience init(
        _ name: String,
        _ columns: [ColumnDef],
        key: [Int] = [0],
        identity: ReplicaIdentity = .default,
        schema: String = "public",
        sinkName: String? = nil
    ) {
        self.init(
            ref: TableRef(schema: schema, name: name),
            sinkName: sinkName ?? name,
            columns: columns,
            key: key,
            identity: identity
        )
    }
}

extension ColumnDef {
    /// A column of the built-in PostgreSQL type that has this `DataType`; text for `other`, which may hold anything.
    init(_ name: String, _ type: DataType) {
        self.init(name: name, type: type, postgresType: PostgresType(plainest: type))
    }

    /// A column of a type that is `other` to sinks, and whose values come as text.
    init(_ name: String, oid: UInt32, _ typeName: String) {
        let type = PostgresType(oid: oid, name: typeName, hasBinaryOutput: false)
        self.init(name: name, type: .other, postgresType: type)
    }
}

extension PostgresType {
    /// The type of a `DataType`, of several the commonest: OIDs are those of `pg_type.dat`.
    init(plainest type: DataType) {
        switch type {
        case .boolean: self.init(oid: 16, name: "boolean")
        case .int16: self.init(oid: 21, name: "smallint")
        case .int32: self.init(oid: 23, name: "integer")
        case .int64: self.init(oid: 20, name: "bigint")
        case .uint32: self.init(oid: 26, name: "oid")
        case .uint64: self.init(oid: 5069, name: "xid8")
        case .float32: self.init(oid: 700, name: "real")
        case .float64: self.init(oid: 701, name: "double precision")
        case .decimal(let precision?, let scale):
            let modifier = Int32(precision << 16 | (scale ?? 0) & 0x7FF) + 4
            self.init(oid: 1700, modifier: modifier, name: "numeric(\(precision),\(scale ?? 0))")
        case .decimal: self.init(oid: 1700, name: "numeric")
        case .string: self.init(oid: 1043, name: "character varying")
        case .text, .other: self.init(oid: 25, name: "text")
        case .json: self.init(oid: 114, name: "json")
        case .jsonb: self.init(oid: 3802, name: "jsonb")
        case .uuid: self.init(oid: 2950, name: "uuid")
        case .date: self.init(oid: 1082, name: "date")
        case .time: self.init(oid: 1083, name: "time without time zone")
        case .timestamp: self.init(oid: 1114, name: "timestamp without time zone")
        case .timestampTz: self.init(oid: 1184, name: "timestamp with time zone")
        case .bytes: self.init(oid: 17, name: "bytea")
        }
    }
}
