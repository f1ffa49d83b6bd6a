import TestSupport
import Testing

extension Integration {
    /// The comparison itself: a check that cannot fail proves nothing.
    @Suite("The workload's comparison with a ClickHouse target") struct ClickHouseTargetTests {
        /// A row's newer version with one column changed, and the text that the comparison has to say.
        private static let plants = [
            ("t_types", "NOT b AS b", "b IS NOT NULL"), ("t_types", "i8 + 1 AS i8", "i8 < 1000"),
            (
                "t_types", "reinterpretAsFloat32(reinterpretAsUInt32(assumeNotNull(f4)) + 1) AS f4",
                "isFinite(f4) AND f4 != 0"
            ),
            (
                "t_types", "reinterpretAsFloat64(reinterpretAsUInt64(assumeNotNull(f8)) + 1) AS f8",
                "isFinite(f8) AND f8 != 0"
            ),
            ("t_types", "toFloat64('-0') AS f8", "f8 > 0"), ("t_types", "concat(n, '0') AS n", "n IS NOT NULL"),
            ("t_types", "concat(t, ' ') AS t", "t IS NOT NULL"), ("t_types", "trim(c) AS c", "c LIKE '% '"),
            ("t_types", "addDays(d, 1) AS d", "d < '2200-01-01'"),
            ("t_types", "addMicroseconds(ts, 1) AS ts", "ts < '2200-01-01'"),
            ("t_types", "addMicroseconds(tz, 1) AS tz", "tz < '2200-01-01'"),
            ("t_types", "generateUUIDv4() AS u", "1"), ("t_types", "concat(by, '\\0') AS by", "by IS NOT NULL"),
            ("t_types", "NULL AS e", "e IS NOT NULL"), ("t_types", "1 AS dbmazz_is_deleted", "1"),
            ("t_comp", "'x' AS big", "1"), ("t_x", "m + 0.01 AS m", "m IS NOT NULL"),
            ("other_t_x", "999 AS id", "1"), ("t_bag", "dbmazz_row_id + 1000000 AS dbmazz_row_id", "1"),
            ("t_odd", "toFloat64('0.2') AS f", "1"),
        ]

        @Test("finds every planted difference, and none where there is none")
        func planted() throws {
            let server = try PostgresServer.started()
            defer { server.remove() }
            let target = try ClickHouseServer.started()
            defer { target.remove() }
            var options = WorkloadOptions(seed: Effort.seed)
            // A table that is empty at the moment has nothing to plant a difference in.
            options.truncateEvery = 0
            options.hasCommonDates = true
            options.thinkTime = .milliseconds(10)
            let workload = Workload(server: server, options: options, publication: nil)
            try workload.createSchema()
            defer { try? workload.close() }
            try workload.start()
            sleepThread(.seconds(2))
            try workload.stop()
            let last = try workload.lastCommit()
            let client = target.client()
            let view = WorkloadTarget.clickhouse(client)
            #expect(try workload.check(view).lsn == nil, "no table yet")
            let source = try server.connect()
            let loader = ClickHouseLoader(source: source, client: client)
            try client.query("CREATE DATABASE saved")
            let names = workload.tableNames.map { $0.split(separator: ".") }
                .map { $0[0] == "public" ? String($0[1]) : $0.joined(separator: "_") }
            for (table, name) in zip(workload.tableNames, names) {
                try loader.load(table)
                try client.query("CREATE TABLE saved.\(name) AS \(name)")
                try client.query("INSERT INTO saved.\(name) SELECT * FROM \(name)")
            }
            func restore(_ name: String) throws {
                try client.query("DROP TABLE IF EXISTS \(name)")
                try client.query("CREATE TABLE \(name) AS saved.\(name)")
                try client.query("INSERT INTO \(name) SELECT * FROM saved.\(name)")
            }
            try client.query(
                "CREATE TABLE dbmazz_position (pipeline String, lsn String, v UInt64) ENGINE = ReplacingMergeTree(v) "
                    + "ORDER BY pipeline"
            )
            func setPosition(_ lsn: UInt64, _ version: Int) throws {
                try client.query("INSERT INTO dbmazz_position VALUES ('p', '\(formatLSN(lsn))', \(version))")
            }
            try setPosition(last, 1)
            let equal = try workload.check(view)
            #expect(equal.rows > 100 && equal.commits > 10, "\(equal)")
            let watch = try ClickHouseVersionWatch(client, source: source, names: workload.tableNames)
            #expect(try watch.look() == [])

            func expectFound(_ text: String, _ statement: String) throws {
                let error = #expect(throws: (any Error).self, "\(statement)") { try workload.check(view) }
                let isNamed = error.map { "\($0)".contains(text) } ?? false
                #expect(isNamed, "\(statement): \(error.map { "\($0)" } ?? "nothing")")
            }
            for (table, change, filter) in Self.plants {
                // In a query of its own, since a name in WHERE would mean what takes the column's place.
                let statement =
                    "INSERT INTO \(table) SELECT * REPLACE(\(change), 2 AS dbmazz_cdc_version) FROM "
                    + "(SELECT * FROM \(table) FINAL WHERE \(filter) LIMIT 1)"
                try client.query(statement)
                try expectFound(table, statement)
                try restore(table)
            }
            try workload.check(view)
            try client.query("ALTER TABLE t_text DROP COLUMN note")
            try expectFound("no column note", "DROP COLUMN")
            try restore("t_text")
            try client.query("DROP TABLE t_index")
            try expectFound("t_index: missing", "DROP TABLE")
            try restore("t_index")
            try workload.check(view)

            // Every table was loaded with the same version: an older one means that rows went back.
            try loader.load("public.t_text", version: 0)
            let problems = try watch.look()
            #expect(problems.contains { $0.contains("t_text") && $0.contains("went back from 1 to 0") }, "\(problems)")
            try restore("t_text")
            try setPosition(1, 2)
            try expectFound("went back", "an older position")
        }
    }
}

