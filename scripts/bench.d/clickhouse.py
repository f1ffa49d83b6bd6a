"""The clickhouse sink beside a bulk insert of the same rows, mq-bridge, and the limit, which is what pg_recvlogical drains.

The target is ClickHouse's engine (chdb) behind the HTTP front of the tests, so every run pays for that front. It runs one
statement after the other; nobody's rows come on more than one connection here. A run reads a copy of one slot into an empty
database and ends when the slot has acknowledged the last commit; then the tables are compared.
"""
import contextlib, json, os, shutil, socket, subprocess, sys, tempfile, time, urllib.error, urllib.parse, urllib.request

from common import COLUMNS, PATIENCE, ROOT, ROUNDS, ROWS, TICK, VALUES, Daemon, cpu, fields, medians, memory, note, number
from common import recvlogical, table, watched
from peers import start, start_mqbridge
from postgres import changes

SLOW_SECONDS, SLOW_PACE = number("BENCH_SLOW_SECONDS", 60), 1_000_000
CURL = ["curl", "-sS", "--fail-with-body"]
COMPRESSIONS = ("none", "lz4", "zstd")


class Engine:
    """ClickHouse's engine behind the front of the tests."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="dbmazz-bench-clickhouse-")
        python = os.environ.get("DBMAZZ_TEST_CHDB") or subprocess.run(
            [f"{ROOT}/scripts/install-clickhouse"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = start([python, f"{ROOT}/Tests/Tools/clickhouse-front.py", str(self.port), f"{self.dir}/data"],
                             stdout=subprocess.DEVNULL)
        while True:
            with contextlib.suppress(urllib.error.URLError):
                self.send("/ping")
                return self
            if self.process.poll() is not None or time.monotonic() - self.process.started > 60:
                sys.exit("ClickHouse's engine did not start")
            time.sleep(0.1)

    def send(self, path, body=None):
        request = urllib.request.Request(self.url + path, data=body, headers={"X-Aside": "1"})
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.read().decode()
        except urllib.error.HTTPError as error:
            sys.exit(f"{body}: {error.read().decode()}")

    def ask(self, statement):
        return self.send("/?wait_end_of_query=1", statement.encode()).rstrip("\n")

    def empty(self):
        self.ask("DROP DATABASE IF EXISTS run SYNC")
        self.ask("CREATE DATABASE run")
        self.send("/_reset", b"")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Load:
    """Changes behind a slot, and what they come to."""

    def __init__(self, source, name, title, statement):
        self.source, self.name, self.title = source, name, title
        source.sql(f"CREATE TABLE {name} ({COLUMNS}); DROP PUBLICATION IF EXISTS bench; CREATE PUBLICATION bench FOR TABLE {name}")
        source.sql("SELECT pg_create_logical_replication_slot('origin','pgoutput')")
        before = changes(source)
        source.sql("SET synchronous_commit = off")
        source.sql(f"DO $$ BEGIN FOR k IN 1..{2 * ROWS // 1000} LOOP {statement} COMMIT; END LOOP; END $$")
        self.end = source.wal_end()
        source.sql("CHECKPOINT")
        self.count = changes(source) - before
        self.expected = source.sql(
            "SELECT count(*), sum(id), sum(a), sum(('x' || left(md5(concat_ws('|', id, a, b, c)), 8))::bit(32)::bigint), "
            "sum((d * 100)::bigint), sum((extract(epoch FROM e) * 1000000)::bigint), sum(round(f * 3)::bigint), "
            f"count(*) FILTER (WHERE g), min(h::text), max(h::text), sum(i - '1970-01-01'::date) FROM {name}").split("|")

    def check(self, engine, who):
        found = engine.ask(
            "SELECT count(), sum(id), sum(a), sum(reinterpretAsUInt32(reverse(left(MD5(concat(toString(id), '|', "
            "assumeNotNull(toString(a)), '|', assumeNotNull(b), '|', assumeNotNull(c))), 4)))), "
            "sum(toInt64(d * 100)), sum(toInt128(toUnixTimestamp64Micro(assumeNotNull(e)))), sum(toInt64(round(f * 3))), "
            f"countIf(g), min(toString(h)), max(toString(h)), sum(toInt32(i)) FROM run.{self.name} FINAL").split("\t")
        if found != self.expected:
            sys.exit(f"{who}: {self.name} differs: source has {self.expected}, target has {found}")

    def close(self):
        self.source.drop_slot("origin")


INSERT = f"INSERT INTO bulk SELECT {VALUES} FROM generate_series(k * 1000, k * 1000 + 999) i;"
# Half of what is changed is ten transactions old, so that a batch has it twice; half is three hundred old.
OLD = "(k - 10 - k % 2 * 290) * 500"
MIX = (f"INSERT INTO mixed SELECT {VALUES} FROM generate_series(k * 500, k * 500 + 499) i; "
       f"UPDATE mixed SET a = a + 1, b = 'seen ' || a, e = now() WHERE id BETWEEN {OLD} AND {OLD} + 299; "
       f"DELETE FROM mixed WHERE id BETWEEN {OLD} + 300 AND {OLD} + 499;")


def drain(load, engine):
    wall, used, peak = watched(recvlogical(load.source, "run", load.end))
    return wall, used, 0, peak


def used(pid):
    """CPU seconds in user and in kernel mode, peak of resident memory in MB."""
    return *(int(x) / TICK for x in fields(pid)[11:13]), memory(pid)["VmHWM"]


def ours(sink, **settings):
    def run(load, engine):
        with tempfile.TemporaryDirectory() as directory:
            daemon = Daemon(load.source, directory, "run", SINK_TYPE=sink, **settings)
            result = daemon.wait_for(load.source, "run", load.end), *used(daemon.process.pid)
            daemon.stop()
        if sink == "clickhouse":
            load.check(engine, sink)
        return result
    return run


def clickhouse(engine, compression):
    return ours("clickhouse", SINK_URL=engine.url, SINK_DATABASE="run", SINK_CLICKHOUSE_COMPRESSION=compression)


class BulkInsert:
    """The floor: what a run of the sink has left in the table, from a file, in one request."""

    def __init__(self, name):
        self.name, self.file, self.statement = name, None, None

    def keep(self, engine):
        if self.file is None:
            self.statement = engine.ask(f"SHOW CREATE TABLE run.{self.name} FORMAT TSVRaw")
            self.file = f"{engine.dir}/{self.name}"
            query = urllib.parse.urlencode({"query": f"SELECT * FROM run.{self.name} FINAL FORMAT RowBinary"})
            subprocess.run([*CURL, "-H", "X-Aside: 1", "-o", self.file, f"{engine.url}/?{query}"], check=True)

    def __call__(self, load, engine):
        engine.ask(self.statement)
        query = urllib.parse.urlencode({"query": f"INSERT INTO run.{self.name} FORMAT RowBinary"})
        wall, used, peak = watched([*CURL, "-H", "Expect:", "--data-binary", f"@{self.file}", f"{engine.url}/?{query}"])
        load.check(engine, "bulk insert")
        return wall, used, 0, peak


def mqbridge(load, engine):
    """Every change a row, as mq-bridge has it; as safe on disk as ours."""
    engine.ask(f"CREATE TABLE run.{load.name} (id Int32, a Nullable(Int64), b Nullable(String), c Nullable(String), "
               "d Nullable(Decimal(12, 2)), e Nullable(DateTime64(6, 'UTC')), f Nullable(Float64), g Nullable(Bool), "
               "h Nullable(UUID), i Nullable(Date32)) ENGINE = MergeTree ORDER BY id "
               "SETTINGS fsync_after_insert = 1, fsync_part_directory = 1")
    # Its lz4 has the statement inside, which the front does not read.
    process = start_mqbridge(load.source, "run", {"clickhouse": {"url": engine.url, "database": "run", "table": load.name,
                                                                 "compression": "none"}})
    while int(engine.ask(f"SELECT count() FROM run.{load.name}")) < load.count:
        if process.poll() is not None or time.monotonic() - process.started > PATIENCE:
            sys.exit("mq-bridge ended or took too long")
        time.sleep(0.1)
    result = time.monotonic() - process.started, *used(process.pid)
    process.stdin.close()
    process.wait()
    return result


def measure(load, engine, cases):
    """The medians of each case: wall seconds, CPU seconds in user and kernel mode, peak MB, the engine's CPU seconds."""
    results = {name: [] for name in cases}
    for i in range(ROUNDS):
        # The bulk insert needs what a run of the sink has left: it is not the first.
        for name, run in list(cases.items())[::-1] if i % 2 else cases.items():
            engine.empty()
            load.source.copy_slot("run")
            before = cpu(engine.process.pid)
            result = run(load, engine)
            results[name].append((*result, cpu(engine.process.pid) - before))
            if name.startswith("clickhouse") and "bulk insert" in cases:
                cases["bulk insert"].keep(engine)
            load.source.drop_slot("run")
            note(f"{load.name} {name}: " + " ".join(f"{x:.2f}" for x in results[name][-1]))
    return {name: medians(result) for name, result in results.items()}


