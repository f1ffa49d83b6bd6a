/// The text of `env.example`: every variable with meaning, allowed values and default.
public enum EnvExample {
    private static let width = 110

    /// The whole file.
    public static let text = [
        header, section("Source", Variable.source), section("Sink", Variable.sink),
        section("Daemon", Variable.daemon), section("Log", Variable.log),
    ]
    .joined(separator: "\n")

    private static let header = """
        # The variables of dbmazz-sink. Only SOURCE_URL must be set; the others are shown with their default, or with an
        # example where the default is none or depends on something else.
        #
        # Read it with `dbmazz-sink --env-file FILE`, systemd's EnvironmentFile= or docker's --env-file. The process
        # environment overrides the file. Write numbers with digits alone, and no value in quotation marks if docker
        # is to read it. An empty value counts as not set.
        #
        # A secret may also come from a file: NAME_FILE=/path, or a file called NAME in systemd's
        # $CREDENTIALS_DIRECTORY (LoadCredential=).
        #
        # This file is made from the table of variables in Sources/Settings. To write it again:
        # DBMAZZ_WRITE_ENV_EXAMPLE=1 swift test --filter SettingsTests

        """

    private static func section(_ title: String, _ variables: [Variable]) -> String {
        "# ---- \(title) ----\n\n" + variables.map(entry).joined(separator: "\n")
    }

    private static func entry(_ variable: Variable) -> String {
        var lines = comment(variable.meaning)
        lines += comment("Allowed: \(variable.allowed)")
        lines += comment("Default: \(variable.defaultText)")
        if variable.isSecret { lines += comment("Secret: also as \(variable.fileVariableName) or a credential.") }
        let mark = if case .required = variable.fallback { "" } else { "#" }
        return lines.joined() + "\(mark)\(variable.name)=\(variable.shown)\n"
    }

    private static func comment(_ text: String) -> [String] {
        var lines: [String] = []
        var line = "#"
        for word in text.split(separator: " ") {
            if line.utf8.count + 1 + word.utf8.count > width {
                lines.append(line + "\n")
                line = "#"
            }
            line += " " + word
        }
        return lines + [line + "\n"]
    }
}

extension Variable {
    /// What stands behind the `=` in `env.example`.
    fileprivate var shown: String {
        if case .value(let text) = fallback { return text }
        return example
    }
}
