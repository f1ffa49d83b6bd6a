internal import CdcCore
public import PostgresSource

/// The daemon's exit codes.
public enum ExitStatus: Int32, Sendable, CaseIterable {
    /// Stopped as asked, or the copy of `SOURCE_SNAPSHOT=only` is complete.
    case success = 0
    /// A defect of the daemon itself.
    case internalError = 1
    /// A setting, a privilege, or something at the source or sink that the operator has to change.
    case configuration = 2
    /// The slot has moved past the sink's position: changes are missing.
    case gap = 3
    /// The slot is gone or invalidated: changes are missing.
    case slotLost = 4
    /// The sink's content comes from another system, slot or timeline.
    case foreignSystem = 5
    /// A table's columns differ between source and sink.
    case schemaMismatch = 6
    /// The sink refuses rows for good.
    case sinkRefused = 7
    /// `SINK_MAX_RETRIES` were not enough.
    case retriesExhausted = 8
    /// Nobody reads standard output any more.
    case outputClosed = 9
    /// What the source sent does not follow its protocol.
    case protocolViolation = 10
    /// Another daemon runs the pipeline, and `SINK_STANDBY=refuse`.
    case slotInUse = 11
}

/// Why the pipeline ended.
public struct PipelineFailure: Error, Sendable, CustomStringConvertible {
    /// What the process exits with.
    public let code: ExitStatus
    /// What failed, with table, LSN, cause and remedy.
    public let description: String

    /// Makes a failure.
    public init(_ code: ExitStatus, _ description: String) {
        self.code = code
        self.description = description
    }

    /// The end that an error of the source is.
    public init(_ error: SourceError) {
        let code: ExitStatus =
            switch error.kind {
            case .retriable, .shuttingDown: .retriesExhausted
            case .configuration: .configuration
            case .slotLost: .slotLost
            case .gap: .gap
            case .slotInUse: .slotInUse
            case .foreignSystem: .foreignSystem
            case .schemaMismatch: .schemaMismatch
            case .protocolViolation: .protocolViolation
            case .stopped: .success
            }
        self.init(code, error.description)
    }

    init(_ error: SinkError) {
        let code: ExitStatus =
            switch error.kind {
            case .retriable, .ambiguous: .retriesExhausted
            case .permanent: .sinkRefused
            case .configuration: .configuration
            case .schemaMismatch: .schemaMismatch
            case .outputClosed: .outputClosed
            }
        self.init(code, error.description)
    }
}

/// Why a session with the source ended.
enum SessionEnd: Error {
    /// The source is away: connect again after a while.
    case retry(SourceError)
    /// The catalog has changed, or the sink lost its open transaction: begin a new session at the durable position.
    case restart(reason: String)
    /// The server cannot send a value as binary: begin a new session in which all values are text.
    case needsText(cause: String)
    /// The daemon is to end.
    case failed(PipelineFailure)
    /// The daemon was asked to stop.
    case stopped

    init(_ error: SourceError) {
        switch error.kind {
        case .retriable, .shuttingDown: self = .retry(error)
        case .stopped: self = .stopped
        default: self = .failed(PipelineFailure(error))
        }
    }
}
