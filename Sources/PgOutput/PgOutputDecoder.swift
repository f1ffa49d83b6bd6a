internal import CdcCore

/// Takes pgoutput messages apart: protocol versions 1 and 2 without streaming of transactions in progress.
///
/// ```
/// 'B' Int64 finalLSN, Int64 commitTime, Int32 xid                                  begin
/// 'C' Int8 flags(0), Int64 commitLSN, Int64 endLSN, Int64 commitTime                commit
/// 'O' Int64 commitLSN, String name                                                  origin
/// 'R' Int32 oid, String schema, String table, Int8 identity, Int16 n,
///     n × (Int8 flags, String name, Int32 type, Int32 modifier)                     relation
/// 'Y' Int32 oid, String schema, String name                                         type
/// 'I' Int32 relation, 'N' tuple                                                     insert
/// 'U' Int32 relation, [('K' | 'O') tuple], 'N' tuple                                update
/// 'D' Int32 relation, ('K' | 'O') tuple                                             delete
/// 'T' Int32 n, Int8 flags, n × Int32 relation                                       truncate
/// 'M' Int8 flags, Int64 lsn, String prefix, Int32 length, Byte* content             logical message
/// tuple: Int16 n, n × ('n' | 'u' | ('t' | 'b') Int32 length, Byte* value)
/// 'S' 'E' 'c' 'A' belong to streaming, which is never asked for: an error.
/// ```
/// See https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
public enum PgOutputDecoder {
    /// Decodes one message.
    ///
    /// The tuples of rows are checked when they are appended to a batch (``TupleDecoder``); here only as far as is needed
    /// to find where the new row of an update begins.
    ///
    /// - Parameters:
    ///   - message: a CopyData message.
    ///   - start: where the pgoutput payload begins in it.
    /// - Returns: the message; rows are offsets into the bytes given.
    /// - Throws: ``WireError``; nothing else ever happens on damaged input.
    @inline(__always)
    public static func decode(_ message: RawSpan, from start: Int) throws(WireError) -> PgOutputMessage {
        var cursor = WireCursor(at: start)
        let kind = try cursor.uint8(message)
        switch kind {
        case UInt8(ascii: "I"):
            let relation: UInt32 = try cursor.integer(message)
            try expect(UInt8(ascii: "N"), &cursor, message)
            return .insert(relation: relation, newOffset: cursor.offset)
        case UInt8(ascii: "U"):
            return try update(&cursor, message)
        case UInt8(ascii: "D"):
            let relation: UInt32 = try cursor.integer(message)
            let old = try oldTuple(try cursor.uint8(message), &cursor)
            return .delete(relation: relation, old: old, oldOffset: cursor.offset)
        default:
            return try control(kind, &cursor, message)
        }
    }

    private static func update(_ cursor: inout WireCursor, _ message: RawSpan) throws(WireError) -> PgOutputMessage {
        let relation: UInt32 = try cursor.integer(message)
        let tag = try cursor.uint8(message)
        guard tag != UInt8(ascii: "N") else {
            return .update(relation: relation, old: .none, oldOffset: 0, newOffset: cursor.offset)
        }
        let old = try oldTuple(tag, &cursor)
        let oldOffset = cursor.offset
        try TupleDecoder.skip(&cursor, message)
        try expect(UInt8(ascii: "N"), &cursor, message)
        return .update(relation: relation, old: old, oldOffset: oldOffset, newOffset: cursor.offset)
    }

    private static func oldTuple(_ tag: UInt8, _ cursor: inout WireCursor) throws(WireError) -> OldTuple {
        switch tag {
        case UInt8(ascii: "K"): return .key
        case UInt8(ascii: "O"): return .full
        default: throw WireError("unknown tuple tag", at: cursor.offset - 1)
        }
    }

    @inline(__always)
    private static func expect(_ tag: UInt8, _ cursor: inout WireCursor, _ message: RawSpan) throws(WireError) {
        guard try cursor.uint8(message) == tag else { throw WireError("unknown tuple tag", at: cursor.offset - 1) }
    }

