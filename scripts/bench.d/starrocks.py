"""The starrocks sink: its encoding beside the same rows as JSON with gzip, its CPU beyond the null sink's, its memory.

The target is the tests' emulator, in Python: it is a process of its own, whose time is not counted, and it is slow, so that
nothing is said of rows a second. A run reads a copy of one slot into an empty database and ends when the slot has
acknowledged the last commit; then sums over the table are compared.
"""
import contextlib, json, os, shutil, socket, subprocess, sys, tempfile, time, urllib.error, urllib.request

from clickhouse import INSERT, SLOW_PACE, SLOW_SECONDS, used
from common import COLUMNS, PG, ROOT, ROUNDS, ROWS, VALUES, Daemon, medians, note, number, table
from peers import start

EMULATED_ROWS = number("BENCH_EMULATED_ROWS", 200_000)
COMPRESSIONS = ("none", "lz4", "zstd")


class Emulator:
    """StarRocks as the tests have it."""

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="dbmazz-bench-starrocks-")
        python = os.environ.get("DBMAZZ_TEST_STARROCKS") or subprocess.run(
            [f"{ROOT}/scripts/install-starrocks-emulator"], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(4)]
            for one in sockets:
                one.bind(("127.0.0.1", 0))
            self.http, self.be, self.mysql, self.control = (one.getsockname()[1] for one in sockets)
        ports = {"--http-port": self.http, "--be-port": self.be, "--mysql-port": self.mysql, "--control-port": self.control}
        # A back end that is slow is not to have taken megabytes into its kernel's buffers.
        self.process = start([python, f"{ROOT}/Tests/Tools/starrocks-emulator.py", "--directory", f"{self.dir}/data",
                              "--receive-buffer", "65536", *(str(x) for pair in ports.items() for x in pair)],
                             stdout=subprocess.DEVNULL)
        while True:
            with contextlib.suppress(urllib.error.URLError):
                self.send("GET", "/ready")
                return self
            if self.process.poll() is not None or time.monotonic() - self.process.started > 60:
                sys.exit("the emulator of StarRocks did not start")
            time.sleep(0.1)

    def send(self, method, path, value=None):
        """Commands the emulator; the answer's lines of JSON."""
        body = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.control}{path}", body, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return [json.loads(line) for line in answer]
        except urllib.error.HTTPError as error:
            sys.exit(f"{path} {value}: {error.read().decode()}")

    def ask(self, statement):
        return self.send("POST", "/sql", {"sql": statement})[0]["rows"]

    def empty(self):
        self.ask("DROP DATABASE IF EXISTS run")
        self.ask("CREATE DATABASE run")
        self.send("POST", "/expire-labels")
        self.send("POST", "/reset")

    def loads(self):
        """Bytes of the bodies that came for the table, and how many they were."""
        requests = self.send("GET", "/requests")
        bodies = [request["bytes"] for request in requests if "/bulk/" in request.get("url", "") and request.get("bytes")]
        return sum(bodies), len(bodies)

    def settings(self, compression):
        return {"SINK_TYPE": "starrocks", "SINK_URL": f"http://127.0.0.1:{self.http}", "SINK_PORT": str(self.mysql),
                "SINK_DATABASE": "run", "SINK_STARROCKS_COMPRESSION": compression}

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.dir, ignore_errors=True)


class Load:
    """Inserts behind a slot, a thousand a transaction."""

    def __init__(self, source, rows):
        self.source, self.rows = source, rows
        source.sql(f"DROP TABLE IF EXISTS bulk; CREATE TABLE bulk ({COLUMNS})")
        source.sql("DROP PUBLICATION IF EXISTS bench; CREATE PUBLICATION bench FOR TABLE bulk")
        source.sql("SELECT pg_create_logical_replication_slot('origin','pgoutput')")
        source.sql("SET synchronous_commit = off")
        source.sql(f"DO $$ BEGIN FOR k IN 1..{rows // 1000} LOOP {INSERT} COMMIT; END LOOP; END $$")
        self.end = source.wal_end()
        source.sql("CHECKPOINT")

    SUMS = "count(*), sum(id), sum(a), min(b), max(b), min(c), max(c), min(i), max(i)"

    def check(self, emulator, who):
        expected = self.source.sql(f"SELECT {self.SUMS} FROM bulk").split("|")
        found = [str(x) for x in emulator.ask(f"SELECT {self.SUMS} FROM run.bulk")[0]]
        if found != expected:
            sys.exit(f"{who}: source has {expected}, target has {found}")

    def close(self):
        self.source.drop_slot("origin")


