import Glibc
import TestSupport
import Testing

extension Integration {
    /// What keeps the daemon from a server at all.
    @Suite("A StarRocks target: server and user") struct StarRocksServerTests {
        /// Expects that `validate` and the daemon refuse with these texts, and tell no secret.
        private func expectRefused(
            _ rig: StarRocksRig,
            _ code: Int32,
            _ texts: [String],
            onlyDaemon: Bool = false,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            let validated = try rig.daemon.command("validate")
            let error = try rig.rig.expectRefusal(code, sourceLocation: sourceLocation)
            for text in texts {
                #expect(error.contains(text), "\(text) is not in: \(error)", sourceLocation: sourceLocation)
            }
            if !onlyDaemon {
                #expect(validated.status == .exited(code), "\(validated)", sourceLocation: sourceLocation)
                for text in texts {
                    #expect(
                        validated.output.contains(text),
                        "\(text) is not in: \(validated)",
                        sourceLocation: sourceLocation
                    )
                }
            }
            let log = readText(rig.daemon.standardErrorFile) ?? ""
            #expect(!(log + validated.output + validated.error).contains("secret"), sourceLocation: sourceLocation)
        }

        @Test("too old, without the database, or with another password")
        func refused() throws {
            let rig = try StarRocksRig(["SINK_USER": "writer", "SINK_PASSWORD": "wrong-secret"])
            try rig.rig.makeTable()
            func users(_ password: String, _ grants: String = "[[\"ALL\", \"*.*\"]]") throws {
                try rig.target.control(
                    "POST",
                    "/users",
                    "{\"writer\": {\"password\": \"\(password)\", \"grants\": \(grants)}}"
                )
            }
            try users("right-secret")
            try expectRefused(rig, 2, ["1045", "writer", "SINK_PASSWORD"])
            rig.daemon.setEnvironment("SINK_PASSWORD", "right-secret")
            try rig.target.control("POST", "/version", "{\"version\": \"2.5.18\"}")
            try expectRefused(rig, 2, ["StarRocks 2.5.18", "3.0 or newer"])
            try rig.target.control("POST", "/version", "{\"version\": \"3.3.5\"}")
            rig.daemon.setEnvironment("SINK_DATABASE", "nowhere")
            try expectRefused(rig, 2, ["there is no database \"nowhere\"", "CREATE DATABASE `nowhere`"])
            rig.daemon.setEnvironment("SINK_DATABASE", "copy")
            let all = ["SELECT", "INSERT", "UPDATE", "DELETE", "ALTER", "CREATE TABLE"]
            for missing in ["CREATE TABLE", "INSERT"] {
                let grants = all.filter { $0 != missing }.map { "[\"\($0)\", \"copy.*\"]" }.joined(separator: ", ")
                try users("right-secret", "[\(grants)]")
                // Nothing but trying tells a privilege.
                try expectRefused(rig, 2, ["Access denied", missing], onlyDaemon: true)
            }
            try users("right-secret")
            try rig.rig.startStreaming()
            try rig.awaitIDs([1, 2, 3])
            try users("new-secret")
            try rig.rig.insert(4...4)
            let error = rig.rig.expectEnd(2)
            #expect(error.contains("SINK_PASSWORD"), "\(error)")
            try users(
                "right-secret",
                "[[\"SELECT\", \"copy.*\"], [\"INSERT\", \"copy.dbmazz*\"], [\"ALTER\", \"copy.*\"], [\"CREATE TABLE\", \"copy.*\"], [\"DELETE\", \"copy.*\"]]"
            )
            try rig.daemon.start()
            rig.rig.expectEnd(2, "Access denied", "INSERT")
            #expect(!(readText(rig.daemon.standardErrorFile) ?? "").contains("secret"))
            try users("right-secret")
            try rig.rig.startStreaming()
            try rig.awaitIDs([1, 2, 3, 4])
            try rig.rig.stopDaemon()
        }

        @Test("back ends under names that only SINK_STARROCKS_HOST_MAP knows; addresses without TLS")
        func addresses() throws {
            let rig = try StarRocksRig(server: StarRocksServer.started(advertisedHost: "be1.internal"))
            try rig.rig.makeTable()
            try rig.daemon.start()
            let waits = try rig.rig.awaitLog("sink waits")
            #expect(waits["cause"]?.contains("be1.internal") == true, "\(waits)")
            #expect(waits["remedy"]?.contains("SINK_STARROCKS_HOST_MAP") == true, "\(waits)")
            #expect(try rig.daemon.terminate() == .exited(0))
            let port = rig.target.backEndPort
            rig.daemon.setEnvironment("SINK_STARROCKS_HOST_MAP", "be1.internal:\(port)=127.0.0.1:\(port)")
            try rig.rig.startStreaming()
            try rig.rig.insert(4...5)
            try rig.awaitIDs([1, 2, 3, 4, 5])
            try rig.rig.stopDaemon()
            rig.daemon.setEnvironment("SINK_URL", rig.target.url.replacing("http://", with: "https://"))
            try expectRefused(rig, 2, ["SINK_STARROCKS_MYSQL_TLS=off"])
            rig.daemon.setEnvironment("SINK_STARROCKS_MYSQL_TLS", "off")
            try expectRefused(rig, 2, ["SINK_TLS_CA"])
            try rig.expectNoViolation()
        }
    }
}
