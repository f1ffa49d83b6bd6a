import CdcCore
import Glibc
import HTTPClient
import TestSupport
import Testing

@Suite("HTTP client: trouble")
struct TroubleTests {
    @Test("an answer that does not come, or comes in part, leaves the outcome open")
    func cut() throws {
        let caller = try Caller()
        for (path, codes) in [
            ("/nothing", [52, 56]), ("/reset", [56]), ("/cut-length", [18]), ("/cut-chunk", [18, 56]),
            ("/cut-end", [18, 56]), ("/garbage", [1]),
        ] {
            let error = caller.failure("POST", caller.server.url(path))
            #expect(error?.kind == .ambiguous, "\(path)")
            #expect(error.map { codes.contains(Int($0.code)) } == true, "\(path): \(String(describing: error))")
            #expect(error.map { $0.bytesSent > 4 } == true, "\(path)")
        }
        let body = [UInt8](repeating: 1, count: 20 << 20)
        let error = caller.failure("POST", caller.server.url("/cut-request"), body: body)
        #expect(error?.kind == .ambiguous)
        #expect(error.map { $0.bytesSent > 0 && $0.bytesSent < body.count } == true)
        #expect(try caller.send("POST", caller.server.url("/echo")).status == 200)
    }

    @Test("a kept connection that breaks is not used as a reason to send again", arguments: ["/nothing", "/reset"])
    func noRepetition(_ path: String) throws {
        let caller = try Caller()
        #expect(try caller.send("POST", caller.server.url("/echo")).echo("request") == "1")
        let before = try #require(try caller.count(path))
        let error = caller.failure("POST", caller.server.url(path))
        #expect(error?.kind == .ambiguous)
        #expect(error.map { [52, 56].contains($0.code) } == true)
        #expect(try caller.count(path) == before + 1)
    }

    @Test("who does not listen gets nothing")
    func unreachable() throws {
        let caller = try Caller { options, _ in options.connectTimeout = .milliseconds(500) }
        let port = try freePort()
        let refused = caller.failure("POST", "http://127.0.0.1:\(port)/?password=hidden")
        #expect(refused?.kind == .unreachable)
        #expect(refused?.code == 7)
        #expect(refused?.bytesSent == 0)
        #expect(refused.map { !"\($0)".contains("hidden") && "\($0)".contains("127.0.0.1:\(port)/") } == true)
        #expect(caller.failure("POST", "http://no-such-host.invalid/")?.kind == .unreachable)
        // Accepts, and never answers the handshake.
        let silent = caller.failure("POST", "https://127.0.0.1:\(caller.server.port("silent"))/")
        #expect(silent?.kind == .unreachable)
        #expect(silent?.code == 28)
    }

    @Test("a slow answer is no silence")
    func slow() throws {
        let caller = try Caller { options, _ in options.stallTimeout = .seconds(1) }
        #expect(try caller.send("POST", caller.server.url("/drip?seconds=1.5")).text == "..........")
    }

    @Test("silence ends the call", arguments: ["/stall", "/stall-body", "/stall-reading"])
    func stall(_ path: String) throws {
        let caller = try Caller { options, _ in options.stallTimeout = .milliseconds(600) }
        let body = [UInt8](repeating: 1, count: 30 << 20)
        let start = ContinuousClock.now
        let error = caller.failure("POST", caller.server.url(path), body: body)
        let took = ContinuousClock.now - start
        #expect(error?.kind == .ambiguous)
        #expect(error?.message.contains("not a byte") == true)
        #expect(took >= .milliseconds(600) && took < .seconds(5))
    }

