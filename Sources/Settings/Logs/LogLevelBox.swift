public import Logging
import Synchronization

/// The level that all loggers share and that can change while the daemon runs.
public final class LogLevelBox: Sendable {
    private static let levels = Logger.Level.allCases
    private let index: Atomic<Int>

    /// Makes a box with a level to begin with.
    public init(_ level: Logger.Level) {
        index = Atomic(Self.index(of: level))
    }

    /// The least important level that is logged.
    public var level: Logger.Level {
        get { Self.levels[index.load(ordering: .relaxed)] }
        set { index.store(Self.index(of: newValue), ordering: .relaxed) }
    }

    private static func index(of level: Logger.Level) -> Int {
        levels.firstIndex(of: level) ?? 0
    }
}
