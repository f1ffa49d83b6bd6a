import CdcCore

/// Turns texts into values, variable by variable, and gathers what is wrong.
///
/// Every method gives a value even where the given one is wrong, so that reading goes on and finds all mistakes; what
/// was read counts only if ``problems`` is empty in the end.
struct ValueReader {
    private let inputs: Inputs
    let sinks: [SinkChoice]
    private(set) var problems: [Problem] = []
    private(set) var resolved: [ResolvedVariable] = []

    init(_ inputs: Inputs, sinks: [SinkChoice]) {
        self.inputs = inputs
        self.sinks = sinks
    }

    // MARK: Kinds

    mutating func wholeNumber(_ variable: Variable, for capabilities: SinkCapabilities? = nil) -> Int? {
        guard case .wholeNumber(let range, let unit, let special) = variable.kind else { return nil }
        let example = variable.example
        return read(variable, for: capabilities) { (text) throws(ValueMistake) in
            try WholeNumber.parse(text, in: range, unit: unit, special: special, example: example)
        } ?? nil
    }

    mutating func milliseconds(_ variable: Variable, for capabilities: SinkCapabilities? = nil) -> Duration {
        .milliseconds(wholeNumber(variable, for: capabilities) ?? 0)
    }

    mutating func choice(_ variable: Variable, for capabilities: SinkCapabilities? = nil) -> String? {
        guard case .choice(let words, let aliases) = variable.kind else { return nil }
        return read(variable, for: capabilities) { (text) throws(ValueMistake) in
            try Choice.parse(text, words: words, aliases: aliases)
        }
    }

    /// The address; nil for `off`.
    mutating func listenAddress(_ variable: Variable) -> HTTPAddress? {
        read(variable) { (text) throws(ValueMistake) in try HTTPAddress.parse(text) } ?? nil
    }

    mutating func text(_ variable: Variable) -> String? {
        let kind = variable.kind
        return read(variable) { (text) throws(ValueMistake) in
            switch kind {
            case .text(let maxBytes): try PlainText.check(text, maxBytes: maxBytes)
            case .slotName: try SlotName.check(text)
            case .tableNameTemplate: try TableNameTemplate.check(text)
            case .sourceURL: try SourceURLShape.check(text)
            default: break
            }
            return text
        }
    }

    mutating func secret(_ variable: Variable) -> Secret? {
        text(variable).map(Secret.init)
    }

    mutating func sink() -> SinkChoice? {
        let sinks = sinks
        return read(.sinkType) { (text) throws(ValueMistake) in
            let name = try Choice.parse(text, words: sinks.map(\.name), aliases: [:])
            return sinks.first { $0.name == name }
        } ?? nil
    }

    mutating func tablePatterns() -> [TablePattern] {
        guard let given = take(.sourceTables) else { return [] }
        let list = TablePatternList(given.text)
        for mistake in list.mistakes { report(mistake, in: .sourceTables, given) }
        return list.patterns
    }

    // MARK: What is given, what counts

    func isSet(_ variable: Variable) -> Bool {
        inputs.value(of: variable) != nil
    }

    /// Reports that a value does not go together with another variable's.
    mutating func contradiction(in variable: Variable, _ message: String, _ advice: String) {
        guard let given = inputs.value(of: variable) else { return }
        report(ValueMistake(message: message, suggestion: .advice(advice), showsAllowed: false), in: variable, given)
    }

    /// Replaces a default by what the other settings make of it.
    mutating func adjust(_ variable: Variable, to value: String) {
        guard let index = resolved.firstIndex(where: { $0.name == variable.name }) else { return }
        resolved[index].value = value
    }

    private mutating func read<Value>(
        _ variable: Variable,
        for capabilities: SinkCapabilities? = nil,
        _ parse: (String) throws(ValueMistake) -> Value
    ) -> Value? {
        guard let given = take(variable, for: capabilities) else { return nil }
        do throws(ValueMistake) {
            try Self.checkText(given.text, of: variable)
            return try parse(given.text)
        } catch {
            report(error, in: variable, given)
            return nil
        }
    }

    /// The text that counts, from the operator or from the table; notes it as resolved.
    private mutating func take(_ variable: Variable, for capabilities: SinkCapabilities? = nil) -> Inputs.Value? {
        if let given = inputs.value(of: variable) {
            note(variable, variable.isSecret ? "***" : given.text, given.origin)
            return given
        }
        switch variable.fallback {
        case .required:
            note(variable, nil, .default)
            guard !inputs.unreadable.contains(variable.name) else { return nil }
            problems.append(
                Problem(
                    variable.name,
                    "is not set",
                    allowed: variable.allowed(sinks: sinks),
                    suggestion: .example(variable.example)
                )
            )
        case .none: note(variable, nil, .default)
        case .computed(let text): note(variable, text, .default)
        case .value(let text): return fallback(variable, text)
        case .sink(let setting):
            guard let capabilities else { return nil }
            return fallback(variable, setting.value(for: capabilities))
        }
        return nil
    }

    private mutating func fallback(_ variable: Variable, _ text: String) -> Inputs.Value {
        note(variable, text, .default)
        return Inputs.Value(text: text, origin: .default)
    }

    private mutating func note(_ variable: Variable, _ value: String?, _ origin: Origin) {
        resolved.append(
            ResolvedVariable(name: variable.name, value: value, isSecret: variable.isSecret, origin: origin)
        )
    }

    private static func checkText(_ text: String, of variable: Variable) throws(ValueMistake) {
        // Bytes that are not UTF-8 arrive as this scalar; a name or password with it would be a wrong one.
        guard !text.unicodeScalars.contains("\u{FFFD}") else {
            throw ValueMistake(message: "is not UTF-8 text", showsAllowed: false)
        }
        guard variable.takesNoQuotes, let first = text.first, first == "\"" || first == "'" else { return }
        throw ValueMistake(
            message: "has a quotation mark around it",
            suggestion: .advice("leave it out (docker's --env-file passes quotation marks on)"),
            showsAllowed: false
        )
    }

    private mutating func report(_ mistake: ValueMistake, in variable: Variable, _ given: Inputs.Value) {
        var place: String?
        if case .envFile(let path, let line) = given.origin { place = "\(path):\(line)" }
        problems.append(
            Problem(
                variable.name,
                value: variable.isSecret ? "***" : given.text,
                place: place,
                mistake.message,
                allowed: mistake.showsAllowed ? variable.allowed(sinks: sinks) : nil,
                suggestion: mistake.suggestion
            )
        )
    }
}

extension Variable {
    /// Whether a quotation mark at the front can only be one too many.
    fileprivate var takesNoQuotes: Bool {
        switch kind {
        case .password, .tablePatterns, .text: false
        default: true
        }
    }
}
