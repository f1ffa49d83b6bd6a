import Glibc
import TestSupport
import Testing

extension Integration {
    @Suite("A ClickHouse target") struct ClickHouseWorkloadTests {
        /// What a run of the workload is like.
        struct Case: CustomTestStringConvertible, Sendable {
            let name: String
            let environment: [String: String]
            /// Dates and timestamps as ClickHouse's types hold them; else the columns are made as text.
            var hasCommonDates = false
            /// Between transactions of a client: small parts cost the target as much as large ones.
            var thinkTime = Duration.milliseconds(15)
            var testDescription: String { name }
        }

        static let cases = [
            Case(
                name: "hard deletes",
                environment: ["SINK_CLICKHOUSE_COMPRESSION": "lz4"],
                hasCommonDates: true
            ),
            Case(
                name: "soft deletes, values that ClickHouse has no type for",
                environment: [
                    "SINK_DELETE_MODE": "soft", "SINK_ON_UNREPRESENTABLE": "text",
                    "SINK_CLICKHOUSE_COMPRESSION": "zstd",
                ]
            ),
            Case(
                name: "small parts",
                environment: [
                    "SINK_BATCH_BYTES": "262144", "SINK_MEMORY_LIMIT_MB": "4", "SINK_CLICKHOUSE_COMPRESSION": "gzip",
                ],
                hasCommonDates: true,
                thinkTime: .milliseconds(30)
            ),
        ]

        @Test(
            "shows what the source has whenever the daemon has caught up, and never an older version",
            arguments: cases
        )
        func arrives(_ one: Case) throws {
            let rig = try ClickHouseRig(one.environment)
            let workload = try rig.rig.workload {
                $0.largeEvery = 150
                $0.largeRows = 500...1_500
                $0.hasCommonDates = one.hasCommonDates
                $0.thinkTime = one.thinkTime
                $0.hasOddKeys = false
            }
            defer { try? workload.close() }
            try rig.rig.start(workload)
            let watch = try rig.watch(workload.tableNames)
            for _ in 0..<2 {
                let end = ContinuousClock.now + .seconds(max(2, Effort.seconds / 10))
                while ContinuousClock.now < end {
                    try watch.expectNothing()
                    sleepThread(.milliseconds(100))
                    try #require(rig.daemon.isRunning, "\(rig.daemon.logTail())")
                }
                try workload.pause()
                try rig.awaitPosition(workload.lastCommit())
                try workload.check(rig.workloadTarget)
                workload.resume()
            }
            print("\(one.name): \(watch.compared) versions compared")
            #expect(watch.compared > 100)
            try rig.finish(workload)
            try watch.expectNothing()
            try rig.expectGuardedInserts()
        }

        @Test("loses nothing and goes back nowhere while daemon, ClickHouse and source are killed")
        func kills() throws {
            let rig = try ClickHouseRig([
                "SINK_BATCH_BYTES": "262144", "SINK_MEMORY_LIMIT_MB": "4", "SINK_ON_UNREPRESENTABLE": "text",
            ])
            let workload = try rig.rig.workload {
                $0.largeEvery = 60
                $0.largeRows = 500...2_000
                $0.truncateEvery = 60
                // What piles up while everything is killed has to be caught up with at the end.
                $0.thinkTime = .milliseconds(40)
                $0.hasOddKeys = false
            }
            defer { try? workload.close() }
            try rig.rig.start(workload)
            let watch = try rig.watch(workload.tableNames)
            var random = SeededRandom(seed: Effort.seed)
            for round in 0..<6 {
                if !rig.daemon.isRunning { try rig.daemon.start() }
                sleepThread(.milliseconds(Int.random(in: 200...1_500, using: &random)))
                switch round {
                case 1, 4: try rig.target.restart(killed: true)
                case 3: try rig.rig.server.restart(.immediate)
                case 5:
                    rig.daemon.killAndWait()
                    try rig.target.restart(killed: true)
                default: rig.daemon.killAndWait()
                }
                let status = rig.daemon.exitStatus
                try #require(status == nil || status == .signaled(SIGKILL), "\(rig.daemon.logTail())")
                try watch.expectNothing()
            }
            if !rig.daemon.isRunning { try rig.daemon.start() }
            print("\(rig.daemon.runs) runs, \(watch.compared) versions compared")
            #expect(watch.compared > 100)
            try rig.finish(workload)
            try watch.expectNothing()
        }

