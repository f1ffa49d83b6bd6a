import ArgumentParser
import CLinux
import CdcCore
import Glibc
import Logging
import Pipeline
import PostgresSource
import ServiceLifecycle
import Settings
import Sinks

/// The command line: everything but the file of variables comes from the environment.
@main
struct DbmazzSink: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dbmazz-sink",
        abstract: "Carries every change of a PostgreSQL database into another store.",
        discussion: """
            Configured by environment variables alone; env.example lists each with its default. Only SOURCE_URL is required:

              SOURCE_URL=postgres://user@host:5432/database dbmazz-sink

            Exit codes: 0 stopped as asked, 1 defect, 2 configuration, 3 gap, 4 lost slot, 5 foreign system,
            6 schema mismatch, 7 sink refuses rows, 8 retries exhausted, 9 output closed, 10 protocol violation.
            """,
        version: Version.text
    )

    @Option(name: .customLong("env-file"), help: "A file of KEY=VALUE lines; the environment overrides it.")
    var envFile: String?

    func run() async throws {
        linux_return_freed_memory_early()
        signal(SIGPIPE, SIG_IGN)
        let settings: DaemonSettings
        do throws(SettingsProblems) {
            settings = try DaemonSettings.load(environment: ProcessEnvironment.current(), envFile: envFile)
        } catch {
            standardError(error.description)
            throw ArgumentParser.ExitCode(ExitStatus.configuration.rawValue)
        }
        ProcessEnvironment.removeSecrets()
        bootstrapLogging(level: settings.logLevel, format: settings.logFormat)
        try await Daemon(settings).run()
    }

    private func standardError(_ text: String) {
        var line = text + "\n"
        line.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