    @Test("the deadline holds, for redirects and for what was not sent, too")
    func deadline() throws {
        let caller = try Caller()
        let start = ContinuousClock.now
        let error = caller.failure("POST", caller.server.url("/stall?secret=hidden"), within: .seconds(1))
        #expect(error?.kind == .ambiguous)
        #expect(error.map { !"\($0)".contains("hidden") } == true)
        #expect(ContinuousClock.now - start < .seconds(2.5))
        #expect(caller.failure("POST", caller.server.url("/echo"), within: .seconds(-1))?.kind == .unreachable)
        let silent = "https://127.0.0.1:\(caller.server.port("silent"))/"
        #expect(caller.failure("POST", silent, within: .milliseconds(300))?.kind == .unreachable)
    }

    @Test("a cancelled call ends at once, whatever it waits for", arguments: ["plain", "silent"])
    func cancel(_ listener: String) throws {
        let caller = try Caller()
        let cancellation = caller.cancellation
        let asked = WorkerThread {
            sleepThread(.milliseconds(700))
            cancellation.cancel()
        }
        let scheme = listener == "silent" ? "https" : "http"
        let start = ContinuousClock.now
        let error = caller.failure("POST", "\(scheme)://127.0.0.1:\(caller.server.port(listener))/stall")
        #expect(error?.kind == .cancelled)
        #expect(error.map { ($0.bytesSent > 0) == (listener == "plain") } == true)
        #expect(ContinuousClock.now - start < .seconds(2.5))
        #expect(caller.failure("POST", caller.server.url("/echo"))?.kind == .cancelled)
        asked.join()
    }

    @Test("TLS: the right CA and name, and nothing else")
    func tls() throws {
        let url = try TestServer.shared.get().url("/echo", on: "tls")
        let trusting = try Caller { options, server in options.certificateAuthority = "\(server.directory)/ca.crt" }
        #expect(try trusting.send("POST", url).echo("listener") == "tls")
        #expect(try trusting.send("POST", url).echo("request") == "2")
        let system = try Caller()
        let other = try Caller { options, server in
            options.certificateAuthority = "\(server.directory)/other-ca.crt"
        }
        for caller in [system, other] {
            let error = caller.failure("POST", url)
            #expect(error?.kind == .tls)
            #expect(error?.code == 60)
            #expect(error?.bytesSent == 0)
        }
        let misnamed = try Caller { options, server in
            options.certificateAuthority = "\(server.directory)/ca.crt"
            options.hostMap = ["other.invalid:443": "127.0.0.1:\(server.port("tls"))"]
        }
        #expect(misnamed.failure("POST", "https://other.invalid/echo")?.kind == .tls)
        // No TLS there at all.
        let plain = "https://127.0.0.1:\(trusting.server.port("plain"))/echo"
        #expect(trusting.failure("POST", plain)?.kind == .tls)
    }

    @Test("TLS: a certificate that the server demands")
    func clientCertificate() throws {
        let url = try TestServer.shared.get().url("/echo", on: "mutual")
        let known = try Caller { options, server in
            options.certificateAuthority = "\(server.directory)/ca.crt"
            options.certificate = "\(server.directory)/client.crt"
            options.key = "\(server.directory)/client.key"
        }
        #expect(try known.send("POST", url).echo("listener") == "mutual")
        let unknown = try Caller { options, server in options.certificateAuthority = "\(server.directory)/ca.crt" }
        let error = unknown.failure("POST", url)
        #expect(error?.kind == .tls, "\(String(describing: error))")
        // The key of another certificate.
        let mixed = try Caller { options, server in
            options.certificateAuthority = "\(server.directory)/ca.crt"
            options.certificate = "\(server.directory)/client.crt"
            options.key = "\(server.directory)/server.key"
        }
        #expect(mixed.failure("POST", url)?.kind == .invalid)
    }

    @Test("files that cannot be read are told at once")
    func files() {
        var options = HTTPClientOptions(userAgent: "tests/1")
        options.certificateAuthority = "/nowhere/ca.crt"
        let error = #expect(throws: HTTPError.self) { try HTTPClient(options, cancellation: Cancellation()) }
        #expect(error?.kind == .invalid)
        #expect(error?.message.contains("/nowhere/ca.crt") == true)
    }
}
