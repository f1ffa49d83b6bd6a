/// Headers or trailers, in their order.
public struct HTTPFields: Sendable {
    /// Names as they came, and values without the space around them.
    public internal(set) var all: [(String, String)] = []

    /// Makes an empty list.
    public init() {}

    /// The last field of that name, whatever its case.
    public subscript(name: String) -> String? {
        all.last { sameName($0.0, name) }?.1
    }
}

/// A complete response.
public struct HTTPResponse: Sendable {
    /// The status code; no redirect that was followed, no 1xx.
    public var status: Int
    /// The headers of this response alone.
    public var headers: HTTPFields
    /// What followed a chunked body.
    public var trailers: HTTPFields
    /// The body, as far as the limit lets it be kept.
    public var body: [UInt8]
    /// Whether the body was longer.
    public var isTruncated: Bool
    /// Who answered, after all redirects; without query, user and password.
    public var effectiveURL: String
}

/// Compares names of headers and hosts, which are ASCII, without regard to case.
func sameName(_ one: String, _ other: String) -> Bool {
    one.utf8.count == other.utf8.count && zip(one.utf8, other.utf8).allSatisfy { lowered($0) == lowered($1) }
}

private func lowered(_ byte: UInt8) -> UInt8 {
    byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z") ? byte | 0x20 : byte
}
