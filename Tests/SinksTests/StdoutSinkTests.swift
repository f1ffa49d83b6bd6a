import CdcCore
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import Sinks

/// A stdout sink that prints into a file or a pipe.
private final class StdoutFixture {
    let directory: String
    let path: String
    let sink: StdoutSink
    private let file: Int32

    init(_ configure: (inout SinkConfig) -> Void = { _ in }) throws {
        directory = try makeTemporaryDirectory("stdout-sink")
        path = directory + "/out"
        file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        sink = try StdoutFixture.makeSink(directory, file, configure)
    }

    deinit {
        close(file)
        removeTree(directory)
    }

    static func makeSink(
        _ directory: String,
        _ file: Int32,
        _ configure: (inout SinkConfig) -> Void = { _ in }
    ) throws -> StdoutSink {
        var config = SinkConfig(type: "stdout", capabilities: StdoutSink.capabilities, stateDirectory: directory)
        configure(&config)
        return try StdoutSink(config, file: file)
    }

    func write(_ builder: BatchBuilder) async throws -> SinkResult {
        try await sink.writeBatch(builder.batch, deadline: .now + .seconds(5))
    }

    /// The lines printed, with the clock's milliseconds as `NOW`.
    func lines() throws -> [String] {
        let text = readText(path) ?? ""
        return text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().map { line in
            guard let place = line.range(of: ",\"ts_ms\":") else { return String(line) }
            return line[..<place.lowerBound] + ",\"ts_ms\":NOW}"
        }
    }
}

extension Substring {
    /// The last occurrence.
    fileprivate func range(of text: String) -> Range<Substring.Index>? {
        var index = endIndex
        while index > startIndex {
            index = self.index(before: index)
            if self[index...].hasPrefix(text) { return index..<self.index(index, offsetBy: text.count) }
        }
        return nil
    }
}

private let items = TableSchema("items", [ColumnDef("id", .int32), ColumnDef("a", .text), ColumnDef("b", .text)])

