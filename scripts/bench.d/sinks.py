"""The parts that need one server: null, sqlite, memory, latency, fleet."""
import os, signal, sqlite3, statistics, subprocess, tempfile, time

from common import BIN, COLUMNS, FILL, PG, ROUNDS, ROWS, SMALL, Daemon, heading, number, pgbench, recvlogical, report, timed

BIG_ROWS = number("BENCH_BIG_ROWS", 5_000_000)
FLEET = number("BENCH_FLEET", 40)


def prepare(server, table, statement):
    server.sql(f"CREATE TABLE {table} ({COLUMNS})")
    server.sql(f"DROP PUBLICATION IF EXISTS bench; CREATE PUBLICATION bench FOR TABLE {table}")
    server.sql("SELECT pg_create_logical_replication_slot('origin','pgoutput')")
    statement()
    return server.sql("SELECT pg_current_wal_flush_lsn()")


def drop(server, table):
    server.drop_slot("origin")
    server.sql(f"DROP TABLE {table}")


def beside_recvlogical(server, title, end):
    ours, theirs = [], []

    def daemon():
        with tempfile.TemporaryDirectory() as d:
            server.copy_slot("ours")
            p = Daemon(server, d, "ours", SINK_TYPE="null")
            ours.append((p.wait_for(server, "ours", end), p.cpu()))
            p.stop()
            server.drop_slot("ours")

    def drain():
        server.copy_slot("theirs")
        theirs.append(timed(recvlogical(server, "theirs", end)))
        server.drop_slot("theirs")

    for i in range(ROUNDS):
        for one in ((daemon, drain) if i % 2 else (drain, daemon)):
            one()
    report(title, ours, theirs, "pg_recvlogical")


