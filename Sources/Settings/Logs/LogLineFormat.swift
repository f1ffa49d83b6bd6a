public import Logging

/// How an event becomes a line.
public protocol LogLineFormat: Sendable {
    /// Appends the event as one line with its newline.
    func append(
        _ message: String,
        level: Logger.Level,
        metadata: Logger.Metadata,
        at time: LogTime,
        to line: inout [UInt8]
    )
}
