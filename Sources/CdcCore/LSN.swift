/// A place in PostgreSQL's write-ahead log: a byte offset since the cluster was made.
///
/// The text form is PostgreSQL's own, `16/B374D848`: two hexadecimal halves without leading zeros.
/// See https://www.postgresql.org/docs/current/datatype-pg-lsn.html
public struct LSN: RawRepresentable, Hashable, Comparable, Sendable, BitwiseCopyable {
    /// The byte offset.
    public var rawValue: UInt64

    /// Makes an LSN from its byte offset.
    public init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    /// `0/0`, which PostgreSQL uses for "none".
    public static let zero = LSN(rawValue: 0)

    /// Reads PostgreSQL's text form; nil if it is anything else.
    public init?(_ text: some StringProtocol) {
        let halves = text.split(separator: "/", omittingEmptySubsequences: false)
        guard halves.count == 2, let high = LSN.half(halves[0]), let low = LSN.half(halves[1]) else { return nil }
        rawValue = UInt64(high) << 32 | UInt64(low)
    }

    private static func half(_ text: some StringProtocol) -> UInt32? {
        // Swift's parser takes a sign, of which "-0" would pass.
        guard (1...8).contains(text.utf8.count), text.utf8.first != UInt8(ascii: "+"),
            text.utf8.first != UInt8(ascii: "-")
        else { return nil }
        return UInt32(text, radix: 16)
    }

    /// Orders by place in the log.
    public static func < (left: LSN, right: LSN) -> Bool {
        left.rawValue < right.rawValue
    }
}

extension LSN: CustomStringConvertible {
    /// PostgreSQL's text form.
    public var description: String {
        String(rawValue >> 32, radix: 16, uppercase: true) + "/"
            + String(rawValue & 0xFFFF_FFFF, radix: 16, uppercase: true)
    }
}
