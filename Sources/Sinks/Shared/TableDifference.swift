internal import CdcCore

/// What is wrong with one table at the target, and what to do.
struct TableDifference {
    let table: TableRef
    let cause: String
    let remedy: String
}

extension [TableDifference] {
    /// Everything that differs, in one error; nil if nothing does.
    func error(_ kind: SinkError.Kind) -> SinkError? {
        guard let first else { return nil }
        let isOne = allSatisfy { $0.table == first.table }
        let causes = map { isOne ? $0.cause : "\($0.table): \($0.cause)" }
        var remedies: [String] = []
        for difference in self where !remedies.contains(difference.remedy) { remedies.append(difference.remedy) }
        return SinkError(
            kind,
            operation: "set up sink",
            table: isOne ? first.table : nil,
            cause: causes.joined(separator: "; "),
            remedy: remedies.joined(separator: " ")
        )
    }
}

extension PipelineIdentity {
    /// Refuses a target that has the pipeline's state of another source system.
    ///
    /// - Parameters:
    ///   - known: the system identifier that the target has; nil for none.
    ///   - place: where, as in `at db:5432/copy`.
    /// - Throws: ``SinkError`` of kind configuration.
    func requireSystem(_ known: String?, _ place: String) throws(SinkError) {
        guard let known, known != source.systemIdentifier else { return }
        throw SinkError(
            .configuration,
            operation: "set up sink",
            cause: "pipeline \"\(name)\" \(place) belongs to the source system \(known), not to "
                + source.systemIdentifier,
            remedy: "set SINK_PIPELINE or SINK_URL to another one"
        )
    }
}
