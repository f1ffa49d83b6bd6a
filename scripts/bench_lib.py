"""What the parts of scripts/bench share: a server, a daemon, and ways to measure."""
import glob, os, pwd, shutil, signal, socket, statistics, subprocess, sys, tempfile, threading, time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("DBMAZZ_BIN", f"{ROOT}/.build-release/release/dbmazz-sink")
PG = os.environ.get("PG_BIN") or sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 5))
ROWS = int(os.environ.get("BENCH_ROWS", 1_000_000))
BIG_ROWS = int(os.environ.get("BENCH_BIG_ROWS", 5_000_000))
FLEET = int(os.environ.get("BENCH_FLEET", 40))
TICK = os.sysconf("SC_CLK_TCK")

COLUMNS = "id int PRIMARY KEY, a bigint, b text, c text, d numeric(12,2), e timestamptz, f float8, g bool, h uuid, i date"
FILL = ("INSERT INTO {t} SELECT i, i*7::bigint, 'name '||i, md5(i::text), (i%100000)/100.0, now(), i/3.0, i%2=0, "
        "md5(i::text)::uuid, current_date - i%1000 FROM generate_series(1,{n}) i")


class Server:
    """A private PostgreSQL on loopback, as an ordinary user."""

    def __init__(self, *settings):
        self.dir = tempfile.mkdtemp(prefix="dbmazz-bench-")
        os.chmod(self.dir, 0o755)
        self.data, self.prefix = f"{self.dir}/data", []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.mkdir(self.data, 0o700)
            os.chown(self.dir, user.pw_uid, user.pw_gid)
            os.chown(self.data, user.pw_uid, user.pw_gid)
            self.prefix = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale")
        self.run("pg_ctl", "-D", self.data, "-w", "-l", f"{self.dir}/log", "-o",
                 f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.dir} -c wal_level=logical "
                 "-c max_wal_senders=100 -c max_replication_slots=100 -c max_connections=300 "
                 "-c max_wal_size=8GB -c checkpoint_timeout=1h -c shared_buffers=256MB "
                 + " ".join(f"-c {setting}" for setting in settings), "start")
        self.url = f"postgres://postgres@127.0.0.1:{self.port}/postgres"
        # One session for all questions: starting psql for each would cost the CPU that is being measured.
        self.psql = subprocess.Popen([f"{PG}/psql", "-XAtq", self.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     text=True, bufsize=1)

    def run(self, tool, *args):
        subprocess.run(self.prefix + [f"{PG}/{tool}", *args], check=True, stdout=subprocess.DEVNULL, cwd="/")

    def sql(self, text):
        self.psql.stdin.write(text + ";\n\\echo @@\n")
        lines = []
        while (line := self.psql.stdout.readline().rstrip("\n")) != "@@":
            lines.append(line)
        return "\n".join(lines)

    def copy_slot(self, name):
        self.sql(f"SELECT pg_copy_logical_replication_slot('origin','{name}')")

    def drop_slot(self, name):
        while self.sql(f"SELECT active FROM pg_replication_slots WHERE slot_name='{name}'") == "t":
            time.sleep(0.05)
        self.sql(f"SELECT pg_drop_replication_slot('{name}')")

    def stop(self):
        self.psql.kill()
        try:
            self.run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)


class Daemon:
    def __init__(self, server, directory, slot, **settings):
        env = {"PATH": os.environ["PATH"], "SOURCE_URL": server.url, "SOURCE_SLOT_NAME": slot,
               "SOURCE_PUBLICATION_NAME": "bench", "SOURCE_SNAPSHOT": "never", "STATE_DIRECTORY": directory,
               "DBMAZZ_HTTP": "off", **settings}
        self.log = open(f"{directory}/daemon.log", "w")
        self.start = time.monotonic()
        self.process = self.popen(env, directory)

    def popen(self, env, directory):
        return subprocess.Popen([BIN], env=env, cwd=directory, stderr=self.log)

    def cpu(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    def memory(self):
        pairs = (line.split(":") for line in open(f"/proc/{self.process.pid}/status") if ":" in line)
        values = {k: v.split()[0] for k, v in pairs if k in ("VmRSS", "VmHWM", "RssAnon")}
        return {k: int(v) / 1024 for k, v in values.items()}

    def wait_for(self, server, slot, lsn):
        while server.sql(f"SELECT confirmed_flush_lsn >= '{lsn}' FROM pg_replication_slots WHERE slot_name='{slot}'") != "t":
            if self.process.poll() is not None:
                sys.exit("the daemon ended:\n" + open(self.log.name).read())
            time.sleep(0.02)
        return time.monotonic() - self.start

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def timed(command, **kwargs):
    before, start = os.times(), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **kwargs)
    wall, after = time.monotonic() - start, os.times()
    return wall, after.children_user - before.children_user + after.children_system - before.children_system


def report(title, ours, theirs, name):
    wall, cpu = (statistics.median(x) for x in zip(*ours))
    wall2, cpu2 = (statistics.median(x) for x in zip(*theirs))
    print(f"| {title} | {wall:.2f} | {wall2:.2f} ({name}) | **{wall / wall2:.2f}** | {cpu:.2f} | {cpu2:.2f} | **{cpu / cpu2:.2f}** |",
          flush=True)


def heading():
    print("| what | wall s | beside | ratio | CPU s | beside | ratio |\n|---|---|---|---|---|---|---|", flush=True)


def prepare(server, table, statement):
    server.sql(f"CREATE TABLE {table} ({COLUMNS})")
    server.sql(f"DROP PUBLICATION IF EXISTS bench; CREATE PUBLICATION bench FOR TABLE {table}")
    server.sql("SELECT pg_create_logical_replication_slot('origin','pgoutput')")
    statement()
    return server.sql("SELECT pg_current_wal_flush_lsn()")


def drop(server, table):
    server.drop_slot("origin")
    server.sql(f"DROP TABLE {table}")


def pgbench(server, script, transactions, clients=8):
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as f:
        f.write(script)
        f.flush()
        subprocess.run([f"{PG}/pgbench", "-n", "-f", f.name, "-c", str(clients), "-j", "2", "-t",
                        str(transactions // clients), "-M", "prepared", server.url], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
