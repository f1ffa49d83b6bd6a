"""From commit to visible in PostgreSQL, at a fixed rate, for our daemon and for CREATE SUBSCRIPTION."""
import socket, struct, subprocess, tempfile, time

from common import PG, RATE, ROUNDS, SECONDS, medians, note, pgbench_command, table
from postgres import COMPETITORS, KINDS, Usage, follow


class Connection:
    """Just enough of PostgreSQL's protocol to ask a question two thousand times a second."""

    def __init__(self, session):
        self.socket = socket.create_connection(("127.0.0.1", session.server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")
        body = struct.pack("!i", 3 << 16) + f"user\0postgres\0database\0{session.database}\0\0".encode()
        self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
        self.rows()

    def rows(self):
        """What comes until the server is ready: the rows, as lists of text."""
        found = []
        while True:
            kind, length = struct.unpack("!ci", self.file.read(5))
            body = self.file.read(length - 4)
            if kind == b"D":
                row, at = [], 2
                for _ in range(struct.unpack_from("!h", body)[0]):
                    size = struct.unpack_from("!i", body, at)[0]
                    row.append(body[at + 4:at + 4 + size].decode())
                    at += 4 + size
                found.append(row)
            elif kind == b"E":
                raise RuntimeError(body.decode(errors="replace"))
            elif kind == b"Z":
                return found

    def ask(self, text):
        body = text.encode() + b"\0"
        self.socket.sendall(b"Q" + struct.pack("!i", len(body) + 4) + body)
        return self.rows()


def watch(connection, load):
    """Milliseconds from each row's insert to when it is seen, while the load runs and a second more."""
    found, seen, last, until = [], set(), 0, None
    while until is None or time.monotonic() < until:
        # Numbers are not committed in order: the last hundred are asked for again.
        rows = connection.ask(f"SELECT id, at FROM lat WHERE id > {last - 100}")
        now = time.time()
        for id, at in rows:
            if id not in seen:
                seen.add(id)
                found.append((now - float(at)) * 1000)
        last = max([last, *(int(id) for id, _ in rows)])
        if until is None and load.poll() is not None:
            until = time.monotonic() + 1
        # The reader's own pace, half a millisecond, is part of what it sees; so is the source's commit.
        time.sleep(0.0005)
    return sorted(found)


def run(kind, servers):
    source, target = servers[0].create("load"), servers[1].create("run")
    for db in source, target:
        db.sql("CREATE TABLE lat (id bigserial PRIMARY KEY, at float8 DEFAULT extract(epoch FROM clock_timestamp()))")
    source.sql("CREATE PUBLICATION bench FOR ALL TABLES")
    source.sql(f"SELECT pg_create_logical_replication_slot('{kind.slot}','pgoutput')")
    with tempfile.TemporaryDirectory() as directory, tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write("INSERT INTO lat DEFAULT VALUES;\n")
        script.flush()
        competitor = kind(source, target, directory)
        competitor.begin()
        follow(source, competitor, source.wal_end(), Usage(source, target, competitor))
        connection = Connection(target)
        load = subprocess.Popen(pgbench_command(source, "-f", script.name, "-R", str(RATE), "-T", str(SECONDS), "-M", "prepared",
                                                clients=4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found = watch(connection, load)
        connection.socket.close()
        competitor.stop()
    source.drop_slot(kind.slot)
    rows = int(source.sql("SELECT count(*) FROM lat"))
    if rows != len(found):
        note(f"{kind.__name__}: {len(found)} of {rows} rows seen")
    source.close()
    target.close()
    servers[0].drop("load")
    servers[1].drop("run")
    return len(found) / rows * 100, *(found[min(len(found) - 1, int(len(found) * share))] for share in (.5, .9, .99, 1))


def bench(*servers):
    print(f"\n### Commit to visible in PostgreSQL at {RATE} transactions a second\n", flush=True)
    names = COMPETITORS[1:]
    results = {name: [] for name in names}
    for i in range(ROUNDS):
        for name in names[::-1] if i % 2 else names:
            results[name].append(run(KINDS[name], servers))
    table(["who", "% of rows seen", "p50 ms", "p90", "p99", "max"], [[name, *medians(results[name])] for name in names])
