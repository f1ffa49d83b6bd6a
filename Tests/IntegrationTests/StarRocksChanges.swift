import Glibc
import TestSupport
import Testing

/// Tables and transactions that need every kind of load: whole rows with deletes, partial updates of two sets of columns, a key
/// change whose large values are only at the target, and rows without a key that are there several times.
final class StarRocksChanges {
    static let tables = ["public.t", "public.k", "public.big"]
    private let rig: StarRocksRig
    private let source: PgClient
    private(set) var count = 0

    /// Makes the tables; the daemon is to take them.
    init(_ rig: StarRocksRig) throws {
        self.rig = rig
        source = try rig.rig.server.connect()
        try source.execute(
            """
            CREATE TABLE public.t (id int PRIMARY KEY, v text);
            INSERT INTO public.t SELECT i, 'v' || i FROM generate_series(1, 8) i;
            CREATE TABLE public.k (v text, n int);
            ALTER TABLE public.k REPLICA IDENTITY FULL;
            INSERT INTO public.k SELECT 'same', 1 FROM generate_series(1, 9);
            CREATE TABLE public.big (id int PRIMARY KEY, a text, b text, n int);
            ALTER TABLE public.big ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL;
            INSERT INTO public.big
            SELECT i, repeat(md5('a' || i), 90), repeat(md5('b' || i), 90), i FROM generate_series(1, 5) i
            """
        )
        rig.daemon.setEnvironment("SOURCE_TABLES", Self.tables.joined(separator: ","))
    }

    /// Commits a transaction; its loads are `t`, `k`, and of `big` parts 0, 1 and end.
    func commit() throws {
        count += 1
        let last = 8 * count
        try source.execute(
            """
            INSERT INTO public.t SELECT i, 'v' || i FROM generate_series(\(last + 1), \(last + 8)) i;
            UPDATE public.t SET v = 'changed \(count)' WHERE id = \(last);
            DELETE FROM public.t WHERE id = \(last - 3);
            UPDATE public.t SET id = -id WHERE id = \(last - 4);
            INSERT INTO public.k VALUES ('same', 1), ('same', 1), ('row', \(count));
            DELETE FROM public.k WHERE ctid = (SELECT min(ctid) FROM public.k WHERE v = 'same');
            UPDATE public.k SET n = -n WHERE v = 'row' AND n = \(count - 1);
            UPDATE public.big SET n = n + 1;
            UPDATE public.big SET a = repeat(md5('\(count)' || id), 90) WHERE id % 2 = \(count % 2);
            UPDATE public.big SET id = id + 7 WHERE id = (SELECT min(id) FROM public.big)
            """
        )
    }

    /// Waits until everything has arrived, and compares.
    func expectArrived(_ name: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
        do {
            try rig.rig.catchUp()
        } catch {
            throw HarnessError("\(name): \(error)")
        }
        try rig.expectSame(Self.tables, Comment(rawValue: name), sourceLocation: sourceLocation)
        // A load that comes late under a label that was claimed meanwhile has other bytes than the claim, and is refused.
        let found = try rig.target.log().filter { $0.reply != "Label Already Exists" }.flatMap(\.violations)
        #expect(found == [], Comment(rawValue: name), sourceLocation: sourceLocation)
        try #require(rig.daemon.isRunning, "\(name): \(rig.daemon.logTail())", sourceLocation: sourceLocation)
    }
}
