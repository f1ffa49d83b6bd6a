import CdcCore
import Glibc
import TestSupport
import Testing

@testable import Sinks

private let items = TableSchema("items", [ColumnDef("id", .int32), ColumnDef("v", .text)])

@Suite("SQLite sink: units and positions")
struct SQLiteUnitTests {
    @Test("commits are synced: write-ahead log and synchronous=FULL")
    func durability() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        #expect(try file.rows("PRAGMA journal_mode") == ["wal"])
        // The setting belongs to a connection, so it is read where the sink reads it.
        let connection = try SQLiteConnection(path: file.path, creating: false)
        try connection.prepareForWriting()
        #expect(try connection.text("PRAGMA synchronous", operation: "test") == "2")
    }

    @Test("a second daemon under the same pipeline is found out before it commits")
    func secondWriter() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        let other = try SQLiteFixture.makeSink(file.path)
        try await other.setup([items], for: SQLiteFixture.pipeline)
        try await file.write(lsn: 0x1000) { $0.insert("1", "a") }
        let builder = BatchBuilder(items).begin(lsn: 0x1000).insert("2", "b").commit()
        let error = await sinkError { _ = try await other.writeBatch(builder.batch, deadline: .now + .seconds(1)) }
        #expect(error?.kind == .permanent)
        #expect(error?.cause == "somebody else moved the position of pipeline \"shop\" in \(file.path)")
        #expect(try file.rows("SELECT * FROM items") == ["1|a"])
        await other.close()
    }

    @Test("a state that is not as it was written is an error, not a new beginning")
    func damagedState() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        let editor = try SQLiteFile(file.path)
        for change in ["lsn='12', commit_lsn='0/1'", "lsn='0/1', commit_lsn=NULL", "lsn=NULL, commit_lsn='0/1'"] {
            try editor.execute("UPDATE dbmazz_position SET \(change)")
            let error = await sinkError { _ = try await file.sink.loadState(of: "shop") }
            #expect(error?.kind == .permanent)
            #expect(error?.cause.contains("dbmazz_position") == true)
        }
        try editor.execute("UPDATE dbmazz_position SET lsn=NULL, commit_lsn=NULL")
        try editor.execute("UPDATE dbmazz_table SET consistent_point='x'")
        #expect(
            await sinkError { _ = try await file.sink.loadState(of: "shop") }?.cause.contains("dbmazz_table") == true
        )
    }

    @Test("methods called before setup say so")
    func withoutSetup() async throws {
        let file = try SQLiteFixture()
        let builder = BatchBuilder(items).begin(lsn: 1).commit()
        #expect(await sinkError { try await file.write(builder) }?.cause == "the sink was not set up")
        #expect(try await file.sink.durablePosition() == nil)
    }

    @Test("a batch of a table that was not set up is refused")
    func unknownTable() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        let builder = BatchBuilder(TableSchema("other", items.columns)).begin(lsn: 1).insert("1", "a").commit()
        #expect(await sinkError { try await file.write(builder) }?.cause == "the table was not set up")
    }
}

@Suite("SQLite sink: trouble")
struct SQLiteTroubleTests {
    @Test("a database locked by another process is retriable within the deadline, and works when the lock is gone")
    func locked() async throws {
        let file = try SQLiteFixture()
        let builder = try await file.start(items)
        let other = try SQLiteFile(file.path)
        try other.execute("BEGIN IMMEDIATE")
        builder.begin(lsn: 0x1000).insert("1", "a").commit()
        let begin = ContinuousClock.now
        let error = await sinkError {
            _ = try await file.sink.writeBatch(builder.batch, deadline: .now + .milliseconds(200))
        }
        #expect(error?.kind == .retriable)
        #expect(error?.cause == "SQLITE_BUSY (5): database is locked")
        #expect(error?.remedy.contains("another process holds a lock on \(file.path)") == true)
        let waited = ContinuousClock.now - begin
        #expect(waited > .milliseconds(150) && waited < .seconds(1))
        try other.execute("ROLLBACK")
        try await file.write(builder)
        #expect(try file.rows("SELECT * FROM items") == ["1|a"])
    }

    @Test("a lock does not hold a batch longer than a second even if the deadline is far")
    func lockedLong() async throws {
        let file = try SQLiteFixture()
        let builder = try await file.start(items)
        let other = try SQLiteFile(file.path)
        try other.execute("BEGIN IMMEDIATE")
        builder.begin(lsn: 0x1000).insert("1", "a").commit()
        let begin = ContinuousClock.now
        #expect(await sinkError { try await file.write(builder) }?.kind == .retriable)
        #expect(ContinuousClock.now - begin < .seconds(3))
    }

