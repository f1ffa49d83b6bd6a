/// The contract of `Sink`, as a list of checks that any sink can be put through.
///
/// The text of the contract is section 4 of `Sources/Sinks/_Template/README.md`. Where capabilities allow two promises, a
/// check proves the one that they claim.
public enum Conformance {
    /// One clause of the contract, with its proof.
    public struct Check: Sendable, CustomStringConvertible {
        /// What holds if it passes.
        public let description: String
        private let body: @Sendable (any ConformanceTarget) async throws -> Void

        init(_ description: String, _ body: @escaping @Sendable (any ConformanceTarget) async throws -> Void) {
            self.description = description
            self.body = body
        }

        /// Proves it on an empty target; throws ``ConformanceFailure`` where it does not hold.
        public func run(_ target: any ConformanceTarget) async throws {
            do {
                try await body(target)
            } catch let failure as ConformanceFailure {
                throw failure
            } catch {
                throw ConformanceFailure("unexpected error: \(error)")
            }
        }
    }

    /// All of them.
    public static let checks: [Check] =
        startChecks + setupChecks + copyChecks + rowChecks + keyChecks + keylessChecks + valueChecks + unitChecks
        + positionChecks + troubleChecks + softDeleteChecks + volumeChecks + randomChecks
}

/// A promise that does not hold.
public struct ConformanceFailure: Error, CustomStringConvertible {
    /// What was expected and what was found.
    public let description: String

    init(_ description: String) { self.description = description }
}

/// Throws unless the condition holds.
func require(_ condition: Bool, _ what: @autoclosure () -> String) throws(ConformanceFailure) {
    guard condition else { throw ConformanceFailure(what()) }
}

/// Throws unless both are equal.
func requireEqual<Value: Equatable>(
    _ found: Value,
    _ expected: Value,
    _ what: @autoclosure () -> String
) throws(ConformanceFailure) {
    guard found == expected else { throw ConformanceFailure("\(what()): \(found) instead of \(expected)") }
}
