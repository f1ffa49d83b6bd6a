import CdcCore
import Glibc
import Testing

@testable import Pipeline

@Suite("The directory of dead letters")
struct DeadLetterDirectoryTests {
    private typealias Letters = DeadLetterLaneTests.Letters

    static func names(_ path: String) throws -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    private static func letter(_ number: Int, ordinal: UInt64? = nil, cells: [DeadLetter.Cell]? = nil) -> DeadLetter {
        let row = cells ?? [.text(Array("\(number)".utf8)), .null]
        return DeadLetter(
            number: number,
            pipeline: "p",
            table: TableRef(schema: "public", name: "t\"\u{e9}"),
            kind: .update,
            version: RowVersion(commitLSN: LSN(rawValue: 0x16_B374_D848), ordinal: ordinal ?? UInt64(number)),
            xid: 7,
            commitTime: -3,
            at: 5,
            cause: "because\n\"of\" \\ that",
            columns: row.indices.map {
                DeadLetter.Column(name: "c\($0)", type: "text", oid: 25, isKey: $0 == 0)
            },
            oldTuple: .full,
            old: row,
            new: row
        )
    }

    private static func append(_ text: [UInt8], to path: String) {
        let file = open(path, O_WRONLY | O_APPEND)
        _ = text.withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
        close(file)
    }

    private static func file(_ letters: Letters) throws -> String {
        let names = try names(letters.path)
        return "\(letters.path)/\(try #require(names.first))"
    }

    @Test("a letter comes back as it was, whatever its bytes")
    func lossless() throws {
        let cells: [DeadLetter.Cell] = [
            .text(Array("k\u{1}\t\"\\\u{7f}\u{1F600}".utf8)), .null, .unchanged, .text([0xFF, 0, 0xC3]), .text([]),
            .binary([]), .binary([0, 1, 0xFE]), .text(Array("{\"hex\":\"00\"}".utf8)),
        ]
        let letter = Self.letter(3, cells: cells)
        let text = DeadLetterLine.letter(letter).text(pipeline: "p")
        #expect(!text.contains("\n"))
        guard case .letter(let read) = DeadLetterLine(Array(text.utf8)[...]) else { throw Unexpected(text) }
        #expect(read == letter)
    }

    @Test("an old row of the key alone has no other columns in its line")
    func keyAlone() throws {
        var letter = Self.letter(3)
        letter.oldTuple = .key
        letter.kind = .delete
        letter.new = nil
        let text = DeadLetterLine.letter(letter).text(pipeline: "p")
        #expect(text.contains("\"old\":{\"c0\":\"3\"}"))
        guard case .letter(let read) = DeadLetterLine(Array(text.utf8)[...]) else { throw Unexpected(text) }
        #expect(read == letter)
    }

    @Test(
        "what is no line of ours is not taken for one",
        arguments: [
            "", "{}", "null", "[1,2", "{\"format\":2,\"number\":1,\"at\":1,\"event\":\"replayed\",\"letter\":1}",
            "{\"a\":01e}",
        ]
    )
    func damaged(text: String) {
        #expect(DeadLetterLine(Array(text.utf8)[...]) == nil)
    }

    @Test(
        "a torn end is not read, and goes with the next append",
        arguments: ["{\"format\":1,\"num", "\0\0\0\0", "\0\0\n\0\0"]
    )
    func torn(tail: String) throws {
        let letters = Letters()
        let directory = DeadLetterDirectory(letters.path, pipeline: "p")
        try directory.append([DeadLetterLine.letter(Self.letter(1)).text(pipeline: "p")])
        Self.append(Array(tail.utf8), to: try Self.file(letters))
        let again = DeadLetterDirectory(letters.path, pipeline: "p")
        #expect(try again.load().map(\.number) == [1])
        try again.append([DeadLetterLine.letter(Self.letter(2)).text(pipeline: "p")])
        #expect(try DeadLetterDirectory(letters.path, pipeline: "p").load().map(\.number) == [1, 2])
    }

    @Test("damage before a whole line is told with file and line")
    func damagedInside() throws {
        let letters = Letters()
        let directory = DeadLetterDirectory(letters.path, pipeline: "p")
        let line = DeadLetterLine.letter(Self.letter(1)).text(pipeline: "p")
        try directory.append([line])
        Self.append(Array("{broken\n\(line)\n".utf8), to: try Self.file(letters))
        let error = #expect(throws: SinkError.self) { try DeadLetterDirectory(letters.path, pipeline: "p").load() }
        #expect(error?.kind == .configuration)
        #expect(error?.cause.contains("line 2 of \(letters.path)/p.") == true)
    }