def bench_null(server):
    print("\n### `null` sink beside pg_recvlogical into /dev/null\n")
    heading()
    end = prepare(server, "bulk", lambda: server.sql(FILL.format(t="bulk", n=ROWS)))
    beside_recvlogical(server, f"{ROWS} rows in one transaction", end)
    drop(server, "bulk")

    def load():
        server.sql("CREATE SEQUENCE small_id START 100000; " + FILL.format(t="small", n=10_000))
        pgbench(server, {SMALL: 1}, ROWS // 5)
        server.sql("CHECKPOINT")

    end = prepare(server, "small", load)
    beside_recvlogical(server, f"{ROWS // 5} transactions of one update and one insert", end)
    drop(server, "small")


def bench_sqlite(server):
    print("\n### `sqlite` sink beside the sqlite3 shell's .import\n")
    heading()
    end = prepare(server, "bulk", lambda: server.sql(FILL.format(t="bulk", n=ROWS)))
    with tempfile.TemporaryDirectory() as d:
        os.chmod(d, 0o777)
        csv = f"{d}/bulk.csv"
        server.sql(f"\\copy (SELECT id, a, b, c, d, e, f, g::int, h, i FROM bulk) TO '{csv}' CSV")
        ours, copies, theirs, schema = [], [], [], []

        def daemon():
            with tempfile.TemporaryDirectory() as t:
                server.copy_slot("ours")
                p = Daemon(server, t, "ours", SINK_TYPE="sqlite", SINK_URL=f"{t}/sink.db")
                ours.append((p.wait_for(server, "ours", end), p.cpu()))
                p.stop()
                server.drop_slot("ours")
                schema[:] = [subprocess.run(["sqlite3", f"{t}/sink.db", "SELECT sql FROM sqlite_schema WHERE name='bulk'"],
                                            check=True, capture_output=True, text=True).stdout]

        def shell():
            with tempfile.TemporaryDirectory() as t:
                sql = (f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;\n{schema[0]};\n.mode csv\n.import {csv} bulk\n")
                theirs.append(timed(["sqlite3", f"{t}/shell.db"], input=sql, text=True))

        def copy():
            with tempfile.TemporaryDirectory() as t:
                env = {"PATH": os.environ["PATH"], "SOURCE_URL": server.url, "SOURCE_PUBLICATION_NAME": "bench",
                       "SOURCE_SNAPSHOT": "only", "SINK_URL": f"{t}/sink.db", "DBMAZZ_HTTP": "off"}
                copies.append(timed([BIN], env=env, cwd=t, stderr=subprocess.DEVNULL))

        for _ in range(ROUNDS):
            daemon()
            shell()
            copy()
    report(f"{ROWS} rows of 10 columns, keyed, by the stream", ours, theirs, ".import")
    report("the same rows by the initial copy", copies, theirs, ".import")
    drop(server, "bulk")


def bench_memory(server):
    print("\n### Resident memory, MB\n\n| when | VmRSS | private (RssAnon) | peak (VmHWM) |\n|---|---|---|---|", flush=True)

    def line(title, m):
        print(f"| {title} | {m['VmRSS']:.1f} | {m['RssAnon']:.1f} | {m['VmHWM']:.1f} |", flush=True)

    end = prepare(server, "bulk", lambda: server.sql(FILL.format(t="bulk", n=1000)))
    with tempfile.TemporaryDirectory() as d:
        server.copy_slot("ours")
        p = Daemon(server, d, "ours", SINK_TYPE="sqlite", SINK_URL=f"{d}/sink.db")
        p.wait_for(server, "ours", end)
        time.sleep(12)
        line("idle, `sqlite`", p.memory())
        server.sql("TRUNCATE bulk")
        server.sql(FILL.format(t="bulk", n=BIG_ROWS))
        p.wait_for(server, "ours", server.sql("SELECT pg_current_wal_flush_lsn()"))
        line(f"one transaction of {BIG_ROWS} rows, `sqlite`", p.memory())
        p.stop()
        p = Daemon(server, d, "ours", SINK_TYPE="sqlite", SINK_URL=f"{d}/sink.db")
        time.sleep(2)
        before = p.memory()["VmHWM"]
        server.sql("INSERT INTO bulk(id, b) SELECT -1, string_agg(md5(i::text), '') FROM generate_series(1, 327680) i")
        p.wait_for(server, "ours", server.sql("SELECT pg_current_wal_flush_lsn()"))
        after = p.memory()
        line(f"one row of 10 MB, `sqlite` ({(after['VmHWM'] - before) / 10.0:.1f} × the row above idle)", after)
        p.stop()
        server.drop_slot("ours")
    drop(server, "bulk")


def bench_latency(server):
    print("\n### Commit to visible in SQLite at 1000 transactions a second\n")
    server.sql("CREATE TABLE lat (id bigserial PRIMARY KEY, at float8 DEFAULT extract(epoch FROM clock_timestamp()))")
    server.sql("DROP PUBLICATION IF EXISTS bench; CREATE PUBLICATION bench FOR TABLE lat")
    seconds, found = 20, []
    with tempfile.TemporaryDirectory() as d:
        p = Daemon(server, d, "ours", SINK_TYPE="sqlite", SINK_URL=f"{d}/sink.db")
        while not server.sql("SELECT 1 FROM pg_replication_slots WHERE slot_name='ours' AND active"):
            time.sleep(0.1)
        with tempfile.NamedTemporaryFile("w", suffix=".sql") as f:
            f.write("INSERT INTO lat DEFAULT VALUES;\n")
            f.flush()
            load = subprocess.Popen([f"{PG}/pgbench", "-n", "-f", f.name, "-c", "4", "-R", "1000", "-T", str(seconds), "-M",
                                     "prepared", server.url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            file = sqlite3.connect(f"{d}/sink.db", isolation_level=None)
            last = 0
            # The reader's own pace, half a millisecond, is part of what it sees; so is the source's commit.
            while load.poll() is None:
                rows = file.execute("SELECT id, at FROM lat WHERE id > ? ORDER BY id", (last,)).fetchall()
                now = time.time()
                for id, at in rows:
                    found.append((now - at) * 1000)
                    last = id
                time.sleep(0.0005)
        p.stop()
        server.drop_slot("ours")
    found.sort()

    def at(share):
        return found[min(len(found) - 1, int(len(found) * share))]

    print(f"{len(found)} rows seen in {seconds} s: p50 **{at(.5):.1f} ms**, p90 {at(.9):.1f}, p99 **{at(.99):.1f} ms**, "
          f"max {found[-1]:.1f}", flush=True)
    server.sql("DROP TABLE lat")


def bench_fleet(server):
    print(f"\n### {FLEET} idle daemons, each with a database of its own\n", flush=True)
    daemons = []
    with tempfile.TemporaryDirectory() as root:
        for number in range(FLEET):
            name = f"fleet{number}"
            server.sql(f"CREATE DATABASE {name}")
            url = server.url.rsplit("/", 1)[0] + "/" + name
            subprocess.run([f"{PG}/psql", "-Xqc", "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 1000)",
                            url], check=True)
            os.mkdir(f"{root}/{number}")
            daemons.append(Daemon(server, f"{root}/{number}", name, SOURCE_URL=url, SOURCE_SNAPSHOT="initial",
                                  SINK_URL=f"{root}/{number}/sink.db", DBMAZZ_HTTP=f"127.0.0.1:{18000 + number}"))
        while server.sql("SELECT count(*) FROM pg_replication_slots WHERE active AND slot_name LIKE 'fleet%'") != str(FLEET):
            time.sleep(0.2)
        time.sleep(15)
        before = [d.cpu() for d in daemons]
        time.sleep(30)
        used = [(d.cpu() - b) / 30 * 100 for d, b in zip(daemons, before)]
        private = []
        for d in daemons:
            lines = open(f"/proc/{d.process.pid}/smaps_rollup").read().splitlines()
            private.append(sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024)
        print(f"private memory: sum **{sum(private):.0f} MB**, most {max(private):.1f}; CPU: mean **{statistics.mean(used):.2f} %** "
              f"of a core, most {max(used):.2f}", flush=True)
        for d in daemons:
            d.process.send_signal(signal.SIGTERM)
        for d in daemons:
            d.process.wait()
