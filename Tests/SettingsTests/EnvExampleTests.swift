import CdcCore
import Glibc
import Testing

@testable import Settings

@Suite("env.example") struct EnvExampleTests {
    private static let path: String = {
        let tests = realpath(#filePath, nil).map { String(cString: $0) } ?? #filePath
        return tests.split(separator: "/").dropLast(3).map { "/\($0)" }.joined() + "/env.example"
    }()

    @Test("the file is what the table of variables says")
    func fileIsCurrent() throws {
        if getenv("DBMAZZ_WRITE_ENV_EXAMPLE") != nil {
            let descriptor = open(Self.path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
            try #require(descriptor >= 0)
            _ = EnvExample.text.withCString { write(descriptor, $0, strlen($0)) }
            close(descriptor)
        }
        let content = String(decoding: try FileContent.read(Self.path), as: UTF8.self)
        #expect(
            content == EnvExample.text,
            "env.example is stale: DBMAZZ_WRITE_ENV_EXAMPLE=1 swift test --filter SettingsTests writes it again"
        )
    }

    @Test("it is a right configuration as it is, and with every example of its own switched on")
    func isRight() throws {
        let directory = TemporaryDirectory()
        let base = try DaemonSettings.load(environment: [:], envFile: directory.write(EnvExample.text))
        #expect(base.source.slotName == "dbmazz_slot")
        for variable in Variable.all {
            let line = try #require(EnvExample.text.split(separator: "\n").first { $0.contains("\(variable.name)=") })
            let text = line.hasPrefix("#") ? EnvExample.text + line.dropFirst() : EnvExample.text
            // The password of a server means nothing to the sink that is the default; the value itself must be right.
            let settings = try DaemonSettings.load(
                environment: [:],
                envFile: directory.write(text),
                sinks: [SinkChoice(name: "sqlite", capabilities: TestSinks.plain.capabilities)]
            )
            let origin = settings.resolved.first { $0.name == variable.name }?.origin
            #expect(origin != .default)
        }
    }

    @Test("every example and every default of the table is itself allowed")
    func examplesAreAllowed() {
        for variable in Variable.all {
            let sinks = [SinkChoice(name: "sqlite", capabilities: TestSinks.plain.capabilities)]
            var values = [variable.example]
            if case .value(let text) = variable.fallback { values.append(text) }
            for value in values {
                let environment = ["SOURCE_URL": "host=db"].merging([variable.name: value]) { $1 }
                #expect(throws: Never.self) {
                    try DaemonSettings.load(environment: environment, envFile: nil, sinks: sinks)
                }
            }
        }
    }
}
