/// What the pipeline is at.
public enum PipelinePhase: String, Sendable, Codable, CaseIterable {
    /// It connects, checks and prepares.
    case starting
    /// Another daemon runs the same pipeline: this one waits for the slot.
    case standingBy = "standing_by"
    /// The source is away.
    case waitingForSource = "waiting_for_source"
    /// Tables are being copied.
    case copying
    /// Changes are carried as they happen.
    case streaming
    /// The daemon was asked to stop and finishes what it has read.
    case stopping

    /// In words.
    public var words: String { rawValue.replacing("_", with: " ") }
}
