import ArgumentParser
import Glibc
import Pipeline
import Settings

/// Where commands write: data to standard output, everything else to standard error.
enum Terminal {
    /// Writes data.
    static func out(_ text: String) { write(text, to: STDOUT_FILENO) }

    /// Writes a message on a line of its own.
    static func error(_ text: String) { write(text + "\n", to: STDERR_FILENO) }

    /// Marks text on a terminal; elsewhere, or with NO_COLOR, it stays as it is.
    static func coloured(_ text: String, _ colour: Colour) -> String {
        isatty(STDOUT_FILENO) == 1 && getenv("NO_COLOR") == nil ? "\u{1B}[\(colour.rawValue)m\(text)\u{1B}[0m" : text
    }

    /// ECMA-48.
    enum Colour: String {
        case bold = "1"
        case red = "31"
        case green = "32"
        case yellow = "33"
    }

    private static func write(_ text: String, to descriptor: Int32) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }
}

extension ExitStatus {
    /// Ends the command with this code.
    var exit: ArgumentParser.ExitCode { ArgumentParser.ExitCode(rawValue) }
}

extension SettingsOptions {
    /// The settings, or their problems on standard error and the end of the command.
    func load(_ environment: [String: String]) throws -> DaemonSettings {
        do throws(SettingsProblems) {
            return try DaemonSettings.load(environment: environment, envFile: envFile)
        } catch {
            Terminal.error(error.description)
            throw ExitStatus.configuration.exit
        }
    }

    /// The settings of this process, whose secrets are removed from its environment.
    func load() throws -> DaemonSettings {
        let settings = try load(ProcessEnvironment.current())
        ProcessEnvironment.removeSecrets()
        return settings
    }
}
