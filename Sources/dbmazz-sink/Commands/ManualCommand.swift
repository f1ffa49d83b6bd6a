import ArgumentParser
import Pipeline
import Settings

/// Prints the man page, from the same source as `--help` and `env.example`.
struct ManualCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "manual",
        abstract: "Print the man page in roff: dbmazz-sink manual | man -l -"
    )

    func run() throws { Terminal.out(Manual.text) }
}

/// The man page, in the macros of man(7).
enum Manual {
    static var text: String {
        [
            ".TH DBMAZZ-SINK 1 \"\" \"dbmazz-sink \(Version.text)\"",
            ".SH NAME\ndbmazz-sink \\- carry every change of a PostgreSQL database into another store",
            ".SH SYNOPSIS\n.B dbmazz-sink\n[\\fICOMMAND\\fR] [\\fIOPTIONS\\fR]",
            ".SH DESCRIPTION",
            paragraphs(DbmazzSink.configuration.discussion),
            ".SH COMMANDS",
            DbmazzSink.configuration.subcommands.map(command).joined(separator: "\n"),
            ".SH ENVIRONMENT",
            Variable.all.map(variable).joined(separator: "\n"),
            ".SH EXIT STATUS",
            ExitStatus.allCases.map { ".TP\n.B \($0.rawValue)\n\(escape($0.meaning))" }.joined(separator: "\n"),
            ".SH SIGNALS",
            ".TP\n.B SIGTERM, SIGINT\nStop in order, within SINK_SHUTDOWN_TIMEOUT_MS.",
            ".TP\n.B SIGHUP\nRead \\-\\-env\\-file again: log level and limits.",
            ".SH SEE ALSO\n.BR systemctl (1),\n.BR psql (1)",
        ]
        .joined(separator: "\n") + "\n"
    }

    private static func command(_ type: any ParsableCommand.Type) -> String {
        let help = DbmazzSink.helpMessage(for: type, columns: 72)
        return ".SS \(escape(type.configuration.commandName ?? "\(type)"))\n.nf\n\(escape(help))\n.fi"
    }

    private static func variable(_ variable: Variable) -> String {
        let secret = variable.isSecret ? " Also as \(variable.fileVariableName) or a systemd credential." : ""
        return ".TP\n.B \(escape(variable.name))\n"
            + escape("\(variable.meaning) Allowed: \(variable.allowed). Default: \(variable.defaultText).\(secret)")
    }

    private static func paragraphs(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: true).map { line in
            line.hasPrefix("  ") ? ".PP\n.nf\n\(escape(String(line)))\n.fi\n.PP" : escape(String(line))
        }
        .joined(separator: "\n")
    }

    /// What roff would take for its own.
    private static func escape(_ text: String) -> String {
        text.replacing("\\", with: "\\e").replacing("-", with: "\\-").split(
            separator: "\n",
            omittingEmptySubsequences: false
        )
        .map { $0.hasPrefix(".") || $0.hasPrefix("'") ? "\\&" + $0 : String($0) }.joined(separator: "\n")
    }
}

extension ExitStatus {
    /// One sentence for people.
    var meaning: String {
        switch self {
        case .success: "Stopped as asked, or SOURCE_SNAPSHOT=only is done."
        case .internalError: "A defect of the daemon."
        case .configuration: "A setting, a privilege or a server's setting has to change; the message names it."
        case .gap: "The slot has moved on past the target's position: copy anew."
        case .slotLost: "The slot is gone or invalidated: copy anew."
        case .foreignSystem: "The target's content comes from another system, slot or timeline."
        case .schemaMismatch: "Source and target differ; the message has the statement that is missing."
        case .sinkRefused: "The target refuses rows for good."
        case .retriesExhausted: "SINK_MAX_RETRIES were not enough."
        case .outputClosed: "Nobody reads standard output any more."
        case .protocolViolation: "What the source sent does not follow the protocol."
        case .slotInUse: "Another daemon runs the pipeline, and SINK_STANDBY=refuse."
        }
    }
}