    @Test("pipelines whose names begin alike stay apart")
    func apart() throws {
        let letters = Letters()
        for name in ["p", "p.q", "p%"] {
            try DeadLetterDirectory(letters.path, pipeline: name)
                .append([DeadLetterLine.letter(Self.letter(name.count)).text(pipeline: name)])
        }
        #expect(try DeadLetterDirectory(letters.path, pipeline: "p").load().map(\.number) == [1])
        #expect(try DeadLetterDirectory(letters.path, pipeline: "p.q").load().map(\.number) == [3])
        #expect(try DeadLetterDirectory.pipelines(in: letters.path) == ["p", "p%25", "p.q"])
        #expect(try DeadLetterDirectory(letters.path + "/none", pipeline: "p").load().isEmpty)
    }

    @Test("lines of another process are not cut off; what an own append left behind is")
    func others() throws {
        let letters = Letters()
        let (mine, other) = (
            DeadLetterDirectory(letters.path, pipeline: "p"), DeadLetterDirectory(letters.path, pipeline: "p")
        )
        let lines = (1...3).map { DeadLetterLine.letter(Self.letter($0)).text(pipeline: "p") }
        try mine.append([lines[0]])
        _ = try other.load()
        try other.append([lines[1]])
        let error = #expect(throws: SinkError.self) { try mine.append([lines[2]]) }
        #expect(error?.kind == .configuration)
        #expect(error?.cause.contains("somebody else writes") == true)
        #expect(try DeadLetterDirectory(letters.path, pipeline: "p").load().map(\.number) == [1, 2])
    }

    @Test("a directory that is none is the operator's to mend")
    func noDirectory() {
        let letters = Letters()
        rmdir(letters.path)
        close(open(letters.path, O_WRONLY | O_CREAT, 0o600))
        defer { unlink(letters.path) }
        let directory = DeadLetterDirectory(letters.path, pipeline: "p")
        #expect(#expect(throws: SinkError.self) { try directory.load() }?.kind == .configuration)
        #expect(#expect(throws: SinkError.self) { try directory.prepare() }?.kind == .configuration)
    }

    @Test("files are for their owner alone")
    func modes() throws {
        let letters = Letters()
        try DeadLetterDirectory(letters.path, pipeline: "p").append(["{}"])
        var status = stat()
        #expect(stat(try Self.file(letters), &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
    }

    @Test("the book: what is replayed is not pending, what was repeated is there once, the order is the source's")
    func book() {
        let table = TableRef(schema: "public", name: "t\"\u{e9}")
        let book = DeadLetterBook([
            .letter(Self.letter(1, ordinal: 9)), .letter(Self.letter(2, ordinal: 4)),
            .letter(Self.letter(3, ordinal: 9)), .replayed(number: 5, letter: 2, at: 1),
            .letter(Self.letter(4, ordinal: 3)), .letter(Self.letter(4, ordinal: 8)),
            .emptied(
                number: 6,
                table: table,
                version: RowVersion(commitLSN: LSN(rawValue: 0x16_B374_D848), ordinal: 9),
                at: 1,
                cause: ""
            ),
            .letter(Self.letter(7, ordinal: 1)),
        ])
        #expect(book.letters.map(\.number) == [1, 2, 4, 7])
        #expect(book.letters.map { book.state(of: $0) } == [.pending, .replayed, .obsolete, .pending])
        #expect(book.pending.map(\.number) == [7, 1])
        #expect(book.last == 7)
    }

    @Test("keys are the same whether they came as text or as binary; where that cannot be told, a row may be any")
    func keyImages() {
        func image(_ cell: DeadLetter.Cell, _ oid: UInt32) -> KeyImage {
            var image = KeyImage()
            image.append(cell, oid: oid)
            return image
        }
        let uuid = Array(0..<16).map { UInt8($0) }
        let pairs: [(UInt32, String, [UInt8])] = [
            (23, "-2", [0xFF, 0xFF, 0xFF, 0xFE]), (20, "258", [0, 0, 0, 0, 0, 0, 1, 2]), (21, "5", [0, 5]),
            (26, "4294967295", [0xFF, 0xFF, 0xFF, 0xFF]), (16, "t", [1]), (25, "a", [0x61]),
            (2950, "00010203-0405-0607-0809-0a0b0c0d0e0f", uuid),
        ]
        for (oid, text, binary) in pairs {
            #expect(image(.text(Array(text.utf8)), oid) == image(.binary(binary), oid), "\(oid)")
        }
        #expect(image(.text([1]), 1184).forms | image(.binary([1]), 1184).forms == 3)
        #expect(image(.text([1, 2]), 25) != image(.text([1]), 25))
    }
}
