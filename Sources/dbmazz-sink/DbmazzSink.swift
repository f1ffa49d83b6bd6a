import ArgumentParser
import CLinux
import Glibc

/// The command line: settings come from the environment, commands say what to do with them.
@main
struct DbmazzSink: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dbmazz-sink",
        abstract: "Carries every change of a PostgreSQL database into another store.",
        discussion: """
            Configured by environment variables; `dbmazz-sink config` lists them, env.example explains each. Only SOURCE_URL \
            is required:

              SOURCE_URL=postgres://user@host:5432/database dbmazz-sink
              dbmazz-sink --env-file shop.env

            Without a command the daemon runs. Exit codes: 0 stopped as asked, 1 defect, 2 configuration, 3 gap, 4 lost slot, \
            5 foreign system, 6 schema mismatch, 7 sink refuses rows, 8 retries exhausted, 9 output closed, 10 protocol \
            violation, 11 slot in use. 64 wrong command line.
            """,
        version: Version.text,
        subcommands: [
            RunCommand.self, ValidateCommand.self, StatusCommand.self, HealthCommand.self, SlotCommand.self,
            DeadLetterCommand.self,
            ConfigCommand.self, ManualCommand.self,
        ],
        defaultSubcommand: RunCommand.self
    )

    static func main() async {
        linux_return_freed_memory_early()
        signal(SIGPIPE, SIG_IGN)
        await main(nil)
    }
}

/// What every command that reads settings takes.
struct SettingsOptions: ParsableArguments {
    @Option(
        name: .customLong("env-file"),
        help: ArgumentHelp("A file of KEY=VALUE lines; the environment overrides it.", valueName: "file"),
        completion: .file()
    )
    var envFile: String?
}
