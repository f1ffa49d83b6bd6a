internal import CLibpq
internal import CdcCore

/// The settings of the postgres sink, checked.
struct PostgresConfig: Sendable {
    /// What libpq is told.
    let keywords: [(name: String, value: String)]
    /// Whether the role's password is among them, for messages.
    let auditColumns: Bool
    let deleteMode: DeleteMode
    let truncate: TruncateMode
    /// `SINK_SCHEMA`: the schema of all tables; nil keeps the source's.
    let schema: String?

    init(_ config: SinkConfig) throws(SinkError) {
        var check = SettingsCheck(sink: "postgres")
        if config.deleteMode == .soft && !config.auditColumns {
            check.add("SINK_DELETE_MODE=soft marks rows in an audit column: set SINK_AUDIT_COLUMNS=true")
        }
        keywords = PostgresConfig.keywords(config, &check)
        auditColumns = config.auditColumns
        deleteMode = config.deleteMode
        truncate = config.postgresTruncate ?? .delete
        schema = config.schema
        if schema?.utf8.count ?? 0 > 63 { check.add("SINK_SCHEMA is longer than PostgreSQL's 63 bytes") }
        try check.finish()
    }

    /// The audit columns, in the order in which every statement has them.
    var audit: [AuditColumn] { auditColumns ? AuditColumn.allCases : [] }

    /// Takes `SINK_URL` apart with libpq's own parser, and adds what other variables and good manners say.
    private static func keywords(_ config: SinkConfig, _ check: inout SettingsCheck) -> [(name: String, value: String)]
    {
        guard let url = config.url else {
            check.add("SINK_URL is missing: write postgres://USER@HOST:PORT/DATABASE")
            return []
        }
        var message: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(url, &message) else {
            // libpq quotes the part that it does not understand, which may hold the password.
            let reason = message.map { String(cString: $0) } ?? "out of memory"
            PQfreemem(message)
            check.add(
                "SINK_URL is not understood (\(reason.prefix { $0 != "\"" && $0 != "\n" })): "
                    + "write postgres://USER@HOST:PORT/DATABASE, with special characters percent-encoded"
            )
            return []
        }
        defer { PQconninfoFree(options) }
        var found: [(name: String, value: String)] = []
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { found.append((String(cString: keyword), String(cString: value))) }
            option += 1
        }
        found.removeAll { ["replication", "client_encoding"].contains($0.name) }
        // Without keep-alives a peer that vanished is noticed after hours (Linux' own) or never (a full send buffer).
        var defaults = [
            ("application_name", "dbmazz-sink"), ("connect_timeout", "10"), ("keepalives", "1"),
            ("keepalives_idle", "30"), ("keepalives_interval", "10"), ("keepalives_count", "3"),
            ("tcp_user_timeout", "60000"),
        ]
        if let port = config.port { defaults.append(("port", String(port))) }
        if let database = config.database { defaults.append(("dbname", database)) }
        if let user = config.user { defaults.append(("user", user)) }
        if let password = config.password { defaults.append(("password", password.value)) }
        for (name, value) in defaults where !found.contains(where: { $0.name == name }) { found.append((name, value)) }
        found.append(("client_encoding", "UTF8"))
        return found
    }

    /// The value of a keyword, for messages; never the password.
    func value(_ name: String) -> String? {
        name == "password" ? nil : keywords.first { $0.name == name }?.value
    }
}
