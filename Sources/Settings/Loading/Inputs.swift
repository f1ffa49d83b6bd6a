import Configuration

/// Everything the operator gave, before any value is looked at: environment, env-file and secret files behind one
/// reader, and where each value comes from.
struct Inputs {
    /// A value and its origin.
    struct Value {
        var text: String
        var origin: Origin
    }

    private let reader: ConfigReader
    private let origins: [String: Origin]
    /// What is wrong with names and files.
    private(set) var problems: [Problem]
    /// What is odd and works.
    private(set) var notices: [String]
    /// Names of secrets that are given and could not be read: they are not also "not set".
    let unreadable: Set<String>

    init(environment: [String: String], envFile path: String?) {
        var gathered = Gathered(environment: environment)
        if let path { gathered.readEnvFile(path) }
        gathered.readSecretFiles(credentialsDirectory: environment["CREDENTIALS_DIRECTORY"])
        let secrets = SecretsSpecifier<String, String>.specific(Set(Variable.all.filter(\.isSecret).map(\.name)))
        // The order is the precedence: what stands in the process environment wins.
        reader = ConfigReader(
            providers: [gathered.environment, gathered.envFile, gathered.secretFiles].map {
                EnvironmentVariablesProvider(environmentVariables: $0, secretsSpecifier: secrets)
            }
        )
        origins = gathered.origins
        problems = gathered.problems
        notices = gathered.notices
        unreadable = gathered.unreadable
    }

    /// The variable's value without white space around it; nil if it is not set, or set to nothing.
    ///
    /// A password keeps its white space: it may be a part of it.
    func value(of variable: Variable) -> Value? {
        let key = ConfigKey([variable.name])
        guard var text = reader.string(forKey: key, isSecret: variable.isSecret) else { return nil }
        if case .password = variable.kind {} else { text = text.trimmingWhitespace() }
        return text.isEmpty
            ? nil
            : Value(text: text, origin: origins[variable.name] ?? .default)
    }
}

/// Collects the values of all places, with their origins and what is wrong with them.
private struct Gathered {
    let environment: [String: String]
    var envFile: [String: String] = [:]
    var secretFiles: [String: String] = [:]
    var origins: [String: Origin] = [:]
    var problems: [Problem] = []
    var notices: [String] = []
    var unreadable: Set<String> = []

    /// A variable that is set to nothing counts as not set: compose files write `NAME=` for a variable they lack.
    init(environment: [String: String]) {
        self.environment = environment.filter { !$1.isEmpty && !ForeignVariables.contains($0, value: $1) }
        for name in self.environment.keys.sorted() {
            origins[name] = .environment
            if let problem = UnknownNames.problem(with: name, place: nil) { problems.append(problem) }
        }
    }

    mutating func readEnvFile(_ path: String) {
        let content: [UInt8]
        do {
            content = try FileContent.read(path)
        } catch {
            problems.append(
                Problem(
                    "--env-file \(path)",
                    "cannot be read (\(error.text))",
                    suggestion: .advice("check the path and its permissions")
                )
            )
            return
        }
        let file = EnvFile(content)
        for mistake in file.mistakes {
            problems.append(
                Problem("\(path):\(mistake.line)", mistake.message, suggestion: .advice(mistake.advice))
            )
        }
        for (name, lines) in file.repeated {
            notices.append("\(name) is set twice in \(path), in lines \(lines[0]) and \(lines[1]): the last counts")
        }
        for (name, entry) in file.entries.sorted(by: { $0.value.line < $1.value.line }) {
            take(name, entry, from: path)
        }
    }

    private mutating func take(_ name: String, _ entry: EnvFile.Entry, from path: String) {
        guard !entry.value.isEmpty, !ForeignVariables.contains(name, value: entry.value) else { return }
        if let problem = UnknownNames.problem(with: name, place: "\(path):\(entry.line)") {
            problems.append(problem)
        } else if name.hasPrefix("PG") {
            notices.append(
                "\(name) in \(path):\(entry.line) has no effect: libpq reads it from the process environment only"
            )
        }
        envFile[name] = entry.value
        if environment[name] == nil { origins[name] = .envFile(path: path, line: entry.line) }
    }

    mutating func readSecretFiles(credentialsDirectory: String?) {
        let files = SecretFiles(credentialsDirectory: credentialsDirectory)
        for variable in Variable.all where variable.isSecret {
            do throws(Problem) {
                guard let found = try secret(variable, from: files) else { continue }
                secretFiles[variable.name] = found.value
                origins[variable.name] = found.origin
            } catch {
                problems.append(error)
                unreadable.insert(variable.name)
            }
        }
    }

    private func secret(_ variable: Variable, from files: SecretFiles) throws(Problem) -> SecretFiles.Found? {
        let fileVariable = variable.fileVariableName
        let isSet = environment[variable.name] != nil || envFile[variable.name] != nil
        guard let path = environment[fileVariable] ?? envFile[fileVariable] else {
            return isSet ? nil : try files.credential(variable)
        }
        guard !isSet else {
            throw Problem(
                variable.name,
                "and \(fileVariable) are both set",
                suggestion: .advice("keep one of them")
            )
        }
        return try files.read(variable, file: path)
    }
}
