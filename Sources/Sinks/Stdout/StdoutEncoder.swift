internal import CdcCore

/// Writes the changes of one table in Debezium's envelope.
///
/// What is the same for every row is made once.
final class StdoutEncoder {
    let schema: TableSchema
    /// `"name":` of each column.
    private let members: [[UInt8]]
    /// `"name"` of each column.
    private let names: [[UInt8]]
    private let sourcePrefix: [UInt8]
    private let forms: [Form]
    private let allColumns: [Int]
    /// Whether NULL takes the place of what is not UTF-8.
    private let writesNull: Bool
    private var substituted: [Int]

    /// How values of a column look in JSON.
    private enum Form {
        /// Digits as they are; what is no number (`NaN`, `Infinity`) as a string.
        case number
        case boolean
        case base64
        case string
    }

    /// Why a row has no JSON form.
    enum Problem: Error {
        case notUTF8(column: Int)
        case unreadable(column: Int)
    }

    init(_ schema: TableSchema, _ policy: UnrepresentablePolicy = .error) {
        self.schema = schema
        writesNull = policy == .null
        substituted = Array(repeating: 0, count: schema.columns.count)
        names = schema.columns.map { StdoutEncoder.quoted($0.name) }
        members = names.map { $0 + [UInt8(ascii: ":")] }
        allColumns = Array(schema.columns.indices)
        forms = schema.columns.map { column in
            switch column.type {
            case .int16, .int32, .int64, .uint32, .float32, .float64: .number
            case .boolean: .boolean
            case .bytes: .base64
            // Also numeric and xid8: JSON readers make doubles of numbers.
            default: .string
            }
        }
        sourcePrefix =
            Array("{\"connector\":\"dbmazz-sink\",\"schema\":".utf8) + StdoutEncoder.quoted(schema.ref.schema)
            + Array(",\"table\":".utf8) + StdoutEncoder.quoted(schema.ref.name) + Array(",\"lsn\":".utf8)
    }

    private static func quoted(_ name: String) -> [UInt8] {
        let buffer = JSONBuffer()
        Array(name.utf8).withUnsafeBytes { buffer.append(string: $0) }
        return Array(buffer.bytes)
    }

    /// What was changed since this was asked last.
    func takeSubstitutions() -> [ValueSubstitution] {
        guard writesNull else { return [] }
        defer { for column in allColumns { substituted[column] = 0 } }
        return allColumns.filter { substituted[$0] > 0 }.map {
            ValueSubstitution(table: schema.ref, column: schema.columns[$0].name, count: substituted[$0])
        }
    }

    /// Appends one line.
    func encode(_ change: Change, of batch: CdcBatch, now: Int64, to output: JSONBuffer) throws(Problem) {
        output.append(operation(change))
        output.append(",\"before\":")
        try encodeOld(change, of: batch, to: output)
        output.append(",\"after\":")
        var hasUnchanged = false
        if change.kind == .insert || change.kind == .update {
            hasUnchanged = try encodeNew(change, of: batch, to: output)
        } else {
            output.append("null")
        }
        output.append(",\"source\":")
        encodeSource(change, of: batch, now: now, hasUnchanged: hasUnchanged, to: output)
        output.append(",\"ts_ms\":")
        output.append(decimal: now)
        output.append("}\n")
    }

    private func operation(_ change: Change) -> StaticString {
        switch change.kind {
        // A row of the initial copy is the only one without a place in a transaction.
        case .insert: change.ordinal == 0 ? "{\"op\":\"r\"" : "{\"op\":\"c\""
        case .update: "{\"op\":\"u\""
        case .delete: "{\"op\":\"d\""
        case .truncate: "{\"op\":\"t\""
        }
    }

    private func encodeOld(_ change: Change, of batch: CdcBatch, to output: JSONBuffer) throws(Problem) {
        guard change.oldTuple != .none else {
            output.append("null")
            return
        }
        output.append(UInt8(ascii: "{"))
        var isFirst = true
        for column in change.oldTuple == .key ? schema.key : allColumns {
            if !isFirst { output.append(UInt8(ascii: ",")) }
            isFirst = false
            try encode(batch.oldCell(change, column), column, of: batch, to: output)
        }
        output.append(UInt8(ascii: "}"))
    }

