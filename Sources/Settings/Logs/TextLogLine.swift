public import Logging

/// A line for people: time (UTC), level, event, then `key=value` in alphabetical order.
public struct TextLogLine: LogLineFormat {
    private let isColoured: Bool

    /// Makes the format.
    ///
    /// - Parameter isColoured: whether to mark level and fields with a terminal's colours.
    public init(isColoured: Bool = false) {
        self.isColoured = isColoured
    }

    /// Appends the event as one line.
    public func append(
        _ message: String,
        level: Logger.Level,
        metadata: Logger.Metadata,
        at time: LogTime,
        to line: inout [UInt8]
    ) {
        line += coloured(time.forPeople, Self.dim).utf8
        line += " ".utf8
        line += coloured(Self.name(of: level), Self.colour(of: level)).utf8
        line += " ".utf8
        Self.appendBare(message, to: &line)
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            line += " ".utf8
            line += coloured(key + "=", Self.dim).utf8
            Self.append(Self.text(of: value), to: &line)
        }
        line += "\n".utf8
    }

    /// The event and its facts without time, level and colours: for a log that keeps those apart.
    public static func body(_ message: String, _ metadata: Logger.Metadata) -> String {
        var line: [UInt8] = []
        appendBare(message, to: &line)
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            line += " \(key)=".utf8
            append(text(of: value), to: &line)
        }
        return String(decoding: line, as: UTF8.self)
    }

    /// The value bare where it is one word, else between quotes.
    private static func append(_ text: String, to line: inout [UInt8]) {
        let isWord = !text.utf8.contains {
            $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "=") || $0 == UInt8(ascii: "\"")
        }
        let isSafe = !text.isEmpty && text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
        if isWord && isSafe {
            line += text.utf8
        } else {
            EscapedText.append(text, to: &line)
        }
    }

    /// The message without quotes, unless it has something that is not for terminals.
    private static func appendBare(_ text: String, to line: inout [UInt8]) {
        if text.unicodeScalars.allSatisfy({ $0.properties.generalCategory != .control }) {
            line += text.utf8
        } else {
            EscapedText.append(text, to: &line)
        }
    }

    /// A fact's value as text.
    public static func text(of value: Logger.MetadataValue) -> String {
        switch value {
        case .string(let text): text
        case .stringConvertible(let value): value.description
        case .array(let values): "[" + values.map(text).joined(separator: ",") + "]"
        case .dictionary(let values):
            "{" + values.sorted { $0.key < $1.key }.map { "\($0):\(text(of: $1))" }.joined(separator: ",") + "}"
        }
    }

    /// Five letters each, so that events begin below each other.
    private static func name(of level: Logger.Level) -> String {
        switch level {
        case .trace: "TRACE"
        case .debug: "DEBUG"
        case .info: "INFO "
        case .notice: "NOTE "
        case .warning: "WARN "
        case .error: "ERROR"
        case .critical: "CRIT "
        }
    }

    // MARK: Colours (ECMA-48)

    private static let dim = "2"

    private static func colour(of level: Logger.Level) -> String {
        switch level {
        case .trace, .debug: "2"
        case .info, .notice: "32"
        case .warning: "33"
        case .error, .critical: "1;31"
        }
    }

    private func coloured(_ text: String, _ code: String) -> String {
        isColoured ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
    }
}
