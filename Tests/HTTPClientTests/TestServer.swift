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
        _ = try TestCertificates(in: directory)
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
