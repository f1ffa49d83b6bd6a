"""The postgres sink beside CREATE SUBSCRIPTION and the limit, which is what pg_recvlogical drains.

Each workload runs once on the source, in a database of its own, behind a slot. A run reads a copy of that slot into a target
database made anew from a template in which the tables are as they were before the workload. It ends when the slot has
acknowledged the last commit; then the tables are compared, so that a fast wrong result cannot win.
"""
import os, subprocess, sys, tempfile, time
from dataclasses import dataclass
from typing import Callable

from common import (COLUMNS, FILL, PATIENCE, PG, RATE, ROUNDS, ROWS, SCALE, SECONDS, SMALL, SMALL_TABLE, Cpu, Daemon, medians,
                    note, pgbench, pgbench_command, recvlogical, table, watched)


@dataclass
class Workload:
    title: str
    setup: Callable  # makes the tables, before the slot
    load: Callable   # makes the changes, behind the slot


def fill(name, rows):
    return lambda db: db.sql(f"CREATE TABLE {name} ({COLUMNS}); " + FILL.format(t=name, n=rows))


def tpcb(db):
    subprocess.run([f"{PG}/pgbench", "-iq", "-s", str(SCALE), db.url], check=True, capture_output=True)
    db.sql("ALTER TABLE pgbench_history REPLICA IDENTITY FULL")


