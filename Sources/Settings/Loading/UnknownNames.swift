/// Names that were certainly meant for this program and that it does not know.
enum UnknownNames {
    private static let known = Set(Variable.all.map(\.name))
    private static let knownFiles = Set(Variable.all.filter(\.isSecret).map(\.fileVariableName))

    /// What is wrong with the name, or nil if it is ours or nobody's business.
    static func problem(with name: String, place: String?) -> Problem? {
        guard !known.contains(name), !knownFiles.contains(name) else { return nil }
        let upper = name.uppercased()
        // DBMAZZ_TEST_… and DBMAZZ_FAILPOINT are the test suite's own.
        let isTest = name.hasPrefix("DBMAZZ_TEST_") || name == "DBMAZZ_FAILPOINT" || name == "DBMAZZ_WRITE_ENV_EXAMPLE"
        let isOurs = name.hasPrefix("SOURCE_") || name.hasPrefix("SINK_") || (name.hasPrefix("DBMAZZ_") && !isTest)
        // sink_type is a mistake; source_dir is somebody else's.
        guard isOurs || known.contains(upper) || knownFiles.contains(upper) else { return nil }
        return Problem(
            name,
            place: place,
            "is not a variable of dbmazz-sink",
            suggestion: suggestion(for: name, upper: upper)
        )
    }

    private static func suggestion(for name: String, upper: String) -> Problem.Suggestion {
        if name.hasSuffix("_FILE"), known.contains(String(name.dropLast(5))) {
            let names = Variable.all.filter(\.isSecret).map(\.name)
            return .advice(
                "only \(names.dropLast().joined(separator: ", ")) and \(names.last ?? "") can come from a file"
            )
        }
        let candidates = Variable.all.flatMap { $0.isSecret ? [$0.name, $0.fileVariableName] : [$0.name] }
        guard let nearest = EditDistance.nearest(to: upper, in: candidates) else {
            return .advice("see env.example for all there are")
        }
        return .meant(nearest)
    }
}
