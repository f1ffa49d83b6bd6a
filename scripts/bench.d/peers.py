"""The same changes read by other tools: Debezium's embedded engine with a counting handler, mq-bridge into a file."""
import atexit, json, os, subprocess, sys, tempfile, time

from common import COLUMNS, FILL, PATIENCE, ROOT, ROUNDS, ROWS, SMALL, SMALL_TABLE, Daemon, cpu, medians, memory, note, pgbench
from common import recvlogical, table, watched
from postgres import changes

PEERS = f"{ROOT}/.build-peers"
HERE = os.path.dirname(os.path.abspath(__file__))
# In the last change, so that the end of a file tells that it is complete.
MARK = "this is the last change"


def until(process, done):
    """Waits; returns wall seconds since `process.started`, CPU seconds and peak of resident memory."""
    while not done():
        if process.poll() is not None or time.monotonic() - process.started > PATIENCE:
            sys.exit(f"{process.args[:2]} ended or took too long")
        time.sleep(0.02)
    return time.monotonic() - process.started, cpu(process.pid), memory(process.pid)["VmHWM"]


def start(command, **kwargs):
    started = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, **kwargs)
    process.started = started
    atexit.register(process.kill)
    return process


def start_mqbridge(source, slot, output, **kwargs):
    return start([f"{PEERS}/venv/bin/python", f"{HERE}/mqbridge.py", source.url, slot, json.dumps(output)], **kwargs)


def end_of(path, size=4096):
    if not os.path.exists(path):
        return ""
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - size))
        return file.read().decode(errors="replace")


def lines(path):
    with open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def debezium(source, end, count, directory):
    properties = {
        "name": "bench", "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "database.hostname": "127.0.0.1", "database.port": source.port, "database.user": "postgres", "database.password": "x",
        "database.dbname": source.database, "topic.prefix": "bench", "plugin.name": "pgoutput", "slot.name": "peer",
        "publication.name": "bench", "publication.autocreate.mode": "disabled", "snapshot.mode": "no_data",
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.storage.file.filename": f"{directory}/offsets", "offset.flush.interval.ms": 1000,
        "converter.schemas.enable": "false", "tombstones.on.delete": "false",
        # Larger than the defaults, and looked at more often: faster here.
        "max.batch.size": 8192, "max.queue.size": 32768, "poll.interval.ms": 50,
    }
    with open(f"{directory}/engine.properties", "w") as file:
        file.writelines(f"{key}={value}\n" for key, value in properties.items())
    java = os.path.join(os.environ["JAVA_HOME"], "bin/java") if os.environ.get("JAVA_HOME") else "java"
    log = open(f"{directory}/log", "w")
    process = start([java, "-Xmx2g", f"-Dlog4j2.configurationFile={HERE}/log4j2.properties", "-cp",
                     f"{PEERS}/classes:{PEERS}/jars/*", "CountingEngine", f"{directory}/engine.properties", str(count)],
                    stdout=log, cwd=directory)
    used = until(process, lambda: "has " in open(log.name).read())
    process.stdin.close()
    process.wait()
    return *used, int(open(log.name).read().split("has ")[1].split()[0])


def mqbridge(source, end, count, directory):
    process = start_mqbridge(source, "peer", {"file": {"path": f"{directory}/changes"}})
    used = until(process, lambda: MARK in end_of(f"{directory}/changes"))
    process.stdin.close()
    process.wait()
    return *used, lines(f"{directory}/changes")


def ours(sink):
    def run(source, end, count, directory):
        path = f"{directory}/changes"
        with open(path, "w") as file:
            daemon = Daemon(source, directory, "peer", stdout=file, SINK_TYPE=sink)
        used = daemon.wait_for(source, "peer", end), daemon.cpu(), daemon.memory()["VmHWM"]
        daemon.stop()
        return *used, lines(path) if sink == "stdout" else count
    return run


def drain(source, end, count, directory):
    return *watched(recvlogical(source, "peer", end)), count


CASES = {"pg_recvlogical into /dev/null": drain, "dbmazz-sink, `null`": ours("null"),
         "dbmazz-sink, `stdout` into a file": ours("stdout"), "mq-bridge into a file": mqbridge,
         "Debezium's engine, counting": debezium}


def bench(source):
    print("\n### The same changes by other tools\n", flush=True)
    subprocess.run([f"{ROOT}/scripts/install-peers"], check=True)
    source.sql(f"CREATE TABLE bulk ({COLUMNS}); {SMALL_TABLE}; CREATE PUBLICATION bench FOR TABLE bulk, small")
    source.sql("SELECT pg_create_logical_replication_slot('origin','pgoutput')")
    before = changes(source)
    source.sql(FILL.format(t="bulk", n=ROWS))
    pgbench(source, {SMALL: 1}, ROWS // 5)
    source.sql(f"UPDATE small SET b = '{MARK}' WHERE id = 1")
    end = source.wal_end()
    source.sql("CHECKPOINT")
    count = changes(source) - before
    results = {name: [] for name in CASES}
    for i in range(ROUNDS):
        for name, run in list(CASES.items())[::-1] if i % 2 else CASES.items():
            source.copy_slot("peer")
            with tempfile.TemporaryDirectory() as directory:
                os.chmod(directory, 0o777)
                results[name].append(run(source, end, count, directory))
            source.drop_slot("peer")
            note(f"{name}: " + " ".join(f"{x:.2f}" for x in results[name][-1]))
    print(f"{ROWS} rows in one insert and {ROWS // 5} transactions of one update and one insert, {count} changes:\n")
    limit = medians(results["pg_recvlogical into /dev/null"])
    table(["who", "wall s", "CPU s", "peak MB", "events", "wall, of pg_recvlogical's"],
          [[name, *(r := medians(results[name])), f"**{r[0] / limit[0]:.2f}**"] for name in CASES])
