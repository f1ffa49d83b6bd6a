import ArgumentParser
import CdcCore
import Logging
import Operations
import Pipeline
import Settings
import Sinks

/// Looks at source and target as a start would, and changes nothing.
struct ValidateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate",
        abstract: "Check settings, source and target, and show what a start would do; change nothing.",
        discussion: """
            Shows the plan for each table: key, columns with their types at the target, what is missing there, and whatever \
            could lose or refuse data. Exits with the code with which the daemon would end, 0 if it would start.
            """
    )

    @OptionGroup var options: SettingsOptions

    @Flag(help: "Print JSON.")
    var json = false

    func run() async throws {
        let settings = try options.load()
        guard let type = SinkRegistry.type(named: settings.sink.type) else { throw ExitStatus.configuration.exit }
        let config = PipelineConfig(
            settings,
            capabilities: type.capabilities,
            logger: Logger(label: "validate") { _ in SwiftLogNoOpLogHandler() }
        )
        let sink: any Sink
        do throws(SinkError) { sink = try createSink(settings.sink) } catch {
            Terminal.error(error.description)
            throw ExitStatus.configuration.exit
        }
        let report = await Validation(config, sink: sink).run()
        Terminal.out(json ? StatusJSON.encode(report) : ValidationText(report, notices: settings.notices).text)
        guard report.isGood else { throw ArgumentParser.ExitCode(report.exitCode) }
    }
}

/// A report for people.
private struct ValidationText {
    let report: ValidationReport
    let notices: [String]

    init(_ report: ValidationReport, notices: [String]) {
        self.report = report
        self.notices = notices
    }

    var text: String {
        var lines = [
            "source    \(report.source ?? "not reached")"
                + (report.sourceVersion.map { ", PostgreSQL \($0 / 10000).\($0 % 10000)" } ?? ""),
            "target    \(report.sink), deletes are \(report.deleteMode)",
            "pipeline  \(report.pipeline ?? "-")",
            "start     \(report.plan ?? "not possible")",
        ]
        lines += report.sourceStatements.map { "          runs at the source: \($0)" }
        if !report.leftOut.isEmpty {
            lines.append("left out  \(report.leftOut.joined(separator: ", ")) (published, not in SOURCE_TABLES)")
        }
        for table in report.tables { lines += [""] + describe(table) }
        lines.append("")
        lines += (notices + report.warnings).map { Terminal.coloured("warning: ", .yellow) + $0 }
        lines += report.errors.map { Terminal.coloured("error: ", .red) + $0 }
        lines.append(
            report.isGood
                ? Terminal.coloured("The daemon would start.", .green)
                : Terminal.coloured("The daemon would not start.", .red)
        )
        return lines.joined(separator: "\n") + "\n"
    }

    private func describe(_ table: ValidationReport.Table) -> [String] {
        let key = table.key.isEmpty ? "no key" : "key (\(table.key.joined(separator: ", ")))"
        var lines = [
            "\(Terminal.coloured(table.table, .bold)) -> \(table.sinkTable): \(key), replica identity \(table.replicaIdentity)"
        ]
        let width = table.columns.map(\.name.count).max() ?? 0
        lines += table.columns.map { column in
            let padding = String(repeating: " ", count: width - column.name.count)
            return "  \(column.name)\(padding)  \(column.type)\(column.sinkType.map { " -> \($0)" } ?? "")"
        }
        lines += table.statements.map { "  will run: \($0);" }
        lines += table.warnings.map { "  \(Terminal.coloured("warning:", .yellow)) \($0)" }
        lines += table.problems.map { "  \(Terminal.coloured("error:", .red)) \($0)" }
        return lines
    }
}
