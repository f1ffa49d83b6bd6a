public import CdcCore

/// What arrives inside CopyData while a walsender streams.
///
/// ```
/// 'w' Int64 start, Int64 walEnd, Int64 sendTime, Byte* payload     XLogData
/// 'k' Int64 walEnd, Int64 sendTime, Int8 replyRequested            primary keepalive
/// ```
/// See https://www.postgresql.org/docs/current/protocol-replication.html
public enum ReplicationMessage: Sendable {
    /// WAL data: the payload begins at ``payloadOffset``.
    case data(start: LSN, walEnd: LSN)
    /// The server is alive, and how far it has read.
    case keepalive(walEnd: LSN, replyRequested: Bool)

    /// Where the payload of `data` begins.
    public static let payloadOffset = 25

    /// Reads the frame of a CopyData message.
    ///
    /// - Throws: ``WireError`` for an unknown kind or a wrong length.
    @inline(__always)
    public init(_ message: RawSpan) throws(WireError) {
        var cursor = WireCursor()
        let kind = try cursor.uint8(message)
        if kind == UInt8(ascii: "w") {
            let start = try cursor.lsn(message)
            let walEnd = try cursor.lsn(message)
            try cursor.skip(8, message)
            self = .data(start: start, walEnd: walEnd)
        } else if kind == UInt8(ascii: "k") {
            let walEnd = try cursor.lsn(message)
            try cursor.skip(8, message)
            let reply = try cursor.uint8(message)
            try cursor.end(message)
            self = .keepalive(walEnd: walEnd, replyRequested: reply != 0)
        } else {
            throw WireError("unknown replication message", at: 0)
        }
    }
}

/// What the standby tells the server: how far it has received, and how far the server may forget.
///
/// `'r' Int64 written, Int64 flushed, Int64 applied, Int64 time, Int8 replyRequested`, 34 bytes.
public struct StandbyStatusUpdate: Sendable, Equatable {
    /// Received.
    public var written: LSN
    /// Durable at the sink: the server may remove WAL before it.
    public var flushed: LSN

    /// Makes an update.
    public init(written: LSN, flushed: LSN) {
        self.written = written
        self.flushed = flushed
    }

    /// The message's bytes.
    ///
    /// - Parameter time: microseconds since 2000-01-01 UTC.
    /// - Returns: the payload of a CopyData message.
    public func encoded(time: Int64) -> [UInt8] {
        var bytes: [UInt8] = [UInt8(ascii: "r")]
        for value in [written.rawValue, flushed.rawValue, flushed.rawValue, UInt64(bitPattern: time)] {
            withUnsafeBytes(of: value.bigEndian) { bytes.append(contentsOf: $0) }
        }
        bytes.append(0)
        return bytes
    }
}
