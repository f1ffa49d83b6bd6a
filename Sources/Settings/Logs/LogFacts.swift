public import Logging

/// The facts of an event, from wherever they come.
public enum LogFacts {
    /// The logger's own fields, those of the task's context, and the event's; the later win.
    public static func merged(
        _ own: Logger.Metadata,
        _ provider: Logger.MetadataProvider?,
        _ event: LogEvent
    ) -> Logger.Metadata {
        var facts = own
        if let provided = provider?.get() { facts.merge(provided) { $1 } }
        if let explicit = event.metadata { facts.merge(explicit) { $1 } }
        if let error = event.error, facts["error"] == nil { facts["error"] = "\(error)" }
        return facts
    }
}
