import ArgumentParser
import CoreMetrics
import Glibc
import Logging
import Operations
import Settings

/// Runs the daemon: what happens without a command.
struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Run the daemon (the default).",
        discussion: """
            SIGTERM and SIGINT stop it in order. SIGHUP reads --env-file again and takes over the log level and limits; where \
            standard input is a terminal it stops the daemon, because the terminal is gone.
            """
    )

    @OptionGroup var options: SettingsOptions

    func run() async throws {
        let environment = ProcessEnvironment.current()
        let settings = try options.load(environment)
        ProcessEnvironment.removeSecrets()
        let isJournal = JournalLogHandler.isStandardError
        let journal: JournalFactory = { JournalLogHandler(level: $0, metadataProvider: $1) }
        let level = bootstrapLogging(
            level: settings.logLevel,
            format: settings.logFormat,
            journal: isJournal ? journal : nil
        )
        let registry = PrometheusRegistry()
        MetricsSystem.bootstrap(registry)
        let reload = Reload(environment: environment, envFile: options.envFile, level: level)
        defer { if isJournal { JournalLogHandler.drain() } }
        try await Daemon(settings, registry: registry, reload: reload).run()
    }
}
