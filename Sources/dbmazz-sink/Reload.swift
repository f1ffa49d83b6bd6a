import CdcCore
import Logging
import Pipeline
import Settings

/// Reads the env-file again and takes over what may change while the daemon runs.
struct Reload: Sendable {
    /// The environment as it was at the start: secrets are removed from the process's own.
    let environment: [String: String]
    let envFile: String?
    let level: LogLevelBox

    private static let changeable: Set<String> = [
        "LOG_LEVEL", "SINK_BATCH_SIZE", "SINK_BATCH_BYTES", "SINK_FLUSH_INTERVAL_MS", "SINK_MEMORY_LIMIT_MB",
        "SINK_MAX_RETRIES", "SINK_RETRY_INITIAL_MS", "SINK_RETRY_MAX_MS", "SINK_SHUTDOWN_TIMEOUT_MS",
    ]

    /// Reads and takes over; says what it took and what it ignored.
    ///
    /// - Parameters:
    ///   - current: the settings that count now.
    ///   - live: where limits go.
    ///   - logger: where to say so.
    /// - Returns: the settings that count from now on.
    func run(_ current: DaemonSettings, _ live: LiveSettings, _ logger: Logger) -> DaemonSettings {
        guard envFile != nil else {
            logger.warning("settings not read again", metadata: ["cause": "the daemon was started without --env-file"])
            return current
        }
        let new: DaemonSettings
        do throws(SettingsProblems) {
            new = try DaemonSettings.load(environment: environment, envFile: envFile)
        } catch {
            logger.error(
                "settings not read again",
                metadata: [
                    "cause": "\(error)", "remedy": "correct the file and send SIGHUP again; nothing has changed",
                ]
            )
            return current
        }
        let changed = Reload.changes(current, new)
        live.update(limitsOf: new.sink)
        level.level = new.logLevel
        logger.notice(
            "settings read again",
            metadata: [
                "applied": "\(list(changed.filter { Reload.changeable.contains($0) }))",
                "ignored": "\(list(changed.filter { !Reload.changeable.contains($0) }))",
                "remedy": "what was ignored counts after a restart",
            ]
        )
        return taken(new, over: current)
    }

    /// What was ignored is still different at the next reload, and is told again.
    private func taken(_ new: DaemonSettings, over current: DaemonSettings) -> DaemonSettings {
        var settings = current
        settings.resolved = current.resolved.map { old in
            guard Reload.changeable.contains(old.name) else { return old }
            return new.resolved.first { $0.name == old.name } ?? old
        }
        return settings
    }

    private func list(_ names: [String]) -> String { names.isEmpty ? "none" : names.joined(separator: ",") }

    /// The variables whose values differ, in the table's order.
    private static func changes(_ old: DaemonSettings, _ new: DaemonSettings) -> [String] {
        var names = new.resolved.filter { variable in
            !variable.isSecret && old.resolved.first { $0.name == variable.name }?.value != variable.value
        }
        .map(\.name)
        // The list hides secrets.
        if old.source.url != new.source.url { names.append("SOURCE_URL") }
        if old.source.password != new.source.password { names.append("SOURCE_PASSWORD") }
        if old.sink.url != new.sink.url { names.append("SINK_URL") }
        if old.sink.password != new.sink.password { names.append("SINK_PASSWORD") }
        return names
    }
}
