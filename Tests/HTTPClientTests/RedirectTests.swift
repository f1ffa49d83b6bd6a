import CdcCore
import HTTPClient
import Testing

@Suite("HTTP client: redirects")
struct RedirectTests {
    private static let body = [UInt8](repeating: 7, count: 3 << 20)

    /// `/redirect` with a target in its query.
    private func redirect(_ status: Int, to target: String) -> String {
        let encoded = target.utf8.map { byte in
            let isPlain = (0x30...0x39).contains(byte) || (0x61...0x7A).contains(byte)
            let hex = String(byte, radix: 16)
            return isPlain ? String(UnicodeScalar(byte)) : "%" + (hex.utf8.count == 1 ? "0" : "") + hex
        }
        return "/redirect?status=\(status)&to=\(encoded.joined())"
    }

    private func addSecrets(_ request: inout HTTPRequest) {
        request.credentials = HTTPCredentials(user: "u", password: Secret("p"))
        request.secretHeaders = [("X-Key", Secret("hidden"))]
        request.headers = [("X-Label", "l1"), ("Cookie", "c")]
    }

    @Test(
        "another port of the same host gets method, body and secrets",
        arguments: [301, 302, 307, 308],
        [true, false]
    )
    func samePlace(_ status: Int, _ expects: Bool) throws {
        let caller = try Caller()
        let target = caller.server.url("/echo?q=1", on: "other")
        let url = caller.server.url(redirect(status, to: target))
        for method in ["PUT", "POST"] {
            let response = try caller.send(method, url, body: Self.body) {
                addSecrets(&$0)
                $0.expectsContinue = expects
            }
            #expect(response.status == 200)
            #expect(response.echo("listener") == "other")
            #expect(response.echo("method") == method)
            #expect(response.echo("length") == "\(Self.body.count)")
            #expect(response.echo("header.authorization") == "Basic dTpw")
            #expect(response.echo("header.x-key") == "hidden")
            #expect(response.echo("header.x-label") == "l1")
            #expect(response.echo("header.cookie") == "c")
            #expect(response.effectiveURL == caller.server.url("/echo", on: "other"))
            #expect(response.headers["X-Hop"] == nil)
        }
    }

    @Test("another host gets the request, but no secrets, not even those in the redirect")
    func otherPlace() throws {
        let caller = try Caller()
        let target = caller.server.url("/echo", on: "other", host: "u:p@localhost")
        let response = try caller.send("PUT", caller.server.url(redirect(307, to: target))) { addSecrets(&$0) }
        #expect(response.echo("listener") == "other")
        #expect(response.echo("method") == "PUT")
        #expect(response.echo("length") == "4")
        #expect(response.echo("header.x-label") == "l1")
        for secret in ["authorization", "x-key", "cookie"] { #expect(response.echo("header.\(secret)") == nil) }
        #expect(!response.effectiveURL.contains("@"))
        // Back at the first host the request is still the stranger's.
        let back = caller.server.url(redirect(307, to: caller.server.url("/echo")), on: "other", host: "localhost")
        let returned = try caller.send("PUT", caller.server.url(redirect(307, to: back))) { addSecrets(&$0) }
        #expect(returned.echo("listener") == "plain")
        #expect(returned.echo("header.authorization") == nil)
    }

    @Test("an allowed host gets the secrets")
    func allowedPlace() throws {
        let caller = try Caller { options, _ in options.allowedRedirectHosts = ["LocalHost"] }
        let target = caller.server.url("/echo", on: "other", host: "x:y@localhost")
        let response = try caller.send("PUT", caller.server.url(redirect(307, to: target))) { addSecrets(&$0) }
        #expect(response.echo("header.authorization") == "Basic dTpw")
        #expect(response.echo("header.x-key") == "hidden")
    }

    @Test("a mapped host is reached elsewhere, and gets the secrets")
    func mappedPlace() throws {
        let caller = try Caller { options, server in
            options.hostMap = ["backend.invalid:8040": "127.0.0.1:\(server.port("other"))"]
        }
        let url = caller.server.url(redirect(307, to: "http://backend.invalid:8040/echo"))
        let response = try caller.send("PUT", url) { addSecrets(&$0) }
        #expect(response.echo("listener") == "other")
        #expect(response.echo("header.host") == "backend.invalid:8040")
        #expect(response.echo("header.authorization") == "Basic dTpw")
        let other = caller.server.url(redirect(307, to: "http://backend.invalid:8041/echo"))
        #expect(caller.failure("PUT", other) { addSecrets(&$0) }?.kind == .unreachable)
    }

    @Test("from https to http, to another protocol and to nonsense is refused")
    func refused() throws {
        let caller = try Caller { options, server in options.certificateAuthority = "\(server.directory)/ca.crt" }
        let down = caller.server.url(redirect(307, to: caller.server.url("/echo?password=hidden")), on: "tls")
        for url in [
            down, caller.server.url(redirect(307, to: "ftp://127.0.0.1/hidden?hidden")),
            caller.server.url(redirect(307, to: "http://u:hidden@127.0.0.1:99999/")),
        ] {
            let error = caller.failure("PUT", url)
            #expect(error?.kind == .redirects)
            #expect(error.map { !"\($0)".contains("password") && !"\($0)".contains("u:hidden") } == true)
        }
        let secure = caller.server.url("/echo", on: "tls")
        #expect(try caller.send("PUT", caller.server.url(redirect(307, to: secure))).echo("listener") == "tls")
        #expect(try caller.send("PUT", caller.server.url(redirect(307, to: "/echo"), on: "tls")).status == 200)
    }

    @Test("three are followed, a fourth is not")
    func tooMany() throws {
        let caller = try Caller()
        var url = caller.server.url("/echo")
        for _ in 0..<3 { url = caller.server.url(redirect(307, to: url)) }
        #expect(try caller.send("PUT", url).status == 200)
        url = caller.server.url(redirect(307, to: url))
        #expect(caller.failure("PUT", url)?.kind == .redirects)
    }

    @Test("a POST never becomes a GET: 303 is given to the caller")
    func seeOther() throws {
        let caller = try Caller()
        let url = caller.server.url(redirect(303, to: caller.server.url("/echo")))
        let response = try caller.send("POST", url)
        #expect(response.status == 303)
        #expect(response.headers["location"] == caller.server.url("/echo"))
        #expect(try caller.send("GET", url, body: nil).echo("method") == "GET")
    }
}