@Suite("stdout sink")
struct StdoutSinkTests {
    @Test("one line a change, in Debezium's envelope, in arrival order")
    func envelope() async throws {
        let output = try StdoutFixture()
        let builder = BatchBuilder(items).begin(xid: 0, lsn: 0xF00)
        builder.insert(["1", "copied", nil], ordinal: 0)
        builder.begin(xid: 731, lsn: 0x16_B374_D848, time: 1_000_000)
        builder.insert("2", "a", "").update("2", "b", .unchanged).update("3", "b", "c", key: ["2", nil, nil])
        builder.delete(key: ["3", nil, nil]).truncate().commit()
        let result = try await output.write(builder)
        #expect(result.durablePosition == builder.position)
        #expect(result.recordsWritten == 6)
        var lines = try output.lines()
        let source = { (ordinal: Int, more: String) in
            #""source":{"connector":"dbmazz-sink","schema":"public","table":"items","lsn":"16/B374D878","#
                + #""commit_lsn":"16/B374D848","ordinal":\#(ordinal),"tx_id":731,"ts_ms":946684801000\#(more)},"ts_ms":NOW}"#
        }
        let copied = lines.removeFirst()
        #expect(
            copied.hasPrefix(
                #"{"op":"r","before":null,"after":{"id":1,"a":"copied","b":null},"source":{"connector":"dbmazz-sink","#
                    + #""schema":"public","table":"items","lsn":"0/F00","commit_lsn":"0/F00","ordinal":0,"tx_id":0,"ts_ms":1"#
            )
        )
        #expect(
            lines == [
                #"{"op":"c","before":null,"after":{"id":2,"a":"a","b":""},"# + source(1, ""),
                #"{"op":"u","before":null,"after":{"id":2,"a":"b"},"# + source(2, #","unchanged":["b"]"#),
                #"{"op":"u","before":{"id":2},"after":{"id":3,"a":"b","b":"c"},"# + source(3, ""),
                #"{"op":"d","before":{"id":3},"after":null,"# + source(4, ""),
                #"{"op":"t","before":null,"after":null,"# + source(5, ""),
            ]
        )
    }

    @Test("under REPLICA IDENTITY FULL before is the whole old row")
    func fullIdentity() async throws {
        let output = try StdoutFixture()
        let table = TableSchema("f", items.columns, key: [], identity: .full)
        let builder = BatchBuilder(table).begin(lsn: 1).update("1", .unchanged, "z", old: ["1", "x", nil])
        builder.delete(old: ["1", "x", "z"]).commit()
        _ = try await output.write(builder)
        let lines = try output.lines()
        #expect(lines[0].hasPrefix(#"{"op":"u","before":{"id":1,"a":"x","b":null},"after":{"id":1,"a":"x","b":"z"},"#))
        #expect(lines[1].hasPrefix(#"{"op":"d","before":{"id":1,"a":"x","b":"z"},"after":null,"#))
    }

    @Test("integers and floats are numbers, booleans booleans, bytea base64, everything else PostgreSQL's text")
    func values() async throws {
        let columns: [(DataType, TestCell, String)] = [
            (.int64, "-9223372036854775808", "-9223372036854775808"), (.uint32, "4294967295", "4294967295"),
            (.uint64, "18446744073709551615", "\"18446744073709551615\""), (.float64, "-0", "-0"),
            (.float64, "1e-45", "1e-45"), (.float32, "1.5e+30", "1.5e+30"), (.float64, "NaN", "\"NaN\""),
            (.float64, "-Infinity", "\"-Infinity\""), (.boolean, "t", "true"), (.boolean, "f", "false"),
            (.bytes, "\\x", "\"\""), (.bytes, "\\x00", "\"AA==\""), (.bytes, "\\x0001", "\"AAE=\""),
            (.bytes, "\\xfbffbe", "\"+/++\""), (.decimal(precision: 5, scale: 2), "1.10", "\"1.10\""),
            (.jsonb, "{\"a\": 1}", "\"{\\\"a\\\": 1}\""),
            (.text, "a\"b\\c\n\r\t\u{1}\u{1F}\u{7F}é😀/", #""a\"b\\c\n\r\t\u0001\u001f"# + "\u{7F}é😀/\""),
            (.timestampTz, "2026-11-22 10:00:00+00", "\"2026-11-22 10:00:00+00\""), (.other, nil, "null"),
        ]
        let table = TableSchema("v", columns.enumerated().map { ColumnDef("c\($0)", $1.0) }, key: [])
        let output = try StdoutFixture()
        _ = try await output.write(BatchBuilder(table).begin(lsn: 1).insert(columns.map(\.1)).commit())
        let line = try output.lines()[0]
        for (index, column) in columns.enumerated() {
            #expect(
                line.contains("\"c\(index)\":\(column.2)\(index + 1 == columns.count ? "}" : ",\"c")"),
                "\(column.0)"
            )
        }
    }

    @Test("names are escaped as JSON strings")
    func names() async throws {
        let output = try StdoutFixture()
        let table = TableSchema("t\"\\", [ColumnDef("a\"b\n", .int32)], schema: "s\t")
        _ = try await output.write(BatchBuilder(table).begin(lsn: 1).insert("1").commit())
        let line = try output.lines()[0]
        #expect(line.contains(#""after":{"a\"b\n":1}"#))
        #expect(line.contains(#""schema":"s\t","table":"t\"\\""#))
    }

    @Test("what is larger than any buffer is printed whole and in order")
    func large() async throws {
        let output = try StdoutFixture()
        let builder = BatchBuilder(items).begin(lsn: 1)
        for id in 0..<500 { builder.insert(.text("\(id)"), .text(String(repeating: "x", count: 1000)), nil) }
        builder.insert("500", .text(String(repeating: "y", count: 3_000_000)), "end").commit()
        _ = try await output.write(builder)
        let lines = try output.lines()
        #expect(lines.count == 501)
        for id in 0...500 {
            #expect(lines[id].hasPrefix("{\"op\":\"c\",\"before\":null,\"after\":{\"id\":\(id),\"a\":"))
        }
        #expect(lines[500].utf8.count > 3_000_000 && lines[500].contains("yyy\",\"b\":\"end\"}"))
    }

    @Test("bytes that are not UTF-8 stop the batch; the lines before are whole")
    func invalidText() async throws {
        let output = try StdoutFixture()
        let builder = BatchBuilder(items).begin(lsn: 0x10).insert("1", "a", nil).insert("2", .bytes([0x61, 0xFF]), nil)
            .commit()
        let error = await sinkError { _ = try await output.write(builder) }
        #expect(error?.kind == .permanent)
        #expect(error?.cause == "column \"a\" (text) holds bytes that are not UTF-8")
        #expect(error?.lsn == LSN(rawValue: 0x10))
        #expect(try output.lines().count == 1)
        #expect(readText(output.path)?.hasSuffix("}\n") == true)
        #expect(try await output.sink.durablePosition() == nil)
    }

    @Test("with SINK_ON_UNREPRESENTABLE=null they become null, counted; other policies are refused")
    func invalidTextAsNull() async throws {
        let output = try StdoutFixture { $0.onUnrepresentable = .null }
        let builder = BatchBuilder(items).begin(lsn: 0x10).insert("2", .bytes([0x61, 0xFF]), nil).commit()
        let result = try await output.write(builder)
        #expect(try output.lines().first?.contains("\"after\":{\"id\":2,\"a\":null,") == true)
        #expect(result.substitutions == [ValueSubstitution(table: items.ref, column: "a", count: 1)])
        for policy: UnrepresentablePolicy in [.clamp, .text] {
            var config = SinkConfig(type: "stdout", capabilities: StdoutSink.capabilities)
            config.onUnrepresentable = policy
            let error = #expect(throws: SinkError.self) { _ = try createSink(config) }
            #expect(error?.cause == "stdout knows SINK_ON_UNREPRESENTABLE=error, null: remove \(policy.rawValue)")
        }
    }

    @Test("a refused row is named; without it the batch goes on where it stopped")
    func named() async throws {
        let output = try StdoutFixture()
        let builder = BatchBuilder(items).begin(lsn: 0x10).insert("1", "a", nil).insert("2", .bytes([0xFF]), nil)
            .insert("3", "c", nil).commit()
        let error = await sinkError { _ = try await output.write(builder) }
        #expect(error?.changes == [1])
        let rehearsed = await sinkError { try await output.sink.rehearse(builder.batch, deadline: .now) }
        #expect(rehearsed?.changes == [1])
        builder.batch.select { $0 != 1 }
        try await output.sink.rehearse(builder.batch, deadline: .now)
        #expect(try output.lines().count == 1)
        let result = try await output.write(builder)
        #expect(result.recordsWritten == 2)
        #expect(try output.lines().map { $0.contains("\"id\":1") } == [true, false])
    }

    @Test("a reader that went away ends in outputClosed, and nothing is reported written")
    func closedReader() async throws {
        let output = try StdoutFixture()
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let sink = try StdoutFixture.makeSink(output.directory, ends[1])
        try await sink.validateConnection()
        try await sink.setup([items], for: SQLiteFixture.pipeline)
        let builder = BatchBuilder(items).begin(lsn: 1).insert("1", "a", nil).commit()
        #expect(try await sink.writeBatch(builder.batch, deadline: .now).durablePosition == builder.position)
        close(ends[0])
        let first = builder.position
        builder.reset().begin(lsn: 0x1000).insert("2", "a", nil).commit()
        let error = await sinkError { _ = try await sink.writeBatch(builder.batch, deadline: .now) }
        #expect(error?.kind == .outputClosed)
        #expect(try await sink.durablePosition() == first)
        close(ends[1])
        #expect(await sinkError { try await sink.validateConnection() }?.cause == "standard output is closed")
    }

    @Test("a reader that stops in the middle of a write, with the pipe full, is told as well")
    func readerGoesAway() async throws {
        let output = try StdoutFixture()
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let sink = try StdoutFixture.makeSink(output.directory, ends[1])
        try await sink.validateConnection()
        let reader = ends[0]
        // A thread, not a task: the sink blocks a thread of the pool, and there are few.
        let leaving = WorkerThread {
            sleepThread(.milliseconds(100))
            close(reader)
        }
        let builder = BatchBuilder(items).begin(lsn: 1).insert("1", .text(String(repeating: "x", count: 1 << 20)), nil)
            .commit()
        let error = await sinkError { _ = try await sink.writeBatch(builder.batch, deadline: .now + .seconds(20)) }
        #expect(error?.kind == .outputClosed)
        #expect(try await sink.durablePosition() == nil)
        leaving.join()
        close(ends[1])
    }

    @Test("output that does not fit is retriable, with the reason")
    func fullDevice() async throws {
        let output = try StdoutFixture()
        let full = open("/dev/full", O_WRONLY)
        defer { close(full) }
        let sink = try StdoutFixture.makeSink(output.directory, full)
        let builder = BatchBuilder(items).begin(lsn: 1).insert("1", "a", nil).commit()
        let error = await sinkError { _ = try await sink.writeBatch(builder.batch, deadline: .now) }
        #expect(error?.kind == .retriable)
        #expect(error?.cause == "No space left on device")
        #expect(try await sink.durablePosition() == nil)
    }

    @Test("a reader that takes nothing is waited for until the deadline, and nothing comes twice")
    func stalledReader() async throws {
        let output = try StdoutFixture()
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let sink = try StdoutFixture.makeSink(output.directory, ends[1])
        let builder = BatchBuilder(items).begin(lsn: 1)
        for id in 1...5000 { builder.insert(.text("\(id)"), .text(String(repeating: "x", count: 100)), nil) }
        builder.commit()
        let began = ContinuousClock.now
        for _ in 1...2 {
            let error = await sinkError {
                _ = try await sink.writeBatch(builder.batch, deadline: .now + .milliseconds(100))
            }
            #expect(error?.kind == .retriable)
            #expect(error?.cause == "the reader of standard output takes nothing")
        }
        #expect(.now - began >= .milliseconds(200))
        let reader = ends[0]
        let read = Mutex<[UInt8]>([])
        let reading = WorkerThread {
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = Glibc.read(reader, &buffer, buffer.count)
                guard count > 0 else { return }
                read.withLock { $0 += buffer[..<count] }
            }
        }
        _ = try await sink.writeBatch(builder.batch, deadline: .now + .seconds(20))
        close(ends[1])
        reading.join()
        let lines = String(decoding: read.withLock { $0 }, as: UTF8.self).split(separator: "\n")
        #expect(lines.count == 5000)
        for (index, line) in lines.enumerated() where !line.contains("\"after\":{\"id\":\(index + 1),") {
            Issue.record("line \(index + 1) is \(line.prefix(80))")
        }
        close(reader)
    }

    @Test("a batch that a full disk interrupted goes on where it stopped")
    func cutLine() async throws {
        let output = try StdoutFixture()
        let disk = output.directory + "/disk"
        mkdir(disk, 0o700)
        // Without the right to mount there is no small disk; the buffer's own test below stands for it.
        guard mount("tmpfs", disk, "tmpfs", 0, "size=64k") == 0 else { return }
        defer { umount2(disk, 2) }
        let file = open(disk + "/out", O_WRONLY | O_CREAT, 0o600)
        defer { close(file) }
        let sink = try StdoutFixture.makeSink(output.directory, file)
        let builder = BatchBuilder(items).begin(lsn: 1).insert("1", "short", nil)
        builder.insert("2", .text(String(repeating: "x", count: 100_000)), nil).insert("3", "last", nil).commit()
        for _ in 1...2 {
            let error = await sinkError { _ = try await sink.writeBatch(builder.batch, deadline: .now) }
            #expect(error?.kind == .retriable)
        }
        #expect(mount("tmpfs", disk, "tmpfs", UInt(MS_REMOUNT), "size=10m") == 0)
        _ = try await sink.writeBatch(builder.batch, deadline: .now)
        let lines = (readText(disk + "/out") ?? "").split(separator: "\n")
        #expect(lines.allSatisfy { $0.hasPrefix("{\"op\":\"c\"") && $0.hasSuffix("}") })
        let ids = lines.map { line in ["1", "2", "3"].first { line.contains("\"after\":{\"id\":\($0),") } ?? "?" }
        #expect(ids == ["1", "2", "3"])
    }

    @Test("keeping the rest of a line drops what was written and the lines behind")
    func keepsLine() {
        let buffer = JSONBuffer()
        buffer.append("one\ntwo\nthree\n")
        buffer.keepLine(from: 5)
        #expect(Array(buffer.bytes) == Array("wo\n".utf8))
        buffer.keepLine(from: 2)
        #expect(Array(buffer.bytes) == Array("\n".utf8))
        buffer.append(decimal: Int64.min)
        buffer.append(decimal: UInt64.max)
        buffer.append(LSN(rawValue: 0x16_0000_D848))
        #expect(
            String(decoding: buffer.bytes, as: UTF8.self) == "\n-922337203685477580818446744073709551615\"16/D848\""
        )
    }

    @Test("settings of databases are refused by name")
    func settings() throws {
        var config = SinkConfig(type: "stdout", url: "x", capabilities: StdoutSink.capabilities)
        config.port = 1
        config.deleteMode = .soft
        config.auditColumns = true
        let error = #expect(throws: SinkError.self) { _ = try createSink(config) }
        #expect(
            error?.cause == "stdout has no SINK_PORT: remove it; stdout has no SINK_URL: remove it; "
                + "stdout keeps no rows: remove SINK_DELETE_MODE=soft; "
                + "stdout has no audit columns: remove SINK_AUDIT_COLUMNS=true"
        )
    }
}

