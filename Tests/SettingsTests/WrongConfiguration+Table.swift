extension WrongConfiguration {
    static let urlForms =
        "write a libpq URI (postgres://USER@HOST:PORT/DATABASE) or conninfo (host=HOST dbname=DATABASE)"

    static let table = source + tables + sink + daemon + numbers + words + names + files

    private static let daemon: [WrongConfiguration] = [
        WrongConfiguration(
            ["DBMAZZ_HTTP": "9187"],
            "DBMAZZ_HTTP=\"9187\" has no host: write HOST:PORT or off, for example 127.0.0.1:9187"
        ),
        WrongConfiguration(
            ["DBMAZZ_HTTP": ":8080"],
            "DBMAZZ_HTTP=\":8080\" has no host: write HOST:PORT or off, for example 127.0.0.1:8080"
        ),
        WrongConfiguration(
            ["DBMAZZ_HTTP": "http://127.0.0.1:9187/"],
            "DBMAZZ_HTTP=\"http://127.0.0.1:9187/\" is not HOST:PORT: write HOST:PORT or off; leave the scheme and the "
                + "path out"
        ),
        WrongConfiguration(
            ["DBMAZZ_HTTP": "127.0.0.1:70000"],
            "DBMAZZ_HTTP=\"127.0.0.1:70000\" has no port from 1 to 65535: write HOST:PORT or off, for example "
                + "127.0.0.1:9187"
        ),
        WrongConfiguration(
            ["DBMAZZ_HTTP": "::1:9187"],
            "DBMAZZ_HTTP=\"::1:9187\" has an IPv6 address without brackets: write HOST:PORT or off, for example [::1]:9187"
        ),
        WrongConfiguration(
            ["DBMAZZ_READY_MAX_LAG": "16MB"],
            "DBMAZZ_READY_MAX_LAG=\"16MB\" has a unit, but the value is a plain number of bytes: write 0 to "
                + "9223372036854775807, for example 16777216"
        ),
        WrongConfiguration(
            ["DBMAZZ_HANG_TIMEOUT_MS": "5"],
            "DBMAZZ_HANG_TIMEOUT_MS=\"5\" is out of range: write 100 to 86400000, for example 120000"
        ),
        WrongConfiguration(
            ["SINK_STANDBY": "no"],
            "SINK_STANDBY=\"no\" is none of the choices: write wait or refuse"
        ),
        WrongConfiguration(
            ["SOURCE_WAL_ALARM_MB": "10G"],
            "SOURCE_WAL_ALARM_MB=\"10G\" has a unit, but the value is a plain number of MiB: write 0 (never) or 1 to "
                + "1073741824, for example 10240"
        ),
    ]

    private static let source: [WrongConfiguration] = [
        WrongConfiguration(
            ["SOURCE_URL": ""],
            "SOURCE_URL is not set: \(urlForms), for example postgres://replicator@db.example.com:5432/shop"
        ),
        WrongConfiguration(
            ["SOURCE_URL": "db.example.com"],
            "SOURCE_URL=\"***\" is neither a URI nor key=value pairs: \(urlForms)"
        ),
        WrongConfiguration(
            ["SOURCE_URL": "mysql://root@db/shop"],
            "SOURCE_URL=\"***\" is not an address of PostgreSQL: \(urlForms)"
        ),
        WrongConfiguration(
            ["SOURCE_URL": "jdbc:postgresql://db/shop"],
            "SOURCE_URL=\"***\" is an address for Java: \(urlForms); leave jdbc: out"
        ),
        WrongConfiguration(
            ["SOURCE_URL": "\"postgres://db/shop\""],
            "SOURCE_URL=\"***\" has a quotation mark around it: leave it out (docker's --env-file passes quotation "
                + "marks on)"
        ),
        WrongConfiguration(
            ["SOURCE_URL": "postgres://db/shop?sslmode=require&replication=true"],
            "SOURCE_URL=\"***\" has a replication parameter that is not \"database\": leave replication out"
        ),
        WrongConfiguration(
            ["SOURCE_URL": "host=db replication = 'on'"],
            "SOURCE_URL=\"***\" has a replication parameter that is not \"database\": leave replication out"
        ),
        WrongConfiguration(
            ["SOURCE_URL": "host=db dbname='shop"],
            "SOURCE_URL=\"***\" opens a quotation mark that is never closed: write \\' for one inside"
        ),
        WrongConfiguration(
            ["SOURCE_URL": "host=db my shop"],
            "SOURCE_URL=\"***\" has a word that is not key=value: \(urlForms); put a value with spaces in single "
                + "quotation marks"
        ),
        WrongConfiguration(
            ["SOURCE_URL": "postgres://db/my shop"],
            "SOURCE_URL=\"***\" has white space in a URI: write %20 for a space"
        ),
        WrongConfiguration(
            ["SOURCE_URL": "postgres://u:p@ss@db/shop"],
            "SOURCE_URL=\"***\" has more than one @ before the host: write %40 for an @ in user or password"
        ),
        WrongConfiguration(
            ["SOURCE_SLOT_NAME": "My-Slot"],
            "SOURCE_SLOT_NAME=\"My-Slot\" has characters that PostgreSQL does not allow in a slot's name: "
                + "write 1 to 63 of a-z, 0-9 and _, for example my_slot"
        ),
        WrongConfiguration(
            ["SOURCE_SLOT_NAME": String(repeating: "s", count: 64)],
            "SOURCE_SLOT_NAME=\"\(String(repeating: "s", count: 64))\" is longer than PostgreSQL allows for a slot's "
                + "name: write 1 to 63 of a-z, 0-9 and _, for example \(String(repeating: "s", count: 63))"
        ),
        WrongConfiguration(
            ["SOURCE_PUBLICATION_NAME": String(repeating: "p", count: 64)],
            "SOURCE_PUBLICATION_NAME=\"\(String(repeating: "p", count: 64))\" is longer than 63 bytes: "
                + "write 1 to 63 bytes without control characters"
        ),
    ]

    private static let tables: [WrongConfiguration] = [
        WrongConfiguration(
            ["SOURCE_TABLES": "orders"],
            "SOURCE_TABLES=\"orders\" has \"orders\" without a schema: write public.orders"
        ),
        WrongConfiguration(
            ["SOURCE_TABLES": "public.orders, *"],
            "SOURCE_TABLES=\"public.orders, *\" has \"*\" without a schema: write *.* for every table"
        ),
        WrongConfiguration(
            ["SOURCE_TABLES": "shop.public.orders"],
            "SOURCE_TABLES=\"shop.public.orders\" has \"shop.public.orders\" with 3 parts: write SCHEMA.TABLE"
        ),
        WrongConfiguration(
            ["SOURCE_TABLES": "public."],
            "SOURCE_TABLES=\"public.\" has \"public.\" with an empty name: write SCHEMA.TABLE"
        ),
        WrongConfiguration(
            ["SOURCE_TABLES": "sales.\"a"],
            "SOURCE_TABLES=\"sales.\\\"a\" opens a quotation mark that is never closed: close it"
        ),
        WrongConfiguration(
            ["SOURCE_TABLES": "public.or\"ders"],
            "SOURCE_TABLES=\"public.or\\\"ders\" has a quotation mark inside a name: put the whole name in quotation "
                + "marks, and write \"\" for one inside"
        ),
        WrongConfiguration(
            ["SOURCE_TABLES": ","],
            "SOURCE_TABLES=\",\" names no table: write a comma list of SCHEMA.TABLE, where * stands for any "
                + "characters, for example public.*"
        ),
        WrongConfiguration(
            ["SOURCE_TABLES": "public.\(String(repeating: "t", count: 64))"],
            "SOURCE_TABLES=\"public.\(String(repeating: "t", count: 64))\" has a name that is longer than PostgreSQL's "
                + "63 bytes: write it as PostgreSQL shows it"
        ),
    ]

    private static let sink: [WrongConfiguration] = [
        WrongConfiguration(
            ["SINK_TYPE": "sqllite"],
            "SINK_TYPE=\"sqllite\" is none of the choices: write sqlite, stdout or bulk; did you mean sqlite?"
        ),
        WrongConfiguration(
            ["SINK_TYPE": "oracle"],
            "SINK_TYPE=\"oracle\" is none of the choices: write sqlite, stdout or bulk"
        ),
        WrongConfiguration(
            ["SINK_DATABASE": "a\nb"],
            "SINK_DATABASE=\"a\\nb\" has a control character or a line break: "
                + "write 1 to 255 bytes without control characters"
        ),
        WrongConfiguration(
            ["SINK_SCHEMA": "caf\u{FFFD}"],
            "SINK_SCHEMA=\"caf\u{FFFD}\" is not UTF-8 text"
        ),
        WrongConfiguration(
            ["SINK_PIPELINE": String(repeating: "p", count: 129)],
            "SINK_PIPELINE=\"\(String(repeating: "p", count: 100))…\" is longer than 128 bytes: "
                + "write 1 to 128 bytes without control characters"
        ),
        WrongConfiguration(
            ["SINK_TABLE_NAME": "{schema}_x"],
            "SINK_TABLE_NAME=\"{schema}_x\" lacks {table}, so that all tables would get one name: write text with "
                + "{table} and, where wanted, {schema}, for example {schema}_x_{table}"
        ),
        WrongConfiguration(
            ["SINK_TABLE_NAME": "{Table}"],
            "SINK_TABLE_NAME=\"{Table}\" has the unknown placeholder {Table}: write text with {table} and, where "
                + "wanted, {schema}; did you mean {table}?"
        ),
        WrongConfiguration(
            ["SINK_TABLE_NAME": "{database}.{table}"],
            "SINK_TABLE_NAME=\"{database}.{table}\" has the unknown placeholder {database}: write text with {table} "
                + "and, where wanted, {schema}"
        ),
        WrongConfiguration(
            ["SINK_TABLE_NAME": "{table"],
            "SINK_TABLE_NAME=\"{table\" has a brace without its partner: write text with {table} and, where wanted, "
                + "{schema}, for example {schema}_{table}"
        ),
        WrongConfiguration(
            ["SINK_BATCH_BYTES": "20000000"],
            "SINK_BATCH_BYTES=\"20000000\" is more than half of SINK_MEMORY_LIMIT_MB=32: "
                + "write at most 16777216, or set SINK_MEMORY_LIMIT_MB to 39 or more"
        ),
        WrongConfiguration(
            ["SINK_BATCH_BYTES": "3000000", "SINK_MEMORY_LIMIT_MB": "4"],
            "SINK_BATCH_BYTES=\"3000000\" is more than half of SINK_MEMORY_LIMIT_MB=4: "
                + "write at most 2097152, or set SINK_MEMORY_LIMIT_MB to 6 or more"
        ),
        WrongConfiguration(
            ["SINK_RETRY_INITIAL_MS": "60000"],
            "SINK_RETRY_INITIAL_MS=\"60000\" is more than SINK_RETRY_MAX_MS=30000: "
                + "write at most 30000, or set SINK_RETRY_MAX_MS to 60000 or more"
        ),
        WrongConfiguration(
            ["SINK_AUDIT_COLUMNS": "false", "SINK_DELETE_MODE": "soft"],
            "SINK_AUDIT_COLUMNS=\"false\" contradicts SINK_DELETE_MODE=soft, which marks deleted rows in the column "
                + "dbmazz_is_deleted: write true, or leave it out"
        ),
    ]

    private static let numbers: [WrongConfiguration] = [
        WrongConfiguration(
            ["SOURCE_HEARTBEAT_INTERVAL_MS": "10s"],
            "SOURCE_HEARTBEAT_INTERVAL_MS=\"10s\" has a unit, but the value is a plain number of milliseconds: "
                + "write 0 (none) or 100 to 86400000, for example 10000"
        ),
        WrongConfiguration(
            ["SOURCE_HEARTBEAT_INTERVAL_MS": "50"],
            "SOURCE_HEARTBEAT_INTERVAL_MS=\"50\" is out of range: write 0 (none) or 100 to 86400000, for example 10000"
        ),
        WrongConfiguration(
            ["SINK_PORT": "0"],
            "SINK_PORT=\"0\" is out of range: write 1 to 65535, for example 5432"
        ),
        WrongConfiguration(
            ["SINK_BATCH_SIZE": "ten"],
            "SINK_BATCH_SIZE=\"ten\" is not a whole number: write 1 to 1000000, for example 10000"
        ),
        WrongConfiguration(
            ["SINK_BATCH_SIZE": "0"],
            "SINK_BATCH_SIZE=\"0\" is out of range: write 1 to 1000000, for example 10000"
        ),
        WrongConfiguration(
            ["SINK_BATCH_SIZE": "-5"],
            "SINK_BATCH_SIZE=\"-5\" is out of range: write 1 to 1000000, for example 10000"
        ),
        WrongConfiguration(
            ["SINK_BATCH_SIZE": "+5"],
            "SINK_BATCH_SIZE=\"+5\" is not a whole number: write 1 to 1000000, for example 10000"
        ),
        WrongConfiguration(
            ["SINK_BATCH_SIZE": "20_000"],
            "SINK_BATCH_SIZE=\"20_000\" has something between its digits: write 1 to 1000000, for example 20000"
        ),
        WrongConfiguration(
            ["SINK_BATCH_SIZE": "20,000"],
            "SINK_BATCH_SIZE=\"20,000\" has something between its digits: write 1 to 1000000, for example 20000"
        ),
        WrongConfiguration(
            ["SINK_BATCH_SIZE": "20k"],
            "SINK_BATCH_SIZE=\"20k\" has a unit, but the value is a plain number: "
                + "write 1 to 1000000, for example 20000"
        ),
        WrongConfiguration(
            ["SINK_BATCH_SIZE": "99999999999999999999"],
            "SINK_BATCH_SIZE=\"99999999999999999999\" is out of range: write 1 to 1000000, for example 10000"
        ),
        WrongConfiguration(
            ["SINK_BATCH_SIZE": "1e6"],
            "SINK_BATCH_SIZE=\"1e6\" is not a whole number: write 1 to 1000000, for example 10000"
        ),
        WrongConfiguration(
            ["SINK_BATCH_SIZE": "٣"],
            "SINK_BATCH_SIZE=\"٣\" is not a whole number: write 1 to 1000000, for example 10000"
        ),
        WrongConfiguration(
            ["SINK_BATCH_SIZE": "'100'"],
            "SINK_BATCH_SIZE=\"'100'\" has a quotation mark around it: leave it out (docker's --env-file passes "
                + "quotation marks on)"
        ),
        WrongConfiguration(
            ["SINK_BATCH_BYTES": "16MB"],
            "SINK_BATCH_BYTES=\"16MB\" has a unit, but the value is a plain number of bytes: "
                + "write 65536 to 1073741824, for example 16777216"
        ),
        WrongConfiguration(
            ["SINK_BATCH_BYTES": "1024"],
            "SINK_BATCH_BYTES=\"1024\" is out of range: write 65536 to 1073741824, for example 8388608"
        ),
        WrongConfiguration(
            ["SINK_FLUSH_INTERVAL_MS": "0.5s"],
            "SINK_FLUSH_INTERVAL_MS=\"0.5s\" is not a whole number: "
                + "write 0 (as soon as the sink is free) or 1 to 3600000, for example 1000"
        ),
        WrongConfiguration(
            ["SINK_MEMORY_LIMIT_MB": "1 GB"],
            "SINK_MEMORY_LIMIT_MB=\"1 GB\" has a unit, but the value is a plain number of MiB: "
                + "write 4 to 65536, for example 1024"
        ),
        WrongConfiguration(
            ["SINK_MEMORY_LIMIT_MB": "2"],
            "SINK_MEMORY_LIMIT_MB=\"2\" is out of range: write 4 to 65536, for example 64"
        ),
        WrongConfiguration(
            ["SINK_MAX_RETRIES": "infinite"],
            "SINK_MAX_RETRIES=\"infinite\" is not a whole number: "
                + "write unlimited (never give up) or 0 to 1000000, for example 20"
        ),
        WrongConfiguration(
            ["SINK_RETRY_MAX_MS": "0"],
            "SINK_RETRY_MAX_MS=\"0\" is out of range: write 1 to 86400000, for example 30000"
        ),
        WrongConfiguration(
            ["SINK_SHUTDOWN_TIMEOUT_MS": "5m"],
            "SINK_SHUTDOWN_TIMEOUT_MS=\"5m\" has a unit, but the value is a plain number of milliseconds: "
                + "write 0 to 3600000, for example 300000"
        ),
    ]

    private static let words: [WrongConfiguration] = [
        WrongConfiguration(
            ["SOURCE_SNAPSHOT": "intial"],
            "SOURCE_SNAPSHOT=\"intial\" is none of the choices: write initial, never or only; did you mean initial?"
        ),
        WrongConfiguration(
            ["SOURCE_ORIGIN": "local"],
            "SOURCE_ORIGIN=\"local\" is none of the choices: write any or none"
        ),
        WrongConfiguration(
            ["SINK_POSTGRES_TRUNCATE": "trunkate"],
            "SINK_POSTGRES_TRUNCATE=\"trunkate\" is none of the choices: write delete or truncate; did you mean truncate?"
        ),
        WrongConfiguration(
            ["SINK_DELETE_MODE": "sotf"],
            "SINK_DELETE_MODE=\"sotf\" is none of the choices: write hard or soft; did you mean soft?"
        ),
        WrongConfiguration(
            ["SINK_AUDIT_COLUMNS": "maybe"],
            "SINK_AUDIT_COLUMNS=\"maybe\" is none of the choices: write true or false"
        ),
        WrongConfiguration(
            ["SINK_ON_UNREPRESENTABLE": "clam"],
            "SINK_ON_UNREPRESENTABLE=\"clam\" is none of the choices: write error, null, clamp or text; did you mean clamp?"
        ),
        WrongConfiguration(
            ["SINK_ON_ERROR": "dead_letter"],
            "SINK_ON_ERROR=\"dead_letter\" is none of the choices: write stop or dead-letter; did you mean dead-letter?"
        ),
        WrongConfiguration(
            ["SINK_CLICKHOUSE_COMPRESSION": "lz"],
            "SINK_CLICKHOUSE_COMPRESSION=\"lz\" is none of the choices: write none, lz4, zstd or gzip; did you mean lz4?"
        ),
        WrongConfiguration(
            ["SINK_STARROCKS_COMPRESSION": "lz"],
            "SINK_STARROCKS_COMPRESSION=\"lz\" is none of the choices: write none, lz4, zstd or gzip; did you mean lz4?"
        ),
        WrongConfiguration(
            ["SINK_STARROCKS_TRANSACTIONS": "yes"],
            "SINK_STARROCKS_TRANSACTIONS=\"yes\" is none of the choices: write on or off"
        ),
        WrongConfiguration(
            ["SINK_STARROCKS_MYSQL_TLS": "offf"],
            "SINK_STARROCKS_MYSQL_TLS=\"offf\" is none of the choices: write on or off; did you mean off?"
        ),
        WrongConfiguration(
            ["LOG_LEVEL": "loud"],
            "LOG_LEVEL=\"loud\" is none of the choices: "
                + "write trace, debug, info, notice, warning, error or critical"
        ),
        WrongConfiguration(["LOG_FORMAT": "xml"], "LOG_FORMAT=\"xml\" is none of the choices: write json or text"),
    ]

    private static let names: [WrongConfiguration] = [
        WrongConfiguration(
            ["SINK_FLUSH_INTERVALL_MS": "1"],
            "SINK_FLUSH_INTERVALL_MS is not a variable of dbmazz-sink: did you mean SINK_FLUSH_INTERVAL_MS?"
        ),
        WrongConfiguration(
            ["SINK_COLOUR_OF_THE_BIKESHED": "red"],
            "SINK_COLOUR_OF_THE_BIKESHED is not a variable of dbmazz-sink: see env.example for all there are"
        ),
        WrongConfiguration(
            ["SOURCE_TABLE": "public.orders"],
            "SOURCE_TABLE is not a variable of dbmazz-sink: did you mean SOURCE_TABLES?"
        ),
        WrongConfiguration(
            ["SINK_BATCHSIZE": "1"],
            "SINK_BATCHSIZE is not a variable of dbmazz-sink: did you mean SINK_BATCH_SIZE?"
        ),
        WrongConfiguration(
            ["SINK_PASWORD_FILE": "/run/secrets/password"],
            "SINK_PASWORD_FILE is not a variable of dbmazz-sink: did you mean SINK_PASSWORD_FILE?"
        ),
        WrongConfiguration(
            ["SINK_USER_FILE": "/run/secrets/user"],
            "SINK_USER_FILE is not a variable of dbmazz-sink: only SOURCE_URL, SOURCE_PASSWORD, SINK_URL and "
                + "SINK_PASSWORD can come from a file"
        ),
        WrongConfiguration(
            ["DBMAZZ_HTPP": "off"],
            "DBMAZZ_HTPP is not a variable of dbmazz-sink: did you mean DBMAZZ_HTTP?"
        ),
        WrongConfiguration(
            ["sink_type": "sqlite"],
            "sink_type is not a variable of dbmazz-sink: did you mean SINK_TYPE?"
        ),
    ]

    private static let files: [WrongConfiguration] = [
        WrongConfiguration(
            ["SOURCE_PASSWORD_FILE": "/does/not/exist"],
            "SOURCE_PASSWORD_FILE=\"/does/not/exist\" cannot be read (No such file or directory): "
                + "write the path of a file that holds the value of SOURCE_PASSWORD"
        ),
        WrongConfiguration(
            ["SOURCE_PASSWORD_FILE": "/tmp"],
            "SOURCE_PASSWORD_FILE=\"/tmp\" cannot be read (Is a directory): "
                + "write the path of a file that holds the value of SOURCE_PASSWORD"
        ),
        WrongConfiguration(
            ["SINK_PASSWORD_FILE": "/dev/null"],
            "SINK_PASSWORD_FILE comes from an empty file (/dev/null): write the value into it"
        ),
        WrongConfiguration(
            ["SINK_PASSWORD_FILE": "/dev/zero"],
            "SINK_PASSWORD_FILE=\"/dev/zero\" cannot be read (File too large): "
                + "write the path of a file that holds the value of SINK_PASSWORD"
        ),
        WrongConfiguration(
            ["SOURCE_PASSWORD": "hunter2", "SOURCE_PASSWORD_FILE": "/run/secrets/password"],
            "SOURCE_PASSWORD and SOURCE_PASSWORD_FILE are both set: keep one of them"
        ),
    ]
}
