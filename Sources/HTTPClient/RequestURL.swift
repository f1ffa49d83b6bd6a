import CCurl

/// A URL as curl reads it, so that what is decided here is about the host that curl connects to.
struct RequestURL {
    /// What is requested; without user, password and fragment.
    let text: String
    /// `http` or `https`, in lower case.
    let scheme: String
    /// The host's name or address, in lower case; an IPv6 address in brackets.
    let host: String
    /// The port, the scheme's own where the URL has none.
    let port: String
    /// Scheme, host, port and path: what may be shown.
    let shown: String

    /// Whether it is of the kind that a client may ask for.
    var isHTTP: Bool { scheme == "http" || scheme == "https" }

    /// Reads a URL; one with user or password is refused unless they are to be dropped.
    init(_ text: String, droppingUser: Bool = false) throws(HTTPError) {
        guard let parts = curl_url() else { throw HTTPError(.invalid, "no memory for a URL") }
        defer { curl_url_cleanup(parts) }
        let code =
            text.utf8.contains(0)
            ? CURLUE_BAD_PARTPOINTER
            : curl_url_set(parts, CURLUPART_URL, text, UInt32(CURLU_NON_SUPPORT_SCHEME))
        guard code == CURLUE_OK else {
            // Not shown: what cannot be parsed cannot be cleared of secrets either.
            throw HTTPError(.invalid, "the URL is malformed: \(String(cString: curl_url_strerror(code)))")
        }
        func part(_ name: CURLUPart, _ flags: Int32 = 0) -> String? {
            var value: UnsafeMutablePointer<CChar>?
            guard curl_url_get(parts, name, &value, UInt32(flags)) == CURLUE_OK, let value else { return nil }
            defer { curl_free(value) }
            return String(cString: value)
        }
        if !droppingUser, part(CURLUPART_USER) != nil || part(CURLUPART_PASSWORD) != nil {
            throw HTTPError(.invalid, "the URL has a user or a password in it: they belong into the credentials")
        }
        for name in [CURLUPART_USER, CURLUPART_PASSWORD, CURLUPART_OPTIONS, CURLUPART_FRAGMENT] {
            curl_url_set(parts, name, nil, 0)
        }
        self.text = part(CURLUPART_URL) ?? text
        scheme = part(CURLUPART_SCHEME)?.lowercased() ?? ""
        host = part(CURLUPART_HOST)?.lowercased() ?? ""
        port = part(CURLUPART_PORT, CURLU_DEFAULT_PORT) ?? ""
        shown = "\(scheme)://\(host):\(port)\(part(CURLUPART_PATH) ?? "/")"
    }
}

/// Where a redirect leads, and with what.
struct RedirectDecision {
    /// The next URL.
    var url: RequestURL
    /// Whether credentials and secret headers go along.
    var keepsSecrets: Bool
}

extension HTTPClientOptions {
    /// Decides about a redirect; nil where the response is to be handed to the caller.
    ///
    /// curl could follow by itself, but it has one switch for all hosts: the secrets go to every one of them, or to none
    /// as soon as the port differs.
    func redirect(
        status: Int,
        method: String,
        location: String?,
        from current: RequestURL,
        first: RequestURL,
        followed: Int
    ) throws(HTTPError) -> RedirectDecision? {
        switch status {
        case 301, 302, 307, 308: break
        // "See other" asks for a GET: for a method that carries a body that would be another request.
        case 303 where method == "GET" || method == "HEAD": break
        default: return nil
        }
        guard let location else { return nil }
        guard followed < maxRedirects else {
            throw HTTPError(
                .redirects,
                "\(first.shown): more than \(maxRedirects) redirects, the last from \(current.shown)"
            )
        }
        let next: RequestURL
        do {
            next = try RequestURL(location, droppingUser: true)
        } catch {
            throw HTTPError(.redirects, "\(current.shown) redirects to nowhere: \(error.message)")
        }
        guard next.isHTTP, !(current.scheme == "https" && next.scheme != "https") else {
            throw HTTPError(
                .redirects,
                "\(current.shown) redirects to \(next.shown), which is not followed: only http and https are, and never "
                    + "from https to http"
            )
        }
        return RedirectDecision(url: next, keepsSecrets: trusts(next, as: first))
    }

    /// Whether a host may see what the first one may.
    private func trusts(_ url: RequestURL, as first: RequestURL) -> Bool {
        allowsAnyRedirectHost || url.host == first.host
            || allowedRedirectHosts.contains { sameName($0, url.host) }
            || hostMap.keys.contains { sameName($0, "\(url.host):\(url.port)") }
    }
}
