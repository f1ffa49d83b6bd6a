import CCurl
import CdcCore
import Glibc

/// Sets a handle up for one transfer; remembers the first option that failed.
///
/// Strings are copied by curl; lists are not, so they are freed when the transfer is over.
final class TransferSetup {
    private let handle: UnsafeMutableRawPointer
    private var lists: [UnsafeMutablePointer<curl_slist>] = []
    private(set) var code = CURLE_OK

    init(_ handle: UnsafeMutableRawPointer) { self.handle = handle }

    /// Frees the lists, secret headers among them; the handle was reset before.
    func freeLists() {
        for list in lists { curl_slist_free_all(list) }
        lists = []
    }

    /// Applies what holds for every request.
    func apply(_ options: HTTPClientOptions, deadline: ContinuousClock.Instant) {
        // curl sets no handlers: this is a process with threads, and it ignores SIGPIPE.
        set(CURLOPT_NOSIGNAL, 1)
        // One request at a time has no use for HTTP/2, where `Expect` is left to chance.
        set(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_1_1))
        note(curl_allow_http_only(handle))
        note(curl_quit_quickly(handle))
        // Redirects are followed by the client itself, see HTTPClientOptions.redirect.
        set(CURLOPT_FOLLOWLOCATION, 0)
        set(CURLOPT_CONNECTTIMEOUT_MS, options.connectTimeout)
        set(CURLOPT_EXPECT_100_TIMEOUT_MS, options.expectTimeout)
        set(CURLOPT_TCP_KEEPALIVE, 1)
        set(CURLOPT_TCP_KEEPIDLE, 30)
        set(CURLOPT_TCP_KEEPINTVL, 10)
        // curl's 64 KB means four times as many calls per body.
        set(CURLOPT_UPLOAD_BUFFERSIZE, 256 << 10)
        set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1)
        set(CURLOPT_USERAGENT, options.userAgent)
        set(CURLOPT_SSL_VERIFYPEER, 1)
        set(CURLOPT_SSL_VERIFYHOST, 2)
        set(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2))
        if let authority = options.certificateAuthority {
            set(CURLOPT_CAINFO, authority)
            // Else the system's are trusted besides.
            note(curl_set_string(handle, CURLOPT_CAPATH, nil))
        }
        if let certificate = options.certificate { set(CURLOPT_SSLCERT, certificate) }
        if let key = options.key { set(CURLOPT_SSLKEY, key) }
        set(CURLOPT_NOPROXY, Self.withoutProxy)
        let mapped = options.hostMap.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }
        if !mapped.isEmpty { set(CURLOPT_CONNECT_TO, list: mapped) }
    }

    /// Applies one request to one host.
    func apply(_ request: HTTPRequest, _ hop: RedirectDecision) {
        set(CURLOPT_URL, hop.url.text)
        if request.method == "HEAD" {
            set(CURLOPT_NOBODY, 1)
        } else {
            if request.body != nil || ["POST", "PUT", "PATCH"].contains(request.method) {
                // This way curl can begin again with the body, and sends its length.
                let body = request.body ?? UnsafeRawBufferPointer(start: nil, count: 0)
                note(curl_set_body(handle, body.baseAddress, body.count))
            }
            set(CURLOPT_CUSTOMREQUEST, request.method)
        }
        set(CURLOPT_HTTPHEADER, list: headerLines(request, withSecrets: hop.keepsSecrets))
        if hop.keepsSecrets, let credentials = request.credentials {
            // Basic is what curl takes if it is not told otherwise; to offer more would cost a round trip.
            set(CURLOPT_USERNAME, credentials.user)
            set(CURLOPT_PASSWORD, credentials.password.value)
        }
    }

    private func headerLines(_ request: HTTPRequest, withSecrets: Bool) -> [String] {
        // A name without a value keeps curl from sending a header of its own.
        var lines = [request.expectsContinue ? "Expect: 100-continue" : "Expect:"]
        if !request.headers.contains(where: { sameName($0.name, "Content-Type") }) { lines.append("Content-Type:") }
        // An empty value has a syntax of its own.
        func line(_ name: String, _ value: String) -> String { value.isEmpty ? "\(name);" : "\(name): \(value)" }
        for (name, value) in request.headers where withSecrets || !Self.isSecret(name) {
            lines.append(line(name, value))
        }
        if withSecrets {
            for (name, value) in request.secretHeaders { lines.append(line(name, value.value)) }
        }
        return lines
    }

    /// Headers that are secret by their nature, wherever the caller put them.
    private static func isSecret(_ name: String) -> Bool {
        sameName(name, "Authorization") || sameName(name, "Cookie")
    }

    /// Hosts that are reached without the proxy of `http_proxy` and `https_proxy`: the loopback, and `no_proxy`.
    private static var withoutProxy: String {
        let loopback = "localhost,127.0.0.1,::1"
        guard let set = getenv("no_proxy") ?? getenv("NO_PROXY") else { return loopback }
        let names = String(cString: set)
        // The star stands for all hosts only where it stands alone.
        return names == "*" ? names : "\(loopback),\(names)"
    }

    private func note(_ result: CURLcode) {
        if code == CURLE_OK { code = result }
    }

    private func set(_ option: CURLoption, _ value: Int) { note(curl_set_long(handle, option, value)) }

    private func set(_ option: CURLoption, _ value: String) { note(curl_set_string(handle, option, value)) }

    private func set(_ option: CURLoption, _ value: Duration) {
        // 0 would mean curl's own default.
        set(option, max(1, min(value.wholeMilliseconds, Int(Int32.max))))
    }

    private func set(_ option: CURLoption, list texts: [String]) {
        var list: UnsafeMutablePointer<curl_slist>?
        for text in texts {
            guard let longer = curl_slist_append(list, text) else {
                note(CURLE_OUT_OF_MEMORY)
                break
            }
            list = longer
        }
        if let list { lists.append(list) }
        note(curl_set_list(handle, option, list))
    }
}
