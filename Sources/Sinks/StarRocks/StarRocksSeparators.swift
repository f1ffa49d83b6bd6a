internal import CdcCore

/// What stands between the cells and behind the rows of a body, never inside of a value.
///
/// A value is sent as it is: without quotes there is nothing to escape, and the back end takes its fast way through a body.
/// Should a value have the usual separators in it, longer ones are taken for the whole body.
///
/// See the FE's `Delimiter.convertDelimiter` for `\x0102`, and the BE's `CSVReader`, for which a separator has up to 50 bytes.
struct StarRocksSeparators: Equatable, Sendable {
    let column: [UInt8]
    let row: [UInt8]

    /// From the usual ones to those that occur in hardly any value.
    ///
    /// All bytes of a pair differ, so that the end of a value and the beginning of a separator are never taken for one.
    static let all = [
        StarRocksSeparators(column: [1], row: [2]),
        StarRocksSeparators(column: [1, 3, 4], row: [2, 5, 6]),
        StarRocksSeparators(column: [0x0E, 0x0F, 0x10, 0x11, 0x12, 0x13], row: [0x14, 0x15, 0x16, 0x17, 0x18, 0x19]),
    ]

    var columnHeader: String { Self.header(column) }
    var rowHeader: String { Self.header(row) }

    private static func header(_ bytes: [UInt8]) -> String {
        "\\x" + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16, uppercase: true) }.joined()
    }

    /// Whether whole rows have as many separators as their cells want, and no more.
    func count(in bytes: UnsafeRawBufferPointer, areThoseOf rows: Int, columns: Int) -> Bool {
        occurrences(of: row, in: bytes) == rows && occurrences(of: column, in: bytes) == rows * (columns - 1)
    }

    private func occurrences(of separator: [UInt8], in bytes: UnsafeRawBufferPointer) -> Int {
        guard separator.count > 1, let first = separator.first else {
            return separator.first.map { bytes.count(of: $0) } ?? 0
        }
        var found = 0
        var index = 0
        while index + separator.count <= bytes.count {
            if bytes[index] == first, bytes[index..<index + separator.count].elementsEqual(separator) {
                found += 1
                index += separator.count
            } else {
                index += 1
            }
        }
        return found
    }
}

extension UnsafeRawBufferPointer {
    /// How often a byte occurs; sixteen are looked at at once.
    func count(of byte: UInt8) -> Int {
        let wanted = SIMD16<UInt8>(repeating: byte)
        var found = 0
        var index = 0
        while index + 16 <= count {
            // A lane counts to 255 before it is added up.
            var lanes = SIMD16<UInt8>.zero
            let end = Swift.min(count - 15, index + 16 * 255)
            while index < end {
                let chunk = loadUnaligned(fromByteOffset: index, as: SIMD16<UInt8>.self)
                lanes &-= SIMD16<UInt8>(repeating: 0).replacing(with: 255, where: chunk .== wanted)
                index += 16
            }
            for lane in lanes.indices { found += Int(lanes[lane]) }
        }
        while index < count {
            if self[index] == byte { found += 1 }
            index += 1
        }
        return found
    }
}