        @Test("holds every value of every type, by the copy and by the stream")
        func types() throws {
            let rig = try ClickHouseRig(["SINK_ON_UNREPRESENTABLE": "text"])
            let client = try rig.rig.server.connect()
            let matrix = try TypeMatrix(creating: client)
            // The sink refuses floats in keys, which ClickHouse compares in another way.
            let tables = matrix.tables.filter {
                !["public.k_float4", "public.k_float8", "public.k_d_float"].contains($0)
            }
            rig.daemon.setEnvironment("SOURCE_TABLES", tables.joined(separator: ","))
            try matrix.insert(client)
            try rig.rig.startStreaming()
            try rig.expectSame(tables, "copy")
            try matrix.insert(client, firstID: 1_000)
            try matrix.update(client)
            try matrix.deleteHalf(client)
            try rig.rig.catchUp()
            try rig.expectSame(tables, "stream")
            print("types: \(matrix.entries.count), tables: \(tables.count)")
            try rig.rig.stopDaemon()
        }

        /// What ClickHouse has types of its own for, with the extremes that these hold.
        static let typed = """
            CREATE TABLE public.typed (
                id int8 PRIMARY KEY, b bool, i2 int2 NOT NULL, i4 int4, o oid, x xid8, f4 float4 NOT NULL, f8 float8,
                n9 numeric(9,2), n38 numeric(38,38) NOT NULL, n76 numeric(76,10), n77 numeric(77,1), m money, d date,
                t timestamp NOT NULL, z timestamptz, u uuid, y bytea NOT NULL, e public.feeling, ai int4[] NOT NULL,
                at text[] NOT NULL, ay bytea[] NOT NULL, ab bool[] NOT NULL, ad date[] NOT NULL, an numeric(10,3)[] NOT NULL,
                af float8[] NOT NULL, an2 int4[])
            """

        @Test("holds in ClickHouse's own types exactly what the source has")
        func ownTypes() throws {
            let rig = try ClickHouseRig(["SOURCE_TABLES": "public.typed"])
            try rig.rig.sql("CREATE TYPE public.feeling AS ENUM ('sad', 'it''s')", Self.typed)
            let nines = String(repeating: "9", count: 76)
            func insert(_ first: Int) throws {
                try rig.rig.sql(
                    """
                    INSERT INTO public.typed VALUES
                    (\(first), true, -32768, 2147483647, 4294967295, '18446744073709551615', '1e-45', '5e-324',
                     -9999999.99, 0.\(nines.prefix(38)), \(nines.prefix(66)).\(nines.suffix(10)), -\(nines).1,
                     '-92233720368547758.08', '1900-01-01', '2299-12-31 23:59:59.999999', '1969-12-31 23:59:59.999999+00',
                     '00112233-4455-6677-8899-aabbccddeeff', '\\x0009', 'it''s', '{1,NULL,-2147483648}',
                     '{"a,b","NULL",NULL,"","q\\"q","b\\\\s"," ",\u{E9}}', '{"\\\\x00ff",NULL}', '{t,f,NULL}',
                     '{1900-01-01,NULL,2299-12-31}', '{1,-0.5,NULL,9999999.999}', '{NaN,Infinity,-0,5e-324,1e15,NULL}',
                     '{{1},{2}}'),
                    (\(first + 1), NULL, 32767, NULL, NULL, NULL, '-0', 'NaN', NULL, -0.5, 1.5, NULL, NULL, NULL,
                     '1900-01-01', NULL, NULL, '', NULL, '{}', '{}', '{}', '{}', '{}', '{}', '{}', NULL)
                    """
                )
            }
            try insert(1)
            try rig.rig.startStreaming()
            try rig.expectSame(["public.typed"], "copy")
            try insert(3)
            try rig.rig.sql("UPDATE public.typed SET n9 = 1.1, m = 12345.6, d = '2024-02-29' WHERE id = 1")
            try rig.rig.catchUp()
            try rig.expectSame(["public.typed"], "stream")
            let types = try rig.client.columnTypes(of: "typed")
            print("types: \(types.sorted { $0.key < $1.key })")
            #expect(types["n9"] == "Nullable(Decimal(9, 2))" && types["n38"] == "Decimal(38, 38)")
            #expect(types["ai"] == "Array(Nullable(Int32))" && types["x"] == "Nullable(UInt64)")
            #expect(types["t"] == "DateTime64(6, 'UTC')" && types["an2"] == "Nullable(String)")
            try rig.rig.stopDaemon()
        }
    }
}

extension ClickHouseRig {
    /// Waits until the target names a position that is not before `lsn`.
    func awaitPosition(_ lsn: UInt64, within timeout: Duration = .seconds(60)) throws {
        var last: UInt64?
        let reached = eventually(within: timeout, every: .milliseconds(50)) {
            last = try? position()
            return last.map { $0 >= lsn } ?? false || !daemon.isRunning
        }
        // One that has ended says why in its log; it need not be waited for.
        guard reached, last.map({ $0 >= lsn }) ?? false else {
            throw HarnessError(
                "the target's position is \(last.map(formatLSN) ?? "none"), not \(formatLSN(lsn))\n\(daemon.logTail())"
            )
        }
    }

    /// The position that the target names.
    func position() throws -> UInt64? { try value("SELECT lsn FROM dbmazz_position FINAL").flatMap(parseLSN) }
}
