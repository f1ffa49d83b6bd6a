internal import CdcCore

/// The settings of the SQLite sink, checked.
struct SQLiteConfig {
    /// The database file.
    let path: String
    let auditColumns: Bool
    let deleteMode: DeleteMode
    /// What happens to values that SQLite cannot hold.
    let onUnrepresentable: UnrepresentablePolicy
    /// Whether every refused row of a batch is looked for, not the first alone.
    let findsAllRefusals: Bool

    init(_ config: SinkConfig) throws(SinkError) {
        var check = SettingsCheck(sink: "sqlite")
        check.refuseServerSettings(of: config)
        if config.deleteMode == .soft && !config.auditColumns {
            check.add("SINK_DELETE_MODE=soft marks rows in an audit column: set SINK_AUDIT_COLUMNS=true")
        }
        path = SQLiteConfig.path(config, &check)
        auditColumns = config.auditColumns
        deleteMode = config.deleteMode
        onUnrepresentable = config.onUnrepresentable
        findsAllRefusals = config.onError == .deadLetter
        try check.finish()
    }

    /// The directory that the file lies in.
    var directory: String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func path(_ config: SinkConfig, _ check: inout SettingsCheck) -> String {
        guard let url = config.url else { return config.stateDirectory + "/dbmazz-sink.db" }
        let example = "write sqlite:///absolute/path.db or a path"
        // Never the value itself: an address that was meant for another sink may hold a password.
        var path = url
        if let (scheme, rest) = schemeAndRest(of: url) {
            path = String(rest)
            if scheme != "sqlite" {
                check.add("SINK_URL has the scheme \"\(scheme)\": for sqlite \(example)")
            } else if !path.hasPrefix("/") {
                check.add("SINK_URL has two slashes and a relative path: \(example)")
            } else if path.utf8.contains(UInt8(ascii: "?")) {
                check.add("SINK_URL has parameters, which sqlite does not take: \(example)")
            }
        } else if url.hasPrefix("sqlite:") || url.hasPrefix("file:") {
            check.add("SINK_URL is no path: \(example)")
        } else if url.hasPrefix(":") {
            check.add("SINK_URL would be lost with the process: \(example)")
        }
        if path.isEmpty || path.hasSuffix("/") { check.add("SINK_URL names no file: \(example)") }
        return path
    }

    /// The parts of `scheme://rest`; nil for a plain path.
    private static func schemeAndRest(of url: String) -> (Substring, Substring)? {
        guard let colon = url.firstIndex(of: ":"), url[colon...].hasPrefix("://") else { return nil }
        return (url[..<colon], url[colon...].dropFirst(3))
    }
}
