import CdcCore

extension Variable {
    /// Which values are allowed, as in ``write 1 to 1000000``.
    public var allowed: String { allowed(sinks: SinkChoice.registered) }

    func allowed(sinks: [SinkChoice]) -> String {
        switch kind {
        case .sourceURL: "a libpq URI (postgres://USER@HOST:PORT/DATABASE) or conninfo (host=HOST dbname=DATABASE)"
        case .text(let maxBytes): "1 to \(maxBytes) bytes without control characters"
        case .password: "any text"
        case .slotName: "1 to 63 of a-z, 0-9 and _"
        case .tablePatterns: "a comma list of SCHEMA.TABLE, where * stands for any characters"
        case .tableNameTemplate: "text with {table} and, where wanted, {schema}"
        case .listenAddress: "HOST:PORT or off"
        case .choice(let words, _): words.joinedAsChoice
        case .sink: sinks.map(\.name).joinedAsChoice
        case .wholeNumber(let range, _, let special):
            (special.map { "\($0.text) (\($0.meaning)) or " } ?? "") + "\(range.lowerBound) to \(range.upperBound)"
        }
    }

    /// The default in words, with every sink's own where they differ.
    public var defaultText: String { defaultText(sinks: SinkChoice.registered) }

    func defaultText(sinks: [SinkChoice]) -> String {
        switch fallback {
        case .required: "none, it must be set"
        case .none: "none"
        case .value(let text), .computed(let text): text
        case .sink(let setting): Self.text(of: setting, sinks: sinks)
        }
    }

    private static func text(of setting: SinkDefault, sinks: [SinkChoice]) -> String {
        let values = sinks.map { setting.value(for: $0.capabilities) }
        if let first = values.first, values.allSatisfy({ $0 == first }) { return first }
        return zip(sinks, values).map { "\($0.name) \($1)" }.joined(separator: ", ")
    }
}

extension Variable.SinkDefault {
    /// The default that suits a sink of the given capabilities, as it would be written.
    func value(for capabilities: SinkCapabilities) -> String {
        switch self {
        case .batchSize: String(capabilities.maxBatchSize)
        case .batchBytes: String(capabilities.maxBatchBytes)
        case .flushInterval: String(capabilities.optimalFlushInterval.wholeMilliseconds)
        case .auditColumns: String(capabilities.addsAuditColumns)
        }
    }
}

extension Duration {
    var wholeMilliseconds: Int64 {
        components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
    }
}

extension [String] {
    /// The words as in `a, b or c`.
    var joinedAsChoice: String {
        guard let last, count > 1 else { return first ?? "" }
        return dropLast().joined(separator: ", ") + " or " + last
    }
}