def slow(load, engine):
    """The daemon's peak of memory while the target takes a megabyte a second."""
    engine.empty()
    rule = {"kind": "slow", "match": "^INSERT INTO", "times": 0, "bytes_per_second": SLOW_PACE}
    engine.send("/_fault", json.dumps(rule).encode())
    load.source.copy_slot("run")
    with tempfile.TemporaryDirectory() as directory:
        daemon = Daemon(load.source, directory, "run", SINK_TYPE="clickhouse", SINK_URL=engine.url, SINK_DATABASE="run")
        while time.monotonic() - daemon.start < SLOW_SECONDS:
            daemon.check()
            time.sleep(0.5)
        peak = daemon.memory()
        daemon.process.kill()
        daemon.process.wait()
    rows = int(engine.ask(f"SELECT count() FROM run.{load.name}"))
    load.source.drop_slot("run")
    return peak, rows


def encoding(load, results):
    """What the sink adds to the daemon's CPU: user mode encodes and compresses, kernel mode sends."""
    null, million = results["null"], load.count / 1e6
    rows = []
    for name in COMPRESSIONS:
        _, user, system, peak, engine = results[f"clickhouse {name}"]
        more = (user - null[1]) / million, (system - null[2]) / million
        rows.append([name, (user + system) / million, (null[1] + null[2]) / million, *more, f"**{sum(more):.2f}**", peak,
                     engine / million])
    print("CPU seconds of the daemon per million rows of 10 columns (goals: encoding 1.5, sending included 2.5):\n")
    table(["compression", "daemon", "with `null`", "more, user mode", "more, kernel", "more, all", "peak MB",
           "engine and front"], rows)