@Suite("null sink and the state file")
struct NullSinkTests {
    private func makeSink(_ directory: String) throws -> NullSink {
        try NullSink(SinkConfig(type: "null", capabilities: NullSink.capabilities, stateDirectory: directory))
    }

    @Test("it counts, and its position is that of the last unit")
    func counts() async throws {
        let directory = try makeTemporaryDirectory("null-sink")
        defer { removeTree(directory) }
        let sink = try makeSink(directory)
        try await sink.validateConnection()
        let builder = BatchBuilder(items).begin(lsn: 1).insert("1", "abc", nil).truncate().commit()
        builder.batch.commitsUnit = false
        let part = try await sink.writeBatch(builder.batch, deadline: .now)
        #expect(part.durablePosition == nil && part.recordsWritten == 2 && part.bytesWritten == 4)
        #expect(try await sink.durablePosition() == nil)
        builder.batch.commitsUnit = true
        #expect(try await sink.writeBatch(builder.batch, deadline: .now).durablePosition == builder.position)
        #expect(try await sink.durablePosition() == builder.position)
    }

    @Test("identity and copies outlive the process; the position does not")
    func state() async throws {
        let directory = try makeTemporaryDirectory("null-sink")
        defer { removeTree(directory) }
        let odd = TableSchema("a\tb\nc\\d", items.columns, schema: "größe")
        var sink = try makeSink(directory)
        #expect(try await sink.loadState(of: "shop") == nil)
        try await sink.setup([items, odd], for: SQLiteFixture.pipeline)
        #expect(try await sink.loadState(of: "shop")?.copies == [:])
        try await sink.finishCopy(
            of: [items, odd],
            at: LSN(rawValue: 0x10),
            position: SourcePosition(at: LSN(rawValue: 0x10))
        )
        #expect(try await sink.durablePosition()?.endLSN == LSN(rawValue: 0x10))

        sink = try makeSink(directory)
        var state = try await sink.loadState(of: "shop")
        #expect(state?.source == SQLiteFixture.identity)
        #expect(state?.position == nil)
        #expect(state?.copies == [items.ref: LSN(rawValue: 0x10), odd.ref: LSN(rawValue: 0x10)])
        #expect(try await sink.durablePosition() == nil)

        try await sink.setup([items, odd], for: SQLiteFixture.pipeline)
        try await sink.beginCopy(of: [odd])
        state = try await makeSink(directory).loadState(of: "shop")
        #expect(state?.copies == [items.ref: LSN(rawValue: 0x10)])
        #expect(try await sink.loadState(of: "other") == nil)
    }