    private static func control(
        _ kind: UInt8,
        _ cursor: inout WireCursor,
        _ message: RawSpan
    ) throws(WireError) -> PgOutputMessage {
        let result: PgOutputMessage
        switch kind {
        case UInt8(ascii: "B"):
            let commitLSN = try cursor.lsn(message)
            let time: Int64 = try cursor.integer(message)
            let xid: UInt32 = try cursor.integer(message)
            result = .begin(TransactionInfo(xid: xid, commitLSN: commitLSN, commitTime: time))
        case UInt8(ascii: "C"):
            guard try cursor.uint8(message) == 0 else { throw WireError("unknown commit flags", at: cursor.offset - 1) }
            let commitLSN = try cursor.lsn(message)
            let endLSN = try cursor.lsn(message)
            result = .commit(commitLSN: commitLSN, endLSN: endLSN, time: try cursor.integer(message))
        case UInt8(ascii: "O"):
            let commitLSN = try cursor.lsn(message)
            result = .origin(commitLSN: commitLSN, name: try cursor.string(message))
        case UInt8(ascii: "R"):
            result = .relation(try relation(&cursor, message))
        case UInt8(ascii: "Y"):
            let oid: UInt32 = try cursor.integer(message)
            let schema = try cursor.string(message)
            result = .type(oid: oid, schema: schema, name: try cursor.string(message))
        case UInt8(ascii: "T"):
            result = try truncate(&cursor, message)
        case UInt8(ascii: "M"):
            result = try logicalMessage(&cursor, message)
        case UInt8(ascii: "S"), UInt8(ascii: "E"), UInt8(ascii: "c"), UInt8(ascii: "A"):
            throw WireError("message of a streamed transaction, although streaming is off", at: cursor.offset - 1)
        default:
            throw WireError("unknown pgoutput message", at: cursor.offset - 1)
        }
        try cursor.end(message)
        return result
    }

    private static func relation(
        _ cursor: inout WireCursor,
        _ message: RawSpan
    ) throws(WireError) -> RelationMessage {
        let oid: UInt32 = try cursor.integer(message)
        let schema = try cursor.string(message)
        let name = try cursor.string(message)
        guard let identity = ReplicaIdentity(rawValue: try cursor.uint8(message)) else {
            throw WireError("unknown replica identity", at: cursor.offset - 1)
        }
        let count: UInt16 = try cursor.integer(message)
        var columns: [RelationColumn] = []
        for _ in 0..<count {
            let flags = try cursor.uint8(message)
            let name = try cursor.string(message)
            let type: UInt32 = try cursor.integer(message)
            let modifier: Int32 = try cursor.integer(message)
            columns.append(
                RelationColumn(isKey: flags & 1 != 0, name: name, typeOID: type, typeModifier: modifier)
            )
        }
        let ref = TableRef(schema: schema.isEmpty ? "pg_catalog" : schema, name: name)
        return RelationMessage(oid: oid, ref: ref, identity: identity, columns: columns)
    }

    private static func truncate(
        _ cursor: inout WireCursor,
        _ message: RawSpan
    ) throws(WireError) -> PgOutputMessage {
        let count: UInt32 = try cursor.integer(message)
        let flags = try cursor.uint8(message)
        // Checked before anything is allocated for it.
        guard Int(count) * 4 == message.byteCount - cursor.offset else {
            throw WireError("wrong number of truncated tables", at: cursor.offset)
        }
        var relations: [UInt32] = []
        for _ in 0..<count { relations.append(try cursor.integer(message)) }
        return .truncate(relations: relations, cascade: flags & 1 != 0, restartIdentity: flags & 2 != 0)
    }

    private static func logicalMessage(
        _ cursor: inout WireCursor,
        _ message: RawSpan
    ) throws(WireError) -> PgOutputMessage {
        let flags = try cursor.uint8(message)
        let lsn = try cursor.lsn(message)
        let prefix = try cursor.string(message)
        let length: UInt32 = try cursor.integer(message)
        try cursor.skip(Int(length), message)
        return .message(lsn: lsn, isTransactional: flags & 1 != 0, prefix: prefix, contentLength: Int(length))
    }
}