    /// Appends the new row; returns whether columns were left out.
    private func encodeNew(_ change: Change, of batch: CdcBatch, to output: JSONBuffer) throws(Problem) -> Bool {
        output.append(UInt8(ascii: "{"))
        var isFirst = true
        var hasUnchanged = false
        for column in allColumns {
            let cell = batch.newCell(change, column)
            if cell.isUnchanged {
                hasUnchanged = true
                continue
            }
            if !isFirst { output.append(UInt8(ascii: ",")) }
            isFirst = false
            try encode(cell, column, of: batch, to: output)
        }
        output.append(UInt8(ascii: "}"))
        return hasUnchanged
    }

    private func encodeSource(
        _ change: Change,
        of batch: CdcBatch,
        now: Int64,
        hasUnchanged: Bool,
        to output: JSONBuffer
    ) {
        let transaction = batch.transaction(Int(change.transaction))
        output.append(sourcePrefix)
        // While a large transaction arrives in parts, its end is not known yet.
        output.append(transaction.endLSN ?? transaction.commitLSN)
        output.append(",\"commit_lsn\":")
        output.append(transaction.commitLSN)
        output.append(",\"ordinal\":")
        output.append(decimal: change.ordinal)
        output.append(",\"tx_id\":")
        output.append(decimal: UInt64(transaction.xid))
        output.append(",\"ts_ms\":")
        output.append(decimal: change.ordinal == 0 ? now : StdoutEncoder.unixMilliseconds(transaction.commitTime))
        if hasUnchanged { encodeUnchanged(change, of: batch, to: output) }
        output.append(UInt8(ascii: "}"))
    }

    private func encodeUnchanged(_ change: Change, of batch: CdcBatch, to output: JSONBuffer) {
        output.append(",\"unchanged\":")
        var separator = UInt8(ascii: "[")
        for column in allColumns where batch.newCell(change, column).isUnchanged {
            output.append(separator)
            output.append(names[column])
            separator = UInt8(ascii: ",")
        }
        output.append(UInt8(ascii: "]"))
    }

    /// PostgreSQL counts microseconds from 2000-01-01 UTC.
    private static func unixMilliseconds(_ postgresMicroseconds: Int64) -> Int64 {
        postgresMicroseconds / 1000 + 946_684_800_000
    }

    // MARK: Values

    @inline(__always)
    private func encode(_ cell: Cell, _ column: Int, of batch: CdcBatch, to output: JSONBuffer) throws(Problem) {
        output.append(members[column])
        switch cell.kind {
        case .null, .unchanged: output.append("null")
        case .text: try encode(batch.bytes(of: cell), column, to: output)
        case .binary: throw .unreadable(column: column)
        }
    }

    private func encode(_ bytes: UnsafeRawBufferPointer, _ column: Int, to output: JSONBuffer) throws(Problem) {
        switch forms[column] {
        case .number where StdoutEncoder.isNumber(bytes):
            output.append(bytes)
        case .boolean where bytes.count == 1 && (bytes[0] == UInt8(ascii: "t") || bytes[0] == UInt8(ascii: "f")):
            output.append(bytes[0] == UInt8(ascii: "t") ? "true" : "false")
        case .base64:
            guard output.append(base64OfHexadecimal: bytes) else { throw .unreadable(column: column) }
        case .number, .boolean, .string:
            if TextCheck.isUTF8(bytes) { return output.append(string: bytes) }
            guard writesNull, schema.columns[column].isNullable, !schema.key.contains(column) else {
                throw .notUTF8(column: column)
            }
            substituted[column] += 1
            output.append("null")
        }
    }

    /// Whether a number as PostgreSQL prints it is one for JSON too: `-0`, `1e-45` and `1.5e+300` are, `NaN` is not.
    private static func isNumber(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let first = bytes.first, let last = bytes.last else { return false }
        let isDigit = { (byte: UInt8) in byte &- UInt8(ascii: "0") < 10 }
        guard isDigit(last), isDigit(first) || first == UInt8(ascii: "-") else { return false }
        return bytes.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."),
                UInt8(ascii: "e"):
                true
            default:
                false
            }
        }
    }
}
