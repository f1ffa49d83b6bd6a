internal import CdcCore

/// A message that does not follow the protocol: damaged, truncated, or of a kind that was not asked for.
public struct WireError: Error, Equatable, Sendable, CustomStringConvertible {
    /// What is wrong, without any of the message's content.
    public let reason: String
    /// The byte of the message at which it shows.
    public let offset: Int

    /// Makes an error.
    public init(_ reason: String, at offset: Int) {
        self.reason = reason
        self.offset = offset
    }

    /// The reason and the offset.
    public var description: String { "\(reason) at byte \(offset) of the message" }
}

/// A place in a message.
///
/// Every read checks that the bytes are there; integers are big-endian.
struct WireCursor {
    private(set) var offset: Int

    init(at offset: Int = 0) {
        self.offset = offset
    }

    @inline(__always)
    mutating func uint8(_ message: RawSpan) throws(WireError) -> UInt8 {
        try integer(message)
    }

    @inline(__always)
    mutating func integer<Integer: FixedWidthInteger & BitwiseCopyable>(
        _ message: RawSpan,
        as type: Integer.Type = Integer.self
    ) throws(WireError) -> Integer {
        let size = MemoryLayout<Integer>.size
        guard message.byteCount - offset >= size else { throw WireError("truncated integer", at: offset) }
        // Within bounds by the guard above, and every bit pattern is an integer.
        let value = unsafe message.unsafeLoadUnaligned(fromByteOffset: offset, as: Integer.self)
        offset += size
        return Integer(bigEndian: value)
    }

    mutating func lsn(_ message: RawSpan) throws(WireError) -> LSN {
        LSN(rawValue: try integer(message))
    }

    /// Skips `count` bytes that have to be there.
    @inline(__always)
    mutating func skip(_ count: Int, _ message: RawSpan) throws(WireError) {
        guard count >= 0, count <= message.byteCount - offset else { throw WireError("truncated bytes", at: offset) }
        offset += count
    }

    /// A string up to its zero byte; the server sends UTF-8 because the session asked for it.
    mutating func string(_ message: RawSpan) throws(WireError) -> String {
        let start = offset
        while true {
            guard offset < message.byteCount else { throw WireError("unterminated string", at: start) }
            if try uint8(message) == 0 { break }
        }
        let bytes = message.extracting(start..<offset - 1)
        let text = bytes.withUnsafeBytes { String(validating: $0, as: UTF8.self) }
        guard let text else { throw WireError("name that is not UTF-8", at: start) }
        return text
    }

    /// Checks that the message ends here.
    @inline(__always)
    func end(_ message: RawSpan) throws(WireError) {
        guard offset == message.byteCount else { throw WireError("trailing bytes", at: offset) }
    }
}