def catch_up(loads):
    floor = None
    rows = []
    for load, results in loads:
        rate = {name: load.count / result[0] / 1000 for name, result in results.items()}
        # The engine takes rows at one speed, whatever they are about.
        floor = floor or rate["bulk insert"]
        us = rate["clickhouse lz4"]
        rows.append([load.title, f"{load.count}", rate["limit"], rate["null"], floor, us, rate["mq-bridge"],
                     f"**{us / min(floor, rate['limit']):.2f}**", f"**{us / rate['mq-bridge']:.2f}**",
                     *(results[name][3] for name in ("clickhouse lz4", "mq-bridge"))])
    print("Thousand changes a second:\n")
    table(["what", "changes", "pg_recvlogical", "our `null`", "bulk insert", "ours", "mq-bridge",
           "ours / the slower of pg_recvlogical and bulk insert", "ours / mq-bridge", "our peak MB", "mq-bridge's"], rows)


def bench(source):
    print("\n### `clickhouse` sink beside a bulk insert, mq-bridge, and pg_recvlogical, the limit\n", flush=True)
    subprocess.run([f"{ROOT}/scripts/install-peers", "mq-bridge"], check=True)
    with Engine() as engine:
        floor = BulkInsert("bulk")
        sinks = {f"clickhouse {c}": clickhouse(engine, c) for c in COMPRESSIONS}
        load = Load(source, "bulk", f"{2 * ROWS} inserts, 1000 a transaction", INSERT)
        inserts = measure(load, engine, {"limit": drain, "null": ours("null"), **sinks, "bulk insert": floor,
                                         "mq-bridge": mqbridge})
        encoding(load, inserts)
        peak, rows = slow(load, engine)
        load.close()
        os.unlink(floor.file)
        mixed = Load(source, "mixed", "inserts, updates and deletes, 5 to 3 to 2", MIX)
        results = measure(mixed, engine, {"limit": drain, "null": ours("null"), "clickhouse lz4": sinks["clickhouse lz4"],
                                          "mq-bridge": mqbridge})
        mixed.close()
        catch_up([(load, inserts), (mixed, results)])
        print(f"A target that takes {SLOW_PACE / 1e6:.0f} MB a second, for {SLOW_SECONDS} s, while {load.count - rows} of "
              f"{load.count} rows wait: peak **{peak['VmHWM']:.1f} MB** (goal 64), private {peak['RssAnon']:.1f} MB", flush=True)
