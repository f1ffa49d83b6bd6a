import Glibc
public import Logging

/// Makes the handler of a log that is no stream of lines.
public typealias JournalFactory = @Sendable (LogLevelBox, Logger.MetadataProvider?) -> any LogHandler

/// Sends all loggers of the process to standard error.
///
/// To be called once, before the first logger is made. SIGPIPE is ignored from then on: a log reader that goes away
/// must not take the daemon with it.
///
/// - Parameters:
///   - level: the least important level that is logged.
///   - format: how lines look. Lines for people have colours if standard error is a terminal and `NO_COLOR` is not set.
///   - journal: makes the handler of systemd's journal; given where standard error is the journal.
/// - Returns: the level, to change it while the daemon runs.
@discardableResult public func bootstrapLogging(
    level: Logger.Level,
    format: LogFormat,
    journal: JournalFactory? = nil
) -> LogLevelBox {
    signal(SIGPIPE, SIG_IGN)
    let box = LogLevelBox(level)
    let isColoured = LogOutput.standardError.isTerminal && getenv("NO_COLOR") == nil
    LoggingSystem.bootstrap(
        { _, provider in
            if let journal { return journal(box, provider) }
            return switch format {
            case .json: JSONLogHandler(format: JSONLogLine(), level: box, metadataProvider: provider)
            case .text:
                TextLogHandler(format: TextLogLine(isColoured: isColoured), level: box, metadataProvider: provider)
            }
        },
        metadataProvider: nil
    )
    return box
}
