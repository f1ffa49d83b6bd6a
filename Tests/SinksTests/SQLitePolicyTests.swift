import CdcCore
import TestSupport
import Testing

@testable import Sinks

@Suite("SQLite sink: values that it cannot hold, and rows that it refuses")
struct SQLitePolicyTests {
    private static let table = TableSchema(
        "t",
        [ColumnDef("id", .int32), ColumnDef("d", .float64), ColumnDef("v", .text)]
    )

    private func file(
        _ policy: UnrepresentablePolicy,
        onError: ErrorPolicy = .stop,
        _ table: TableSchema = table
    ) async throws -> SQLiteFixture {
        let file = try SQLiteFixture {
            $0.onUnrepresentable = policy
            $0.onError = onError
        }
        try await file.start(table)
        return file
    }

    private func write(_ file: SQLiteFixture, _ fill: (BatchBuilder) -> Void) async throws -> SinkResult {
        let builder = BatchBuilder(file.tables).begin(lsn: 0x1000)
        fill(builder)
        return try await file.write(builder.commit())
    }

    @Test("null: NaN, -0 and bytes that are not UTF-8 become NULL, each counted with its column")
    func null() async throws {
        let file = try await file(.null)
        let result = try await write(file) {
            $0.insert("1", "NaN", "a").insert("2", "-0", "b").insert("3", "1.5", .bytes([0x61, 0xFF]))
        }
        #expect(try file.rows("SELECT id, d, v FROM t ORDER BY id") == ["1|NULL|a", "2|NULL|b", "3|1.5|NULL"])
        #expect(
            result.substitutions == [
                ValueSubstitution(table: Self.table.ref, column: "d", count: 2),
                ValueSubstitution(table: Self.table.ref, column: "v", count: 1),
            ]
        )
        let next = try await write(file) { $0.insert("4", "2", "a") }
        #expect(next.substitutions == [])
    }

    @Test("null: a column that is NOT NULL at the source refuses")
    func notNull() async throws {
        var columns = Self.table.columns
        columns[1].isNullable = false
        let file = try await file(.null, TableSchema("t", columns))
        let error = await file.refusal { $0.insert("1", "1", "a").insert("2", "NaN", "b") }
        #expect(error?.kind == .permanent)
        #expect(error?.changes == [1])
        #expect(error?.cause.contains("column \"d\" (double precision) holds NaN") == true)
    }

    @Test("clamp: -0 becomes 0; what has no nearest value is refused")
    func clamp() async throws {
        let file = try await file(.clamp)
        let result = try await write(file) { $0.insert("1", "-0", "a").insert("2", "Infinity", "b") }
        #expect(try file.rows("SELECT d FROM t WHERE d = 0") == ["0.0"])
        #expect(result.substitutions == [ValueSubstitution(table: Self.table.ref, column: "d", count: 1)])
        for cells: [TestCell] in [["3", "NaN", "a"], ["3", "1", .bytes([0xFF])]] {
            let error = await file.refusal { $0.insert(cells) }
            #expect(error?.changes == [0])
            #expect(error?.remedy.contains("SINK_ON_UNREPRESENTABLE=clamp") == true)
        }
    }

    @Test("text: floating point columns are made as TEXT, and hold what PostgreSQL prints")
    func text() async throws {
        let file = try await file(.text)
        let result = try await write(file) {
            $0.insert("1", "NaN", "a").insert("2", "-0", "a").insert("3", "1e-45", "a")
        }
        #expect(try file.rows("SELECT d, typeof(d) FROM t ORDER BY id") == ["NaN|text", "-0|text", "1e-45|text"])
        #expect(try file.rows("SELECT type FROM pragma_table_info('t') WHERE name = 'd'") == ["TEXT"])
        #expect(result.substitutions == [])
    }

    @Test("text over a table that was made without it is told as a difference")
    func textLater() async throws {
        let file = try await file(.error)
        let sink = try SQLiteFixture.makeSink(file.path) { $0.onUnrepresentable = .text }
        let error = await #expect(throws: SinkError.self) {
            try await sink.setup([Self.table], for: SQLiteFixture.pipeline)
        }
        #expect(error?.kind == .schemaMismatch)
        #expect(error?.cause == "column \"d\" is ANY instead of TEXT")
    }

    @Test("a table without a key finds a row again whose value was changed")
    func keyless() async throws {
        let table = TableSchema("t", Self.table.columns, key: [], identity: .full)
        let file = try await file(.null, table)
        _ = try await write(file) { $0.insert("1", "NaN", "a").insert("2", "1", "b") }
        _ = try await write(file) { $0.delete(old: ["1", "NaN", "a"]) }
        #expect(try file.rows("SELECT id FROM t") == ["2"])
    }

    @Test("a refused row is named; with dead-letter every one of the batch that meets the same, and nothing is written")
    func names() async throws {
        for onError in ErrorPolicy.allCases {
            let file = try await file(.error, onError: onError)
            try SQLiteFile(file.path).execute(
                "CREATE TRIGGER no BEFORE INSERT ON t WHEN new.v = 'bad' BEGIN SELECT RAISE(ABORT, 'not this'); END"
            )
            let error = await file.refusal {
                $0.insert("1", "1", "a").insert("2", "1", "bad").insert("3", "1", "b").insert("4", "1", "bad")
            }
            #expect(error?.kind == .permanent && error?.concernsRows == true)
            #expect(error?.changes == (onError == .stop ? [1] : [1, 3]))
            #expect(try file.rows("SELECT id FROM t") == [])
        }
    }

    @Test("without the named changes the batch is written, and counts what was written")
    func without() async throws {
        let file = try await file(.error, onError: .deadLetter)
        let builder = BatchBuilder(file.tables).begin(lsn: 0x1000)
        builder.insert("1", "1", "a").insert("2", "1", "b").update("2", "2", "c").insert("3", "1", "d").commit()
        builder.batch.select { $0 != 2 && $0 != 3 }
        let result = try await file.write(builder)
        #expect(result.recordsWritten == 2)
        #expect(try file.rows("SELECT id, v FROM t ORDER BY id") == ["1|a", "2|b"])
    }

    @Test("a table that is gone, or a file that was moved, is no row's fault")
    func target() async throws {
        let file = try await file(.error, onError: .deadLetter)
        try SQLiteFile(file.path).execute("DROP TABLE t")
        let error = await file.refusal { $0.insert("1", "1", "a") }
        #expect(error?.kind == .permanent && error?.concernsRows == false)
    }

    @Test("lines of dead letters: durable alone, and part of a unit that is open")
    func deadLetters() async throws {
        let file = try await file(.error)
        #expect(try await file.sink.deadLetters(of: "shop") == [])
        try await file.sink.storeDeadLetters(["{\"a\":1}", "{\"b\":\"é\"}"], of: "shop")
        try await file.sink.storeDeadLetters(["{}"], of: "other")
        #expect(
            try file.rows("SELECT line FROM dbmazz_dead_letter WHERE pipeline = 'shop' ORDER BY id") == [
                "{\"a\":1}", "{\"b\":\"é\"}",
            ]
        )
        let builder = BatchBuilder(file.tables).begin(lsn: 0x1000).insert("1", "1", "a")
        builder.batch.commitsUnit = false
        try await file.write(builder)
        try await file.sink.storeDeadLetters(["{\"c\":1}"], of: "shop")
        await file.sink.discardOpenUnit()
        #expect(try await file.sink.deadLetters(of: "shop").count == 2)
        #expect(try file.rows("SELECT id FROM t") == [])
    }
}
