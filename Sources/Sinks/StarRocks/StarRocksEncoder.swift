internal import CdcCore

/// PostgreSQL's text of a value to a cell of CSV.
///
/// What the server would take and change silently is refused here: NaN, infinity, years that four digits do not hold. What
/// it refuses by itself (a text too long, a decimal too large) is left to its own words.
struct StarRocksEncoder: Sendable {
    /// Why a column cannot hold a value.
    enum Problem: UInt8 {
        case outOfRange
        case notANumber
        case nullValue
        case malformed
    }

    /// What became of a value.
    enum Outcome {
        case written
        /// Something else was written in its place, as the policy says.
        case substituted
        case refused(Problem)
        /// The text reads as NULL: the body is to be written again with ``isShifted``.
        case looksLikeNull
    }

    let policy: UnrepresentablePolicy
    /// Whether every text has a letter before it, which the server takes away.
    ///
    /// A cell of `\N` is NULL to the server, in quotes or not (`NullableConverter` of the BE): only so can the text `\N` be
    /// told from it.
    var isShifted = false

    /// The letter.
    private static let shift = UInt8(ascii: "=")

    /// Appends a cell's value; where it is refused, nothing.
    @inline(__always)
    func append(_ text: UnsafeRawBufferPointer?, as encoding: StarRocksEncoding, to buffer: inout RowBuffer) -> Outcome
    {
        guard let text else {
            guard encoding.isNullable else { return .refused(.nullValue) }
            appendNull(to: &buffer)
            return .written
        }
        switch encoding.kind {
        case .text:
            if isShifted {
                buffer.append(StarRocksEncoder.shift)
            } else if text.count == 2, text[0] == UInt8(ascii: "\\"), text[1] == UInt8(ascii: "N") {
                return .looksLikeNull
            }
            buffer.append(text)
        case .integer:
            buffer.append(text)
        case .boolean:
            guard text.count == 1, text[0] == UInt8(ascii: "t") || text[0] == UInt8(ascii: "f") else {
                return .refused(.malformed)
            }
            buffer.append(text[0] == UInt8(ascii: "t") ? UInt8(ascii: "1") : UInt8(ascii: "0"))
        case .float, .decimal:
            // `NaN`, `Infinity`, `-Infinity`: nothing else has a letter that is not the exponent's.
            let first = text.first == UInt8(ascii: "-") && text.count > 1 ? text[1] : text.first ?? 0
            guard first != UInt8(ascii: "N") else { return substitute(.notANumber, text, encoding, &buffer) }
            guard first != UInt8(ascii: "I") else { return substitute(.outOfRange, text, encoding, &buffer) }
            buffer.append(text)
        case .money:
            for byte in text where byte != UInt8(ascii: "$") && byte != UInt8(ascii: ",") { buffer.append(byte) }
        case .date:
            guard isInRange(text) else { return substitute(.outOfRange, text, encoding, &buffer) }
            buffer.append(text)
        case .timestamp:
            guard isInRange(text) else { return substitute(.outOfRange, text, encoding, &buffer) }
            let isZoned = text.count > 3 && text[text.count - 3] == UInt8(ascii: "+")
            buffer.append(isZoned ? UnsafeRawBufferPointer(rebasing: text[..<(text.count - 3)]) : text)
        case .bytes:
            guard text.count >= 2, text[1] == UInt8(ascii: "x") else { return .refused(.malformed) }
            buffer.append(UnsafeRawBufferPointer(rebasing: text[2...]))
        }
        return .written
    }

    @inline(__always)
    func appendNull(to buffer: inout RowBuffer) {
        buffer.append(UInt16(UInt8(ascii: "\\")) | UInt16(UInt8(ascii: "N")) << 8)
    }

    /// Years 0001 to 9999: `YYYY-MM-DD…`, neither longer nor with ` BC` behind it, nor infinity.
    @inline(__always)
    private func isInRange(_ text: UnsafeRawBufferPointer) -> Bool {
        text.count >= 10 && text[4] == UInt8(ascii: "-") && text[text.count - 1] != UInt8(ascii: "C")
    }

    @inline(never)
    private func substitute(
        _ problem: Problem,
        _ text: UnsafeRawBufferPointer,
        _ encoding: StarRocksEncoding,
        _ buffer: inout RowBuffer
    ) -> Outcome {
        switch policy {
        case .null where encoding.isNullable:
            appendNull(to: &buffer)
        case .clamp where encoding.kind == .date || encoding.kind == .timestamp:
            let isEarly = text.first == UInt8(ascii: "-") || text.last == UInt8(ascii: "C")
            var nearest =
                encoding.kind == .date
                ? (isEarly ? "0001-01-01" : "9999-12-31")
                : (isEarly ? "0001-01-01 00:00:00" : "9999-12-31 23:59:59.999999")
            nearest.withUTF8 { buffer.append(UnsafeRawBufferPointer($0)) }
        default: return .refused(problem)
        }
        return .substituted
    }
}
