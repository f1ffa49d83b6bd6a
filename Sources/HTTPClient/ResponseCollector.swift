import CCurl

/// Takes what curl's callbacks bring of a response, within its limits.
///
/// curl holds it without counting while a transfer runs; ``HTTPClient`` keeps it alive for as long.
final class ResponseCollector {
    private enum Place {
        case statusLine
        case headers
        case body
    }

    private let bodyLimit: Int
    private let mustFit: Bool
    private let headerLimit: Int
    /// A request without effects may be sent again on a new connection.
    private let mayRepeat: Bool
    private let handle: UnsafeMutableRawPointer
    private var place = Place.statusLine
    private var headerBytes = 0

    /// Whether the server refuses to be asked for `100 Continue`: the request did not take effect.
    var refusesExpectation: Bool { status == 417 }

    /// The last status that came, 1xx included; 0 before the first.
    private(set) var status = 0
    private(set) var headers = HTTPFields()
    private(set) var trailers = HTTPFields()
    private(set) var body: [UInt8] = []
    private(set) var isTruncated = false
    /// Bytes that came, headers and body.
    private(set) var received = 0
    /// Whether curl has a connection and begins, or began, to send.
    private(set) var hasBegun = false
    /// Which limit was passed.
    private(set) var excess: String?
    /// Whether curl was kept from sending the request a second time.
    private(set) var refusedRepetition = false

    /// Takes the response to a request that the handle is about to send.
    init(_ request: HTTPRequest, _ options: HTTPClientOptions, handle: UnsafeMutableRawPointer) {
        self.handle = handle
        bodyLimit = request.responseLimit ?? options.responseLimit
        mustFit = request.mustFit
        headerLimit = options.headerLimit
        mayRepeat = request.method == "GET" || request.method == "HEAD"
    }

    /// curl has a connection and is about to send the request; false ends the transfer.
    ///
    /// It comes here again when it repeats the request. When a kept connection was closed without a byte of an answer it
    /// does so of its own accord and without a switch, for every method, although the server may have closed after it did
    /// what it was asked to. After a 417 it sends the same `Expect` again and again.
    fileprivate func begin() -> Bool {
        if hasBegun, status == 417 { return false }
        if hasBegun, bytesSent(by: handle) > 0, !mayRepeat {
            refusedRepetition = true
            return false
        }
        hasBegun = true
        place = .statusLine
        status = 0
        headers = HTTPFields()
        trailers = HTTPFields()
        body = []
        isTruncated = false
        headerBytes = 0
        return true
    }

    /// One line of the headers or trailers; false ends the transfer.
    fileprivate func takeLine(_ line: UnsafeRawBufferPointer) -> Bool {
        received += line.count
        headerBytes += line.count
        guard headerBytes <= headerLimit else {
            excess = "its headers are longer than \(headerLimit) bytes"
            return false
        }
        var end = line.count
        while end > 0, line[end - 1] == UInt8(ascii: "\n") || line[end - 1] == UInt8(ascii: "\r") { end -= 1 }
        let text = UnsafeRawBufferPointer(rebasing: line[..<end])
        switch place {
        case .statusLine:
            status = Self.status(text)
            headers = HTTPFields()
            place = .headers
        case .headers where text.isEmpty:
            // A 1xx is followed by another status line.
            place = status < 200 ? .statusLine : .body
        case .headers: Self.add(text, to: &headers)
        case .body: Self.add(text, to: &trailers)
        }
        return true
    }

    /// A piece of the body; false ends the transfer.
    fileprivate func takeBody(_ bytes: UnsafeRawBufferPointer) -> Bool {
        received += bytes.count
        let kept = min(bytes.count, max(0, bodyLimit - body.count))
        body.append(contentsOf: bytes[..<kept])
        guard kept < bytes.count else { return true }
        isTruncated = true
        guard mustFit else { return true }
        excess = "its body is longer than \(bodyLimit) bytes"
        return false
    }

