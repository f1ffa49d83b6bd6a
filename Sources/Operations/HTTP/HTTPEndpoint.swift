import CMicrohttpd
import Glibc
public import Settings

/// What a path answers.
public struct HTTPResponse: Sendable {
    /// The status code.
    public var status: Int
    /// The `Content-Type`.
    public var type: String
    /// The content.
    public var body: String

    /// Makes an answer; plain text unless told otherwise.
    public init(_ status: Int, _ body: String, type: String = "text/plain; charset=utf-8") {
        self.status = status
        self.type = type
        self.body = body
    }
}

/// Why the endpoint cannot listen.
public struct HTTPEndpointError: Error, CustomStringConvertible, Sendable {
    /// What failed, why, and what to do.
    public let description: String
}

/// Serves a few pages over HTTP, by GET and HEAD, from one thread of its own (libmicrohttpd).
public final class HTTPEndpoint: Sendable {
    /// Answers a path; called on the endpoint's thread.
    public typealias Handler = @Sendable (_ path: String) -> HTTPResponse?

    private final class Context: Sendable {
        let handler: Handler
        init(_ handler: @escaping Handler) { self.handler = handler }
    }

    /// libmicrohttpd's server; only ``deinit`` touches it again.
    private nonisolated(unsafe) let daemon: OpaquePointer
    /// Kept alive for the C callback, which holds it without counting.
    private let context: Context

    /// Listens and serves from now on.
    ///
    /// - Parameters:
    ///   - address: where.
    ///   - handler: gives the answer for a path; nil for none, which becomes 404.
    /// - Throws: ``HTTPEndpointError`` where the address cannot be had.
    public init(_ address: HTTPAddress, handler: @escaping Handler) throws(HTTPEndpointError) {
        let socket = try ListeningSocket.open(address)
        context = Context(handler)
        guard let daemon = mhd_start(socket, httpEndpointAnswer, Unmanaged.passUnretained(context).toOpaque()) else {
            close(socket)
            throw HTTPEndpointError(description: "the HTTP server did not start on \(address)")
        }
        self.daemon = daemon
    }

    deinit {
        // Closes the socket and waits for the thread.
        MHD_stop_daemon(daemon)
    }

    fileprivate static func answer(
        _ context: UnsafeMutableRawPointer?,
        _ connection: OpaquePointer?,
        path: String,
        method: String
    ) -> MHD_Result {
        guard let context else { return .NO }
        let handler = Unmanaged<Context>.fromOpaque(context).takeUnretainedValue().handler
        let isRead = method == "GET" || method == "HEAD"
        let response =
            isRead
            ? handler(path) ?? HTTPResponse(404, "there is no \(printable(path)); see /\n")
            : HTTPResponse(405, "only GET\n")
        var body = response.body
        let made = body.withUTF8 { bytes in
            MHD_create_response_from_buffer(
                bytes.count,
                UnsafeMutableRawPointer(mutating: bytes.baseAddress),
                .RESPMEM_MUST_COPY
            )
        }
        guard let made else { return .NO }
        defer { MHD_destroy_response(made) }
        let headers = [
            ("Content-Type", response.type), ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"),
            ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        ]
        for (name, value) in headers + (isRead ? [] : [("Allow", "GET, HEAD")]) {
            MHD_add_response_header(made, name, value)
        }
        return MHD_queue_response(connection, UInt32(response.status), made)
    }

    private static func printable(_ path: String) -> String {
        String(path.prefix(100).map { $0.isASCII && !$0.isWhitespace && $0 != "<" ? $0 : "?" })
    }
}

/// MHD_AccessHandlerCallback, see microhttpd.h: called once a request's headers are complete.
private func httpEndpointAnswer(
    _ context: UnsafeMutableRawPointer?,
    _ connection: OpaquePointer?,
    _ url: UnsafePointer<CChar>?,
    _ method: UnsafePointer<CChar>?,
    _ version: UnsafePointer<CChar>?,
    _ uploaded: UnsafePointer<CChar>?,
    _ uploadedSize: UnsafeMutablePointer<Int>?,
    _ state: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
) -> MHD_Result {
    guard let url, let method else { return .NO }
    // A body is read to its end and dropped.
    if let uploadedSize, uploadedSize.pointee > 0 {
        uploadedSize.pointee = 0
        return .YES
    }
    return HTTPEndpoint.answer(
        context,
        connection,
        path: String(cString: url),
        method: String(cString: method)
    )
}
