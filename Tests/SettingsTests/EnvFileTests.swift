import CdcCore
import Logging
import Testing

@testable import Settings

@Suite("EnvFile") struct EnvFileTests {
    @Test(
        "a value is read as systemd reads it",
        arguments: [
            ("A=b", "b"), ("A=", ""), ("export A=b", "b"), ("  A = b  ", "b"), ("A=b\r", "b"), ("A=b c", "b c"),
            ("A='b c'", "b c"), ("A=\"b c\"", "b c"), ("A=' b '  ", " b "), ("A=b=c", "b=c"), ("A=b#c", "b#c"),
            ("A=#b", "#b"), ("A='b # c'", "b # c"), ("A='it\"s'", "it\"s"), ("A=\"it's\"", "it's"),
            ("A=\"a\\\"b\\\\c\\$d\\`e\"", "a\"b\\c$d`e"), ("A=\"C:\\data\"", "C:\\data"), ("A='C:\\data'", "C:\\data"),
            ("A=a\\ b", "a b"), ("A=b\\ ", "b "), ("A=a\\\nb", "ab"), ("A=\"a\\\nb\"", "ab"), ("A='a\nb'", "a\nb"),
            ("A=$HOME", "$HOME"), ("\u{FEFF}A=b", "b"), ("A=é", "é"), ("A=it's", "it's"),
            ("# c\n; c\n\n   \nA=b\n", "b"), ("A=a\nA=b", "b"),
        ]
    )
    func value(text: String, expected: String) {
        let file = EnvFile(Array(text.utf8))
        #expect(file.mistakes.isEmpty)
        #expect(file.entries["A"]?.value == expected)
    }

    @Test(
        "a line that is not understood is reported with its number",
        arguments: [
            ("A=1\nB\n", "2: has no \"=\""), ("\n\n=x", "3: has no valid name before \"=\""),
            ("1A=x", "1: has no valid name before \"=\""), ("A B=x", "1: has no valid name before \"=\""),
            ("A-B=x", "1: has no valid name before \"=\""),
            ("A=\"x\nB=y", "1: opens a quotation mark that is never closed"),
            ("A='x' y", "1: has text after the closing quotation mark"),
            ("A='a\nb'\nB='x' # c", "3: has text after the closing quotation mark"),
            ("A=x # c", "1: has # after white space in a value without quotation marks"),
            ("A=a\\\nb\nB", "3: has no \"=\""),
        ]
    )
    func mistake(text: String, expected: String) {
        #expect(EnvFile(Array(text.utf8)).mistakes.map { "\($0.line): \($0.message)" } == [expected])
    }

    @Test("bytes that are not UTF-8 text are reported with their line", arguments: [0xFF, 0x00] as [UInt8])
    func notText(byte: UInt8) {
        let file = EnvFile(Array("A=b\nB=".utf8) + [byte])
        #expect(file.mistakes.map { "\($0.line): \($0.message)" } == ["2: is not UTF-8 text"])
    }

    @Test("entries know their lines, also behind values of several lines")
    func lines() {
        let file = EnvFile(Array("A='1\n2'\n\nB=x\nA=y".utf8))
        #expect(file.entries["B"]?.line == 4)
        #expect(file.entries["A"]?.line == 5)
        #expect(file.repeated.map { "\($0.name) \($0.lines)" } == ["A [1, 5]"])
    }

    @Test("the environment wins over the file, and an empty variable does not count")
    func precedence() throws {
        let directory = TemporaryDirectory()
        let path = directory.write("SINK_BATCH_SIZE=1\nSINK_DATABASE=file\nLOG_LEVEL=debug\n")
        let settings = try load(["SINK_BATCH_SIZE": "2", "SINK_DATABASE": ""], envFile: path)
        #expect(settings.sink.batchSize == 2)
        #expect(settings.sink.database == "file")
        #expect(settings.logLevel == .debug)
        let origins = settings.resolved.filter { $0.origin != .default }.map { "\($0.name) \($0.origin)" }
        #expect(
            origins == [
                "SOURCE_URL environment", "SINK_DATABASE env-file \(path):2", "SINK_BATCH_SIZE environment",
                "LOG_LEVEL env-file \(path):3",
            ]
        )
    }

    @Test("problems in the file name file and line")
    func problemsInFile() {
        let directory = TemporaryDirectory()
        let path = directory.write("# c\nSINK_BATCH_SIZE=ten\nSINK_BATCHSIZE=1\nnonsense\n")
        #expect(
            problemLines([:], envFile: path) == [
                "SINK_BATCH_SIZE=\"ten\" (\(path):2) is not a whole number: write 1 to 1000000, for example 10000",
                "\(path):4 has no \"=\": write NAME=VALUE, or # before a comment",
                "SINK_BATCHSIZE (\(path):3) is not a variable of dbmazz-sink: did you mean SINK_BATCH_SIZE?",
            ]
        )
        #expect(
            problemLines([:], envFile: "/does/not/exist") == [
                "--env-file /does/not/exist cannot be read (No such file or directory): "
                    + "check the path and its permissions"
            ]
        )
    }

    @Test("a broken line never shows its text, which may be a password")
    func brokenLineStaysHidden() {
        let directory = TemporaryDirectory()
        let path = directory.write(
            "SOURCE_PASSWORD=\"hunter2\" hunter2\nhunter2\nhunter 2=x\nSINK_PASSWORD=hunter2 # x\n"
        )
        let text = problems([:], envFile: path)
        #expect(text?.hasPrefix("4 problems") == true)
        #expect(text?.contains("hunter") == false)
    }

    @Test("repeated names and libpq's own variables in the file are noticed")
    func notices() throws {
        let directory = TemporaryDirectory()
        let path = directory.write("LOG_LEVEL=info\nLOG_LEVEL=debug\nPGSSLMODE=require\n")
        #expect(
            try load([:], envFile: path).notices == [
                "LOG_LEVEL is set twice in \(path), in lines 1 and 2: the last counts",
                "PGSSLMODE in \(path):3 has no effect: libpq reads it from the process environment only",
            ]
        )
    }
}
