internal import CSQLite
internal import CdcCore
internal import Glibc

/// Binds cells of a batch to parameters without copying text: SQLite reads the batch's own bytes while the statement runs.
///
/// Nothing here allocates per cell; bytes that must be decoded first lie in ``RowScratch`` until the row is written.
final class SQLiteBinder {
    /// Why a cell was not bound.
    enum Problem: Error {
        case unreadable(String)
        case notUTF8
        case unchanged
        case nullKey
        case tooLong
        /// SQLite would make it NULL.
        case notANumber
        /// SQLite keeps it, but as equal to 0.
        case negativeZero
        case sqlite
    }

    private let scratch = RowScratch()
    /// Whether numbers that SQLite has not, or does not tell apart, are kept as text.
    private let keepsTexts: Bool
    // A text of no bytes needs an address all the same: nil would bind NULL.
    private let noBytes = UnsafeMutablePointer<CChar>.allocate(capacity: 1)

    init(_ policy: UnrepresentablePolicy) {
        keepsTexts = policy == .error || policy == .text
        noBytes.initialize(to: 0)
    }

    deinit {
        noBytes.deallocate()
    }

    /// Forgets the decoded values of the row before; its statement must have been reset.
    @inline(__always)
    func beginRow() {
        scratch.reset()
    }

    /// Binds one cell.
    @inline(__always)
    func bind(
        _ statement: OpaquePointer,
        _ parameter: Int32,
        _ cell: Cell,
        _ encoding: SQLiteEncoding,
        of batch: CdcBatch
    ) throws(Problem) {
        switch cell.kind {
        case .text:
            let bytes = batch.bytes(of: cell)
            switch encoding {
            case .text:
                guard TextCheck.isUTF8(bytes) else { throw .notUTF8 }
                try check(bindText(statement, parameter, bytes))
            case .ascii: try check(bindText(statement, parameter, bytes))
            case .integer:
                guard let value = TextCheck.integer(bytes) else { throw .unreadable("no integer") }
                try check(sqlite3_bind_int64(statement, parameter, value))
            default: try bindDecoded(statement, parameter, bytes, encoding)
            }
        case .null: try check(sqlite3_bind_null(statement, parameter))
        case .binary: try bindBinary(statement, parameter, batch.bytes(of: cell), encoding)
        case .unchanged: throw .unchanged
        }
    }

    /// Binds a text that stays where it is until the statement has run.
    @inline(__always)
    func bindText(_ statement: OpaquePointer, _ parameter: Int32, _ bytes: UnsafeRawBufferPointer) -> Int32 {
        let start = bytes.baseAddress?.assumingMemoryBound(to: CChar.self) ?? UnsafePointer(noBytes)
        return sqlite3_bind_text(statement, parameter, start, Int32(truncatingIfNeeded: bytes.count), nil)
    }

    /// Binds the version of a row as 32 hexadecimal digits.
    func bindVersion(_ statement: OpaquePointer, _ parameter: Int32, _ version: RowVersion) throws(Problem) {
        let digits = scratch.take(32)
        SQLiteBinder.writeHexadecimal(version.commitLSN.rawValue, to: digits)
        SQLiteBinder.writeHexadecimal(version.ordinal, to: digits + 16)
        try check(bindText(statement, parameter, UnsafeRawBufferPointer(start: digits, count: 32)))
    }

    @inline(__always)
    private func check(_ code: Int32) throws(Problem) {
        guard code == SQLITE_OK else { throw code == SQLITE_TOOBIG ? .tooLong : .sqlite }
    }

    @inline(never)
    private func bindDecoded(
        _ statement: OpaquePointer,
        _ parameter: Int32,
        _ bytes: UnsafeRawBufferPointer,
        _ encoding: SQLiteEncoding
    ) throws(Problem) {
        switch encoding {
        case .boolean:
            guard bytes.count == 1, bytes[0] == UInt8(ascii: "t") || bytes[0] == UInt8(ascii: "f") else {
                throw .unreadable("no boolean")
            }
            try check(sqlite3_bind_int64(statement, parameter, bytes[0] == UInt8(ascii: "t") ? 1 : 0))
        case .real:
            try bindReal(statement, parameter, bytes)
        case .blob:
            guard let count = Hex.decodedLength(bytes) else { throw .unreadable("no hexadecimal bytea") }
            let target = UnsafeMutableRawBufferPointer(start: scratch.take(count), count: count)
            guard Hex.decode(bytes, into: target) else { throw .unreadable("no hexadecimal bytea") }
            try check(bindBlob(statement, parameter, UnsafeRawBufferPointer(target)))
        case .integer, .text, .ascii:
            preconditionFailure("bound by the caller")
        }
    }

