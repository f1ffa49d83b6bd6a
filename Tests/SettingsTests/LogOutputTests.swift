import Glibc
import Logging
import Testing

@testable import Settings

/// A pipe whose reader is the test.
private final class TestPipe {
    private var descriptors: [CInt] = [0, 0]

    init() {
        pipe(&descriptors)
        _ = fcntl(descriptors[0], F_SETFL, O_NONBLOCK)
        // The daemon does this in bootstrapLogging.
        signal(SIGPIPE, SIG_IGN)
    }

    deinit {
        closeReader()
        close(descriptors[1])
    }

    var output: LogOutput { LogOutput(descriptor: descriptors[1]) }

    func closeReader() {
        if descriptors[0] >= 0 { close(descriptors[0]) }
        descriptors[0] = -1
    }

    /// Everything that is in the pipe now.
    func read() -> String {
        var content: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = Glibc.read(descriptors[0], &chunk, chunk.count)
            guard count > 0 else { return String(decoding: content, as: UTF8.self) }
            content += chunk[..<count]
        }
    }
}

@Suite("Log output") struct LogOutputTests {
    private func logger(_ output: LogOutput, _ box: LogLevelBox = LogLevelBox(.info)) -> Logger {
        Logger(label: "test") { _ in
            JSONLogHandler(
                format: JSONLogLine(),
                level: box,
                output: output,
                metadataProvider: Logger.MetadataProvider { ["task": "1"] },
                clock: { LogTime(seconds: 0, nanoseconds: 0) }
            )
        }
    }

    private static let head = "{\"time\":\"1970-01-01T00:00:00.000000Z\",\"level\":"

    @Test("an event has the logger's fields, the task's and its own; its own win")
    func fields() {
        let pipe = TestPipe()
        var log = logger(pipe.output)
        log[metadataKey: "slot"] = "s"
        log[metadataKey: "lsn"] = "0/1"
        log.info("flushed", metadata: ["lsn": "0/2"])
        #expect(
            pipe.read() == Self.head + "\"info\",\"event\":\"flushed\",\"lsn\":\"0/2\",\"slot\":\"s\",\"task\":\"1\"}\n"
        )
    }

    @Test("the level can be changed for all loggers at once, and a logger's own level stays")
    func level() {
        let pipe = TestPipe()
        let box = LogLevelBox(.info)
        let log = logger(pipe.output, box)
        var quiet = log
        quiet.logLevel = .error
        log.debug("not yet")
        box.level = .debug
        log.debug("now")
        quiet.info("never")
        let text = pipe.read()
        #expect(text.contains("now"))
        #expect(!text.contains("not yet") && !text.contains("never"))
        #expect(Logger.Level.allCases.allSatisfy { LogLevelBox($0).level == $0 })
    }

    @Test("lines of many threads do not mix")
    func threads() async {
        let pipe = TestPipe()
        let log = logger(pipe.output)
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<4 {
                group.addTask {
                    for _ in 0..<25 { log.info("x", metadata: ["task": "\(String(repeating: "\(task)", count: 200))"]) }
                }
            }
        }
        let lines = pipe.read().split(separator: "\n")
        #expect(lines.count == 100)
        #expect(
            lines.allSatisfy { $0.hasPrefix("{") && $0.hasSuffix("\"}") && Set($0.suffix(202).dropLast(2)).count == 1 }
        )
    }

    @Test("a reader that is gone costs the line and nothing else")
    func readerGone() {
        let pipe = TestPipe()
        let output = pipe.output
        pipe.closeReader()
        #expect(!output.write(Array("x\n".utf8)))
        #expect(output.takeDroppedLines() == 1)
    }

    @Test("a reader that sleeps holds nobody up; later it is told how much it missed")
    func readerSleeps() {
        let pipe = TestPipe()
        let output = pipe.output
        let log = logger(output)
        let begin = ContinuousClock.now
        // A pipe holds 64 kB.
        for number in 0..<200 { log.info("filler", metadata: ["n": "\(number)", "pad": "\(Self.padding)"]) }
        #expect(ContinuousClock.now - begin < .seconds(2))
        let before = pipe.read()
        let taken = before.split(separator: "\n").count
        #expect(taken < 200)
        log.info("awake")
        let after = pipe.read().split(separator: "\n")
        #expect(after.contains { $0.contains("\"event\":\"awake\"") && $0.hasPrefix("{") && $0.hasSuffix("}") })
        #expect(after.last?.contains("\"level\":\"warning\",\"event\":\"log lines lost\",\"lines\":") == true)
        log.info("normal")
        #expect(pipe.read().split(separator: "\n").count == 1)
    }

    private static let padding = String(repeating: "x", count: 5000)

    @Test("a line longer than a pipe's chunk arrives whole")
    func longLine() {
        let pipe = TestPipe()
        let line = Array((String(repeating: "y", count: 20_000) + "\n").utf8)
        #expect(pipe.output.write(line))
        #expect(pipe.read().utf8.count == line.count)
    }

    @Test("a socket, as journald gives, is written without SIGPIPE and without blocking")
    func socket() {
        var ends: [CInt] = [0, 0]
        socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0, &ends)
        defer { close(ends[1]) }
        let output = LogOutput(descriptor: ends[1])
        #expect(output.write(Array("x\n".utf8)))
        var byte: [UInt8] = [0, 0, 0]
        #expect(read(ends[0], &byte, 3) == 2)
        close(ends[0])
        #expect(!output.write(Array("x\n".utf8)))
    }

    /// In a process of its own: logging is bootstrapped once in a process.
    @Test("after bootstrapping, every logger writes to standard error with the level that the box says")
    func bootstrap() async {
        let result = await #expect(processExitsWith: .success, observing: [\.standardErrorContent]) {
            let box = bootstrapLogging(level: .warning, format: .text)
            let log = Logger(label: "x")
            log.info("hidden")
            box.level = .info
            log.info("shown", metadata: ["rows": "7"])
            exit(EXIT_SUCCESS)
        }
        let text = String(decoding: result?.standardErrorContent ?? [], as: UTF8.self)
        #expect(text.hasSuffix(" INFO  shown rows=7\n"))
        #expect(!text.contains("hidden"))
    }
}
