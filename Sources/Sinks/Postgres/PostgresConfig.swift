internal import CdcCore
internal import Libpq

/// The settings of the postgres sink, checked.
struct PostgresConfig: Sendable {
    /// What libpq is told.
    let conninfo: Conninfo
    let auditColumns: Bool
    let deleteMode: DeleteMode
    let truncate: TruncateMode
    /// `SINK_SCHEMA`: the schema of all tables; nil keeps the source's.
    let schema: String?

    init(_ config: SinkConfig) throws(SinkError) {
        var check = SettingsCheck(sink: "postgres")
        check.refuseHTTPSettings(of: config)
        if config.deleteMode == .soft && !config.auditColumns {
            check.add("SINK_DELETE_MODE=soft marks rows in an audit column: set SINK_AUDIT_COLUMNS=true")
        }
        if config.onUnrepresentable != .error {
            check.add(
                "postgres holds every value exactly: remove SINK_ON_UNREPRESENTABLE=\(config.onUnrepresentable.rawValue)"
            )
        }
        let conninfo = PostgresConfig.conninfo(config, &check)
        auditColumns = config.auditColumns
        deleteMode = config.deleteMode
        truncate = config.postgresTruncate ?? .delete
        schema = config.schema
        if schema?.utf8.count ?? 0 > 63 { check.add("SINK_SCHEMA is longer than PostgreSQL's 63 bytes") }
        try check.finish()
        // Without one there was something to report.
        guard let conninfo else { preconditionFailure("settings without an address were accepted") }
        self.conninfo = conninfo
    }

    /// The audit columns, in the order in which every statement has them.
    var audit: [AuditColumn] { auditColumns ? AuditColumn.allCases : [] }

    /// Takes `SINK_URL` apart with libpq's own parser, and adds what other variables say.
    private static func conninfo(_ config: SinkConfig, _ check: inout SettingsCheck) -> Conninfo? {
        let example = "write postgres://USER@HOST:PORT/DATABASE"
        guard let url = config.url else {
            check.add("SINK_URL is missing: \(example)")
            return nil
        }
        do throws(Conninfo.Mistake) {
            var found = try Conninfo(parsing: url)
            found.remove("replication")
            found.add("application_name", "dbmazz-sink")
            found.addPatience()
            if let port = config.port { found.add("port", String(port)) }
            if let database = config.database { found.add("dbname", database) }
            if let user = config.user { found.add("user", user) }
            if let password = config.password { found.add("password", password.value) }
            found.set("client_encoding", "UTF8")
            return found
        } catch {
            check.add(
                "SINK_URL is not understood (\(error.reason)): \(example), with special characters percent-encoded"
            )
            return nil
        }
    }

    /// The value of a keyword, for messages; never the password.
    func value(_ name: String) -> String? {
        name == "password" ? nil : conninfo[name]
    }
}
