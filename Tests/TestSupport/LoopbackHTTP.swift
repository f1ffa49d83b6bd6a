import Glibc

/// A request over HTTP to a port of this machine, for servers of the tests' own.
enum LoopbackHTTP {
    /// What came back.
    struct Answer {
        /// The status code.
        var status = 0
        /// The headers, their names in lower case.
        var headers: [String: String] = [:]
        /// The body, without the frames of chunked encoding.
        var body: [UInt8] = []
        /// False when the connection ended before the body did.
        var isComplete = false

        var text: String { String(decoding: body, as: UTF8.self) }
    }

    /// Sends a request and reads the answer to its end.
    ///
    /// - Throws: `HarnessError` when nothing answers, or something that is no HTTP.
    static func send(
        _ method: String,
        _ target: String,
        port: Int,
        headers: [(String, String)] = [],
        body: [UInt8] = [],
        timeout: Duration = .seconds(60)
    ) throws -> Answer {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw HarnessError("socket: errno \(errno)") }
        defer { close(descriptor) }
        let microseconds = Int(timeout / .microseconds(1))
        var limit = timeval(tv_sec: microseconds / 1_000_000, tv_usec: microseconds % 1_000_000)
        for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
            setsockopt(descriptor, SOL_SOCKET, option, &limit, socklen_t(MemoryLayout<timeval>.size))
        }
        guard withLoopbackAddress(port: port, { connect(descriptor, $0, $1) }) == 0 else {
            throw HarnessError("nothing answers at 127.0.0.1:\(port): errno \(errno)")
        }
        let lines = headers.map { "\($0.0): \($0.1)\r\n" }.joined()
        let head =
            "\(method) \(target) HTTP/1.1\r\nHost: 127.0.0.1:\(port)\r\nConnection: close\r\n"
            + "Content-Length: \(body.count)\r\n\(lines)\r\n"
        // A server may answer and close before it has read everything: what it said still counts.
        _ = sendAll(descriptor, Array(head.utf8)) && sendAll(descriptor, body)
        return try parse(receiveAll(descriptor), port)
    }

    private static func sendAll(_ descriptor: Int32, _ bytes: [UInt8]) -> Bool {
        bytes.withUnsafeBytes { buffer in
            var sent = 0
            while sent < buffer.count {
                let next = buffer.baseAddress.map { $0 + sent }
                let count = Glibc.send(descriptor, next, buffer.count - sent, Int32(MSG_NOSIGNAL))
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { return false }
                sent += count
            }
            return true
        }
    }

    private static func receiveAll(_ descriptor: Int32) -> [UInt8] {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            let count = recv(descriptor, &buffer, buffer.count, 0)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { return all }
            all += buffer[..<count]
        }
    }

    private static func parse(_ bytes: [UInt8], _ port: Int) throws -> Answer {
        var answer = Answer()
        guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else {
            throw HarnessError("127.0.0.1:\(port) closed the connection without an answer (\(bytes.count) bytes)")
        }
        let lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).split(separator: "\r\n")
        guard let first = lines.first, first.hasPrefix("HTTP/1."), let status = Int(first.split(separator: " ")[1])
        else { throw HarnessError("what answers at 127.0.0.1:\(port) does not speak HTTP") }
        answer.status = status
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { continue }
            let value = line[line.index(after: colon)...].drop { $0 == " " }
            answer.headers[line[..<colon].lowercased()] = String(value)
        }
        let rest = bytes[end.upperBound...]
        guard answer.headers["transfer-encoding"] == "chunked" else {
            answer.body = Array(rest)
            answer.isComplete = answer.headers["content-length"].map { Int($0) == rest.count } ?? true
            return answer
        }
        var position = rest.startIndex
        while let line = rest[position...].firstRange(of: Array("\r\n".utf8)) {
            let digits = String(decoding: rest[position..<line.lowerBound], as: UTF8.self)
            guard let size = Int(digits, radix: 16) else { break }
            let start = line.upperBound
            if size == 0 {
                answer.isComplete = true
                break
            }
            answer.body += rest[start..<min(start + size, rest.endIndex)]
            position = start + size + 2
            guard position < rest.endIndex else { break }
        }
        return answer
    }

    /// A text as a part of a URL's query.
    static func encoded(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                result += digits.utf8.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return result
    }

    /// A text as a JSON string.
    static func json(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
