public import CdcCore

/// A change that the sink refused for good, kept until it is replayed: everything that the source said of it.
public struct DeadLetter: Hashable, Sendable {
    /// One value, byte for byte as it came.
    public enum Cell: Hashable, Sendable {
        /// SQL NULL.
        case null
        /// A TOAST value that the update did not touch.
        case unchanged
        /// The type's text output.
        case text([UInt8])
        /// The type's binary output.
        case binary([UInt8])
    }

    /// A column of the table as it was then.
    public struct Column: Hashable, Sendable {
        /// Its name.
        public var name: String
        /// Its type's name.
        public var type: String
        /// Its type's OID at the source.
        public var oid: UInt32
        /// Whether it belongs to the key.
        public var isKey: Bool
    }

    /// Its number, which grows from letter to letter of a pipeline.
    public var number: Int
    /// The pipeline.
    public var pipeline: String
    /// The source's table.
    public var table: TableRef
    /// Insert (of a copied row, too), update or delete.
    public var kind: ChangeKind
    /// The commit, and the place in its transaction; the consistent point and 0 for a copied row.
    public var version: RowVersion
    /// The transaction; 0 for a copied row.
    public var xid: UInt32
    /// When it committed: microseconds since 2000-01-01 UTC.
    public var commitTime: Int64
    /// When it was given up: milliseconds since 1970.
    public var at: Int
    /// Why, without any value.
    public var cause: String
    /// The table's columns.
    public var columns: [Column]
    /// Which old row there is.
    public var oldTuple: OldTuple
    /// The old row, one cell a column; NULL outside the key where only the key came.
    public var old: [Cell]?
    /// The new row, one cell a column.
    public var new: [Cell]?

    /// The cause of letters that follow another of their row.
    static let follows = "an earlier change of this row is a dead letter"

    /// The key by which people find the row: the old one where the change has two; empty for a table without.
    public var key: [(name: String, cell: Cell)] {
        guard let row = old ?? new else { return [] }
        return columns.indices.filter { columns[$0].isKey }.map { (columns[$0].name, row[$0]) }
    }

    /// A cell for people: as text where the binary form is that of a built-in type whose text is plain.
    public func readable(_ cell: Cell, of name: String) -> Cell {
        guard case .binary(let value) = cell, let column = columns.first(where: { $0.name.hasSameBytes(as: name) })
        else { return cell }
        return value.withUnsafeBytes { KeyImage.readable($0, column.oid) }.map { .text($0) } ?? cell
    }

    /// The keys of the row before and after the change, as bytes that can be compared; none for a table without.
    var keyImages: [KeyImage] {
        let key = columns.indices.filter { columns[$0].isKey }
        guard !key.isEmpty else { return [] }
        // An old row names the same key unless the key changed; twice does no harm.
        return [old, new].compactMap(\.self).map { row in
            var image = KeyImage()
            for column in key { image.append(row[column], oid: columns[column].oid) }
            return image
        }
    }
}

extension DeadLetter {
    /// A change of a batch.
    init(_ change: Change, of batch: CdcBatch, number: Int, pipeline: String, at: Int, cause: String) {
        let schema = batch.tables[Int(change.table)]
        let transaction = batch.transaction(Int(change.transaction))
        func cell(_ cell: CdcCore.Cell) -> Cell {
            switch cell.kind {
            case .null: .null
            case .unchanged: .unchanged
            case .text: .text(Array(batch.bytes(of: cell)))
            case .binary: .binary(Array(batch.bytes(of: cell)))
            }
        }
        let places = schema.columns.indices
        let hasNew = change.kind == .insert || change.kind == .update
        self.init(
            number: number,
            pipeline: pipeline,
            table: schema.ref,
            kind: change.kind,
            version: batch.version(of: change),
            xid: transaction.xid,
            commitTime: transaction.commitTime,
            at: at,
            cause: cause,
            columns: places.map {
                let column = schema.columns[$0]
                return Column(
                    name: column.name,
                    type: column.postgresType.name,
                    oid: column.postgresType.oid,
                    isKey: schema.key.contains($0)
                )
            },
            oldTuple: change.oldTuple,
            old: change.oldTuple == .none ? nil : places.map { cell(batch.oldCell(change, $0)) },
            new: hasNew ? places.map { cell(batch.newCell(change, $0)) } : nil
        )
    }
}

