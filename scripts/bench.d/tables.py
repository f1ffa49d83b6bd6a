"""Ten thousand published tables, 50 of them busy: what the start takes, and whether a transaction costs more than with 50."""
import subprocess, tempfile, time

from common import RATE, ROUNDS, SECONDS, Cpu, Daemon, medians, note, number, pgbench_command, table

TABLES = number("BENCH_TABLES", 10_000)
BUSY = 50
SLOT = "ours"


def create(db):
    """Makes the tables, a few hundred a transaction: each holds locks until its end."""
    db.sql(f"DO $$ BEGIN FOR i IN 1..{TABLES} LOOP EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, a bigint, b text)', i); "
           "IF i % 200 = 0 THEN COMMIT; END IF; END LOOP; END $$")
    db.sql(f"DO $$ BEGIN FOR i IN 1..{BUSY} LOOP EXECUTE format('INSERT INTO t%s SELECT i, i, md5(i::text) "
           "FROM generate_series(1, 1000) i', i); END LOOP; END $$")
    db.sql("CREATE SEQUENCE ids START 10000")


SCRIPT = (f"\\set t random(1, {BUSY})\n\\set id random(1, 1000)\nBEGIN;\nUPDATE t:t SET a = a + 1 WHERE id = :id;\n"
          "INSERT INTO t:t SELECT nextval('ids'), 1, 'new';\nCOMMIT;\n")


def run(servers, publication, sink):
    """Start-up in seconds, peak of memory in MB, then CPU of daemon, walsender and target in µs a transaction."""
    source = servers[0].create("load", "start")
    target = servers[1].create("run", "start")
    source.sql(f"SELECT pg_create_logical_replication_slot('{SLOT}','pgoutput')")
    settings = {"SINK_TYPE": sink, "SOURCE_PUBLICATION_NAME": publication, **({"SINK_URL": target.url} if sink == "postgres" else {})}
    with tempfile.TemporaryDirectory() as directory, tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(SCRIPT)
        script.flush()
        daemon = Daemon(source, directory, SLOT, **settings)
        start = daemon.wait_for_log("streaming")
        daemon.wait_for(source, SLOT, source.wal_end())
        time.sleep(2)
        # Every busy table once, so that what is done for a table at its first change is not counted.
        warm = pgbench_command(source, "-f", script.name, "-t", "100")
        subprocess.run(warm, check=True, capture_output=True)
        daemon.wait_for(source, SLOT, source.wal_end())

        def used():
            sender, backends = Cpu(), Cpu()
            sender.look(source.sql(f"SELECT active_pid FROM pg_replication_slots WHERE slot_name='{SLOT}'").split())
            backends.look(target.sql("SELECT pid FROM pg_stat_activity WHERE application_name='dbmazz-sink'").split())
            return daemon.cpu(), sender.total(), backends.total()

        before, count = used(), int(source.sql("SELECT last_value FROM ids"))
        subprocess.run(pgbench_command(source, "-f", script.name, "-R", str(RATE), "-T", str(SECONDS)), check=True, capture_output=True)
        daemon.wait_for(source, SLOT, source.wal_end())
        count = int(source.sql("SELECT last_value FROM ids")) - count
        cpu = [(b - a) / count * 1e6 for a, b in zip(before, used())]
        peak = daemon.memory()["VmHWM"]
        daemon.stop()
    source.drop_slot(SLOT)
    for db in source, target:
        db.close()
    servers[0].drop("load")
    servers[1].drop("run")
    return start, peak, *cpu


def bench(*servers):
    print(f"\n### {TABLES} published tables, {BUSY} of them busy, {RATE} transactions a second\n", flush=True)
    for server in servers:
        db = server.create("start")
        create(db)
        if server is servers[0]:
            busy = ", ".join(f"t{i + 1}" for i in range(BUSY))
            db.sql(f"CREATE PUBLICATION many FOR ALL TABLES; CREATE PUBLICATION few FOR TABLE {busy}")
        db.close()
    rows, cases = [], [(sink, publication) for sink in ("null", "postgres") for publication in ("few", "many")]
    results = {case: [] for case in cases}
    for i in range(ROUNDS):
        for sink, publication in cases[::-1] if i % 2 else cases:
            results[sink, publication].append(run(servers, publication, sink))
            note(f"{sink} {publication}: " + " ".join(f"{x:.2f}" for x in results[sink, publication][-1]))
    for sink, publication in cases:
        rows.append([sink, f"{TABLES if publication == 'many' else BUSY}", *medians(results[sink, publication])])
    print("CPU in µs a transaction of one update and one insert:\n")
    table(["sink", "published tables", "start s", "peak MB", "daemon", "walsender", "target backends"], rows)
