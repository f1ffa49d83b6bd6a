import CCurl

/// What one of curl's codes means for the request.
///
/// - Parameters:
///   - code: How the transfer ended.
///   - words: curl's message, which tells apart what shares a code.
///   - bytesSent: Of the request.
///   - received: Bytes of an answer.
/// - Returns: What is known of the request's fate.
func errorKind(_ code: CURLcode, words: String, bytesSent: Int, received: Int) -> HTTPError.Kind {
    switch code {
    case CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_CONNECT, CURLE_PROXY,
        CURLE_INTERFACE_FAILED:
        return .unreachable
    case CURLE_SSL_CONNECT_ERROR:
        // A server that goes away during the handshake is no server whose certificate is wrong.
        return words.contains("SSL_connect:") || words.contains("unexpected eof") ? .unreachable : .tls
    case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CIPHER, CURLE_SSL_ISSUER_ERROR, CURLE_SSL_CRL_BADFILE,
        CURLE_SSL_PINNEDPUBKEYNOTMATCH, CURLE_SSL_INVALIDCERTSTATUS, CURLE_SSL_CLIENTCERT, CURLE_SSL_SHUTDOWN_FAILED:
        return .tls
    case CURLE_SSL_CERTPROBLEM, CURLE_SSL_CACERT_BADFILE, CURLE_URL_MALFORMAT, CURLE_BAD_FUNCTION_ARGUMENT,
        CURLE_FAILED_INIT, CURLE_NOT_BUILT_IN, CURLE_UNKNOWN_OPTION, CURLE_SSL_ENGINE_NOTFOUND,
        CURLE_SSL_ENGINE_SETFAILED, CURLE_SSL_ENGINE_INITFAILED:
        return bytesSent == 0 ? .invalid : .ambiguous
    case CURLE_OUT_OF_MEMORY where received > 0:
        // What curl says to a header line above its own limit of 100 KB.
        return .tooLarge
    case CURLE_RECV_ERROR where received == 0 && isRefusedCertificate(words):
        // In TLS 1.3 the client has sent its request before it learns that its certificate is refused.
        return .tls
    case CURLE_UNSUPPORTED_PROTOCOL where bytesSent == 0:
        return .invalid
    default:
        return bytesSent == 0 ? .unreachable : .ambiguous
    }
}

/// Whether OpenSSL tells of a server that does not take the client's certificate.
private func isRefusedCertificate(_ words: String) -> Bool {
    words.contains(" alert ") && ["certificate", "unknown ca", "access denied"].contains { words.contains($0) }
}
