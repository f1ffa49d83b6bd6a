"""The postgres sink beside CREATE SUBSCRIPTION, and both beside pg_recvlogical, which is as fast as the source can send."""
import json, os, signal, statistics, subprocess, sys, tempfile, time

from bench_lib import *

SMALL = ("\\set id random(1, 10000)\nBEGIN;\nUPDATE small SET a = a + 1 WHERE id = :id;\n"
         "INSERT INTO small SELECT nextval('small_id'), 1, 'name', 'text', 1.5, now(), 0.5, true, "
         "'00000000-0000-0000-0000-000000000000', current_date;\nCOMMIT;\n")
HOT = "\\set id random(1, 1000)\nUPDATE hot SET a = a + 1, b = 'changed ' || a WHERE id = :id;\n"
SECONDS = int(os.environ.get("BENCH_SECONDS", 20))


def cpu(pids):
    """CPU seconds of server processes."""
    total = 0
    for pid in pids:
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        total += (int(fields[11]) + int(fields[12])) / TICK
    return total


class Pair:
    """A source and a target, and the database that every run of a workload begins with."""

    def __init__(self, source):
        self.source, self.target = source, Server()
        self.source.sql("CREATE TABLE IF NOT EXISTS bench_end (id int PRIMARY KEY, n int); "
                        "INSERT INTO bench_end VALUES (1, 0) ON CONFLICT DO NOTHING")
        self.clients = {}

    def publish(self, tables):
        self.tables = tables + ["bench_end"]
        self.source.sql(f"DROP PUBLICATION IF EXISTS bench; CREATE PUBLICATION bench FOR TABLE {', '.join(self.tables)}")

    def snapshot(self):
        """Makes the target's first state, which is the source's, and a slot that begins there."""
        self.target.sql("DROP DATABASE IF EXISTS base WITH (FORCE)")
        self.target.sql("CREATE DATABASE base")
        names = [arg for table in self.tables for arg in ("-t", f"public.{table}")]
        dump = subprocess.Popen([f"{PG}/pg_dump", "--no-publications", "-d", self.source.url, *names], stdout=subprocess.PIPE)
        subprocess.run([f"{PG}/psql", "-Xq", self.database("base")], stdin=dump.stdout, check=True, stdout=subprocess.DEVNULL)
        dump.wait()
        self.target.sql("CHECKPOINT")
        self.source.sql("SELECT pg_create_logical_replication_slot('origin','pgoutput')")

    def finish(self):
        """A last commit, by whose end everybody is measured."""
        self.end = self.source.sql("UPDATE bench_end SET n = n + 1; SELECT pg_current_wal_insert_lsn()").splitlines()[-1]
        self.source.sql("CHECKPOINT")

    def database(self, name):
        return self.target.url.rsplit("/", 1)[0] + "/" + name

    def make_copy(self):
        self.target.sql("DROP DATABASE IF EXISTS copy WITH (FORCE)")
        self.target.sql("CREATE DATABASE copy TEMPLATE base")

    def wait(self, slot, alive=lambda: True):
        start = time.monotonic()
        while self.source.sql(f"SELECT confirmed_flush_lsn >= '{self.end}' FROM pg_replication_slots WHERE slot_name='{slot}'") != "t":
            if not alive():
                sys.exit("a competitor ended")
            time.sleep(0.02)
        return time.monotonic() - start

    def pids(self, server, query):
        return [int(pid) for pid in server.sql(query).split()]

    def check(self):
        for table in self.tables:
            query = f"SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) FROM {table} t"
            there = subprocess.run([f"{PG}/psql", "-XAtqc", query, self.database("copy")], check=True, capture_output=True, text=True).stdout
            if self.source.sql(query) != there.strip():
                sys.exit(f"{table} differs between source and target")

    # The competitors: each returns wall seconds, CPU of what writes, CPU of the walsender.

    def limit(self):
        self.source.copy_slot("limit")
        wall, _ = timed([f"{PG}/pg_recvlogical", "-d", self.source.url, "-S", "limit", "--start", "--no-loop", "-f", "/dev/null",
                         "-o", "proto_version=2", "-o", "publication_names=bench", "--endpos", self.end])
        self.source.drop_slot("limit")
        return wall, 0, 0, 0

    def start_subscription(self):
        self.make_copy()
        self.source.copy_slot("sub")
        self.psql = subprocess.Popen([f"{PG}/psql", "-XAtq", self.database("copy")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        streaming = "parallel" if int(self.target.sql("SHOW server_version_num")) >= 160000 else "on"
        self.copy_sql(f"CREATE SUBSCRIPTION sub CONNECTION 'host=127.0.0.1 port={self.source.port} user=postgres dbname=postgres' "
                      f"PUBLICATION bench WITH (create_slot=false, slot_name='sub', copy_data=false, binary=true, streaming={streaming})")

    def copy_sql(self, text):
        self.psql.stdin.write(text + ";\n\\echo @@\n")
        lines = []
        while (line := self.psql.stdout.readline().rstrip("\n")) != "@@":
            lines.append(line)
        return "\n".join(lines)

    def stop_subscription(self):
        writers = self.pids(self.target, "SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'logical replication%worker'")
        senders = self.pids(self.source, "SELECT pid FROM pg_stat_replication WHERE application_name = 'sub'")
        used = cpu(writers), cpu(senders)
        self.check()
        for statement in ("ALTER SUBSCRIPTION sub DISABLE", "ALTER SUBSCRIPTION sub SET (slot_name = NONE)", "DROP SUBSCRIPTION sub"):
            self.copy_sql(statement)
        self.psql.kill()
        self.source.drop_slot("sub")
        return used

    def subscription(self):
        self.start_subscription()
        wall = self.wait("sub")
        writer, sender = self.stop_subscription()
        return wall, writer, sender, 0

    def start_daemon(self, directory):
        self.make_copy()
        self.source.copy_slot("ours")
        return Daemon(self.source, directory, "ours", SINK_TYPE="postgres", SINK_URL=self.database("copy"))

    def stop_daemon(self, daemon):
        writers = self.pids(self.target, "SELECT pid FROM pg_stat_activity WHERE application_name = 'dbmazz-sink'")
        senders = self.pids(self.source, "SELECT pid FROM pg_stat_replication WHERE application_name = 'dbmazz-sink'")
        used = daemon.cpu() + cpu(writers), cpu(senders), daemon.memory()["VmHWM"]
        self.check()
        daemon.stop()
        self.source.drop_slot("ours")
        return used

    def ours(self):
        with tempfile.TemporaryDirectory() as directory:
            daemon = self.start_daemon(directory)
            wall = self.wait("ours", lambda: daemon.process.poll() is None)
            return wall, *self.stop_daemon(daemon)

    def compare(self, title, changes):
        runs = {"limit": [], "subscription": [], "ours": []}
        for number in range(ROUNDS):
            order = list(runs) if number % 2 else list(reversed(runs))
            for name in order:
                runs[name].append(getattr(self, name)())
        limit, sub, ours = ([statistics.median(x) for x in zip(*runs[name])] for name in runs)
        print(f"| {title} | {limit[0]:.2f} | {sub[0]:.2f} | {ours[0]:.2f} | **{limit[0] / ours[0]:.2f}** | {limit[0] / sub[0]:.2f} | "
              f"{changes / ours[0] / 1000:.0f} | {ours[1]:.2f} | {sub[1]:.2f} | **{ours[1] / sub[1]:.2f}** | {ours[2]:.2f} | {sub[2]:.2f} | "
              f"{ours[3]:.0f} |", flush=True)
        self.source.drop_slot("origin")

    def stop(self):
        self.target.stop()


def throughput(source):
    print("\n### `postgres` sink beside PostgreSQL's own subscription\n\nWall and CPU seconds; the limit is pg_recvlogical into /dev/null. "
          "CPU of daemon and target backend beside the apply worker's; walsenders apart.\n")
    print("| what | limit s | subscription s | ours s | ours, share of the limit | subscription's share | thousand changes/s | "
          "CPU daemon + backend | CPU worker | ratio | walsender, ours | walsender, subscription | peak MB |")
    print("|---|---|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    pair = Pair(source)
    try:
        source.sql("ALTER DATABASE postgres SET synchronous_commit = off")
        source.sql(f"CREATE TABLE bulk ({COLUMNS})")
        pair.publish(["bulk"])
        pair.snapshot()
        source.sql(FILL.format(t="bulk", n=ROWS))
        pair.finish()
        pair.compare(f"{ROWS} rows of 10 columns in one insert", ROWS)
        pair.snapshot()
        source.sql("DELETE FROM bulk WHERE id % 2 = 0")
        pair.finish()
        pair.compare(f"{ROWS // 2} deletes in one transaction", ROWS // 2)
        source.sql("DROP TABLE bulk")

        source.sql(f"CREATE TABLE small ({COLUMNS}); CREATE SEQUENCE small_id START 100000")
        source.sql(FILL.format(t="small", n=10_000))
        pair.publish(["small"])
        pair.snapshot()
        pgbench(source, SMALL, ROWS // 5)
        pair.finish()
        pair.compare(f"{ROWS // 5} transactions of one update and one insert", ROWS // 5 * 2)
        sustained(pair)
        source.sql("DROP TABLE small; DROP SEQUENCE small_id")

        source.sql(f"CREATE TABLE hot ({COLUMNS})")
        source.sql(FILL.format(t="hot", n=1000))
        pair.publish(["hot"])
        pair.snapshot()
        pgbench(source, HOT, ROWS // 5)
        pair.finish()
        pair.compare(f"{ROWS // 5} updates of 1000 hot rows", ROWS // 5)
        source.sql("DROP TABLE hot")

        bank = [f"pgbench_{name}" for name in ("accounts", "tellers", "branches", "history")]
        subprocess.run([f"{PG}/pgbench", "-iq", "-s", "5", source.url], check=True, stderr=subprocess.DEVNULL)
        source.sql("ALTER TABLE pgbench_history REPLICA IDENTITY FULL")
        pair.publish(bank)
        pair.snapshot()
        subprocess.run([f"{PG}/pgbench", "-n", "-c", "8", "-j", "2", "-t", str(ROWS // 10 // 8), "-M", "prepared", source.url], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        pair.finish()
        pair.compare(f"pgbench TPC-B, {ROWS // 10} transactions", ROWS // 10 * 4)
        source.sql(f"DROP TABLE {', '.join(bank)}")
        source.sql("ALTER DATABASE postgres RESET synchronous_commit; DROP TABLE bench_end")
    finally:
        pair.stop()


def sustained(pair):
    """Load at a fixed rate while both replicate, one after the other: how far each is behind at its end, and its CPU."""
    results = []
    for name in ("subscription", "ours"):
        pair.snapshot()
        with tempfile.TemporaryDirectory() as directory:
            daemon = pair.start_daemon(directory) if name == "ours" else pair.start_subscription()
            slot = "ours" if daemon else "sub"
            with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
                script.write(SMALL)
                script.flush()
                subprocess.run([f"{PG}/pgbench", "-n", "-f", script.name, "-c", "4", "-j", "1", "-R", "2000", "-T", str(SECONDS), "-M",
                                "prepared", pair.source.url], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            pair.finish()
            behind = pair.wait(slot)
            used = pair.stop_daemon(daemon) if daemon else pair.stop_subscription()
            results.append((behind, used[0], used[1]))
        pair.source.drop_slot("origin")
    (behind2, writer2, sender2), (behind, writer, sender) = results
    print(f"| sustained 2000 of them a second for {SECONDS} s: seconds behind at the end | - | {behind2:.2f} | {behind:.2f} | - | - | - | "
          f"{writer:.2f} | {writer2:.2f} | **{writer / writer2:.2f}** | {sender:.2f} | {sender2:.2f} | - |", flush=True)


def latency(source):
    print("\n### Commit to visible in PostgreSQL at 1000 transactions a second, milliseconds\n\n| who | p50 | p90 | p99 | max | seen |")
    print("|---|---|---|---|---|---|", flush=True)
    pair = Pair(source)
    try:
        source.sql("CREATE TABLE lat (id bigserial PRIMARY KEY, at float8 DEFAULT extract(epoch FROM clock_timestamp()))")
        pair.publish(["lat"])
        for name in ("subscription", "ours"):
            pair.snapshot()
            with tempfile.TemporaryDirectory() as directory:
                daemon = pair.start_daemon(directory) if name == "ours" else pair.start_subscription()
                pair.end = "0/0"
                while not source.sql("SELECT 1 FROM pg_replication_slots WHERE slot_name IN ('ours', 'sub') AND active"):
                    time.sleep(0.1)
                found = watch(pair)
                pair.finish()
                pair.wait("ours" if daemon else "sub")
                pair.stop_daemon(daemon) if daemon else pair.stop_subscription()
            source.drop_slot("origin")
            found.sort()
            at = [found[min(len(found) - 1, int(len(found) * share))] for share in (.5, .9, .99)]
            print(f"| {name} | **{at[0]:.1f}** | {at[1]:.1f} | **{at[2]:.1f}** | {found[-1]:.1f} | {len(found)} |", flush=True)
        source.sql("DROP TABLE lat, bench_end")
    finally:
        pair.stop()


def watch(pair):
    reader = subprocess.Popen([f"{PG}/psql", "-XAtq", pair.database("copy")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    found, last = [], int(pair.source.sql("SELECT coalesce(max(id), 0) FROM lat"))
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write("INSERT INTO lat DEFAULT VALUES;\n")
        script.flush()
        load = subprocess.Popen([f"{PG}/pgbench", "-n", "-f", script.name, "-c", "4", "-R", "1000", "-T", str(SECONDS), "-M", "prepared",
                                 pair.source.url], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while load.poll() is None:
            reader.stdin.write(f"SELECT id, at FROM lat WHERE id > {last} ORDER BY id;\n\\echo @@\n")
            rows = []
            while (line := reader.stdout.readline().rstrip("\n")) != "@@":
                rows.append(line)
            now = time.time()
            for row in rows:
                number, at = row.split("|")
                found.append((now - float(at)) * 1000)
                last = int(number)
            time.sleep(0.0005)
    reader.kill()
    return found


def many_tables(_):
    count, busy = int(os.environ.get("BENCH_TABLES", 10_000)), 50
    print(f"\n### {count} published tables, {busy} of them busy\n")
    print("| sink, tables published | seconds to the stream | CPU until then | peak MB | daemon's CPU seconds for 50 000 transactions |")
    print("|---|---|---|---|---|", flush=True)
    source, target = Server("max_locks_per_transaction=512"), Server("max_locks_per_transaction=512")
    try:
        make = ("DO $$ BEGIN FOR i IN {a}..{b} LOOP EXECUTE format('CREATE TABLE t%s (" + COLUMNS + ")', i); END LOOP; END $$")
        for server in (source, target):
            for first in range(1, count + 1, 1000):
                server.sql(make.format(a=first, b=min(first + 999, count)))
            for number in range(1, busy + 1):
                server.sql(FILL.format(t=f"t{number}", n=100))
        script = "".join(f"\\set id random(1, 100)\nUPDATE t{number} SET a = a + 1 WHERE id = :id;\n" for number in range(1, busy + 1))
        for tables in (busy, count):
            names = ", ".join(f"t{number}" for number in range(1, tables + 1))
            for sink, url in (("null", ""), ("postgres", target.url)):
                source.sql(f"DROP PUBLICATION IF EXISTS bench; CREATE PUBLICATION bench FOR TABLE {names}")
                source.sql("SELECT pg_create_logical_replication_slot('many','pgoutput')")
                if sink == "postgres":
                    target.sql("DROP SCHEMA IF EXISTS dbmazz CASCADE")
                with tempfile.TemporaryDirectory() as directory:
                    settings = {"SINK_TYPE": sink, **({"SINK_URL": url} if url else {})}
                    daemon = Daemon(source, directory, "many", **settings)
                    while '"streaming"' not in open(f"{directory}/daemon.log").read():
                        if daemon.process.poll() is not None:
                            sys.exit(open(f"{directory}/daemon.log").read())
                        time.sleep(0.02)
                    began, first = time.monotonic() - daemon.start, daemon.cpu()
                    pgbench(source, script, 1000 * 8, clients=8)
                    before = first
                    end = source.sql("SELECT pg_current_wal_insert_lsn()")
                    source.sql("UPDATE t1 SET a = a WHERE id = 1")
                    daemon.wait_for(source, "many", end)
                    print(f"| {sink}, {tables} | {began:.2f} | {first:.2f} | {daemon.memory()['VmHWM']:.1f} | "
                          f"{(daemon.cpu() - before) / 8:.2f} |", flush=True)
                    daemon.stop()
                source.drop_slot("many")
    finally:
        source.stop()
        target.stop()
