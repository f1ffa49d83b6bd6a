import Glibc

/// Certificates for tests, made by openssl: two authorities, a server's for localhost and 127.0.0.1, one for another host,
/// and a client's, all three by the first authority.
public struct TestCertificates: Sendable {
    /// Where the files are: `ca.crt`, `other-ca.crt`, `server.crt` and `.key`, `elsewhere.crt` and `.key`, `client.crt` and
    /// `.key`.
    public let directory: String

    /// Makes them in a directory that is there.
    ///
    /// Keys can be read by everyone who may enter the directory: a server under another user has to.
    public init(in directory: String) throws {
        self.directory = directory
        func openssl(_ arguments: String) throws {
            let words = arguments.split(separator: " ").map { String($0.replacing("DIR", with: directory)) }
            try runProgram("/usr/bin/openssl", words)
        }
        let newKey = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
        for authority in ["ca", "other-ca"] {
            try openssl(
                "req -x509 \(newKey) -keyout DIR/\(authority).key -out DIR/\(authority).crt -days 2 -subj /CN=\(authority)"
            )
        }
        for (name, host) in [
            ("server", "-addext subjectAltName=DNS:localhost,IP:127.0.0.1"),
            ("elsewhere", "-addext subjectAltName=DNS:elsewhere.example"), ("client", ""),
        ] {
            try openssl("req \(newKey) -keyout DIR/\(name).key -out DIR/\(name).csr -subj /CN=\(name) \(host)")
            try openssl(
                "x509 -req -in DIR/\(name).csr -CA DIR/ca.crt -CAkey DIR/ca.key -CAcreateserial -days 2 "
                    + "-copy_extensions copy -out DIR/\(name).crt"
            )
            chmod(path("\(name).key"), 0o644)
        }
    }

    /// The path of a file.
    public func path(_ name: String) -> String { "\(directory)/\(name)" }
}
