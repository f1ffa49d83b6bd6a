public import CdcCore
internal import Libpq

/// What libpq is told: the keywords of `SOURCE_URL` with ours added.
public struct ConnectionParameters: Sendable {
    private let conninfo: Conninfo

    /// Takes `SOURCE_URL` apart with libpq's own parser.
    ///
    /// - Throws: ``SourceError`` with libpq's reason, without the part of the URL that it quotes: it may hold a password.
    public init(_ config: SourceConfig) throws(SourceError) {
        var found: Conninfo
        do throws(Conninfo.Mistake) {
            found = try Conninfo(parsing: config.url.value)
        } catch {
            throw SourceError(
                .configuration,
                operation: "read SOURCE_URL",
                cause: error.reason,
                remedy: "write postgres://USER@HOST:PORT/DATABASE, with special characters percent-encoded"
            )
        }
        found.remove("replication")
        found.addPatience()
        if let password = config.password { found.add("password", password.value) }
        found.set("application_name", "dbmazz-sink")
        found.set("client_encoding", "UTF8")
        conninfo = found
    }

    /// The seconds that a connection attempt may take.
    var connectTimeout: Duration {
        let seconds = conninfo["connect_timeout"].flatMap { Int($0) } ?? 10
        return .seconds(seconds <= 0 ? 3600 : max(2, seconds))
    }

    /// Begins to connect; the caller polls.
    func start(replication: Bool) -> OpaquePointer? {
        var all = conninfo
        if replication { all.set("replication", "database") }
        return all.start()
    }
}