def run(load, emulator, sink, **settings):
    """CPU seconds of the daemon in user and in kernel mode, its peak of memory, bytes and number of the loads."""
    with tempfile.TemporaryDirectory() as directory:
        daemon = Daemon(load.source, directory, "run", SINK_TYPE=sink, **settings)
        daemon.wait_for(load.source, "run", load.end)
        result = used(daemon.process.pid)
        daemon.stop()
    if sink == "null":
        return *result, 0, 0
    load.check(emulator, sink)
    return *result, *emulator.loads()


def through_daemon(source, emulator):
    """What the sink adds to the daemon's CPU: user mode encodes and compresses, kernel mode sends."""
    load = Load(source, EMULATED_ROWS)
    cases = {"null": {"sink": "null"}}
    for name in COMPRESSIONS:
        settings = emulator.settings(name)
        cases[name] = {"sink": settings.pop("SINK_TYPE"), **settings}
    results = {name: [] for name in cases}
    for i in range(ROUNDS):
        for name, settings in list(cases.items())[::-1] if i % 2 else cases.items():
            emulator.empty()
            source.copy_slot("run")
            results[name].append(run(load, emulator, **settings))
            source.drop_slot("run")
            note(f"starrocks {name}: " + " ".join(f"{x:.2f}" for x in results[name][-1]))
    load.close()
    results = {name: medians(result) for name, result in results.items()}
    million, null = load.rows / 1e6, results["null"]
    rows = []
    for name in COMPRESSIONS:
        user, system, peak, sent, count = results[name]
        more = (user - null[0]) / million, (system - null[1]) / million
        rows.append([name, (user + system) / million, (null[0] + null[1]) / million, *more, f"**{sum(more):.2f}**", peak,
                     sent / million / 1e6, f"{count:.0f}"])
    print(f"CPU seconds of the daemon per million rows of 10 columns, from {load.rows} rows:\n")
    table(["compression", "daemon", "with `null`", "more, user mode", "more, kernel", "more, all", "peak MB", "sent MB", "loads"],
          rows)


def slow(source, emulator):
    """The daemon's peak of memory while the back end takes a megabyte a second."""
    load = Load(source, ROWS)
    emulator.empty()
    emulator.send("POST", "/throttle", {"bytes_per_second": SLOW_PACE})
    source.copy_slot("run")
    with tempfile.TemporaryDirectory() as directory:
        daemon = Daemon(source, directory, "run", **emulator.settings("zstd"))
        while time.monotonic() - daemon.start < SLOW_SECONDS:
            daemon.check()
            time.sleep(0.5)
        peak = daemon.memory()
        daemon.process.kill()
        daemon.process.wait()
    written = int(emulator.ask("SELECT count(*) FROM run.bulk")[0][0])
    source.drop_slot("run")
    load.close()
    print(f"A back end that takes {SLOW_PACE / 1e6:.0f} MB a second, for {SLOW_SECONDS} s, while {load.rows - written} of "
          f"{load.rows} rows wait: peak **{peak['VmHWM']:.1f} MB** (goal 64), private {peak['RssAnon']:.1f} MB\n", flush=True)


def encoding(source):
    """Ours and JSON over the same rows, in one process, batch by batch in turn."""
    subprocess.run([f"{ROOT}/scripts/build-release", "encoding-bench"], check=True, stdout=subprocess.DEVNULL)
    with tempfile.NamedTemporaryFile("w") as file:
        copy = f"COPY (SELECT {VALUES} FROM generate_series(1,{ROWS}) i) TO STDOUT"
        subprocess.run([f"{PG}/psql", "-XAtqc", copy, source.url], check=True, stdout=file, env={**os.environ, "PGTZ": "UTC"})
        # One round more, which warms up.
        command = [f"{ROOT}/.build-release/release/encoding-bench", file.name, str(ROUNDS + 1)]
        lines = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    results = {}
    for line in lines:
        name, *figures = line.split("\t")
        rows, seconds, plain, sent = map(float, figures)
        results.setdefault(name, []).append((seconds / rows * 1e6, plain / rows, sent / rows))
    results = {name: medians(result) for name, result in results.items()}
    seconds, _, sent = results["json gzip-6"]
    print(f"Encoding and compression of {ROWS} rows of 10 columns (goals: a third of the CPU, half of the bytes):\n")
    table(["body", "CPU s per million rows", "MB before compression", "MB sent", "CPU / JSON with gzip", "bytes / JSON with gzip"],
          [[name, *result, f"**{result[0] / seconds:.2f}**", f"**{result[2] / sent:.2f}**"] for name, result in results.items()])


def bench(source):
    print("\n### `starrocks` sink beside JSON with gzip\n", flush=True)
    encoding(source)
    with Emulator() as emulator:
        through_daemon(source, emulator)
        slow(source, emulator)
