import Synchronization

/// Whether a lane is alive, by what it last said of itself.
///
/// A lane says before each step how long the step may take. It is alive until that time and ``patience`` have passed, after a
/// call that has a limit of its own only a few seconds more. So a
/// lane that waits for a target which has been down for hours is alive, as long as it keeps saying that it waits, and a lane
/// that hangs in a call is not, however often a timer fires elsewhere.
public final class LaneHealth: Sendable {
    /// What a lane was doing when it last said so.
    public enum Activity: UInt8, Sendable {
        /// Its thread has not begun.
        case starting
        /// It goes through its loop.
        case moving
        /// Nobody wants anything from it.
        case idle
        /// It waits before a repetition.
        case backingOff
        /// It is inside a call that blocks.
        case calling
        /// It has been given work and has not taken it up.
        case called
        /// It is through.
        case ended

        /// In words, for status and logs.
        public var words: String {
            switch self {
            case .starting: "starting"
            case .moving: "moving"
            case .idle: "idle"
            case .backingOff: "waiting before a repetition"
            case .calling: "inside a call"
            case .called: "called, not answering"
            case .ended: "ended"
            }
        }
    }

    /// The lane's name: `source` or `sink`.
    public let name: String
    /// How long a lane may be late before it counts as hung.
    public let patience: Duration

    private static let epoch = ContinuousClock.now
    /// What a call may be late beyond its own limit.
    private static let callMargin = Duration.seconds(5)
    private static let never = Int64.max
    /// Nanoseconds since ``epoch`` at which the lane counts as hung.
    private let deadline: Atomic<Int64>
    private let current: Atomic<UInt8>

    /// Makes the health of a lane that is about to start.
    public init(name: String, patience: Duration = .seconds(60)) {
        self.name = name
        self.patience = patience
        current = Atomic(Activity.starting.rawValue)
        deadline = Atomic(LaneHealth.since(.now + patience))
    }

    private static func since(_ instant: ContinuousClock.Instant) -> Int64 {
        let (seconds, attoseconds) = (instant - epoch).components
        return seconds.multipliedReportingOverflow(by: 1_000_000_000).partialValue + attoseconds / 1_000_000_000
    }

    /// What the lane last said that it does.
    public var activity: Activity { Activity(rawValue: current.load(ordering: .relaxed)) ?? .starting }

    /// Whether the lane is alive at the given time.
    public func isAlive(at now: ContinuousClock.Instant = .now) -> Bool {
        LaneHealth.since(now) <= deadline.load(ordering: .acquiring)
    }

    // MARK: Said by the lane

    /// The lane moves; its next step may take this long.
    public func moving(for step: Duration = .zero) { say(.moving, step) }

    /// The lane is about to call something that may block this long.
    ///
    /// It is hung soon after: a call knows its own limit.
    public func calling(for limit: Duration) { say(.calling, limit, patience: min(patience, LaneHealth.callMargin)) }

    /// The lane waits this long before it tries again.
    public func backingOff(for delay: Duration) { say(.backingOff, delay) }

    /// The lane has nothing to do until somebody ``call()``s it.
    public func idle() {
        current.store(Activity.idle.rawValue, ordering: .relaxed)
        deadline.store(LaneHealth.never, ordering: .releasing)
    }

    /// The lane is through: nothing is expected of it any more.
    public func ended() {
        current.store(Activity.ended.rawValue, ordering: .relaxed)
        deadline.store(LaneHealth.never, ordering: .releasing)
    }

    // MARK: Said by another lane

    /// The lane was given work: it has to say something soon.
    public func call() { say(.called, .zero) }

    private func say(_ activity: Activity, _ step: Duration, patience: Duration? = nil) {
        current.store(activity.rawValue, ordering: .relaxed)
        deadline.store(LaneHealth.since(.now + step + (patience ?? self.patience)), ordering: .releasing)
    }
}
