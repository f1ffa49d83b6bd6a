import TestSupport
import Testing

extension Integration {
    @Suite("SOURCE_ORIGIN") struct OriginTests {
        /// Inserts a row of `public.t` as a replication from elsewhere would.
        private func insertFromElsewhere(_ rig: Rig, _ id: Int) throws {
            let client = try rig.server.connect()
            let isKnown = try client.value("SELECT count(*) FROM pg_replication_origin") == "1"
            if !isKnown { try client.execute("SELECT pg_replication_origin_create('elsewhere')") }
            try client.execute("SELECT pg_replication_origin_session_setup('elsewhere')")
            try client.execute("INSERT INTO public.t VALUES (\(id), 'elsewhere')")
        }

        @Test("none leaves out what a replication brought, or is refused where the server cannot tell")
        func none() throws {
            let rig = try Rig(["SOURCE_ORIGIN": "none"])
            try rig.makeTable()
            guard rig.server.majorVersion >= 16 else {
                let cause = "SOURCE_ORIGIN=none needs PostgreSQL 16 or later, and this is \(rig.server.majorVersion)"
                let remedy = "set SOURCE_ORIGIN=any, which takes changes from everywhere, or upgrade the source"
                try rig.expectRefusal(2, cause, remedy)
                #expect(try rig.slots() == [])
                let result = try rig.daemon.command("validate")
                #expect(result.status == .exited(2), "\(result)")
                for text in [cause, remedy, "The daemon would not start."] {
                    #expect(result.output.contains(text), "\(text) is not in \(result)")
                }
                return
            }
            #expect(try rig.daemon.command("validate").status == .exited(0))
            try insertFromElsewhere(rig, 4)
            try rig.startStreaming()
            try insertFromElsewhere(rig, 5)
            try rig.insert(6...6)
            // The copy takes every row: a table does not tell where its rows are from.
            try rig.awaitIDs([1, 2, 3, 4, 6])
            // Nothing but what is left out: the slot moves on all the same.
            try insertFromElsewhere(rig, 7)
            try rig.catchUp()
            try rig.awaitIDs([1, 2, 3, 4, 6])
            try rig.stopDaemon()
        }

        @Test("any, the default, takes everything")
        func any() throws {
            let rig = try Rig()
            try rig.makeTable()
            try insertFromElsewhere(rig, 4)
            try rig.startStreaming()
            try insertFromElsewhere(rig, 5)
            try rig.insert(6...6)
            try rig.awaitIDs([1, 2, 3, 4, 5, 6])
            try rig.stopDaemon()
        }
    }
}