    @Test("a state file of another source system is not overwritten")
    func foreign() async throws {
        let directory = try makeTemporaryDirectory("null-sink")
        defer { removeTree(directory) }
        try await makeSink(directory).setup([], for: SQLiteFixture.pipeline)
        let other = SourceIdentity(systemIdentifier: "9", timeline: 1, slot: "s")
        let error = await sinkError {
            try await makeSink(directory).setup([], for: PipelineIdentity(name: "shop", source: other))
        }
        #expect(error?.kind == .configuration)
        #expect(try await makeSink(directory).loadState(of: "shop")?.source == SQLiteFixture.identity)
    }

    @Test("pipelines whose names differ have files that differ, inside the directory")
    func fileNames() {
        let names = ["a", "A", "a/b", "a%2Fb", "..", ".", "", "é", "e\u{301}", "a b", "7412:slot"]
        let files = names.map { $0.asFileName }
        #expect(Set(files).count == names.count)
        #expect(files.allSatisfy { !$0.contains("/") && !$0.hasPrefix(".") })
        #expect("shop_1-x.y".asFileName == "shop_1-x.y")
    }

    @Test(
        "every damaged state file is an error, never a new beginning",
        arguments: [
            "", "x", "dbmazz-sink state 1\n", "dbmazz-sink state 1\nsource\t1\tx\ts\n",
            "dbmazz-sink state 1\nsource\t1\t1\ts",
            "dbmazz-sink state 2\nsource\t1\t1\ts\n", "dbmazz-sink state 1\nsource\t1\t1\ts\ncopy\ta\tb\n",
            "dbmazz-sink state 1\nsource\t1\t1\ts\ncopy\ta\tb\tx\n", "dbmazz-sink state 1\nsource\t1\t1\ts\n\n",
        ]
    )
    func damaged(content: String) async throws {
        let directory = try makeTemporaryDirectory("null-sink")
        defer { removeTree(directory) }
        let file = fopen(directory + "/shop.state", "w")
        fputs(content, file)
        fclose(file)
        let error = await sinkError { _ = try await makeSink(directory).loadState(of: "shop") }
        #expect(error?.kind == .permanent)
        #expect(error?.cause == "\(directory)/shop.state is not as it was written")
    }

    @Test("a state directory that is missing is a configuration error before anything starts")
    func missingDirectory() async throws {
        let error = await sinkError { try await makeSink("/tmp/none/such").validateConnection() }
        #expect(error?.kind == .configuration)
    }
}