/// Puts source tables into ClickHouse by its text formats, which the sink does not use.
struct ClickHouseLoader {
    let source: PgClient
    let client: ClickHouseClient

    private static let types = [
        "boolean": "Bool", "smallint": "Int16", "integer": "Int32", "bigint": "Int64", "real": "Float32",
        "double precision": "Float64", "date": "Date32", "timestamp without time zone": "DateTime64(6, 'UTC')",
        "timestamp with time zone": "DateTime64(6, 'UTC')", "uuid": "UUID", "money": "Decimal(20, 2)",
        "public.small": "Int16", "public.mood": "LowCardinality(String)",
    ]

    /// Makes a table anew, with all rows at a version.
    func load(_ name: String, version: Int = 1) throws {
        let columns = try source.query(
            """
            SELECT attname, atttypid::regtype::text, quote_ident(attname) FROM pg_attribute
            WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum
            """,
            [name]
        )
        let keys = try Set(
            source.query(
                """
                SELECT a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
                JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
                WHERE c.oid = $1::regclass
                  AND CASE c.relreplident WHEN 'i' THEN i.indisreplident ELSE i.indisprimary END
                """,
                [name]
            ).compactMap { $0[0] }
        )
        let parts = name.split(separator: ".")
        let table = ClickHouseClient.quote(parts[0] == "public" ? String(parts[1]) : parts.joined(separator: "_"))
        var lines: [String] = []
        for column in columns {
            guard let name = column[0], let type = column[1] else { continue }
            let own = Self.types[type] ?? "String"
            let isLow = own.hasPrefix("Low")
            let nullable = keys.contains(name) ? own : isLow ? "LowCardinality(Nullable(String))" : "Nullable(\(own))"
            lines.append("\(ClickHouseClient.quote(name)) \(nullable)")
        }
        let order =
            keys.isEmpty ? "dbmazz_row_id" : "(\(keys.sorted().map(ClickHouseClient.quote).joined(separator: ", ")))"
        if keys.isEmpty { lines.append("dbmazz_row_id UInt128") }
        try client.query("DROP TABLE IF EXISTS \(table)")
        try client.query(
            "CREATE TABLE \(table) (\(lines.joined(separator: ", ")), dbmazz_is_deleted UInt8, dbmazz_cdc_version UInt128) "
                + "ENGINE = ReplacingMergeTree(dbmazz_cdc_version, dbmazz_is_deleted) ORDER BY \(order)"
        )
        let list = columns.compactMap { $0[2] }.joined(separator: ", ")
        var data: [UInt8] = []
        for (number, row) in try source.queryBytes("SELECT \(list) FROM \(name)").enumerated() {
            var fields: [[UInt8]] = []
            for (column, value) in zip(columns, row) { fields.append(Self.field(value, column[1] ?? "")) }
            if keys.isEmpty { fields.append(Array("\(number)".utf8)) }
            fields += [[UInt8(ascii: "0")], Array("\(version)".utf8)]
            data += fields.joined(separator: [UInt8(ascii: "\t")]) + [UInt8(ascii: "\n")]
        }
        let answer = try client.insert(
            "INSERT INTO \(table) FORMAT TabSeparated",
            data,
            settings: ["async_insert": "0", "date_time_input_format": "best_effort"]
        )
        guard answer.status == 200 else { throw HarnessError("\(name): \(answer.text)") }
    }

    /// PostgreSQL's text as ClickHouse reads it.
    private static func field(_ value: [UInt8]?, _ type: String) -> [UInt8] {
        guard var value else { return Array("\\N".utf8) }
        switch type {
        case "money": value.removeAll { $0 == UInt8(ascii: "$") || $0 == UInt8(ascii: ",") }
        case "bytea":
            let digits = Array(value.dropFirst(2))
            value = stride(from: 0, to: digits.count, by: 2).compactMap { index in
                UInt8(String(decoding: digits[index...index + 1], as: UTF8.self), radix: 16)
            }
        default: break
        }
        var escaped: [UInt8] = []
        for byte in value {
            switch byte {
            case UInt8(ascii: "\\"): escaped += Array("\\\\".utf8)
            case UInt8(ascii: "\t"): escaped += Array("\\t".utf8)
            case UInt8(ascii: "\n"): escaped += Array("\\n".utf8)
            default: escaped.append(byte)
            }
        }
        return escaped
    }
}
