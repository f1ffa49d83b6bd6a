/// One environment variable: everything that the loader, `env.example` and the documents say about it.
public struct Variable: Sendable {
    /// The variable's name, for example `SINK_BATCH_SIZE`.
    public let name: String
    /// What it decides, in one or two sentences.
    public let meaning: String
    /// Which values are taken.
    public let kind: Kind
    /// What counts where it is not set.
    public let fallback: Fallback
    /// A value that shows how it is written.
    public let example: String
    /// Whether its value is never shown, and may also come from `<NAME>_FILE` or a systemd credential.
    public let isSecret: Bool

    init(
        _ name: String,
        _ kind: Kind,
        default fallback: Fallback,
        example: String,
        isSecret: Bool = false,
        meaning: String
    ) {
        self.name = name
        self.kind = kind
        self.fallback = fallback
        self.example = example
        self.isSecret = isSecret
        self.meaning = meaning
    }

    /// The variable that names a file with this one's value.
    public var fileVariableName: String { name + "_FILE" }
}

extension Variable {
    /// Which values a variable takes.
    public enum Kind: Sendable {
        /// A libpq URI or conninfo.
        case sourceURL
        /// Any text up to a number of bytes, without control characters.
        case text(maxBytes: Int)
        /// Any text.
        case password
        /// What PostgreSQL takes as a replication slot's name.
        case slotName
        /// A comma list of `schema.table` patterns.
        case tablePatterns
        /// A template with `{schema}` and `{table}`.
        case tableNameTemplate
        /// One of these words; aliases are taken too, and not advertised.
        case choice([String], aliases: [String: String] = [:])
        /// The name of a sink that this build has.
        case sink
        /// Where to listen: `HOST:PORT`, or `off`.
        case listenAddress
        /// A whole number; a word may stand for one value outside the range.
        case wholeNumber(ClosedRange<Int>, unit: Unit, special: Special? = nil)
    }

    /// A value outside a number's range that is taken nevertheless.
    public struct Special: Sendable {
        /// How it is written.
        public let text: String
        /// What it means, for people.
        public let meaning: String
    }

    /// What a whole number counts.
    public enum Unit: String, Sendable {
        /// Things that need no unit.
        case count = "a plain number"
        /// Bytes.
        case bytes = "a plain number of bytes"
        /// Milliseconds.
        case milliseconds = "a plain number of milliseconds"
        /// 1 048 576 bytes.
        case mebibytes = "a plain number of MiB"
    }

    /// What counts where a variable is not set.
    public enum Fallback: Sendable {
        /// The variable must be set.
        case required
        /// Nothing: the feature is off or the server's own default counts.
        case none
        /// This value, as it would be written.
        case value(String)
        /// A value that only the daemon finds out, in words.
        case computed(String)
        /// A value that the sink's capabilities name.
        case sink(SinkDefault)
    }

    /// The settings whose defaults depend on the sink.
    public enum SinkDefault: Sendable {
        /// `SINK_BATCH_SIZE`
        case batchSize
        /// `SINK_BATCH_BYTES`
        case batchBytes
        /// `SINK_FLUSH_INTERVAL_MS`
        case flushInterval
        /// `SINK_AUDIT_COLUMNS`
        case auditColumns
    }
}