    /// The code of `HTTP/1.1 200 OK`.
    private static func status(_ line: UnsafeRawBufferPointer) -> Int {
        guard let space = line.firstIndex(of: UInt8(ascii: " ")) else { return 0 }
        var code = 0
        for byte in line[(space + 1)...].prefix(3) {
            guard byte >= 0x30, byte <= 0x39 else { return 0 }
            code = code * 10 + Int(byte - 0x30)
        }
        return code
    }

    private static func add(_ line: UnsafeRawBufferPointer, to fields: inout HTTPFields) {
        func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }
        func trimmed(_ part: Slice<UnsafeRawBufferPointer>) -> String {
            var part = part.drop(while: isSpace)
            while let last = part.last, isSpace(last) { part = part.dropLast() }
            return String(decoding: part, as: UTF8.self)
        }
        if let first = line.first, isSpace(first), let last = fields.all.indices.last {
            // An old form: the value goes on in the next line.
            fields.all[last].1 += " " + trimmed(line[...])
        } else if let colon = line.firstIndex(of: UInt8(ascii: ":")) {
            fields.all.append((trimmed(line[..<colon]), trimmed(line[(colon + 1)...])))
        }
    }
}

extension ResponseCollector {
    /// Has the handle's callbacks come here; the caller keeps the collector alive until the transfer has ended.
    func attach() {
        let context = Unmanaged.passUnretained(self).toOpaque()
        curl_set_write_function(handle, CURLOPT_HEADERFUNCTION, takeHeaderLine)
        curl_set_pointer(handle, CURLOPT_HEADERDATA, context)
        curl_set_write_function(handle, CURLOPT_WRITEFUNCTION, takeBodyPiece)
        curl_set_pointer(handle, CURLOPT_WRITEDATA, context)
        curl_set_prereq_function(handle, beginRequest)
        curl_set_pointer(handle, CURLOPT_PREREQDATA, context)
    }
}

/// Bytes of the request, headers and body, that the handle's transfer has sent so far.
func bytesSent(by handle: UnsafeMutableRawPointer) -> Int {
    var request = 0
    var body = 0
    curl_get_long(handle, CURLINFO_REQUEST_SIZE, &request)
    curl_get_off(handle, CURLINFO_SIZE_UPLOAD_T, &body)
    return request + body
}

/// curl_write_callback for header lines: returns what was taken; less ends the transfer.
private func takeHeaderLine(
    _ bytes: UnsafeMutablePointer<CChar>?,
    _ size: Int,
    _ count: Int,
    _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let context else { return 0 }
    let collector = Unmanaged<ResponseCollector>.fromOpaque(context).takeUnretainedValue()
    let line = UnsafeRawBufferPointer(start: bytes, count: size * count)
    return collector.takeLine(line) ? line.count : -1
}

/// curl_write_callback for the body.
private func takeBodyPiece(
    _ bytes: UnsafeMutablePointer<CChar>?,
    _ size: Int,
    _ count: Int,
    _ context: UnsafeMutableRawPointer?
) -> Int {
    guard let context else { return 0 }
    let collector = Unmanaged<ResponseCollector>.fromOpaque(context).takeUnretainedValue()
    let piece = UnsafeRawBufferPointer(start: bytes, count: size * count)
    return collector.takeBody(piece) ? piece.count : -1
}

/// curl_prereq_callback, called when there is a connection and before each sending of the request.
private func beginRequest(
    _ context: UnsafeMutableRawPointer?,
    _ remoteAddress: UnsafeMutablePointer<CChar>?,
    _ localAddress: UnsafeMutablePointer<CChar>?,
    _ remotePort: Int32,
    _ localPort: Int32
) -> Int32 {
    guard let context else { return CURL_PREREQFUNC_ABORT }
    let collector = Unmanaged<ResponseCollector>.fromOpaque(context).takeUnretainedValue()
    return collector.begin() ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT
}
