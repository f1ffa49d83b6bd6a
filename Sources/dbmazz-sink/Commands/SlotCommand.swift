import ArgumentParser
import CdcCore
import Operations
import Pipeline
import PostgresSource
import Settings

/// Looks at the permanent slot, or drops it.
struct SlotCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "slot",
        abstract: "Show or drop the replication slot.",
        subcommands: [Show.self, Drop.self],
        defaultSubcommand: Show.self
    )

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show",
            abstract: "Show where the slot is and how much WAL it keeps (the default)."
        )

        @OptionGroup var options: SettingsOptions

        @Flag(help: "Print JSON.")
        var json = false

        func run() throws {
            let settings = try options.load()
            let slot = try SlotAdministration.run(settings) { (slots) throws(SourceError) in try slots.show() }
            guard let slot else {
                Terminal.error("slot \(settings.source.slotName) does not exist")
                throw ExitStatus.slotLost.exit
            }
            Terminal.out(json ? StatusJSON.encode(slot) : text(slot))
        }

        private func text(_ slot: SlotDescription) -> String {
            """
            slot             \(slot.name)
            read by          \(slot.reader ?? "nobody")
            acknowledged     \(slot.confirmedFlush ?? "-")
            source's WAL     \(slot.walEnd)
            wal_status       \(slot.walStatus ?? "-")
            WAL kept         \(slot.retainedBytes >> 20) MiB
            WAL to spare     \(spare(slot))
            spilled          \(slot.spilledTransactions) transactions, \(slot.spilledBytes >> 20) MiB
            invalidated      \(slot.invalidationReason ?? (slot.walStatus == "lost" ? "yes" : "no"))

            """
        }

        private func spare(_ slot: SlotDescription) -> String {
            if slot.walStatus == "lost" { return "none: the slot is lost" }
            return slot.safeBytes.map { "\($0 >> 20) MiB" } ?? "no limit (max_slot_wal_keep_size)"
        }
    }

    struct Drop: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "drop",
            abstract: "Drop the slot: what it has not delivered is lost.",
            discussion:
                "Only with --yes, and only while nobody reads the slot. The target has to be copied anew afterwards."
        )

        @OptionGroup var options: SettingsOptions

        @Flag(help: "Really drop it.")
        var yes = false

        func run() throws {
            let settings = try options.load()
            let name = settings.source.slotName
            guard yes else {
                Terminal.error(
                    "dropping slot \(name) loses every change that the target does not have yet; say --yes to do it"
                )
                throw ExitStatus.configuration.exit
            }
            try SlotAdministration.run(settings) { (slots) throws(SourceError) in try slots.drop() }
            Terminal.error("slot \(name) is dropped")
        }
    }
}

extension SlotAdministration {
    /// Connects and runs; an error goes to standard error and ends the command with its code.
    fileprivate static func run<Value>(
        _ settings: DaemonSettings,
        _ body: (SlotAdministration) throws(SourceError) -> Value
    ) throws -> Value {
        do throws(SourceError) {
            return try body(try SlotAdministration(settings.source))
        } catch {
            Terminal.error(error.description)
            throw PipelineFailure(error).code.exit
        }
    }
}
