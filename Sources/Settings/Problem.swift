/// One mistake in the configuration.
public struct Problem: Error, Sendable, Hashable {
    /// How the operator may mend it.
    public enum Suggestion: Sendable, Hashable {
        /// A value that would be right.
        case example(String)
        /// What was probably meant.
        case meant(String)
        /// What to do, as an imperative.
        case advice(String)
    }

    /// The variable, or the file and line where there is none.
    public var variable: String
    /// The value as given; `***` for secrets, nil where the value is not the point.
    public var value: String?
    /// File and line of the value, where it comes from an env-file.
    public var place: String?
    /// What is wrong, as the end of a sentence that the variable begins.
    public var message: String
    /// What is allowed.
    public var allowed: String?
    /// How to mend it.
    public var suggestion: Suggestion?

    /// Makes a problem.
    public init(
        _ variable: String,
        value: String? = nil,
        place: String? = nil,
        _ message: String,
        allowed: String? = nil,
        suggestion: Suggestion? = nil
    ) {
        self.variable = variable
        self.value = value
        self.place = place
        self.message = message
        self.allowed = allowed
        self.suggestion = suggestion
    }
}

extension Problem: CustomStringConvertible {
    /// One line: variable, value, place, what is wrong, what is allowed, what was probably meant.
    public var description: String {
        let subject = variable + (value.map { "=" + Printable.quoted($0) } ?? "") + (place.map { " (\($0))" } ?? "")
        let remedies = [allowed.map { "write \($0)" }, suggestion.map(text)].compactMap(\.self)
        return "\(subject) \(message)" + (remedies.isEmpty ? "" : ": " + remedies.joined())
    }

    private func text(of suggestion: Suggestion) -> String {
        switch suggestion {
        case .example(let example): (allowed == nil ? "write " : ", for example ") + Printable.plain(example)
        case .meant(let meant): (allowed == nil ? "" : "; ") + "did you mean \(Printable.plain(meant))?"
        case .advice(let advice): (allowed == nil ? "" : "; ") + advice
        }
    }
}

/// Everything that is wrong with the configuration, so that one start is enough to find it all.
public struct SettingsProblems: Error, Sendable, Hashable, CustomStringConvertible {
    /// The problems, in the order of the table of variables, then names that are not variables.
    public var problems: [Problem]

    /// Makes an error.
    public init(_ problems: [Problem]) {
        self.problems = problems
    }

    /// A heading, then one line a problem.
    public var description: String {
        let heading = problems.count == 1 ? "1 problem" : "\(problems.count) problems"
        return "\(heading) in the configuration:" + problems.map { "\n  \($0)" }.joined()
    }
}
