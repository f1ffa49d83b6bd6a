import TestSupport
import Testing

extension Integration {
    @Suite("A value of every type") struct TypeTests {
        @Test("arrives in SQLite as the source writes it, by the copy and by the stream")
        func roundTrip() throws {
            let rig = try Rig()
            let client = try rig.server.connect()
            let matrix = try TypeMatrix(creating: client)
            try matrix.insert(client)
            try rig.startStreaming()
            #expect(try matrix.differences(client, sqlite: rig.file) == [], "copy")
            try matrix.insert(client, firstID: 1_000)
            try rig.catchUp()
            #expect(try matrix.differences(client, sqlite: rig.file) == [], "insert")
            try matrix.update(client)
            try rig.catchUp()
            #expect(try matrix.differences(client, sqlite: rig.file) == [], "update")
            try matrix.deleteHalf(client)
            try rig.catchUp()
            #expect(try matrix.differences(client, sqlite: rig.file) == [], "delete")
            print("types: \(matrix.entries.count), tables: \(matrix.tables.count)")
            try rig.stopDaemon()
        }

        @Test("does not depend on the settings of the role that reads it")
        func pinnedSession() throws {
            let rig = try Rig()
            let client = try rig.server.connect()
            let matrix = try TypeMatrix(creating: client)
            try matrix.insert(client)
            for statement in TypeMatrix.hostileRole { try rig.sql(statement) }
            rig.daemon.setEnvironment("SOURCE_URL", rig.server.url(user: "reader"))
            try rig.startStreaming()
            try matrix.insert(client, firstID: 1_000)
            try rig.catchUp()
            #expect(try matrix.differences(client, sqlite: rig.file) == [])
            try rig.stopDaemon()
        }

        @Test("SINK_DELETE_MODE=soft keeps a deleted row and marks it")
        func softDelete() throws {
            let rig = try Rig(["SINK_DELETE_MODE": "soft"])
            try rig.makeTable()
            try rig.startStreaming()
            try rig.sql(
                "UPDATE public.t SET v = 'two' WHERE id = 2",
                "DELETE FROM public.t WHERE id = 3",
                "INSERT INTO public.t VALUES (4, 'four')",
                "UPDATE public.t SET id = 5 WHERE id = 4"
            )
            try rig.catchUp()
            let marks = "SELECT id, v, dbmazz_op_type, dbmazz_is_deleted FROM t ORDER BY id"
            let rows = try rig.sink(marks)
            #expect(rows.first == ["INTEGER 1", "TEXT \"v1\"", "INTEGER 0", "INTEGER 0"])
            #expect(rows.dropFirst().first == ["INTEGER 2", "TEXT \"two\"", "INTEGER 1", "INTEGER 0"])
            #expect(rows.contains(["INTEGER 3", "TEXT \"v3\"", "INTEGER 2", "INTEGER 1"]), "\(rows)")
            let live = try rig.sink("SELECT id FROM t WHERE dbmazz_is_deleted = 0 ORDER BY id")
            #expect(live == [["INTEGER 1"], ["INTEGER 2"], ["INTEGER 5"]], "\(rows)")
            // A key that comes back is alive again.
            try rig.sql("INSERT INTO public.t VALUES (3, 'again')")
            try rig.catchUp()
            #expect(try rig.sink(marks + " LIMIT 1 OFFSET 2").first?.last == "INTEGER 0")
            let versions = try rig.sink("SELECT count(*) FROM t WHERE length(dbmazz_cdc_version) != 32")
            #expect(versions == [["INTEGER 0"]])
            try rig.stopDaemon()
        }
    }
}
