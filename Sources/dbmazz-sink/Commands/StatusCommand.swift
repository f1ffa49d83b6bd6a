import ArgumentParser
import Operations
import Pipeline
import Settings

/// Where a running daemon is asked.
struct EndpointOptions: ParsableArguments {
    @OptionGroup var settings: SettingsOptions

    @Option(
        help: ArgumentHelp("The daemon's address; DBMAZZ_HTTP by default.", valueName: "host:port")
    )
    var address: String?

    /// The address, or a message on standard error and the end of the command.
    func resolve() throws -> HTTPAddress {
        if let address {
            guard let parsed = HTTPAddress(address) else {
                throw ValidationError("--address \(address) is not HOST:PORT, for example 127.0.0.1:9187")
            }
            return parsed
        }
        do throws(SettingsProblems) {
            let found = try DaemonSettings.httpAddress(
                environment: ProcessEnvironment.current(),
                envFile: settings.envFile
            )
            if let found { return found }
        } catch {
            Terminal.error(error.description)
            throw ArgumentParser.ExitCode(2)
        }
        Terminal.error("DBMAZZ_HTTP is off: a daemon without its endpoint cannot be asked")
        throw ArgumentParser.ExitCode(2)
    }
}

/// Asks a running daemon.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show what a running daemon is at.",
        discussion: "Asks the daemon's HTTP endpoint. Exits with 0 if the daemon is healthy, else with 1."
    )

    @OptionGroup var endpoint: EndpointOptions

    @Flag(help: "Print the JSON of /status.")
    var json = false

    func run() throws {
        let address = try endpoint.resolve()
        let body: String
        do throws(HTTPGet.Failure) {
            body = try HTTPGet.get("/status", from: address).body
        } catch {
            Terminal.error("\(error); is the daemon running, and DBMAZZ_HTTP its address?")
            throw ArgumentParser.ExitCode(1)
        }
        guard let status = StatusJSON.decode(body) else {
            Terminal.error("what answers at \(address) is not a dbmazz-sink of this version")
            throw ArgumentParser.ExitCode(1)
        }
        Terminal.out(json ? body : StatusText.table(status))
        if !status.healthy { throw ArgumentParser.ExitCode(1) }
    }
}

/// Asks a running daemon whether it is alive: for container health checks.
struct HealthCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "health",
        abstract: "Exit with 0 if a running daemon is alive.",
        discussion:
            "Asks /healthz, or /readyz with --ready; needs no shell and no curl. Prints the answer; exits with 1 "
            + "for a daemon that hangs or does not answer."
    )

    @OptionGroup var endpoint: EndpointOptions

    @Flag(help: "Ask whether it streams and its lag is small.")
    var ready = false

    func run() throws {
        let address = try endpoint.resolve()
        do throws(HTTPGet.Failure) {
            let answer = try HTTPGet.get(ready ? "/readyz" : "/healthz", from: address)
            Terminal.out(answer.body)
            guard answer.status != 200 else { return }
        } catch {
            Terminal.error("\(error)")
        }
        throw ArgumentParser.ExitCode(1)
    }
}
