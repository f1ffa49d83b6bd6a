/// When to try again: exponential backoff with full jitter and a cap.
///
/// Full jitter (a uniformly random share of the growing delay) keeps many daemons that lost one server from coming back
/// all at once. Pure: randomness is given, the caller waits.
public struct RetryPolicy: Sendable, Hashable {
    /// How often a call is repeated before the daemon ends; nil means for ever.
    public var maxRetries: Int?
    /// The delay's upper bound before the first repetition.
    public var initial: Duration
    /// The delay's upper bound however often it failed.
    public var maximum: Duration

    /// Makes a policy.
    public init(maxRetries: Int? = nil, initial: Duration = .milliseconds(100), maximum: Duration = .seconds(30)) {
        self.maxRetries = maxRetries
        self.initial = initial
        self.maximum = maximum
    }

    /// How long to wait before repetition number `attempt`, or nil if there is to be none.
    ///
    /// - Parameters:
    ///   - attempt: 1 for the first repetition.
    ///   - random: the source of jitter.
    /// - Returns: between a tenth and the whole of ``upperBound(before:)``.
    public func delay(before attempt: Int, using random: inout some RandomNumberGenerator) -> Duration? {
        if let maxRetries, attempt > maxRetries { return nil }
        let bound = upperBound(before: attempt)
        // At least a tenth: a random zero would hammer a server that has just said no.
        return bound * Double.random(in: 0.1...1, using: &random)
    }

    /// The delay without jitter: doubles from ``initial`` up to ``maximum``.
    public func upperBound(before attempt: Int) -> Duration {
        let doublings = min(max(attempt - 1, 0), 30)
        return min(initial * (1 << doublings), maximum)
    }
}