def mixed_setup(db):
    tpcb(db)
    db.sql(SMALL_TABLE)
    fill("hot", 1000)(db)
    fill("gone", ROWS // 5)(db)
    db.sql("CREATE SEQUENCE gone_id")


def mixed_load(db):
    mix = {"tpcb-like": 4, SMALL: 3, HOT: 1, GONE: 1}
    pgbench(db, mix, ROWS // 20)
    db.sql(f"INSERT INTO hot SELECT id + 100000, a, b, c, d, e, f, g, h, i FROM gone LIMIT {ROWS // 10}")
    db.sql("UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 10 = 0")
    pgbench(db, mix, ROWS // 20)


# Each client has keys of its own: in transactions of ten, clients would otherwise wait for each other's locks, and deadlock.
HOT = "BEGIN;\n" + "".join(f"\\set k{i} :client_id * 125 + random(1, 125)\nUPDATE hot SET a = a + 1, b = 'seen ' || a, e = now() "
                           f"WHERE id = :k{i};\n" for i in range(10)) + "COMMIT;\n"
GONE = ("BEGIN;\nSELECT nextval('gone_id') * 10 AS n \\gset\n"
        + "".join(f"DELETE FROM gone WHERE id = :n - {i};\n" for i in range(10)) + "COMMIT;\n")

WORKLOADS = {
    "bulk": Workload(f"{ROWS} rows in one insert", fill("bulk", 0), lambda db: db.sql(FILL.format(t="bulk", n=ROWS))),
    "small": Workload(f"{ROWS // 5} transactions of one update and one insert", lambda db: db.sql(SMALL_TABLE),
                      lambda db: pgbench(db, {SMALL: 1}, ROWS // 5)),
    "tpcb": Workload(f"{ROWS // 10} transactions of pgbench's TPC-B", tpcb, lambda db: pgbench(db, {"tpcb-like": 1}, ROWS // 10)),
    "hot": Workload(f"{ROWS // 2} updates of 1000 hot rows, ten a transaction", fill("hot", 1000),
                    lambda db: pgbench(db, {HOT: 1}, ROWS // 20)),
    "delete-bulk": Workload(f"{ROWS // 2} deletes in one statement", fill("gone", ROWS),
                            lambda db: db.sql("DELETE FROM gone WHERE id % 2 = 0")),
    "delete-small": Workload(f"{ROWS // 2} deletes by key, ten a transaction",
                             lambda db: (fill("gone", ROWS)(db), db.sql("CREATE SEQUENCE gone_id")),
                             lambda db: pgbench(db, {GONE: 1}, ROWS // 20)),
    "catch-up": Workload(f"a backlog of everything: {ROWS // 10} small transactions, {ROWS // 5} changes in two bulk ones",
                         mixed_setup, mixed_load),
}


def tables_of(db):
    return db.sql("SELECT format('%I.%I', schemaname, tablename) FROM pg_publication_tables WHERE pubname='bench'").split("\n")


def fingerprint(db, tables):
    """What each table holds, whatever the order of its rows: their number, and the sum of their hashes."""
    return {t: db.sql(f"SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {t} t") for t in tables}


def changes(db):
    """Rows inserted, updated and deleted so far. A session tells the statistics at its end, or when asked to."""
    if db.server.version >= 150000:
        db.sql("SELECT pg_stat_force_next_flush()")
    return int(db.sql("SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables"))


class Subscription:
    """The database's own replication; its worker runs in the target."""
    slot, backends, daemon = "theirs", "backend_type LIKE 'logical replication%worker'", None

    def __init__(self, source, target, directory, commit="off"):
        self.target = target
        streaming = "parallel" if target.server.version >= 160000 else "on"
        host = f"host=127.0.0.1 port={source.server.port} user=postgres dbname={source.database}"
        target.sql(f"CREATE SUBSCRIPTION bench CONNECTION '{host}' PUBLICATION bench WITH (binary = true, "
                   f"streaming = {streaming}, synchronous_commit = {commit}, slot_name = theirs, create_slot = false, "
                   "copy_data = false, enabled = false)")

    def begin(self):
        self.start = time.monotonic()
        self.target.sql("ALTER SUBSCRIPTION bench ENABLE")

    def check(self):
        pass

    def stop(self):
        self.target.sql("ALTER SUBSCRIPTION bench DISABLE")
        self.target.sql("ALTER SUBSCRIPTION bench SET (slot_name = NONE)")
        self.target.sql("DROP SUBSCRIPTION bench")


class SynchronousSubscription(Subscription):
    def __init__(self, *arguments):
        super().__init__(*arguments, commit="on")


class Ours:
    slot, backends = "ours", "application_name = 'dbmazz-sink'"

    def __init__(self, source, target, directory):
        self.arguments = source, directory, self.slot
        self.settings = {"SINK_TYPE": "postgres", "SINK_URL": target.url}

    def begin(self):
        self.daemon = Daemon(*self.arguments, **self.settings)
        self.start, self.check, self.stop = self.daemon.start, self.daemon.check, self.daemon.stop


class Usage:
    """CPU seconds of one run, told apart: the daemon, the source's walsender, the target's backends, the whole target."""

    def __init__(self, source, target, competitor):
        self.source, self.target, self.competitor = source, target, competitor
        self.sender, self.backends, self.next, self.whole = Cpu(), Cpu(), 0, target.server.cpu()

    def look(self, again=False):
        """Reads the processes' times; asks which they are twice a second, as that costs time itself."""
        if again or time.monotonic() >= self.next:
            slot = self.competitor.slot
            self.sender.look(self.source.sql(f"SELECT active_pid FROM pg_replication_slots WHERE slot_name='{slot}'").split())
            self.backends.look(self.target.sql(f"SELECT pid FROM pg_stat_activity WHERE {self.competitor.backends}").split())
            self.next = time.monotonic() + 0.5
        else:
            self.sender.look()
            self.backends.look()

    def read(self):
        self.look(again=True)
        daemon = self.competitor.daemon.cpu() if self.competitor.daemon else 0
        return daemon, self.sender.total(), self.backends.total(), self.target.server.cpu() - self.whole


def follow(source, competitor, end, usage):
    """Waits until the slot has acknowledged `end`; returns when it had."""
    question = f"SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots WHERE slot_name='{competitor.slot}'"
    limit = time.monotonic() + PATIENCE
    while source.sql(question) != "t":
        competitor.check()
        if time.monotonic() > limit:
            state = source.sql(f"SELECT * FROM pg_replication_slots WHERE slot_name='{competitor.slot}'")
            sys.exit(f"not there after {PATIENCE} s: {end}, {state}\n" + log_end(usage.target.server))
        usage.look()
        time.sleep(0.02)
    return time.monotonic()


def log_end(server):
    with open(f"{server.dir}/log") as file:
        return "".join(file.readlines()[-20:])


def compare(name, target, expected):
    found = fingerprint(target, expected)
    for table, content in expected.items():
        if found[table] != content:
            sys.exit(f"{name}: {table} differs: source has (rows|hash) {content}, target has {found[table]}")


def replicate(kind, source, servers, end, expected):
    """One run of a competitor: wall seconds, and CPU seconds as in Usage."""
    target = servers[1].create("run", "start")
    servers[1].sql("CHECKPOINT")
    source.copy_slot(kind.slot)
    with tempfile.TemporaryDirectory() as directory:
        competitor = kind(source, target, directory)
        usage = Usage(source, target, competitor)
        competitor.begin()
        wall = follow(source, competitor, end, usage) - competitor.start
        used = usage.read()
        competitor.stop()
    source.drop_slot(kind.slot)
    compare(kind.__name__, target, expected)
    target.close()
    servers[1].drop("run")
    return wall, *used


def drain(source, end):
    """One run of the limit, binary as both competitors are."""
    source.copy_slot("limit")
    sender = Cpu()

    def look():
        sender.look(sender.pids or source.sql("SELECT active_pid FROM pg_replication_slots WHERE slot_name='limit'").split())

    wall, used, _ = watched(recvlogical(source, "limit", end, "-o", "binary=true"), look)
    source.drop_slot("limit")
    return wall, used, sender.total(), 0, 0


def prepare(servers, setup):
    """Makes source database `load` with the tables, and target database `start` with the same."""
    source = servers[0].create("load")
    setup(source)
    source.sql("VACUUM ANALYZE")
    start = servers[1].create("start")
    dump = subprocess.Popen([f"{PG}/pg_dump", source.url], stdout=subprocess.PIPE)
    subprocess.run([f"{PG}/psql", "-Xq", "-v", "ON_ERROR_STOP=1", start.url], stdin=dump.stdout, stdout=subprocess.DEVNULL, check=True)
    if dump.wait():
        sys.exit("pg_dump failed")
    start.sql("VACUUM ANALYZE")
    start.close()
    source.sql("CREATE PUBLICATION bench FOR ALL TABLES")
    return source


KINDS = {"subscription": Subscription, "subscription-sync": SynchronousSubscription, "ours": Ours}
# The limit is always there: ratios to it are the result.
COMPETITORS = ["limit", *(c for c in os.environ.get("BENCH_COMPETITORS", "subscription,ours").split(",") if c in KINDS)]


def measure(servers, name, workload):
    """The medians of every competitor, and the number of changes."""
    source = prepare(servers, workload.setup)
    source.sql("SELECT pg_create_logical_replication_slot('origin','pgoutput')")
    before = changes(source)
    workload.load(source)
    end = source.wal_end()
    source.sql("CHECKPOINT")
    count, expected = changes(source) - before, fingerprint(source, tables_of(source))
    results = {c: [] for c in COMPETITORS}
    for i in range(ROUNDS):
        for c in COMPETITORS[::-1] if i % 2 else COMPETITORS:
            results[c].append(drain(source, end) if c == "limit" else replicate(KINDS[c], source, servers, end, expected))
            note(f"{name} {c}: " + " ".join(f"{x:.2f}" for x in results[c][-1]))
    source.drop_slot("origin")
    source.close()
    servers[0].drop("load")
    servers[1].drop("start")
    return {c: medians(r) for c, r in results.items()}, count


def sustain(servers):
    """TPC-B at a fixed rate while replicating: what is behind, and CPU for the same work."""
    prepare(servers, tpcb).close()
    servers[0].sql("ALTER DATABASE load RENAME TO source_start")
    kinds = COMPETITORS[1:]
    results = {c: [] for c in kinds}
    for i in range(ROUNDS):
        for c in kinds[::-1] if i % 2 else kinds:
            source, target = servers[0].create("load", "source_start"), servers[1].create("run", "start")
            source.sql(f"SELECT pg_create_logical_replication_slot('{KINDS[c].slot}','pgoutput')")
            with tempfile.TemporaryDirectory() as directory:
                competitor = KINDS[c](source, target, directory)
                competitor.begin()
                follow(source, competitor, source.wal_end(), Usage(source, target, competitor))
                time.sleep(1)
                usage = Usage(source, target, competitor)
                idle = usage.read()
                load = subprocess.Popen(pgbench_command(source, "-M", "prepared", "-b", "tpcb-like", "-R", str(RATE), "-T", str(SECONDS)),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                behind = []
                while load.poll() is None:
                    behind.append(int(source.sql("SELECT pg_current_wal_lsn() - confirmed_flush_lsn FROM pg_replication_slots "
                                                 f"WHERE slot_name='{competitor.slot}'")) / 1e6)
                    competitor.check()
                    usage.look()
                    time.sleep(0.1)
                ended, end = time.monotonic(), source.wal_end()
                caught = follow(source, competitor, end, usage) - ended
                used = [b - a for a, b in zip(idle, usage.read())]
                competitor.stop()
            source.drop_slot(competitor.slot)
            compare(c, target, fingerprint(source, tables_of(source)))
            done = int(source.sql("SELECT count(*) FROM pgbench_history"))
            results[c].append((done / SECONDS, sorted(behind)[len(behind) // 2], max(behind), caught,
                               *(x / done * 1e6 for x in used)))
            note(f"sustained {c}: " + " ".join(f"{x:.2f}" for x in results[c][-1]))
            source.close()
            target.close()
            servers[0].drop("load")
            servers[1].drop("run")
    print(f"TPC-B at {RATE} transactions a second for {SECONDS} s, scale {SCALE}, while replicating; CPU in µs a transaction:\n")
    table(["who", "transactions/s", "behind MB, median", "most", "s until caught up", "daemon", "walsender", "target backends",
           "whole target"], [[c, *medians(r)] for c, r in results.items()])


def ratio(a, b):
    return f"**{a / b:.2f}**"


def bench(source, target):
    print("\n### `postgres` sink beside CREATE SUBSCRIPTION and pg_recvlogical, the limit\n", flush=True)
    wanted = os.environ.get("BENCH_WORKLOADS", ",".join([*WORKLOADS, "sustained"])).split(",")
    rivals = [c for c in COMPETITORS if c.startswith("subscription")]
    speed, used = [], []
    for name in wanted:
        if name == "sustained":
            continue
        results, count = measure((source, target), name, WORKLOADS[name])
        title = WORKLOADS[name].title
        wall = {c: results[c][0] for c in COMPETITORS}
        speed.append([title, f"{count}", *(f"{wall[c]:.2f} ({count / wall[c] / 1000:.0f})" for c in COMPETITORS),
                      *(ratio(wall["limit"], wall[c]) for c in COMPETITORS[1:]), *(ratio(wall["ours"], wall[c]) for c in rivals if "ours" in wall)])
        for c in COMPETITORS:
            used.append([title, c, *results[c][1:],
                         ", ".join(ratio(results[c][1] + results[c][3], results[r][3]) for r in rivals) if c == "ours" else ""])
    if speed:
        print("Seconds of wall time (thousand changes a second):\n")
        table(["what", "changes", *COMPETITORS, *(f"{c} / limit, speed" for c in COMPETITORS[1:]),
               *(f"ours / {c}, wall" for c in rivals)], speed)
        print("Seconds of CPU:\n")
        table(["what", "who", "daemon or tool", "walsender", "target backends", "whole target",
               f"ours, daemon and backends / {', '.join(rivals)}"], used)
    if "sustained" in wanted:
        sustain((source, target))
