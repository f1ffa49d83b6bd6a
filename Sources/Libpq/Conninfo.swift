internal import CLibpq

/// What libpq is told to connect: keywords and values.
///
/// May hold a password: never print it.
public struct Conninfo: Sendable {
    /// In the order in which libpq reads them: of two values of one keyword the later counts.
    public private(set) var keywords: [(name: String, value: String)] = []

    /// Why a URI or conninfo string is not understood.
    public struct Mistake: Error {
        /// libpq's reason up to what it quotes, which may be a password.
        public let reason: String
    }

    /// Takes a URI or conninfo string apart with libpq's own parser.
    public init(parsing text: String) throws(Mistake) {
        var message: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(text, &message) else {
            let reason = message.map { String(cString: $0) } ?? "out of memory"
            PQfreemem(message)
            throw Mistake(reason: String(reason.prefix { $0 != "\"" && $0 != "\n" }))
        }
        defer { PQconninfoFree(options) }
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { keywords.append((String(cString: keyword), String(cString: value))) }
            option += 1
        }
    }

    /// Without these a peer that vanished is noticed after hours (Linux' keepalive) or never (a full send buffer).
    private static let patience = [
        ("connect_timeout", "10"), ("keepalives", "1"), ("keepalives_idle", "30"), ("keepalives_interval", "10"),
        ("keepalives_count", "3"), ("tcp_user_timeout", "60000"),
    ]

    /// Adds how soon a silent peer is given up, where nothing else was said.
    public mutating func addPatience() {
        for (name, value) in Conninfo.patience { add(name, value) }
    }

    /// Adds a keyword that is not there.
    public mutating func add(_ name: String, _ value: String) {
        if self[name] == nil { keywords.append((name, value)) }
    }

    /// Sets a keyword, whatever was said.
    public mutating func set(_ name: String, _ value: String) {
        remove(name)
        keywords.append((name, value))
    }

    /// Takes a keyword out.
    public mutating func remove(_ name: String) {
        keywords.removeAll { $0.name == name }
    }

    /// The value of a keyword.
    public subscript(name: String) -> String? { keywords.last { $0.name == name }?.value }

    /// Begins to connect; the caller polls.
    ///
    /// Nil when libpq has no memory.
    public func start() -> OpaquePointer? {
        withCStrings(keywords.map(\.name)) { names in
            withCStrings(keywords.map(\.value)) { values in PQconnectStartParams(names, values, 0) }
        }
    }
}
