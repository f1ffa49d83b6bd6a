/// How log lines look: `LOG_FORMAT`.
public enum LogFormat: String, Sendable, CaseIterable {
    /// One JSON object a line.
    case json
    /// Lines for people.
    case text
}