/// A row's key as bytes, the same whether its values came as text or as binary.
struct KeyImage: Hashable {
    private(set) var bytes: [UInt8] = []
    /// Bit 0: a value whose text was taken as it is; bit 1: one whose binary form was.
    private(set) var forms: UInt8 = 0

    mutating func append(_ cell: DeadLetter.Cell, oid: UInt32) {
        switch cell {
        case .null, .unchanged: bytes.append(0)
        case .text(let value): value.withUnsafeBytes { append($0, isBinary: false, oid) }
        case .binary(let value): value.withUnsafeBytes { append($0, isBinary: true, oid) }
        }
    }

    /// The keys of a change's row, before and after it; none in a table without.
    static func all(of change: Change, in batch: CdcBatch, _ table: TableSchema) -> [KeyImage] {
        guard table.hasKey, change.kind != .truncate else { return [] }
        func image(_ cell: (Int) -> Cell) -> KeyImage {
            var image = KeyImage()
            for column in table.key {
                image.append(cell(column), oid: table.columns[column].postgresType.oid, of: batch)
            }
            return image
        }
        var images: [KeyImage] = []
        if change.kind != .delete { images.append(image { batch.newCell(change, $0) }) }
        if change.kind == .delete || change.changesKey { images.append(image { batch.oldCell(change, $0) }) }
        return images
    }

    mutating func append(_ cell: Cell, oid: UInt32, of batch: CdcBatch) {
        if cell.hasBytes {
            append(batch.bytes(of: cell), isBinary: cell.kind == .binary, oid)
        } else {
            bytes.append(0)
        }
    }

    private mutating func append(_ value: UnsafeRawBufferPointer, isBinary: Bool, _ oid: UInt32) {
        if isBinary, let text = KeyImage.text(value, oid) {
            add(text.utf8)
        } else {
            if !KeyImage.hasOneForm(oid) { forms |= isBinary ? 2 : 1 }
            add(value)
        }
    }

    private mutating func add(_ value: some Collection<UInt8>) {
        bytes.append(1)
        withUnsafeBytes(of: UInt32(value.count)) { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: value)
    }

    /// The text that a binary value prints as, for types whose OIDs are the same everywhere (`pg_type.dat`); nil for others.
    private static func text(_ value: UnsafeRawBufferPointer, _ oid: UInt32) -> String? {
        switch (oid, value.count) {
        case (16, 1): value[0] == 0 ? "f" : "t"
        case (20, 8): String(Int64(bigEndian: value.loadUnaligned(as: Int64.self)))
        case (21, 2): String(Int16(bigEndian: value.loadUnaligned(as: Int16.self)))
        case (23, 4): String(Int32(bigEndian: value.loadUnaligned(as: Int32.self)))
        case (26, 4): String(UInt32(bigEndian: value.loadUnaligned(as: UInt32.self)))
        case (2950, 16): uuid(value)
        default: nil
        }
    }

    /// The text of a binary value, if it has a plain one.
    static func readable(_ value: UnsafeRawBufferPointer, _ oid: UInt32) -> [UInt8]? {
        [25, 1042, 1043].contains(oid) ? Array(value) : text(value, oid).map { Array($0.utf8) }
    }

    private static func uuid(_ value: UnsafeRawBufferPointer) -> String {
        let digits = hexadecimal(value)
        let ends = [0, 8, 12, 16, 20, 32]
        return (0..<5).map { String(digits.dropFirst(ends[$0]).prefix(ends[$0 + 1] - ends[$0])) }.joined(separator: "-")
    }

    /// Whether text and binary form are the same bytes, or were made so: bool, int8, int2, int4, text, oid, bpchar, varchar, uuid.
    private static func hasOneForm(_ oid: UInt32) -> Bool {
        [16, 20, 21, 23, 25, 26, 1042, 1043, 2950].contains(oid)
    }
}

/// Two lower-case digits a byte.
func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}
