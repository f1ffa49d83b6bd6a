import CdcCore
import MySQLClient
import TestSupport

/// Servers that tests share, each started once, and options to reach them.
enum Servers {
    /// Without TLS, and with the method ed25519.
    static let plain = Result { try MariaDBServer.started(settings: ["plugin-load-add": "auth_ed25519"]) }
    /// With TLS, and a certificate for localhost and 127.0.0.1.
    static let encrypted = Result { try MariaDBServer.started(certificate: "server") }
}

/// Options for a server on 127.0.0.1, as root.
func options(port: Int, _ change: (inout MySQLOptions) -> Void = { _ in }) -> MySQLOptions {
    var options = MySQLOptions(host: "127.0.0.1", port: UInt16(clamping: port), user: "root")
    change(&options)
    return options
}

/// A connection as root.
func connect(
    _ server: MariaDBServer,
    cancellation: Cancellation = Cancellation(),
    _ change: (inout MySQLOptions) -> Void = { _ in }
) throws -> MySQLConnection {
    try MySQLConnection(options(port: server.port, change), cancellation: cancellation)
}

/// The error of a connection that is not to be had; nil if it is.
func connectError(
    port: Int,
    cancellation: Cancellation = Cancellation(),
    _ change: (inout MySQLOptions) -> Void = { _ in }
) -> MySQLError? {
    do throws(MySQLError) {
        try MySQLConnection(options(port: port, change), cancellation: cancellation).close()
        return nil
    } catch {
        return error
    }
}

/// The error that a call ends with; nil if it ends well.
func error(_ body: () throws(MySQLError) -> Void) -> MySQLError? {
    do throws(MySQLError) {
        try body()
        return nil
    } catch {
        return error
    }
}

extension ContinuousClock.Instant {
    /// A deadline that no test is to reach.
    static var soon: Self { .now + .seconds(60) }
}

extension MySQLConnection {
    /// One value of one row.
    func value(_ sql: String) throws(MySQLError) -> String? {
        try rows(sql, deadline: .soon).first?.first ?? nil
    }
}
