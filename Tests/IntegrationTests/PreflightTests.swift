import Glibc
import TestSupport
import Testing

extension Integration {
    /// What is wrong before the first change: each finding with the statement or setting that mends it, which is then tried.
    @Suite("A preflight") struct PreflightTests {
        // MARK: The server

        @Test("tells everything that the server lacks at once")
        func serverSettings() throws {
            let rig = try Rig(
                settings: ["wal_level": "replica", "max_replication_slots": "1", "max_wal_senders": "1"])
            try rig.makeTable()
            try rig.sql("CREATE ROLE reader LOGIN")
            rig.daemon.setEnvironment("SOURCE_URL", rig.server.url(user: "reader"))
            try rig.expectRefusal(
                2,
                "wal_level is replica",
                "set wal_level = logical in postgresql.conf and restart the source",
                "user reader may not replicate",
                "run ALTER ROLE \"reader\" REPLICATION;",
                "1 replication slots are free, 2 needed",
                "raise max_replication_slots",
                "1 WAL senders are free, 2 needed",
                "raise max_wal_senders"
            )
            #expect(try rig.source("SELECT count(*) FROM pg_publication") == "0")
        }

        @Test("asks for a spare slot only where there will be a copy")
        func spareSlot() throws {
            let rig = try Rig(
                ["SOURCE_SNAPSHOT": "never"],
                settings: ["max_replication_slots": "1", "max_wal_senders": "1"]
            )
            try rig.makeTable()
            try rig.startStreaming()
            try rig.insert(4...4)
            try rig.awaitIDs([4])
            // Its own sender from before the cut takes the only place for a moment.
            try rig.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dbmazz-sink'"
            )
            try rig.insert(5...5)
            try rig.awaitIDs([4, 5])
            try rig.stopDaemon()
            // A copy over the existing slot has no place for its temporary one.
            try SQLiteFile(rig.file).execute("DELETE FROM dbmazz_position")
            rig.daemon.setEnvironment("SOURCE_SNAPSHOT", "initial")
            try rig.daemon.start()
            let line = try rig.awaitLog("waiting for source")
            #expect(line["remedy"]?.contains("max_wal_senders") == true, "\(line)")
        }

        // MARK: The role

