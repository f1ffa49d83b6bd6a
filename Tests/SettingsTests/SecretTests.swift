import CdcCore
import Glibc
import Testing

@testable import Settings

@Suite("Secrets") struct SecretTests {
    @Test(
        "a secret's file loses one newline at its end, and nothing else",
        arguments: [
            ("pw", "pw"), ("pw\n", "pw"), ("pw\r\n", "pw"), ("pw\n\n", "pw\n"), (" pw ", " pw "), ("pw\r", "pw\r"),
        ]
    )
    func newline(content: String, expected: String) throws {
        let directory = TemporaryDirectory()
        let path = directory.write(content)
        let settings = try load(["SOURCE_PASSWORD_FILE": path])
        #expect(settings.source.password?.value == expected)
        #expect(settings.resolved.first { $0.name == "SOURCE_PASSWORD" }?.origin == .file(path: path))
    }

    @Test("every secret may come from a file, whose path may stand in the env-file")
    func everySecret() throws {
        let directory = TemporaryDirectory()
        let names = Variable.all.filter(\.isSecret).map(\.name)
        #expect(names == ["SOURCE_URL", "SOURCE_PASSWORD", "SINK_URL", "SINK_PASSWORD"])
        let lines = names.map { "\($0)_FILE=\(directory.write("host=\($0)\n", as: $0))" }
        let path = directory.write(lines.joined(separator: "\n"))
        let settings = try load(["SOURCE_URL": ""], envFile: path)
        #expect(settings.source.url.value == "host=SOURCE_URL")
        #expect(settings.source.password?.value == "host=SOURCE_PASSWORD")
        #expect(settings.sink.url == "host=SINK_URL")
        #expect(settings.sink.password?.value == "host=SINK_PASSWORD")
    }

    @Test("systemd's credentials are found under the name, else under the name in small letters")
    func credentials() throws {
        let directory = TemporaryDirectory()
        _ = directory.write("exact\n", as: "SOURCE_PASSWORD")
        _ = directory.write("small\n", as: "source_password")
        let path = directory.write("sink\n", as: "sink_password")
        let settings = try load(["CREDENTIALS_DIRECTORY": directory.path])
        #expect(settings.source.password?.value == "exact")
        #expect(settings.sink.password?.value == "sink")
        #expect(settings.resolved.first { $0.name == "SINK_PASSWORD" }?.origin == .credential(path: path))
    }

    @Test("a variable comes before its file, and the file before the credential")
    func precedence() throws {
        let directory = TemporaryDirectory()
        _ = directory.write("credential", as: "SOURCE_PASSWORD")
        let file = directory.write("file", as: "file")
        var environment = ["CREDENTIALS_DIRECTORY": directory.path]
        #expect(try load(environment).source.password?.value == "credential")
        environment["SOURCE_PASSWORD_FILE"] = file
        #expect(try load(environment).source.password?.value == "file")
        environment["SOURCE_PASSWORD_FILE"] = nil
        environment["SOURCE_PASSWORD"] = "variable"
        #expect(try load(environment).source.password?.value == "variable")
    }

    @Test("a credential that cannot be used is reported")
    func badCredential() {
        let directory = TemporaryDirectory()
        let path = directory.write([0xFF], as: "SINK_PASSWORD")
        #expect(
            problemLines(["CREDENTIALS_DIRECTORY": directory.path]) == [
                "SINK_PASSWORD comes from a file that is not UTF-8 text (\(path)): save the file as UTF-8"
            ]
        )
    }

    @Test("an empty credential counts as none: units are made for all")
    func emptyCredential() throws {
        let directory = TemporaryDirectory()
        _ = directory.write("\n", as: "SOURCE_PASSWORD")
        let environment = ["SOURCE_URL": "host=db", "CREDENTIALS_DIRECTORY": directory.path]
        #expect(try DaemonSettings.load(environment: environment).source.password == nil)
    }

    /// In a process of its own, which gets the secrets in the block of memory that the kernel made for it.
    @Test("after loading, neither getenv nor /proc/self/environ knows the secrets")
    func removal() async {
        setenv("SOURCE_URL", "postgres://u:hunter2@db/shop", 1)
        setenv("SINK_PASSWORD", "hunter2", 1)
        setenv("SINK_PASSWORD_FILE", "/run/secrets/stays", 1)
        defer {
            for name in ["SOURCE_URL", "SINK_PASSWORD", "SINK_PASSWORD_FILE"] { unsetenv(name) }
        }
        await #expect(processExitsWith: .success) {
            func block() -> String {
                String(decoding: (try? FileContent.read("/proc/self/environ")) ?? [], as: UTF8.self)
            }
            precondition(block().contains("hunter2"), "the child has to start with the secret")
            let environment = ProcessEnvironment.current()
            precondition(environment["SINK_PASSWORD"] == "hunter2")
            ProcessEnvironment.removeSecrets()
            precondition(!block().contains("hunter2"))
            precondition(block().contains("SINK_PASSWORD_FILE=/run/secrets/stays"))
            precondition(getenv("SOURCE_URL") == nil && getenv("SINK_PASSWORD") == nil)
            precondition(environment["SINK_PASSWORD"] == "hunter2", "what was read has to stay")
            precondition(ProcessEnvironment.current()["PATH"] == environment["PATH"])
            exit(EXIT_SUCCESS)
        }
    }
}
