import Settings
import TestSupport
import Testing

@testable import Operations

@Suite("The HTTP endpoint") struct EndpointTests {
    private func endpoint(_ handler: @escaping HTTPEndpoint.Handler) throws -> (HTTPEndpoint, HTTPAddress) {
        let address = HTTPAddress(host: "127.0.0.1", port: UInt16(try freePort()))
        return (try HTTPEndpoint(address, handler: handler), address)
    }

    @Test("answers paths, with their status and content")
    func answers() throws {
        let (endpoint, address) = try endpoint { path in
            path == "/a" ? HTTPResponse(200, "yes é") : path == "/b" ? HTTPResponse(503, "no") : nil
        }
        defer { withExtendedLifetime(endpoint) {} }
        #expect(try HTTPGet.get("/a", from: address) == (200, "yes é"))
        #expect(try HTTPGet.get("/b", from: address) == (503, "no"))
        #expect(try HTTPGet.get("/<script>", from: address).status == 404)
        #expect(try HTTPGet.get("/<script>", from: address).body.contains("<") == false)
        // A query belongs to nobody here.
        #expect(try HTTPGet.get("/a?x=1", from: address).status == 200)
    }

    @Test("gives a large answer whole")
    func large() throws {
        let body = String(repeating: "0123456789", count: 500_000)
        let (endpoint, address) = try endpoint { _ in HTTPResponse(200, body) }
        defer { withExtendedLifetime(endpoint) {} }
        #expect(try HTTPGet.get("/", from: address).body.utf8.count == 5_000_000)
    }

    @Test("a second one on the same address is refused with what to do, and one that ended frees it")
    func taken() throws {
        var (endpoint, address): (HTTPEndpoint?, HTTPAddress) = try endpoint { _ in nil }
        let error = #expect(throws: HTTPEndpointError.self) { try HTTPEndpoint(address) { _ in nil } }
        #expect(error?.description.contains("Address already in use") == true)
        endpoint = nil
        #expect(throws: Never.self) { try HTTPEndpoint(address) { _ in nil } }
        _ = endpoint
    }

    @Test("no answer and no HTTP are told apart")
    func failures() throws {
        let address = HTTPAddress(host: "127.0.0.1", port: UInt16(try freePort()))
        let error = #expect(throws: HTTPGet.Failure.self) { try HTTPGet.get("/", from: address) }
        #expect(error?.description == "nothing answers at \(address) (Connection refused)")
    }
}