        @Test("names what the role may not, one GRANT or ALTER after the other until it works")
        func privileges() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.sql(
                "CREATE ROLE \"Odd \"\"name\" LOGIN",
                "CREATE SCHEMA hidden",
                "CREATE TABLE hidden.h (id int4 PRIMARY KEY)",
                "CREATE PUBLICATION dbmazz_pub FOR TABLE public.t, hidden.h"
            )
            rig.daemon.setEnvironment("SOURCE_URL", rig.server.url(user: "Odd%20%22name"))
            let expected = [
                "ALTER ROLE \"Odd \"\"name\" REPLICATION;", "GRANT USAGE ON SCHEMA \"hidden\" TO \"Odd \"\"name\";",
                "GRANT SELECT ON \"hidden\".\"h\" TO \"Odd \"\"name\";",
            ]
            for statement in expected {
                let error = try rig.expectRefusal(2, "run " + statement)
                if statement.hasPrefix("GRANT USAGE") {
                    // Both tables are told at once.
                    #expect(error.contains("run GRANT SELECT ON \"public\".\"t\" TO \"Odd \"\"name\";"))
                    try rig.sql("GRANT SELECT ON \"public\".\"t\" TO \"Odd \"\"name\"")
                }
                try rig.sql(statement)
            }
            try rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try rig.stopDaemon()
        }

        @Test("refuses a wrong password and a wrong database, and does not log the password")
        func credentials() throws {
            let rig = try Rig(["LOG_LEVEL": "trace"])
            try rig.makeTable()
            try rig.sql("CREATE ROLE reader LOGIN SUPERUSER PASSWORD 'right-secret'")
            try rig.server.requirePassword(of: "reader")
            let user = "reader:wrong-secret"
            rig.daemon.setEnvironment("SOURCE_URL", rig.server.url(user: user))
            try rig.expectRefusal(
                2,
                "28P01",
                "check the user and password in SOURCE_URL or SOURCE_PASSWORD, and pg_hba.conf"
            )
            #expect(!(readText(rig.daemon.standardErrorFile) ?? "").contains("wrong-secret"))
            rig.daemon.setEnvironment("SOURCE_URL", rig.server.url(user: "reader"))
            rig.daemon.setEnvironment("SOURCE_PASSWORD", "right-secret")
            try rig.startStreaming()
            try rig.stopDaemon()
            rig.daemon.setEnvironment("SOURCE_URL", rig.server.url(database: "nowhere"))
            try rig.expectRefusal(2, "nowhere", "3D000", "correct the database's name in SOURCE_URL")
        }

        // MARK: Tables and publication

        @Test("never puts a table without a key into a publication, and names the statement")
        func tableWithoutKey() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.sql(
                "CREATE TABLE public.\"No key\" (a int4, b text)",
                "INSERT INTO public.\"No key\" VALUES (1, 'x')"
            )
            let statement = "ALTER TABLE \"public\".\"No key\" REPLICA IDENTITY FULL;"
            try rig.expectRefusal(2, "public.No key", "add a primary key", statement)
            #expect(try rig.source("SELECT count(*) FROM pg_publication") == "0")
            #expect(try rig.slots() == [])
            // The application's own updates still work, which they would not in a publication.
            try rig.sql("UPDATE public.\"No key\" SET b = 'y'", statement)
            try rig.startStreaming()
            try rig.sql("UPDATE public.\"No key\" SET b = 'z'")
            try rig.waitForSink("SELECT b FROM \"No key\"", [["TEXT \"z\""]])
            try rig.stopDaemon()
        }

        @Test("tells patterns of SOURCE_TABLES that match nothing")
        func noSuchTable() throws {
            let rig = try Rig(["SOURCE_TABLES": "public.t,public.nothing,other.*"])
            try rig.makeTable()
            try rig.expectRefusal(
                2,
                "no table matches public.nothing, other.*",
                "correct SOURCE_TABLES, or create the table"
            )
            #expect(try rig.source("SELECT count(*) FROM pg_publication") == "0")
        }

        @Test("refuses a publication that lacks wanted tables, with the statement, and filters one that has more")
        func publications() throws {
            let rig = try Rig(["SOURCE_TABLES": "public.*"])
            try rig.makeTable()
            try rig.sql(
                "CREATE TABLE public.\"U u\" (id int4 PRIMARY KEY)",
                "CREATE SCHEMA other",
                "CREATE TABLE other.o (id int4 PRIMARY KEY)",
                "INSERT INTO other.o VALUES (1)",
                "CREATE PUBLICATION dbmazz_pub FOR TABLE public.t, other.o"
            )
            let statement = "ALTER PUBLICATION \"dbmazz_pub\" ADD TABLE \"public\".\"U u\";"
            try rig.expectRefusal(2, "public.U u", "run " + statement)
            try rig.sql(statement)
            try rig.startStreaming()
            let line = try rig.awaitLog("published tables are left out by SOURCE_TABLES")
            #expect(line["tables"] == "other.o")
            try rig.sql("INSERT INTO other.o VALUES (2)")
            try rig.insert(4...4)
            try rig.awaitIDs([1, 2, 3, 4])
            let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'dbmazz%' ORDER BY 1"
            #expect(try rig.sink(tables) == [["TEXT \"U u\""], ["TEXT \"t\""]])
            try rig.stopDaemon()
        }

        @Test("refuses a database without tables, and a slot of another kind")
        func nothingToCarry() throws {
            let rig = try Rig()
            try rig.expectRefusal(2, "there is no table to carry", "create a table first, or correct SOURCE_TABLES")
            try rig.makeTable()
            try rig.sql("SELECT pg_create_physical_replication_slot('dbmazz_slot')")
            try rig.expectRefusal(2, "dbmazz_slot", "physical", "set SOURCE_SLOT_NAME to another name")
        }

        // MARK: No server, no settings

        @Test("waits for a server that is not there, says why, and goes on when it comes")
        func noServer() throws {
            let rig = try Rig()
            try rig.makeTable()
            try rig.server.stop()
            try rig.daemon.start()
            let line = try rig.awaitLog("waiting for source")
            #expect(line["cause"]?.contains("Connection refused") == true, "\(line)")
            #expect(line.level == "warning")
            sleepThread(.seconds(1))
            #expect(rig.daemon.isRunning)
            try rig.server.start()
            try rig.awaitLog("streaming")
            try rig.awaitIDs([1, 2, 3])
            try rig.stopDaemon()
            // It can also be stopped while it waits.
            try rig.server.stop()
            try rig.daemon.start()
            try rig.awaitLog("waiting for source")
            try rig.stopDaemon()
        }

        @Test("tells every wrong variable at once, without secrets, before anything is touched")
        func wrongVariables() throws {
            let rig = try Rig([
                "SOURCE_SLOT_NAME": "Bad-Slot", "SINK_BATCH_SIZE": "zero", "SINK_TYP": "sqlite", "LOG_LEVEL": "loud",
                "SOURCE_SNAPSHOT": "always", "SOURCE_URL": "postgres//user:hidden-secret@host",
            ])
            try rig.daemon.start()
            #expect(rig.daemon.waitForExit() == .exited(2))
            let text = readText(rig.daemon.standardErrorFile) ?? ""
            for part in [
                "SOURCE_SLOT_NAME", "Bad-Slot", "SINK_BATCH_SIZE", "zero", "SINK_TYP", "SINK_TYPE", "LOG_LEVEL", "loud",
                "SOURCE_SNAPSHOT", "initial", "SOURCE_URL",
            ] {
                #expect(text.contains(part), "\(part) is not in: \(text)")
            }
            #expect(!text.contains("hidden-secret"), "\(text)")
            #expect(access(rig.file, F_OK) != 0)
        }
    }
}

extension PostgresServer {
    /// Asks a role for its password from now on.
    func requirePassword(of role: String) throws {
        let path = dataDirectory + "/pg_hba.conf"
        let text = "host all \(role) 127.0.0.1/32 scram-sha-256\n" + (readText(path) ?? "")
        try writeText(text, to: path)
        try connect().execute("SELECT pg_reload_conf()")
        sleepThread(.milliseconds(300))
    }
}
