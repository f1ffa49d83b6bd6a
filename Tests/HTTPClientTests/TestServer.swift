import CdcCore
import Glibc
import HTTPClient
import TestSupport

/// `Tests/Tools/http-test-server.py` with certificates of its own, one for all tests of a run.
final class TestServer: Sendable {
    /// Where certificates and logs are.
    let directory: String
    private let ports: [String: Int]
    private let process: ChildProcess

    /// The one that runs; starting it takes half a second.
    static let shared = Result { try TestServer() }

    private init() throws {
        directory = try makeTemporaryDirectory("dbmazz-http")
        let directory = directory
        AtExit.add { removeTree(directory) }
        try Self.makeCertificates(in: directory)
        let script = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(
            separator: "/"
        )
        process = try ChildProcess(
            executable: "/usr/bin/python3",
            arguments: ["\(script)/Tools/http-test-server.py", directory],
            environment: ["PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"],
            standardOutput: "\(directory)/log",
            standardError: "\(directory)/log"
        )
        let process = process
        guard eventually(within: .seconds(20), { readText("\(directory)/ports") != nil || !process.isRunning }),
            let text = readText("\(directory)/ports")
        else { throw HarnessError("the server did not start: \(readText("\(directory)/log") ?? "")") }
        var ports: [String: Int] = [:]
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2 { ports[String(words[0])] = Int(words[1]) }
        }
        self.ports = ports
    }

    /// A listener's port.
    func port(_ listener: String) -> Int { ports[listener] ?? 0 }

    /// A URL of a listener.
    func url(_ path: String, on listener: String = "plain", host: String = "127.0.0.1") -> String {
        let scheme = ["tls", "mutual"].contains(listener) ? "https" : "http"
        return "\(scheme)://\(host):\(port(listener))\(path)"
    }

    /// A CA, a server's certificate and a client's by it, and a second CA.
    private static func makeCertificates(in directory: String) throws {
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
        for (name, host) in [("server", "-addext subjectAltName=DNS:localhost,IP:127.0.0.1"), ("client", "")] {
            try openssl("req \(newKey) -keyout DIR/\(name).key -out DIR/\(name).csr -subj /CN=\(name) \(host)")
            try openssl(
                "x509 -req -in DIR/\(name).csr -CA DIR/ca.crt -CAkey DIR/ca.key -CAcreateserial -days 2 "
                    + "-copy_extensions copy -out DIR/\(name).crt"
            )
        }
    }
}

/// A client, and what the tests do with it.
struct Caller {
    let server: TestServer
    let client: HTTPClient
    let cancellation = Cancellation()

    init(_ change: (inout HTTPClientOptions, TestServer) -> Void = { _, _ in }) throws {
        server = try TestServer.shared.get()
        var options = HTTPClientOptions(userAgent: "tests/1")
        change(&options, server)
        client = try HTTPClient(options, cancellation: cancellation)
    }

    /// Sends a request with a body and waits.
    func send(
        _ method: String,
        _ url: String,
        body: [UInt8]? = Array("body".utf8),
        within time: Duration = .seconds(10),
        _ change: (inout HTTPRequest) -> Void = { _ in }
    ) throws(HTTPError) -> HTTPResponse {
        var request = HTTPRequest(method: method, url: url)
        change(&request)
        guard let body else { return try client.send(request, deadline: .now + time) }
        // Rethrowing with a type is not known to withUnsafeBytes.
        let result = body.withUnsafeBytes { bytes in
            request.body = bytes
            return Result { () throws(HTTPError) in try client.send(request, deadline: .now + time) }
        }
        return try result.get()
    }

    /// The error of a call that is to fail.
    func failure(
        _ method: String,
        _ url: String,
        body: [UInt8]? = Array("body".utf8),
        within time: Duration = .seconds(10),
        _ change: (inout HTTPRequest) -> Void = { _ in }
    ) -> HTTPError? {
        do {
            _ = try send(method, url, body: body, within: time, change)
            return nil
        } catch {
            return error
        }
    }

    /// How many requests the server saw for a path.
    func count(_ path: String) throws -> Int? {
        Int(try send("GET", server.url("/count?of=\(path)"), body: nil).text)
    }
}

extension HTTPResponse {
    /// The body as text.
    var text: String { String(decoding: body, as: UTF8.self) }

    /// A line of the server's echo.
    func echo(_ name: String) -> String? {
        text.split(separator: "\n").first { $0.hasPrefix("\(name)=") }.map { String($0.dropFirst(name.utf8.count + 1)) }
    }
}
