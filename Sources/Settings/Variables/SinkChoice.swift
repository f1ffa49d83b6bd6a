import CdcCore
import Sinks

/// A sink that `SINK_TYPE` can name.
struct SinkChoice: Sendable {
    let name: String
    let capabilities: SinkCapabilities
    /// Throws if the sink does not accept the settings; touches nothing outside.
    let check: @Sendable (SinkConfig) throws(SinkError) -> Void

    init(
        name: String,
        capabilities: SinkCapabilities,
        check: @escaping @Sendable (SinkConfig) throws(SinkError) -> Void = { _ throws(SinkError) in }
    ) {
        self.name = name
        self.capabilities = capabilities
        self.check = check
    }

    /// The sinks of this build.
    static let registered = SinkRegistry.all.map { type in
        SinkChoice(name: type.name, capabilities: type.capabilities) { (config) throws(SinkError) in
            _ = try type.init(config)
        }
    }
}
