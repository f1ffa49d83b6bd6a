import ArgumentParser
import Operations
import Pipeline
import Settings

/// Lists every variable with its value and where that comes from.
struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config",
        abstract: "List every variable, its value, its origin and its default.",
        discussion: "Secrets are shown as ***. Exits with 2 if something is wrong; connects to nothing."
    )

    @OptionGroup var options: SettingsOptions

    @Flag(help: "Print JSON.")
    var json = false

    private struct Entry: Encodable {
        var name: String
        var value: String?
        var origin: String
        var `default`: String
        var allowed: String
        var meaning: String
    }

    func run() throws {
        let settings = try options.load()
        for notice in settings.notices { Terminal.error("warning: \(notice)") }
        let entries = settings.resolved.compactMap { resolved -> Entry? in
            guard let variable = Variable.all.first(where: { $0.name == resolved.name }) else { return nil }
            return Entry(
                name: resolved.name,
                value: resolved.value,
                origin: resolved.origin.description,
                default: variable.defaultText,
                allowed: variable.allowed,
                meaning: variable.meaning
            )
        }
        if json { return Terminal.out(StatusJSON.encode(entries)) }
        let width = entries.map(\.name.count).max() ?? 0
        for entry in entries {
            let name = entry.name + String(repeating: " ", count: width - entry.name.count)
            let isChosen = entry.origin != "default"
            let origin = isChosen ? "\(entry.origin); default: \(entry.default)" : "default"
            Terminal.out("\(isChosen ? Terminal.coloured(name, .bold) : name)  \(entry.value ?? "-")  (\(origin))\n")
        }
    }
}
