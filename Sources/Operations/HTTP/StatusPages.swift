import CoreMetrics
import FoundationEssentials
public import Pipeline

/// The endpoint's paths: `/`, `/status`, `/healthz`, `/readyz` and `/metrics`.
public struct StatusPages: Sendable {
    private let monitor: PipelineMonitor
    private let registry: PrometheusRegistry
    private let process: ProcessMetrics
    private let version: String

    /// Makes the pages of a pipeline.
    ///
    /// - Parameters:
    ///   - monitor: what is known of it.
    ///   - registry: where its metrics are.
    ///   - version: the daemon's.
    public init(_ monitor: PipelineMonitor, registry: PrometheusRegistry, version: String) {
        self.monitor = monitor
        self.registry = registry
        self.version = version
        process = ProcessMetrics(registry)
        Meter(
            label: "dbmazz_build_info",
            dimensions: [("version", version), ("sink", monitor.status().sink)],
            factory: registry
        )
        .set(1)
    }

    /// The answer for a path; nil where there is none.
    public func answer(_ path: String) -> HTTPResponse? {
        switch path {
        case "/": HTTPResponse(200, StatusPage.html(status), type: "text/html; charset=utf-8")
        case "/status": HTTPResponse(200, StatusJSON.encode(status), type: "application/json")
        case "/healthz": health
        case "/readyz": readiness
        case "/metrics": HTTPResponse(200, metrics, type: "text/plain; version=0.0.4; charset=utf-8")
        default: nil
        }
    }

    private var status: PipelineStatus {
        var status = monitor.status()
        status.version = version
        return status
    }

    private var health: HTTPResponse {
        let status = status
        guard status.healthy else {
            return HTTPResponse(503, status.lanes.map { StatusText.lane($0) + "\n" }.joined())
        }
        return HTTPResponse(200, "ok\n")
    }

    private var readiness: HTTPResponse {
        let status = status
        let text = StatusText.line(status) + "\n"
        return HTTPResponse(status.ready ? 200 : 503, text)
    }

    private var metrics: String {
        monitor.publishGauges()
        process.publish()
        return registry.text
    }
}

/// JSON for people and programs, names in snake case, keys sorted.
public enum StatusJSON {
    /// The value as text with a newline at its end.
    public static func encode(_ value: some Encodable) -> String {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(value) else { return "{}\n" }
        return String(decoding: data, as: UTF8.self) + "\n"
    }

    /// The status that ``encode(_:)`` wrote; nil for anything else.
    public static func decode(_ text: String) -> PipelineStatus? {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        return try? decoder.decode(PipelineStatus.self, from: Data(text.utf8))
    }
}
