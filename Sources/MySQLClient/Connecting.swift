internal import CMariadb
internal import CdcCore
internal import Glibc

extension MySQLConnection {
    /// A connection that was given up before the library was asked for it.
    func connectFailure() -> MySQLError { MySQLError(waiter.kind, "connecting to \(options.server): \(waiter.text)") }

    /// What a failed mysql_real_connect means.
    func connectFailure(_ handle: Handle) -> MySQLError {
        if waiter.givenUp != nil { return connectFailure() }
        let code = handle.errorCode
        var kind = ErrorCode.kind(code, connecting: true)
        // The library adds errno, which is that of the connect(2) that it began: EINPROGRESS.
        var words = redactedMessage(handle.errorText, code: code).replacing(" (115)", with: "")
        // Of a method that it does not find it says so, with the number of a lost connection.
        if code == ErrorCode.lost, words.contains("could not be loaded") { kind = .authentication }
        if code == ErrorCode.methodNotAllowed {
            // The library's words end in memory that it did not write.
            let reason = options.encryption == .off ? ", or one that is not spoken without TLS" : ""
            words = "the server demands a method of authentication that is not spoken here\(reason)"
        }
        return MySQLError(
            kind,
            code: code,
            sqlState: ErrorCode.isServers(code, connecting: true) ? handle.sqlState : "",
            "connecting to \(options.server): \(words)"
        )
    }
}

extension Waiter {
    /// The kind of a call that was given up.
    var kind: MySQLError.Kind {
        switch givenUp {
        case .cancelled: .cancelled
        case .deadline, nil: .timeout
        }
    }

    /// The reason of a call that was given up.
    var text: String {
        switch givenUp {
        case .cancelled: "given up, because the daemon stops or starts anew"
        case .deadline, nil: "not done in time"
        }
    }
}

extension MySQLOptions {
    /// Finds what the library would misread or not find.
    func check() throws(MySQLError) {
        // The library takes commas and equals signs for lists of hosts and for connection strings.
        let isHost = host.utf8.allSatisfy { byte in
            switch byte {
            case 0x30...0x3A, 0x41...0x5A, 0x61...0x7A, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"): true
            default: false
            }
        }
        guard isHost, !host.isEmpty else { throw MySQLError(.invalid, "the host is neither a name nor an address") }
        guard port > 0 else { throw MySQLError(.invalid, "the port is 0") }
        guard !user.isEmpty else { throw MySQLError(.invalid, "there is no user") }
        for (what, text) in [("user", user), ("password", password?.value), ("database", database)] {
            guard text?.utf8.contains(0) != true else { throw MySQLError(.invalid, "the \(what) holds a zero byte") }
        }
        guard packetLimit >= 1024, packetLimit <= 1 << 30 else {
            throw MySQLError(.invalid, "the packet limit is not between 1 KB and 1 GB, the protocol's largest")
        }
        guard encryption == .required else { return }
        for (what, path) in [
            ("certificates to trust", certificateAuthority ?? systemCertificates), ("certificate", certificate),
            ("certificate's key", key),
        ] {
            guard let path else { continue }
            guard access(path, R_OK) == 0 else {
                let reason = String(cString: strerror(errno))
                throw MySQLError(.invalid, "the file \(path) with the \(what) cannot be read: \(reason)")
            }
        }
    }
}