    private func bindBlob(_ statement: OpaquePointer, _ parameter: Int32, _ bytes: UnsafeRawBufferPointer) -> Int32 {
        let start = bytes.baseAddress ?? UnsafeRawPointer(noBytes)
        return sqlite3_bind_blob(statement, parameter, start, Int32(truncatingIfNeeded: bytes.count), nil)
    }

    private func bindConstant(_ statement: OpaquePointer, _ parameter: Int32, _ text: StaticString) throws(Problem) {
        let bytes = UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        try check(bindText(statement, parameter, bytes))
    }

    /// Reads what PostgreSQL prints with `extra_float_digits` above 0: the shortest decimal that gives the same bits back.
    private func bindReal(_ statement: OpaquePointer, _ parameter: Int32, _ bytes: UnsafeRawBufferPointer)
        throws(Problem)
    {
        guard bytes.count > 0, bytes.count < 64 else { throw .unreadable("no number") }
        if bytes.elementsEqual("NaN".utf8) || bytes.elementsEqual("-0".utf8) {
            try require(isNaN: bytes[0] == UInt8(ascii: "N"))
            try check(bindText(statement, parameter, bytes))
            return
        }
        // strtod stops at a zero byte, which the batch does not have behind a value.
        let parsed = withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { buffer -> Double? in
            buffer.copyMemory(from: bytes)
            buffer[bytes.count] = 0
            let start = buffer.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: CChar.self)
            var end: UnsafeMutablePointer<CChar>?
            let value = strtod(start, &end)
            return end == start + bytes.count ? value : nil
        }
        guard let value = parsed, !value.isNaN else { throw .unreadable("no number") }
        try check(sqlite3_bind_double(statement, parameter, value))
    }

    /// Lets what is no number of SQLite's pass where it may be text.
    private func require(isNaN: Bool) throws(Problem) {
        guard keepsTexts else { throw isNaN ? .notANumber : .negativeZero }
    }

    /// PostgreSQL's binary output, for the types whose layout is simple.
    @inline(never)
    private func bindBinary(
        _ statement: OpaquePointer,
        _ parameter: Int32,
        _ bytes: UnsafeRawBufferPointer,
        _ encoding: SQLiteEncoding
    ) throws(Problem) {
        switch (encoding, bytes.count) {
        case (.boolean, 1):
            try check(sqlite3_bind_int64(statement, parameter, bytes[0] == 0 ? 0 : 1))
        case (.integer, 2):
            try check(sqlite3_bind_int64(statement, parameter, Int64(bytes.bigEndian(Int16.self))))
        case (.integer, 8):
            try check(sqlite3_bind_int64(statement, parameter, bytes.bigEndian(Int64.self)))
        case (.blob, _):
            try check(bindBlob(statement, parameter, bytes))
        case (.real, 8):
            let value = Double(bitPattern: bytes.bigEndian(UInt64.self))
            if value.isNaN || (value == 0 && value.sign == .minus) {
                try require(isNaN: value.isNaN)
                try bindConstant(statement, parameter, value.isNaN ? "NaN" : "-0")
            } else {
                try check(sqlite3_bind_double(statement, parameter, value))
            }
        default:
            // int4 and oid share four bytes and one encoding, and other types have layouts of their own.
            throw .unreadable("a binary value, which the sink does not ask for")
        }
    }

    @inline(__always)
    private static func writeHexadecimal(_ value: UInt64, to target: UnsafeMutablePointer<UInt8>) {
        for place in 0..<16 {
            let digit = UInt8(truncatingIfNeeded: value >> UInt64(60 - 4 * place)) & 0xF
            target[place] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10
        }
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func bigEndian<Integer: FixedWidthInteger & BitwiseCopyable>(_ type: Integer.Type) -> Integer {
        Integer(bigEndian: loadUnaligned(as: type))
    }
}

/// Memory for the decoded values of one row: addresses stay valid until ``reset()``.
final class RowScratch {
    private static let blockSize = 64 << 10
    private let block = UnsafeMutablePointer<UInt8>.allocate(capacity: blockSize)
    private var used = 0
    private var large: [UnsafeMutablePointer<UInt8>] = []

    deinit {
        reset()
        block.deallocate()
    }

    /// Memory of `count` bytes.
    func take(_ count: Int) -> UnsafeMutablePointer<UInt8> {
        guard used + count > RowScratch.blockSize else {
            defer { used += count }
            return block + used
        }
        let own = UnsafeMutablePointer<UInt8>.allocate(capacity: count)
        large.append(own)
        return own
    }

    /// Takes all memory back; large values do not stay.
    @inline(__always)
    func reset() {
        used = 0
        if !large.isEmpty { releaseLarge() }
    }

    private func releaseLarge() {
        for pointer in large { pointer.deallocate() }
        large.removeAll()
    }
}