    @Test("a full database is retriable, nothing of the unit stays, and it goes on when there is room")
    func fullDatabase() async throws {
        let file = try SQLiteFixture()
        let builder = try await file.start(items)
        try await file.write(lsn: 0x1000) { $0.insert("1", "a") }
        try file.sink.connection?.execute("PRAGMA max_page_count = 12", operation: "test")
        builder.begin(lsn: 0x2000)
        for id in 2..<50 { builder.insert(.text("\(id)"), .text(String(repeating: "x", count: 3000))) }
        builder.commit()
        let error = await sinkError { try await file.write(builder) }
        #expect(error?.kind == .retriable)
        #expect(error?.cause == "SQLITE_FULL (13): database or disk is full")
        #expect(error?.remedy == "make room on the file system of \(file.path); the daemon tries again")
        #expect(try file.rows("SELECT count(*) FROM items") == ["1"])
        try file.sink.connection?.execute("PRAGMA max_page_count = 1000000", operation: "test")
        try await file.write(builder)
        #expect(try file.rows("SELECT count(*) FROM items") == ["49"])
    }

    @Test("a full disk, where a tmpfs can be mounted, is waited for in the same way")
    func fullDisk() async throws {
        let file = try SQLiteFixture()
        // Without the right to mount, the test above stands for this one.
        guard mount("tmpfs", file.directory, "tmpfs", 0, "size=1m") == 0 else { return }
        defer { umount2(file.directory, 2) }
        let builder = try await file.start(items)
        try await file.write(lsn: 0x1000) { $0.insert("1", "a") }
        builder.begin(lsn: 0x2000)
        for id in 2..<1000 { builder.insert(.text("\(id)"), .text(String(repeating: "x", count: 3000))) }
        builder.commit()
        for _ in 1...3 {
            let error = await sinkError { try await file.write(builder) }
            #expect(error?.kind == .retriable)
            #expect(error?.cause.hasPrefix("SQLITE_FULL (13)") == true)
            #expect(try await file.sink.durablePosition()?.commitLSN == LSN(rawValue: 0x1000))
        }
        #expect(mount("tmpfs", file.directory, "tmpfs", UInt(MS_REMOUNT), "size=20m") == 0)
        try await file.write(builder)
        #expect(try file.rows("SELECT count(*) FROM items") == ["999"])
        #expect(try await file.sink.durablePosition()?.commitLSN == LSN(rawValue: 0x2000))
        await file.sink.close()
    }

    @Test("a file that was removed or renamed under the daemon is not written to any more")
    func moved() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        try await file.write(lsn: 0x1000) { $0.insert("1", "a") }
        rename(file.path, file.path + ".old")
        let error = await file.refusal { $0.insert("2", "b") }
        #expect(error?.kind == .permanent)
        #expect(error?.cause == "\(file.path) was renamed or removed while it was in use")
        rename(file.path + ".old", file.path)
        try await file.write(lsn: 0x2000) { $0.insert("2", "b") }
        #expect(try file.rows("SELECT id FROM items") == ["1", "2"])
    }

    @Test("a table that somebody changed under the daemon gives an error with SQLite's words")
    func changedTable() async throws {
        let file = try SQLiteFixture()
        try await file.start(items)
        try SQLiteFile(file.path).execute("ALTER TABLE items DROP COLUMN v")
        let error = await file.refusal { $0.insert("1", "a") }
        #expect(error?.kind == .permanent)
        #expect(error?.table == items.ref)
        #expect(error?.cause.contains("no column named v") == true)
    }

    @Test("every result code has a name and a class")
    func codes() {
        #expect(SQLiteError.name(5) == "SQLITE_BUSY")
        #expect(SQLiteError.name(1555) == "SQLITE_CONSTRAINT_PRIMARYKEY")
        #expect(SQLiteError.name(1034) == "SQLITE_IOERR_FSYNC")
        #expect(SQLiteError.name(10 | 99 << 8) == "SQLITE_IOERR")
        for code: Int32 in [5, 6, 7, 8, 10, 13, 14, 15, 522, 1034] { #expect(SQLiteError.kind(code) == .retriable) }
        for code: Int32 in [1, 11, 18, 19, 20, 26, 1555] { #expect(SQLiteError.kind(code) == .permanent) }
    }
}
