public import Logging

/// One JSON object a line: `time`, `level`, `event`, then the fields in alphabetical order.
public struct JSONLogLine: LogLineFormat {
    /// Keys that are taken; a field of that name gets an underscore, because keys twice in one object are lost.
    private static let reserved: Set<String> = ["time", "level", "event"]

    /// Makes the format.
    public init() {}

    /// Appends the event as one JSON object.
    public func append(
        _ message: String,
        level: Logger.Level,
        metadata: Logger.Metadata,
        at time: LogTime,
        to line: inout [UInt8]
    ) {
        line += "{\"time\":\"\(time.iso8601)\",\"level\":\"\(level.rawValue)\",\"event\":".utf8
        EscapedText.append(message, to: &line)
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            line.append(UInt8(ascii: ","))
            EscapedText.append(Self.reserved.contains(key) ? key + "_" : key, to: &line)
            line.append(UInt8(ascii: ":"))
            Self.append(value, to: &line)
        }
        line += "}\n".utf8
    }

    private static func append(_ value: Logger.MetadataValue, to line: inout [UInt8]) {
        switch value {
        case .string(let text): EscapedText.append(text, to: &line)
        case .stringConvertible(let value): append(value, to: &line)
        case .array(let values): append(values, to: &line)
        case .dictionary(let values): append(values, to: &line)
        }
    }

    /// Whole numbers and truth values stay what they are; a floating-point number becomes text, as JSON has no NaN.
    private static func append(_ value: any CustomStringConvertible, to line: inout [UInt8]) {
        if value is any BinaryInteger || value is Bool {
            line += value.description.utf8
        } else {
            EscapedText.append(value.description, to: &line)
        }
    }

    private static func append(_ values: [Logger.MetadataValue], to line: inout [UInt8]) {
        line.append(UInt8(ascii: "["))
        for (index, value) in values.enumerated() {
            if index > 0 { line.append(UInt8(ascii: ",")) }
            append(value, to: &line)
        }
        line.append(UInt8(ascii: "]"))
    }

    private static func append(_ values: Logger.Metadata, to line: inout [UInt8]) {
        line.append(UInt8(ascii: "{"))
        for (index, (key, value)) in values.sorted(by: { $0.key < $1.key }).enumerated() {
            if index > 0 { line.append(UInt8(ascii: ",")) }
            EscapedText.append(key, to: &line)
            line.append(UInt8(ascii: ":"))
            append(value, to: &line)
        }
        line.append(UInt8(ascii: "}"))
    }
}
