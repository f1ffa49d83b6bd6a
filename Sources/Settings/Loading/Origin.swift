/// Where a value comes from.
public enum Origin: Sendable, Hashable {
    /// Nobody set it.
    case `default`
    /// The process environment.
    case environment
    /// The file given by `--env-file`.
    case envFile(path: String, line: Int)
    /// The file that `<NAME>_FILE` names.
    case file(path: String)
    /// A file in systemd's `$CREDENTIALS_DIRECTORY`.
    case credential(path: String)
}

extension Origin: CustomStringConvertible {
    /// The origin in words, for example `env-file /etc/dbmazz-sink.env:3`.
    public var description: String {
        switch self {
        case .default: "default"
        case .environment: "environment"
        case .envFile(let path, let line): "env-file \(path):\(line)"
        case .file(let path): "file \(path)"
        case .credential(let path): "credential \(path)"
        }
    }
}

/// A variable as it counts after loading.
public struct ResolvedVariable: Sendable, Hashable {
    /// The variable's name.
    public var name: String
    /// The value as it would be written; `***` for a secret, nil where nothing is set and nothing is the default.
    public var value: String?
    /// Whether the value is hidden.
    public var isSecret: Bool
    /// Where it comes from.
    public var origin: Origin
}
