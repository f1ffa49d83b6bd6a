/// What a command did.
public struct CommandResult: Sendable, CustomStringConvertible {
    /// How it ended.
    public let status: ExitStatus
    /// Its standard output.
    public let output: String
    /// Its standard error.
    public let error: String

    /// All of it, for messages.
    public var description: String { "\(status)\n\(output)\n\(error)" }
}
