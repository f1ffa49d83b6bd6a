import CCurl
public import CdcCore
import Glibc

/// Sends requests over HTTP/1.1 (libcurl), one at a time, and keeps connections between them.
///
/// Owned by one thread, whose calls block. A request is sent once: what became of it when the connection broke is for the
/// caller to find out, see ``HTTPError/Kind``.
public final class HTTPClient {
    let options: HTTPClientOptions
    private let cancellation: Cancellation
    /// Keeps the connections; nil after ``close()``.
    private var multi: UnsafeMutableRawPointer?
    private var handle: UnsafeMutableRawPointer?
    /// What curl says of a failed transfer.
    private let errorText: UnsafeMutablePointer<CChar>

    /// `curl_global_init` wants to be called once, before anything else.
    private static let isReady = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    /// Makes a client; connects nowhere.
    ///
    /// - Throws: of kind ``HTTPError/Kind/invalid`` where a file of the options cannot be read.
    public init(_ options: HTTPClientOptions, cancellation: Cancellation) throws(HTTPError) {
        self.options = options
        self.cancellation = cancellation
        errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
        errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        for (what, path) in [
            ("certificates to trust", options.certificateAuthority), ("certificate", options.certificate),
            ("certificate's key", options.key),
        ] {
            guard let path else { continue }
            guard access(path, R_OK) == 0 else {
                let reason = String(cString: strerror(errno))
                throw HTTPError(.invalid, "the file \(path) with the \(what) cannot be read: \(reason)")
            }
        }
        guard Self.isReady, let multi = curl_multi_init() else {
            throw HTTPError(.invalid, "libcurl does not start")
        }
        self.multi = multi
        guard let handle = curl_easy_init() else { throw HTTPError(.invalid, "libcurl does not start") }
        self.handle = handle
    }

    deinit {
        close()
        errorText.deallocate()
    }

    /// Closes the connections; the client sends nothing any more.
    public func close() {
        // The handle first: it may still refer to the connections.
        if let handle { curl_easy_cleanup(handle) }
        if let multi { curl_multi_cleanup(multi) }
        handle = nil
        multi = nil
    }

    /// Sends a request and waits for the complete response.
    ///
    /// - Parameters:
    ///   - request: What to send; its body is lent until this returns.
    ///   - deadline: When to give up, redirects included.
    /// - Returns: The response, whatever its status.
    /// - Throws: ``HTTPError``, which says whether the request may have taken effect.
    public func send(
        _ request: HTTPRequest,
        deadline: ContinuousClock.Instant
    ) throws(HTTPError) -> HTTPResponse {
        var request = request
        try request.check()
        let first = try RequestURL(request.url)
        guard first.isHTTP else {
            throw HTTPError(.invalid, "\(first.shown): only http and https are spoken here")
        }
        var hop = RedirectDecision(url: first, keepsSecrets: true)
        var followed = 0
        while true {
            let (collector, location) = try transfer(request, hop, deadline: deadline)
            if request.expectsContinue, collector.refusesExpectation {
                request.expectsContinue = false
                continue
            }
            let next = try options.redirect(
                status: collector.status,
                method: request.method,
                location: location,
                from: hop.url,
                first: first,
                followed: followed
            )
            guard let next else {
                return HTTPResponse(
                    status: collector.status,
                    headers: collector.headers,
                    trailers: collector.trailers,
                    body: collector.body,
                    isTruncated: collector.isTruncated,
                    effectiveURL: hop.url.shown
                )
            }
            followed += 1
            // Once without secrets, always without: an untrusted host must not choose what is asked of a trusted one.
            hop = RedirectDecision(url: next.url, keepsSecrets: hop.keepsSecrets && next.keepsSecrets)
        }
    }

    /// Sends the request to one host.
    private func transfer(
        _ request: HTTPRequest,
        _ hop: RedirectDecision,
        deadline: ContinuousClock.Instant
    ) throws(HTTPError) -> (ResponseCollector, location: String?) {
        guard let multi, let handle else { throw HTTPError(.invalid, "the HTTP client is closed") }
        let collector = ResponseCollector(request, options, handle: handle)
        // Connections, names and TLS sessions outlive it; everything of the last request goes, its secrets too.
        curl_easy_reset(handle)
        let setup = TransferSetup(handle)
        defer {
            curl_easy_reset(handle)
            setup.freeLists()
        }
        errorText[0] = 0
        curl_set_pointer(handle, CURLOPT_ERRORBUFFER, errorText)
        setup.apply(options, deadline: deadline)
        setup.apply(request, hop)
        guard setup.code == CURLE_OK else {
            throw failure(setup.code, request, hop.url, nil)
        }
        collector.attach()
        let end = withExtendedLifetime(collector) {
            run(multi, handle, collector, deadline: deadline)
        }
        switch end {
        case .result(CURLE_OK): break
        case .result(CURLE_ABORTED_BY_CALLBACK) where collector.refusesExpectation: break
        case .result(let code): throw failure(code, request, hop.url, collector)
        case .givenUp(let reason):
            let sent = bytesSent(by: handle)
            let kind: HTTPError.Kind =
                reason == .cancelled ? .cancelled : sent == 0 ? .unreachable : .ambiguous
            throw HTTPError(kind, "\(request.method) \(hop.url.shown): \(text(reason, sent: sent))", bytesSent: sent)
        }
        var location: UnsafePointer<CChar>?
        curl_get_string(handle, CURLINFO_REDIRECT_URL, &location)
        return (collector, location.map { String(cString: $0) })
    }

