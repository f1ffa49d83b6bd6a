internal import CdcCore

/// What is wrong with one table at the target, and what to do.
struct TableDifference {
    let table: TableRef
    let cause: String
    let remedy: String
}

extension TableDifference {
    /// Two tables of the source want one name.
    static func sharedName(_ table: TableSchema, with other: TableRef) -> TableDifference {
        TableDifference(
            table: table.ref,
            cause: "\(other) has the name \"\(table.sinkName)\" at the sink, too",
            remedy: "set SINK_TABLE_NAME, for example to {schema}_{table}"
        )
    }

    /// A column that has a name of the sink's own.
    static func reserved(_ column: String, of table: TableSchema) -> TableDifference {
        TableDifference(
            table: table.ref,
            cause: "column \"\(column)\" has a name that the sink needs",
            remedy: "leave it out of the publication"
        )
    }

    /// A table that was copied under another name.
    static func renamed(_ table: TableSchema, from old: String, remedy: String) -> TableDifference {
        TableDifference(
            table: table.ref,
            cause: "it was copied to table \"\(old)\", and is now to be \"\(table.sinkName)\"",
            remedy: remedy
        )
    }

    /// A table that was copied and is not there; `forget` is the statement that has it copied again.
    static func lost(_ table: TableSchema, forget: String) -> TableDifference {
        TableDifference(
            table: table.ref,
            cause: "table \"\(table.sinkName)\", which was copied, is gone",
            remedy: "to copy it again: \(forget)"
        )
    }

    /// A table that another pipeline writes; `settings` are those that would give it another place.
    static func owned(_ table: TableSchema, by owner: String, settings: String) -> TableDifference {
        TableDifference(
            table: table.ref,
            cause: "table \"\(table.sinkName)\" belongs to pipeline \"\(owner)\"",
            remedy: "set \(settings) to another one"
        )
    }

    /// A table that somebody else filled.
    static func foreign(_ table: TableSchema) -> TableDifference {
        TableDifference(
            table: table.ref,
            cause: "table \"\(table.sinkName)\" has rows that this pipeline did not write",
            remedy: "rename or empty it, or set SINK_TABLE_NAME"
        )
    }
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
