public import Logging

/// Writes JSON lines; see ``JSONLogLine``.
public typealias JSONLogHandler = LineLogHandler<JSONLogLine>

/// Writes lines for people; see ``TextLogLine``.
public typealias TextLogHandler = LineLogHandler<TextLogLine>

/// A log handler that writes one line an event.
public struct LineLogHandler<Format: LogLineFormat>: LogHandler {
    /// Fields of every event.
    public var metadata: Logger.Metadata = [:]
    /// Gives fields from the task's context.
    public var metadataProvider: Logger.MetadataProvider?

    private let format: Format
    private let output: LogOutput
    private let sharedLevel: LogLevelBox
    private let clock: @Sendable () -> LogTime
    private var ownLevel: Logger.Level?

    /// Makes a handler.
    ///
    /// - Parameters:
    ///   - format: how a line looks.
    ///   - level: the level shared with other loggers; it counts unless a logger sets its own.
    ///   - output: where lines go.
    ///   - metadataProvider: gives fields from the task's context.
    ///   - clock: gives the time of an event.
    public init(
        format: Format,
        level: LogLevelBox,
        output: LogOutput = .standardError,
        metadataProvider: Logger.MetadataProvider? = nil,
        clock: @escaping @Sendable () -> LogTime = LogTime.now
    ) {
        self.format = format
        self.output = output
        self.metadataProvider = metadataProvider
        self.clock = clock
        sharedLevel = level
    }

    /// The shared level, unless this logger was given its own.
    public var logLevel: Logger.Level {
        get { ownLevel ?? sharedLevel.level }
        set { ownLevel = newValue }
    }

    /// A field of every event.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes the event.
    public func log(event: LogEvent) {
        let facts = LogFacts.merged(metadata, metadataProvider, event)
        guard write(event.message.description, level: event.level, metadata: facts) else { return }
        let dropped = output.takeDroppedLines()
        guard dropped > 0 else { return }
        write("log lines lost", level: .warning, metadata: ["lines": .stringConvertible(dropped)])
    }

    /// Whether the line was taken.
    @discardableResult private func write(_ message: String, level: Logger.Level, metadata: Logger.Metadata) -> Bool {
        var line: [UInt8] = []
        line.reserveCapacity(256)
        format.append(message, level: level, metadata: metadata, at: clock(), to: &line)
        return output.write(line)
    }
}
