public import CdcCore

/// The sinks there are.
///
/// A new sink is one folder and one line here.
public enum SinkRegistry {
    /// Every sink, the default first.
    public static let all: [any Sink.Type] = [
        SQLiteSink.self,
        PostgresSink.self,
        ClickHouseSink.self,
        StarRocksSink.self,
        StdoutSink.self,
        NullSink.self,
    ]

    /// The sink that a value of `SINK_TYPE` selects; nil if there is none of that name.
    public static func type(named name: String) -> (any Sink.Type)? {
        all.first { $0.name == name }
    }
}

/// Makes the sink that `SINK_TYPE` names; touches nothing outside.
///
/// - Throws: ``SinkError`` of kind `configuration` for an unknown type, or for settings that the sink does not accept.
public func createSink(_ config: SinkConfig) throws(SinkError) -> any Sink {
    guard let type = SinkRegistry.type(named: config.type) else {
        let names = SinkRegistry.all.map { $0.name }.joined(separator: ", ")
        throw SinkError(
            .configuration,
            operation: "create sink",
            cause: "there is no SINK_TYPE \"\(config.type)\"",
            remedy: "set it to one of \(names)"
        )
    }
    return try type.init(config)
}
