/// When tables are copied.
public enum SnapshotMode: String, Sendable, CaseIterable {
    /// Tables that the sink does not have yet are copied, then streamed.
    case initial
    /// No copy: changes from now on only.
    case never
    /// A copy from a temporary slot, then the daemon ends.
    case only
}

/// Which changes are read, by where they came from.
public enum OriginFilter: String, Sendable, CaseIterable {
    /// All of them, also those that a replication brought to the source.
    case any
    /// Only those made at the source itself (`origin 'none'`, PostgreSQL 16 and later): keeps two-way set-ups from going in circles.
    case none
}

/// A name pattern of `SOURCE_TABLES`: `schema.table`, where `*` stands for any characters.
public struct TablePattern: Hashable, Sendable, CustomStringConvertible {
    /// The schema's pattern.
    public var schema: String
    /// The table's pattern.
    public var name: String

    /// Makes a pattern.
    public init(schema: String, name: String) {
        self.schema = schema
        self.name = name
    }

    /// Whether the table's schema and name both match, case-sensitively.
    public func matches(_ table: TableRef) -> Bool {
        TablePattern.matches(table.schema.utf8[...], schema.utf8[...])
            && TablePattern.matches(table.name.utf8[...], name.utf8[...])
    }

    /// The pattern as written.
    public var description: String { "\(schema).\(name)" }

    private static func matches(_ text: Substring.UTF8View, _ pattern: Substring.UTF8View) -> Bool {
        var text = text
        var pattern = pattern
        while let next = pattern.popFirst() {
            if next == UInt8(ascii: "*") {
                if pattern.isEmpty { return true }
                while true {
                    if matches(text, pattern) { return true }
                    guard text.popFirst() != nil else { return false }
                }
            }
            guard text.popFirst() == next else { return false }
        }
        return text.isEmpty
    }
}

/// Settings of the source: the `SOURCE_*` variables.
public struct SourceConfig: Sendable {
    /// `SOURCE_URL`: a libpq URI or conninfo.
    ///
    /// May hold a password: never print it.
    public var url: Secret
    /// `SOURCE_PASSWORD`: used where the URL has none.
    public var password: Secret?
    /// `SOURCE_SLOT_NAME`.
    public var slotName: String
    /// `SOURCE_PUBLICATION_NAME`.
    public var publicationName: String
    /// `SOURCE_TABLES`; empty means every table of the publication, or every table there is if the publication is made.
    public var tables: [TablePattern]
    /// `SOURCE_SNAPSHOT`.
    public var snapshot: SnapshotMode
    /// `SOURCE_HEARTBEAT_INTERVAL_MS`; nil means none.
    public var heartbeatInterval: Duration?
    /// `SOURCE_ORIGIN`.
    public var origin: OriginFilter
    /// `SOURCE_WAL_ALARM_MB`, in bytes: more WAL than this kept by the slot raises an alarm; nil means never.
    public var walAlarmBytes: Int?

    /// Makes a configuration with the defaults of every other variable.
    public init(url: Secret) {
        self.url = url
        slotName = "dbmazz_slot"
        publicationName = "dbmazz_pub"
        tables = []
        snapshot = .initial
        origin = .any
        heartbeatInterval = .seconds(10)
        walAlarmBytes = 10 << 30
    }
}
