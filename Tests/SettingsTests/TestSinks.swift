import CdcCore

@testable import Settings

/// Sinks as the tests need them, so that messages and defaults do not change with a real sink's figures.
enum TestSinks {
    static let all = [plain, SinkChoice(name: "stdout", capabilities: capabilities()), bulk]

    /// As small and quick as SQLite.
    static let plain = SinkChoice(name: "sqlite", capabilities: capabilities()) { (config) throws(SinkError) in
        guard config.port == nil else {
            throw SinkError(
                .configuration,
                operation: "read settings",
                cause: "sqlite has no SINK_PORT: remove it",
                remedy: "see the sink's README for its variables"
            )
        }
    }

    /// One that wants large batches.
    static let bulk = SinkChoice(
        name: "bulk",
        capabilities: capabilities(rows: 500_000, bytes: 64 << 20, interval: .seconds(5), audit: true, minimum: 1000)
    )

    private static func capabilities(
        rows: Int = 10_000,
        bytes: Int = 4 << 20,
        interval: Duration = .zero,
        audit: Bool = false,
        minimum: Int? = nil
    ) -> SinkCapabilities {
        SinkCapabilities(
            supportsUpsert: true,
            supportsDelete: true,
            supportsTransactions: true,
            loadingModel: .streaming,
            minBatchSize: minimum,
            maxBatchSize: rows,
            maxBatchBytes: bytes,
            optimalFlushInterval: interval,
            storesPosition: true,
            addsAuditColumns: audit
        )
    }
}

/// Loads with a SOURCE_URL that is right, unless the variables say otherwise.
func load(_ variables: [String: String], envFile: String? = nil) throws(SettingsProblems) -> DaemonSettings {
    let base = ["SOURCE_URL": "postgres://replicator@db:5432/shop"]
    return try DaemonSettings.load(
        environment: base.merging(variables) { $1 },
        envFile: envFile,
        sinks: TestSinks.all
    )
}

/// The whole error text, or nil if the configuration is right.
func problems(_ variables: [String: String], envFile: String? = nil) -> String? {
    do throws(SettingsProblems) {
        _ = try load(variables, envFile: envFile)
        return nil
    } catch {
        return error.description
    }
}

/// The error's lines without the heading.
func problemLines(_ variables: [String: String], envFile: String? = nil) -> [String] {
    let lines = problems(variables, envFile: envFile)?.split(separator: "\n").dropFirst() ?? []
    return lines.map { String($0.dropFirst(2)) }
}
