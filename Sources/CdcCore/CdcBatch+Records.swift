extension CdcBatch {
    /// One operation as a ``CdcRecord``.
    ///
    /// Allocates: for tests, people, and the first version of a new sink.
    public func record(_ index: Int) -> CdcRecord {
        let change = change(index)
        let table = tables[Int(change.table)]
        let version = version(of: change)
        switch change.kind {
        case .insert:
            return .insert(table: table.ref, columns: columns(table, newOf: change), version: version)
        case .update:
            return .update(
                table: table.ref,
                oldColumns: oldColumns(table, of: change),
                newColumns: columns(table, newOf: change),
                version: version
            )
        case .delete:
            return .delete(table: table.ref, columns: oldColumns(table, of: change) ?? [], version: version)
        case .truncate:
            return .truncate(table: table.ref, version: version)
        }
    }

    /// All operations to be written, between the begin and commit of their transactions.
    public var records: [CdcRecord] {
        var records: [CdcRecord] = []
        var open: UInt32?
        func close() {
            guard let open else { return }
            let info = transaction(Int(open))
            guard let end = info.endLSN else { return }
            records.append(.commit(xid: info.xid, position: SourcePosition(commitLSN: info.commitLSN, endLSN: end)))
        }
        for index in selectedChanges {
            let owner = change(index).transaction
            if owner != open {
                close()
                records.append(.begin(xid: transaction(Int(owner)).xid))
                open = owner
            }
            records.append(record(index))
        }
        close()
        return records
    }

    private func columns(_ table: TableSchema, newOf change: Change) -> [ColumnValue] {
        table.columns.indices.map {
            ColumnValue(name: table.columns[$0].name, value: value(newCell(change, $0), type: table.columns[$0].type))
        }
    }

    private func oldColumns(_ table: TableSchema, of change: Change) -> [ColumnValue]? {
        let known: [Int]
        switch change.oldTuple {
        case .none: return nil
        case .key: known = table.key
        case .full: known = Array(table.columns.indices)
        }
        return known.map {
            ColumnValue(name: table.columns[$0].name, value: value(oldCell(change, $0), type: table.columns[$0].type))
        }
    }

    /// A cell as a value of its type.
    public func value(_ cell: Cell, type: DataType) -> Value {
        switch cell.kind {
        case .null: .null
        case .unchanged: .unchanged
        case .text: Value(text: bytes(of: cell), type: type)
        case .binary: Value(binary: bytes(of: cell), type: type)
        }
    }
}

extension Value {
    /// Reads PostgreSQL's text output.
    ///
    /// What does not read as its type stays text.
    init(text bytes: UnsafeRawBufferPointer, type: DataType) {
        let string = String(decoding: bytes, as: UTF8.self)
        switch type {
        case .boolean where string == "t" || string == "f":
            self = .boolean(string == "t")
        case .int16, .int32, .int64, .uint32:
            self = Int64(string).map(Value.integer) ?? .text(string)
        case .float32:
            self = Float(string).map { .float(Double($0)) } ?? .text(string)
        case .float64:
            self = Double(string).map(Value.float) ?? .text(string)
        case .bytes:
            self = Hex.decode(bytes).map(Value.bytes) ?? .text(string)
        default:
            // The repair of String(decoding:) would hide damage: bytes that are no UTF-8 stay bytes.
            self = String(validating: bytes, as: UTF8.self).map(Value.text) ?? .raw(Array(bytes))
        }
    }

    /// Reads PostgreSQL's binary output of the types with a fixed layout.
    init(binary bytes: UnsafeRawBufferPointer, type: DataType) {
        switch (type, bytes.count) {
        case (.boolean, 1): self = .boolean(bytes[0] != 0)
        case (.int16, 2): self = .integer(Int64(bytes.bigEndian(Int16.self)))
        case (.int32, 4): self = .integer(Int64(bytes.bigEndian(Int32.self)))
        case (.uint32, 4): self = .integer(Int64(bytes.bigEndian(UInt32.self)))
        case (.int64, 8): self = .integer(bytes.bigEndian(Int64.self))
        case (.float32, 4): self = .float(Double(Float(bitPattern: bytes.bigEndian(UInt32.self))))
        case (.float64, 8): self = .float(Double(bitPattern: bytes.bigEndian(UInt64.self)))
        case (.bytes, _): self = .bytes(Array(bytes))
        case (.text, _), (.string, _), (.json, _):
            self = String(validating: bytes, as: UTF8.self).map(Value.text) ?? .raw(Array(bytes))
        default: self = .raw(Array(bytes))
        }
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func bigEndian<Integer: FixedWidthInteger & BitwiseCopyable>(_ type: Integer.Type) -> Integer {
        Integer(bigEndian: loadUnaligned(as: type))
    }
}
