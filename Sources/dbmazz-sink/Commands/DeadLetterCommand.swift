import ArgumentParser
import CdcCore
import Glibc
import Logging
import Operations
import Pipeline
import Settings
import Sinks

/// Looks at dead letters, or replays them.
struct DeadLetterCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dlq",
        abstract: "Show or replay dead letters: changes that the target refused.",
        discussion: "Letters are made with SINK_ON_ERROR=dead-letter and kept in SINK_DEAD_LETTER_URL.",
        subcommands: [List.self, Show.self, Replay.self],
        defaultSubcommand: List.self
    )

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list",
            abstract: "List dead letters with their causes (the default)."
        )

        @OptionGroup var options: SettingsOptions

        @Flag(help: "Print JSON.")
        var json = false

        func run() async throws {
            let book = try await options.book()
            let entries = book.letters.map { DeadLetterEntry($0, book.state(of: $0)) }
            Terminal.out(json ? StatusJSON.encode(entries) : DeadLetterEntry.table(entries))
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show",
            abstract: "Show everything of a dead letter, values too."
        )

        @OptionGroup var options: SettingsOptions

        @Argument(help: ArgumentHelp("Its number in the list.", valueName: "number"))
        var number: Int

        func run() async throws {
            let book = try await options.book()
            guard let letter = book.letters.first(where: { $0.number == number }) else {
                Terminal.error("there is no dead letter \(number); see dbmazz-sink dlq list")
                throw ExitStatus.configuration.exit
            }
            Terminal.out(DeadLetterText(letter, book.state(of: letter)).text)
        }
    }

    struct Replay: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "replay",
            abstract: "Write dead letters into the target, once what refused them is mended.",
            discussion: """
                In the order in which the changes happened at the source, and only while no daemon runs the pipeline. Stops at \
                the first that is still refused; those before it are written, and not written again by the next replay.
                """
        )

        @OptionGroup var options: SettingsOptions

        @Argument(help: ArgumentHelp("Numbers from the list.", valueName: "number"))
        var numbers: [Int] = []

        @Flag(help: "All that are pending.")
        var all = false

        @Option(help: ArgumentHelp("Only letters of this table.", valueName: "schema.table"))
        var table: String?

        func validate() throws {
            guard all == numbers.isEmpty else {
                throw ValidationError("name the numbers of dead letters, or say --all")
            }
        }

        func run() async throws {
            let administration = try options.deadLetters()
            do throws(PipelineFailure) {
                let count = try await administration.replay(all ? nil : numbers, table: table) { letter in
                    Terminal.error("dead letter \(letter.number) of \(letter.table) is in the target")
                }
                Terminal.error(count == 0 ? "nothing to replay" : "\(count) replayed")
            } catch {
                Terminal.error(error.description)
                throw error.code.exit
            }
        }
    }
}

extension SettingsOptions {
    fileprivate func deadLetters() throws -> DeadLetterAdministration {
        let settings = try load()
        guard let type = SinkRegistry.type(named: settings.sink.type) else { throw ExitStatus.configuration.exit }
        let config = PipelineConfig(
            settings,
            capabilities: type.capabilities,
            logger: Logger(label: "dlq") { _ in SwiftLogNoOpLogHandler() }
        )
        do throws(SinkError) {
            return DeadLetterAdministration(config, sink: try createSink(settings.sink))
        } catch {
            Terminal.error(error.description)
            throw ExitStatus.configuration.exit
        }
    }

    fileprivate func book() async throws -> DeadLetterBook {
        let administration = try deadLetters()
        do throws(PipelineFailure) { return try await administration.book() } catch {
            Terminal.error(error.description)
            throw error.code.exit
        }
    }
}

/// A letter in the list: no values but the key's.
private struct DeadLetterEntry: Codable, Sendable {
    var number: Int
    var table: String
    var kind: String
    var key: String
    var commitLsn: String
    var ordinal: UInt64
    var ageSeconds: Int
    var state: String
    var cause: String

