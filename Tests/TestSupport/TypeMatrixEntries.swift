extension TypeMatrix {
    /// Types of the user's own that the entries need.
    static let definitions = [
        "CREATE TYPE public.colour AS ENUM ('red', 'Green', 'with space', 'quo''te', '')",
        "CREATE TYPE public.pair AS (a int4, b text)",
        "CREATE TYPE public.nested AS (p public.pair, l text[], n numeric)",
        "CREATE DOMAIN public.d_int AS int4 CHECK (VALUE > -100)",
        "CREATE DOMAIN public.d_d_int AS public.d_int",
        "CREATE DOMAIN public.d_bool AS bool",
        "CREATE DOMAIN public.d_float AS float8",
        "CREATE DOMAIN public.d_bytea AS bytea",
        "CREATE DOMAIN public.d_text AS text COLLATE \"C\"",
        "CREATE DOMAIN public.d_array AS int4[]",
        "CREATE DOMAIN public.d_colour AS public.colour",
        "CREATE TYPE public.textrange AS RANGE (subtype = text)",
    ]

    /// Every type with its values.
    static let all: [Entry] = numbers + texts + times + structures + networkAndBits + containers + systemTypes

    private static let numbers = [
        Entry("bool", "bool", ["true", "false"]),
        Entry("int2", "int2", ["'-32768'", "32767", "0"]),
        Entry("int4", "int4", ["'-2147483648'", "2147483647", "0"]),
        Entry("int8", "int8", ["'-9223372036854775808'", "9223372036854775807", "0", "-1", "9007199254740993"]),
        Entry(
            "float4",
            "float4",
            strings([
                "NaN", "Infinity", "-Infinity", "0", "-0", "1e-45", "1.1754944e-38", "3.4028235e38", "0.1", "16777217",
                "-1.5", "3.4e-5", "123456.79",
            ])
        ),
        Entry(
            "float8",
            "float8",
            strings([
                "NaN", "Infinity", "-Infinity", "0", "-0", "5e-324", "2.2250738585072014e-308",
                "1.7976931348623157e308", "0.1", "1e15", "1e16", "9007199254740993", "0.30000000000000004", "1e-5",
                "9223372036854775807", "-9223372036854775808",
            ])
        ),
        Entry(
            "numeric",
            "numeric",
            strings([
                "NaN", "Infinity", "-Infinity", "0", "0.00", "1.10", "-0.000001", "1e131071", "1e-16383",
                "12345678901234567890123456789012345678901234567890.123456789", "1e18", "9223372036854775808",
            ])
        ),
        Entry("numeric_10_2", "numeric(10,2)", strings(["NaN", "0", "-1.5", "99999999.99", "1e2"])),
        Entry("numeric_5_m2", "numeric(5,-2)", strings(["12345", "-9999949", "NaN", "0"]), since: 15),
        Entry("numeric_3_5", "numeric(3,5)", strings(["0.00123", "-0.00999", "0"]), since: 15),
        Entry("numeric_1000", "numeric(1000,500)", ["('0.' || repeat('9', 500))::numeric", "'-1'"]),
        Entry("money", "money", strings(["-1234567.89", "92233720368547758.07", "-92233720368547758.08", "0"])),
        Entry("oid", "oid", strings(["0", "4294967295", "2147483648"])),
        Entry("xid", "xid", strings(["0", "4294967295"])),
        Entry("cid", "cid", strings(["0", "4294967295"])),
        Entry("xid8", "xid8", strings(["0", "18446744073709551615"])),
    ]

    private static let oddTexts = strings(ValueGenerator.texts)

    private static let texts = [
        Entry("text", "text", oddTexts + ["repeat('\u{E9}\u{1F600}', 3000)", "repeat('x', 1000000)"]),
        Entry("varchar", "varchar(5)", strings(["", "abcde", "\u{E9}\u{E9}\u{E9}\u{E9}\u{1F600}", "a    "])),
        Entry("bpchar", "char(5)", strings(["", "ab", "abcde", " x", "\u{1F600}"])),
        Entry("bpchar1", "char", strings(["", "a"])),
        Entry("char", "\"char\"", strings(["a", "", "\\", "'"])),
        Entry("char_high", "\"char\"", strings(["\\200", "\\377"]), since: 15),
        Entry("name", "name", ["''", "'pg'", "repeat('\u{E9}', 31)::name", "repeat('n', 63)::name"]),
        Entry(
            "bytea",
            "bytea",
            ["'\\x'", "'\\x00'", "'\\x00ff5c27'", "decode('deadbeef', 'hex')", "decode(repeat('00ff', 50000), 'hex')"]
        ),
        Entry("colour", "public.colour", strings(["red", "Green", "with space", "quo'te", ""])),
        Entry("citext", "public.citext", strings(["Abc", "abd", ""]), needs: "citext"),
        Entry("xml", "xml", strings(["<a b=\"c\">\u{E9}</a>", "", "text only", "<!-- c --><x/>"]), needs: "xml"),
    ]

    private static let times = [
        Entry(
            "date",
            "date",
            strings([
                "infinity", "-infinity", "4714-11-24 BC", "5874897-12-31", "0001-01-01", "2024-02-29", "0001-12-31 BC",
            ])
        ),
        Entry("time", "time", strings(["00:00:00", "24:00:00", "23:59:59.999999", "12:34:56.7"])),
        Entry("time_0", "time(0)", strings(["12:34:56.7", "24:00:00"])),
        Entry("timetz", "timetz", strings(["24:00:00-15:59", "00:00:00+15:59", "12:00:00.5+05:30", "12:00:00+00"])),
        Entry("timestamp", "timestamp", moments),
        Entry("timestamp_3", "timestamp(3)", strings(["2024-02-29 12:34:56.78951", "infinity"])),
        Entry(
            "timestamptz",
            "timestamptz",
            moments + strings(["2024-06-30 23:59:59.5+05:30", "1900-01-01 00:00:00-11"])
        ),
        Entry(
            "interval",
            "interval",
            strings([
                "0", "1 year 2 mons -3 days +04:05:06.000007", "-10 mons -3 days +04:05:06.000007", "178000000 years",
                "-178000000 years", "2147483647 days", "-00:00:00.000001", "24:00:00", "1 mon", "30 days",
            ])
        ),
        Entry("interval_long", "interval", strings(["2562047788:00:54.775807"]), since: 15),
        Entry("interval_infinite", "interval", strings(["infinity", "-infinity"]), since: 17),
        Entry("interval_ym", "interval year to month", strings(["3 years 5 mons"])),
    ]

    private static let moments = strings([
        "infinity", "-infinity", "4714-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999", "2024-02-29 12:34:56.789",
        "1970-01-01 00:00:00", "1999-12-31 23:59:59.000001", "0001-01-01 00:00:00", "0001-12-31 23:59:59 BC",
    ])

    private static let structures = [
        Entry(
            "uuid",
            "uuid",
            strings(["00000000-0000-0000-0000-000000000000", "FFFFFFFF-ffff-4fff-bfff-ffffffffffff"])
        ),
        Entry(
            "json",
            "json",
            strings([
                "null", "\"\"", "{\"a\": 1, \"a\": 2}", " [ 1 , 2 ] ", "\"\\u0000\"", "1e400", "\"\\ud83d\\ude00\"",
                "12345678901234567890.10", "{\n\t\"k\": \"\u{E9}\"\n}", "-0",
            ])
        ),
        Entry(
            "jsonb",
            "jsonb",
            strings([
                "null", "\"\"", "{\"b\": 1, \"a\": {\"c\": []}}", "12345678901234567890.10", "-0.0", "1e30",
                "\"e\u{301}\\n\\\\\\\"\"", "[null, true, 1.50]",
            ])
        ),
        Entry("jsonpath", "jsonpath", strings(["$.a[*] ? (@ > 1)", "strict $"])),
        Entry("point", "point", strings(["(1.5,-2)", "(NaN,Infinity)", "(1e-300,0)"])),
        Entry("line", "line", strings(["{1,-1,0}"])),
        Entry("lseg", "lseg", strings(["[(0,0),(1,1.5)]"])),
        Entry("box", "box", strings(["(1,1),(0,0)"])),
        Entry("path", "path", strings(["((0,0),(1,1))", "[(0,0),(1,1),(2,0)]"])),
        Entry("polygon", "polygon", strings(["((0,0),(1,1),(2,0))"])),
        Entry("circle", "circle", strings(["<(1,2),0.5>"])),
        Entry("tsvector", "tsvector", strings(["a:1A,2B 'it''s' \\\\x", ""])),
        Entry("tsquery", "tsquery", strings(["a & !(b | 'c d') <-> e:*A", ""])),
        Entry("pair", "public.pair", ["ROW(1, 'x,\"y\"\\')", "ROW(NULL, NULL)", "ROW(NULL, '')", "ROW(-1, E'a\\nb')"]),
        Entry(
            "nested",
            "public.nested",
            ["ROW(ROW(1, 'a b'), ARRAY['x', NULL, 'NULL'], 1.50)", "ROW(NULL, '{}', 'NaN')"]
        ),
        Entry("hstore", "public.hstore", strings(["a=>1, \"b c\"=>NULL", "", "\"q\\\"\"=>\"x,y\""]), needs: "hstore"),
        Entry("ltree", "public.ltree", strings(["a.b.c", ""]), needs: "ltree"),
        Entry("d_int", "public.d_int", strings(["-99", "2147483647"])),
        Entry("d_d_int", "public.d_d_int", strings(["0", "7"])),
        Entry("d_bool", "public.d_bool", ["true", "false"]),
        Entry("d_float", "public.d_float", strings(["NaN", "-0", "0.1", "Infinity"])),
        Entry("d_bytea", "public.d_bytea", ["'\\x00ff'", "'\\x'"]),
        Entry("d_text", "public.d_text", oddTexts),
        Entry("d_array", "public.d_array", strings(["{1,NULL}", "{}"])),
        Entry("d_colour", "public.d_colour", strings(["red", "quo'te"])),
    ]

    private static let networkAndBits = [
        Entry("bit1", "bit", ["B'1'", "B'0'"]),
        Entry("bit8", "bit(8)", ["B'10101010'"]),
        Entry("bit70", "bit(70)", ["repeat('10', 35)::bit(70)"]),
        Entry("varbit", "varbit", ["B''", "B'0'", "B'10101'", "repeat('1', 200)::varbit"]),
        Entry("inet", "inet", strings(["10.0.0.1", "10.0.0.1/8", "::1", "::1/64", "::ffff:1.2.3.4"])),
        Entry("cidr", "cidr", strings(["10.0.0.0/8", "10.0.0.1/32", "::/0", "2001:db8::/32"])),
        Entry("macaddr", "macaddr", strings(["08:00:2b:01:02:03"])),
        Entry("macaddr8", "macaddr8", strings(["08:00:2b:01:02:03:04:05"])),
    ]

    private static let containers = [
        Entry("int4range", "int4range", strings(["[2,6)", "empty", "(,)", "(2,5]", "[-2147483648,2147483647)"])),
        Entry("int8range", "int8range", strings(["[1,9223372036854775807)", "(,0]"])),
        Entry("numrange", "numrange", strings(["[1.50,2)", "(NaN,)", "[-Infinity,Infinity]"])),
        Entry("daterange", "daterange", strings(["[2024-01-01,2024-02-29]", "[-infinity,infinity)"])),
        Entry("tsrange", "tsrange", strings(["[2024-01-01 00:00:00.5,infinity]", "empty"])),
        Entry("tstzrange", "tstzrange", strings(["(2024-01-01 00:00:00+05:30,]"])),
        Entry("textrange", "public.textrange", strings(["[\"a,b\",\"c d\")", "[\"\",\"\\\"\"]"])),
        Entry("int4multirange", "int4multirange", strings(["{}", "{[1,3),[5,)}"])),
        Entry("nummultirange", "nummultirange", strings(["{[1.5,2.5],(7,)}"])),
        Entry("tstzmultirange", "tstzmultirange", strings(["{[2024-01-01,2024-01-02)}"])),
        Entry("a_bool", "bool[]", strings(["{t,f,NULL}", "{}"])),
        Entry(
            "a_int4",
            "int4[]",
            strings(["{1,NULL,-5}", "{}", "{{1,2},{3,NULL}}", "[0:1]={7,NULL}", "[-1:0][2:3]={{1,2},{3,4}}"])
        ),
        Entry("a_int8", "int8[]", strings(["{-9223372036854775808,9223372036854775807}"])),
        Entry("a_float4", "float4[]", strings(["{NaN,-0,Infinity,1e-45,0.1}"])),
        Entry("a_float8", "float8[]", strings(["{NaN,-0,-Infinity,5e-324,0.1}"])),
        Entry("a_numeric", "numeric[]", strings(["{NaN,1.50,-Infinity}"])),
        Entry(
            "a_text",
            "text[]",
            [
                "ARRAY['a,b', 'NULL', NULL, '', '\"q\"', E'back\\\\slash', E'new\\nline', ' x ', '{}']",
                "ARRAY['\u{E9}', 'e\u{301}']",
                "'{{a,b},{c,\"d e\"}}'", "'{null,\"null\"}'", "'{}'",
            ]
        ),
        Entry("a_bpchar", "char(3)[]", strings(["{a,\"b \",NULL}"])),
        Entry("a_bytea", "bytea[]", ["ARRAY['\\x00ff'::bytea, NULL, '\\x']"]),
        Entry("a_date", "date[]", strings(["{infinity,2024-02-29,\"4714-11-24 BC\"}"])),
        Entry("a_timestamptz", "timestamptz[]", strings(["{\"2024-01-01 00:00:00+05:30\",-infinity}"])),
        Entry("a_interval", "interval[]", strings(["{\"1 mon -1 days\",00:00:01}"])),
        Entry("a_uuid", "uuid[]", strings(["{00000000-0000-0000-0000-000000000001,NULL}"])),
        Entry("a_json", "json[]", ["ARRAY['{\"a\": \"b,c\"}'::json, NULL, 'null']"]),
        Entry("a_jsonb", "jsonb[]", ["ARRAY['{\"a\": \"b\\\\\"}'::jsonb, NULL, 'null']"]),
        Entry("a_colour", "public.colour[]", strings(["{red,\"with space\",NULL,\"\"}"])),
        Entry("a_pair", "public.pair[]", ["ARRAY[ROW(1, 'a\"b')::public.pair, NULL, ROW(NULL, '')::public.pair]"]),
        Entry("a_range", "int4range[]", strings(["{\"[1,3)\",empty}"])),
        Entry("a_box", "box[]", strings(["{(1,1),(0,0);(2,2),(1,1)}"])),
        Entry("a_domain", "public.d_int[]", strings(["{1,NULL}"])),
    ]

    private static let systemTypes = [
        Entry("pg_lsn", "pg_lsn", strings(["0/0", "FFFFFFFF/FFFFFFFF", "16/B374D848"])),
        Entry("tid", "tid", strings(["(0,1)", "(4294967295,65535)"])),
        Entry("pg_snapshot", "pg_snapshot", strings(["10:20:10,14,15"])),
        Entry("txid_snapshot", "txid_snapshot", strings(["10:20:10,14,15"])),
        Entry("regclass", "regclass", ["'pg_catalog.pg_class'", "'0'"]),
        Entry("regtype", "regtype", ["'int4'", "'public.colour'"]),
        Entry("int2vector", "int2vector", strings(["1 -2 3", ""])),
        Entry("oidvector", "oidvector", strings(["1 4294967295", ""])),
        Entry("aclitem", "aclitem", strings(["postgres=r*w/postgres", "=r/postgres"])),
        Entry("refcursor", "refcursor", strings(["a cursor"])),
    ]

    private static func strings(_ values: [String]) -> [String] { values.map { quoteLiteral($0) } }
}
