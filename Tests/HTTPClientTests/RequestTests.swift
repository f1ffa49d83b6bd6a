import CdcCore
import Glibc
import HTTPClient
import TestSupport
import Testing

@Suite("HTTP client: requests and responses")
struct RequestTests {
    @Test("a request arrives as it was made, and the connection is kept over many")
    func echo() throws {
        let caller = try Caller()
        var connections: Set<String?> = []
        for number in 0..<50 {
            let method = ["POST", "PUT", "DELETE", "PATCH"][number % 4]
            let body = [UInt8](repeating: UInt8(number), count: number * 20_000)
            let response = try caller.send(method, caller.server.url("/echo?n=\(number)%20x"), body: body) {
                $0.headers = [("X-One", "1"), ("X-Empty", "")]
                $0.secretHeaders = [("X-Key", Secret("hidden"))]
                $0.credentials = HTTPCredentials(user: "u", password: Secret("p"))
            }
            #expect(response.status == 200)
            #expect(response.echo("method") == method)
            #expect(response.echo("target") == "/echo?n=\(number)%20x")
            #expect(response.echo("length") == "\(body.count)")
            #expect(response.echo("header.content-length") == "\(body.count)")
            #expect(response.echo("header.x-one") == "1")
            #expect(response.echo("header.x-empty") == "")
            #expect(response.echo("header.x-key") == "hidden")
            #expect(response.echo("header.authorization") == "Basic dTpw")
            #expect(response.echo("header.user-agent") == "tests/1")
            for absent in ["expect", "content-type", "accept-encoding", "transfer-encoding"] {
                #expect(response.echo("header.\(absent)") == nil)
            }
            #expect(response.effectiveURL == caller.server.url("/echo"))
            connections.insert(response.echo("connection"))
        }
        #expect(connections.count == 1)
        // Nothing of a request stays for the next.
        let bare = try caller.send("GET", caller.server.url("/echo"), body: nil)
        #expect(bare.echo("header.authorization") == nil)
        #expect(bare.echo("header.x-key") == nil)
        #expect(bare.echo("header.content-length") == nil)
        #expect(try caller.send("HEAD", caller.server.url("/body?bytes=10"), body: nil).body.isEmpty)
        let empty = try caller.send("PUT", caller.server.url("/echo"), body: nil)
        #expect(empty.echo("header.content-length") == "0")
    }

    @Test("the body waits for 100 Continue, however late it comes")
    func slowContinue() throws {
        let caller = try Caller()
        let body = [UInt8](repeating: 1, count: 1 << 20)
        let response = try caller.send("PUT", caller.server.url("/slow-100?seconds=1.5"), body: body) {
            $0.expectsContinue = true
        }
        #expect(response.echo("length") == "\(body.count)")
        #expect(response.echo("header.expect") == "100-continue")
        let empty = try caller.send("PUT", caller.server.url("/echo"), body: []) { $0.expectsContinue = true }
        #expect(empty.echo("length") == "0")
    }

    @Test("without 100 Continue the body goes when the time is over; after a 417 it goes without asking")
    func noContinue() throws {
        let caller = try Caller { options, _ in options.expectTimeout = .milliseconds(200) }
        for path in ["/no-100", "/no-expect"] {
            let response = try caller.send("PUT", caller.server.url(path)) { $0.expectsContinue = true }
            #expect(response.status == 200)
            #expect(response.echo("length") == "4")
        }
    }

    @Test("an answer that comes before the body was read is the answer", arguments: [200, 401, 503], [true, false])
    func early(_ status: Int, _ expects: Bool) throws {
        let caller = try Caller()
        let body = [UInt8](repeating: 1, count: 20 << 20)
        let response = try caller.send("PUT", caller.server.url("/early?status=\(status)"), body: body) {
            $0.expectsContinue = expects
            $0.credentials = HTTPCredentials(user: "u", password: Secret("wrong"))
        }
        #expect(response.status == status)
        #expect(response.text == "early")
        #expect(try caller.send("POST", caller.server.url("/echo")).status == 200)
    }

    @Test("headers are those of the final response; trailers are apart")
    func trailers() throws {
        let caller = try Caller()
        let response = try caller.send("POST", caller.server.url("/trailers"))
        #expect(response.text == "hello")
        #expect(response.headers["x-early"] == "2")
        #expect(response.headers.all.filter { $0.0.lowercased() == "x-early" }.count == 2)
        #expect(response.headers["X-Hint"] == nil)
        #expect(response.headers["X-Late"] == nil)
        #expect(response.trailers["x-late"] == "too late")
        #expect(response.trailers.all.count == 1)
    }

    @Test("a body above its limit is cut or refused, and what was dropped is read")
    func bodyLimit() throws {
        let caller = try Caller { options, _ in options.responseLimit = 1000 }
        let fits = try caller.send("POST", caller.server.url("/body?bytes=1000"))
        #expect(fits.body.count == 1000 && !fits.isTruncated)
        let cut = try caller.send("POST", caller.server.url("/body?bytes=2000000"))
        #expect(cut.body.count == 1000 && cut.isTruncated)
        #expect(
            caller.failure("GET", caller.server.url("/body?bytes=1001"), body: nil) { $0.mustFit = true }?.kind
                == .tooLarge
        )
        let more = try caller.send("POST", caller.server.url("/body?bytes=5000")) { $0.responseLimit = 5000 }
        #expect(more.body.count == 5000 && !more.isTruncated)
        #expect(try caller.send("POST", caller.server.url("/echo")).status == 200)
    }

    @Test("headers above their limit are refused")
    func headerLimit() throws {
        let caller = try Caller()
        #expect(try caller.send("POST", caller.server.url("/headers?bytes=60000")).headers["X-59"]?.utf8.count == 990)
        for path in ["/headers?bytes=70000", "/long-header?bytes=70000", "/long-header?bytes=300000"] {
            #expect(caller.failure("GET", caller.server.url(path), body: nil)?.kind == .tooLarge, "\(path)")
        }
    }

    @Test("a request that would be another one on the wire is refused")
    func invalid() throws {
        let caller = try Caller()
        let url = caller.server.url("/echo")
        let before = try caller.count("/echo")
        let errors = [
            caller.failure("PO ST", url),
            caller.failure("POST", url) { $0.headers = [("X: y", "1")] },
            caller.failure("POST", url) { $0.headers = [("X", "1\r\nY: 2")] },
            caller.failure("POST", url) { $0.secretHeaders = [("X", Secret("hidden\n"))] },
            caller.failure("POST", url) { $0.credentials = HTTPCredentials(user: "a:b", password: Secret("hidden")) },
            caller.failure("POST", caller.server.url("/echo", host: "u:hidden@127.0.0.1")),
            caller.failure("POST", "http://u:hidden@exa mple/?hidden"),
            caller.failure("POST", "ftp://127.0.0.1/?hidden"),
            caller.failure("POST", "file:///etc/passwd"),
            caller.failure("POST", ""),
        ]
        for (number, error) in errors.enumerated() {
            #expect(error?.kind == .invalid, "\(number)")
            #expect(error.map { !"\($0)".contains("hidden") } == true, "\(number)")
        }
        #expect(try caller.count("/echo") == before)
        caller.client.close()
        #expect(caller.failure("POST", url)?.kind == .invalid)
    }
}
