internal import CdcCore

/// Where a target with an HTTP interface is: scheme, host and port, and nothing else.
struct HTTPAddress {
    let isSecure: Bool
    /// As it was written, an IPv6 address in brackets.
    private let writtenHost: String
    /// Nil where none was written.
    let port: String?

    /// The host alone, for other protocols than HTTP.
    var host: String {
        guard writtenHost.hasPrefix("["), writtenHost.hasSuffix("]") else { return writtenHost }
        return String(writtenHost.dropFirst().dropLast())
    }

    /// The address without a slash at the end.
    func url(defaultPort: Int) -> String {
        "\(isSecure ? "https" : "http")://\(writtenHost):\(port ?? String(defaultPort))"
    }

    /// Reads `SINK_URL`; notes what is wrong with it.
    ///
    /// - Parameters:
    ///   - url: the variable's value.
    ///   - example: what to write, as a clause.
    ///   - elsewhere: where that goes which has no place in it, as the end of a clause.
    ///   - check: takes the problem.
    init?(_ url: String?, example: String, elsewhere: String = "", _ check: inout SettingsCheck) {
        guard let url else {
            check.add("SINK_URL is missing: \(example)")
            return nil
        }
        let lower = url.lowercased()
        guard lower.hasPrefix("http://") || lower.hasPrefix("https://") else {
            check.add("SINK_URL is no HTTP address: \(example)")
            return nil
        }
        isSecure = lower.hasPrefix("https://")
        var place = url.dropFirst(isSecure ? 8 : 7)
        while place.hasSuffix("/") { place.removeLast() }
        if place.contains("@") {
            check.add("SINK_URL holds a user or password: write them to SINK_USER and SINK_PASSWORD")
            return nil
        }
        guard !place.isEmpty, !place.contains(where: { "/?# ".contains($0) }) else {
            check.add("SINK_URL has more than scheme, host and port: \(example)\(elsewhere)")
            return nil
        }
        let bracket = place.lastIndex(of: "]") ?? place.startIndex
        let colon = place[bracket...].lastIndex(of: ":")
        writtenHost = String(place[..<(colon ?? place.endIndex)])
        port = colon.map { String(place[place.index(after: $0)...]) }
    }
}
