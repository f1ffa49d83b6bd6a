import Glibc
import TestSupport
import Testing

@testable import Operations

@Suite("docs/monitoring.md") struct MonitoringDocumentTests {
    private static let text: String = {
        let tests = realpath(#filePath, nil).map { String(cString: $0) } ?? #filePath
        let root = tests.split(separator: "/").dropLast(3).map { "/\($0)" }.joined()
        return readText(root + "/docs/monitoring.md") ?? ""
    }()

    @Test("names every metric, and no other")
    func metrics() {
        let rows = Self.text.split(separator: "\n").filter { $0.hasPrefix("| `dbmazz_") || $0.hasPrefix("| `process_") }
        let named = rows.compactMap { $0.split(separator: "`").dropFirst().first.map(String.init) }
        #expect(named == MetricCatalog.names)
    }

    @Test("names every MESSAGE_ID")
    func messages() {
        for (event, id) in JournalLogHandler.messageIDs {
            #expect(Self.text.contains("| `\(event)` | `\(id)` |"), "\(event)")
        }
    }
}