    init(_ letter: DeadLetter, _ state: DeadLetterBook.State) {
        number = letter.number
        table = letter.table.description
        kind = "\(letter.kind)"
        key = letter.key.map {
            "\($0.name)=\(DeadLetterText.words(letter.readable($0.cell, of: $0.name), atMost: 40))"
        }
        .joined(separator: ", ")
        commitLsn = letter.version.commitLSN.description
        ordinal = letter.version.ordinal
        ageSeconds = max(0, Int(time(nil)) - letter.at / 1000)
        self.state = state.rawValue
        cause = letter.cause
    }

    private var age: String {
        switch ageSeconds {
        case ..<120: "\(ageSeconds) s"
        case ..<7200: "\(ageSeconds / 60) min"
        case ..<172_800: "\(ageSeconds / 3600) h"
        default: "\(ageSeconds / 86_400) d"
        }
    }

    static func table(_ entries: [DeadLetterEntry]) -> String {
        guard !entries.isEmpty else { return "no dead letters\n" }
        let rows =
            [["number", "state", "age", "commit LSN", "ordinal", "table", "change", "key", "cause"]]
            + entries.map {
                [
                    "\($0.number)", $0.state, $0.age, $0.commitLsn, "\($0.ordinal)", $0.table, $0.kind,
                    $0.key.isEmpty ? "-" : $0.key, $0.cause,
                ]
            }
        let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
        return rows.map { row in
            row.enumerated().map { column, text in
                column == row.count - 1 ? text : text + String(repeating: " ", count: widths[column] - text.count + 2)
            }.joined() + "\n"
        }.joined()
    }
}

/// A letter for people, with its values.
private struct DeadLetterText {
    private let letter: DeadLetter
    private let state: DeadLetterBook.State

    init(_ letter: DeadLetter, _ state: DeadLetterBook.State) {
        self.letter = letter
        self.state = state
    }

    var text: String {
        var lines = [
            "number       \(letter.number), \(state.rawValue)",
            "pipeline     \(letter.pipeline)",
            "table        \(letter.table)",
            "change       \(letter.version.ordinal == 0 ? "copied row" : "\(letter.kind)")",
            "commit LSN   \(letter.version.commitLSN), change \(letter.version.ordinal) of transaction \(letter.xid)",
            "cause        \(letter.cause)",
        ]
        if let old = letter.old { lines += ["", "old row"] + rows(old, keyAlone: letter.oldTuple == .key) }
        if let new = letter.new { lines += ["", "new row"] + rows(new, keyAlone: false) }
        return lines.joined(separator: "\n") + "\n"
    }

    private func rows(_ row: [DeadLetter.Cell], keyAlone: Bool) -> [String] {
        let width = letter.columns.map(\.name.count).max() ?? 0
        return letter.columns.indices.filter { !keyAlone || letter.columns[$0].isKey }.map { index in
            let name = letter.columns[index].name
            return
                "  \(name)\(String(repeating: " ", count: width - name.count))  \(Self.words(letter.readable(row[index], of: name))) "
                + "(\(letter.columns[index].type)\(letter.columns[index].isKey ? ", key" : ""))"
        }
    }

    /// A value on one line: text as it is, control characters and what is no text as hexadecimal.
    static func words(_ cell: DeadLetter.Cell, atMost limit: Int = .max) -> String {
        func cut(_ text: String) -> String { text.count > limit ? text.prefix(limit) + "…" : text }
        switch cell {
        case .null: return "NULL"
        case .unchanged: return "(unchanged)"
        case .text(let bytes):
            guard let text = String(validating: bytes, as: UTF8.self),
                !text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F })
            else { return cut("text " + hexadecimal(bytes)) }
            return cut("'\(text)'")
        case .binary(let bytes): return cut("binary " + hexadecimal(bytes))
        }
    }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