    private enum Reason {
        case cancelled
        case deadline
        case stall
    }

    private enum End {
        case result(CURLcode)
        case givenUp(Reason)
    }

    private func text(_ reason: Reason, sent: Int) -> String {
        let fate = sent == 0 ? "nothing was sent" : "\(sent) bytes were sent, the answer is not complete"
        return switch reason {
        case .cancelled: "given up, because the daemon stops or starts anew; \(fate)"
        case .deadline: "not done in time; \(fate)"
        case .stall: "not a byte in either direction for \(options.stallTimeout); \(fate)"
        }
    }

    /// Lets curl work until the transfer is over or is to be given up.
    ///
    /// Not curl_easy_perform: while nothing moves, it calls back only once a second.
    private func run(
        _ multi: UnsafeMutableRawPointer,
        _ handle: UnsafeMutableRawPointer,
        _ collector: ResponseCollector,
        deadline: ContinuousClock.Instant
    ) -> End {
        guard curl_multi_add_handle(multi, handle) == CURLM_OK else { return .result(CURLE_FAILED_INIT) }
        // Closes the connection where the transfer is not complete.
        defer { curl_multi_remove_handle(multi, handle) }
        var moved = 0
        var lastMove = ContinuousClock.now
        while true {
            let now = ContinuousClock.now
            if cancellation.isCancelled { return .givenUp(.cancelled) }
            if now >= deadline { return .givenUp(.deadline) }
            var running: Int32 = 0
            guard curl_multi_perform(multi, &running) == CURLM_OK else { return .result(CURLE_OUT_OF_MEMORY) }
            let result = curl_take_result(multi)
            if result >= 0 { return .result(CURLcode(UInt32(result))) }
            guard running > 0 else { return .result(CURLE_FAILED_INIT) }
            // Before there is a connection, its own time-out counts.
            let total = collector.received + bytesSent(by: handle)
            if total != moved || !collector.hasBegun {
                moved = total
                lastMove = now
            } else if now - lastMove >= options.stallTimeout {
                return .givenUp(.stall)
            }
            // Nobody wakes this wait when the cancellation is asked for, so it looks again ten times a second.
            let wait = min(.milliseconds(100), deadline - now)
            curl_multi_poll(multi, nil, 0, Int32(clamping: wait.wholeMilliseconds), nil)
        }
    }

    /// What a code of curl's means for the request.
    private func failure(
        _ code: CURLcode,
        _ request: HTTPRequest,
        _ url: RequestURL,
        _ collector: ResponseCollector?
    ) -> HTTPError {
        let place = "\(request.method) \(url.shown)"
        let sent = handle.map { bytesSent(by: $0) } ?? 0
        if let excess = collector?.excess {
            return HTTPError(.tooLarge, "\(place): the response is too large: \(excess)", bytesSent: sent)
        }
        if collector?.refusedRepetition == true {
            let why = "the server closed the connection without an answer; \(sent) bytes were sent"
            return HTTPError(.ambiguous, code: Int32(CURLE_GOT_NOTHING.rawValue), "\(place): \(why)", bytesSent: sent)
        }
        let told = String(cString: errorText)
        let words = told.isEmpty ? String(cString: curl_easy_strerror(code)) : told
        var message = "\(place): \(request.redacted(words))"
        if url.scheme == "https", sent == 0, collector?.hasBegun == true {
            // In TLS 1.3 the client is told after its part of the handshake, and may not get to read it.
            message += "; a server that closes right after the handshake may demand another certificate"
        }
        return HTTPError(
            errorKind(code, words: words, bytesSent: sent, received: collector?.received ?? 0),
            code: Int32(code.rawValue),
            message,
            bytesSent: sent
        )
    }
}

extension Duration {
    /// Milliseconds, rounded up so that a wait does not end before its time.
    var wholeMilliseconds: Int {
        let (seconds, attoseconds) = components
        let (whole, overflow) = Int(seconds).multipliedReportingOverflow(by: 1000)
        return overflow ? .max : whole + Int((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    }
}
