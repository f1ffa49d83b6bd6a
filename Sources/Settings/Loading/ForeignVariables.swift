/// Variables that begin like ours and are not: other programs put them into the environment, the operator did not.
enum ForeignVariables {
    /// Whether to overlook the variable.
    static func contains(_ name: String, value: String) -> Bool {
        // The date for reproducible builds, set by build tools and some base images.
        if name == "SOURCE_DATE_EPOCH" { return true }
        return isServiceLink(name, value: value)
    }

    /// Whether Kubernetes made it: every Service of a namespace is described in variables of this shape.
    ///
    /// A Service named `sink` also makes a `SINK_PORT=tcp://…`.
    private static func isServiceLink(_ name: String, value: String) -> Bool {
        if name.hasSuffix("_SERVICE_HOST") || name.contains("_SERVICE_PORT") { return true }
        guard name.hasSuffix("_PORT") || name.contains("_PORT_") else { return false }
        let protocols = ["TCP", "UDP", "SCTP"]
        return protocols.contains { name.contains("_\($0)") || value.hasPrefix("\($0.lowercased())://") }
    }
}
