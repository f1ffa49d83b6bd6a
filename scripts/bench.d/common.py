"""Servers, the daemon, and what processes use."""
import atexit, contextlib, glob, os, pwd, shutil, signal, socket, statistics, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("DBMAZZ_BIN", f"{ROOT}/.build-release/release/dbmazz-sink")
PG = os.environ.get("PG_BIN") or (sorted(glob.glob("/usr/lib/postgresql/*/bin")) or [""])[-1]
TICK = os.sysconf("SC_CLK_TCK")


def number(name, default):
    return int(os.environ.get(name, default))


ROUNDS = number("BENCH_ROUNDS", 5)
ROWS = number("BENCH_ROWS", 1_000_000)
RATE = number("BENCH_RATE", 1000)
SECONDS = number("BENCH_SECONDS", 20)
SCALE = number("BENCH_SCALE", 10)
PATIENCE = number("BENCH_PATIENCE", 900)

COLUMNS = "id int PRIMARY KEY, a bigint, b text, c text, d numeric(12,2), e timestamptz, f float8, g bool, h uuid, i date"
# A row by its number, i.
VALUES = ("i, i*7::bigint, 'name '||i, md5(i::text), (i%100000)/100.0, now(), i/3.0, i%2=0, md5(i::text)::uuid, "
          "current_date - i%1000")
FILL = f"INSERT INTO {{t}} SELECT {VALUES} FROM generate_series(1,{{n}}) i"
# One update and one insert; needs the table `small` with 10 000 rows, and the sequence `small_id`.
SMALL = ("\\set id random(1, 10000)\nBEGIN;\nUPDATE small SET a = a + 1 WHERE id = :id;\n"
         "INSERT INTO small SELECT nextval('small_id'), 1, 'name', 'text', 1.5, now(), 0.5, true, "
         "'00000000-0000-0000-0000-000000000000', current_date;\nCOMMIT;\n")
SMALL_TABLE = f"CREATE TABLE small ({COLUMNS}); CREATE SEQUENCE small_id START 100000; " + FILL.format(t="small", n=10_000)


class Session:
    """One session for all questions to one database: starting psql for each would cost the CPU that is being measured."""

    def __init__(self, server, database):
        self.server, self.database = server, database
        self.url = f"postgres://postgres@127.0.0.1:{server.port}/{database}"
        self.psql = subprocess.Popen([f"{PG}/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", self.url], stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, text=True, bufsize=1,
                                     env={**os.environ, "PGOPTIONS": "-c client_min_messages=warning"})

    def sql(self, text):
        self.psql.stdin.write(text + ";\n\\echo @@\n")
        lines = []
        while (line := self.psql.stdout.readline()) != "@@\n":
            if not line:
                raise RuntimeError(f"psql ended at: {text[:500]}")
            lines.append(line.rstrip("\n"))
        return "\n".join(lines)

    def copy_slot(self, name):
        self.sql(f"SELECT pg_copy_logical_replication_slot('origin','{name}')")

    def drop_slot(self, name):
        while self.sql(f"SELECT active FROM pg_replication_slots WHERE slot_name='{name}'") == "t":
            time.sleep(0.05)
        self.sql(f"SELECT pg_drop_replication_slot('{name}')")

    def wal_end(self):
        """Where the next record goes: with every transaction ended, the end of the last commit."""
        return self.sql("SELECT pg_current_wal_insert_lsn()")

    def close(self):
        self.psql.stdin.close()
        self.psql.wait()


class Server(Session):
    """A private PostgreSQL on loopback, as an ordinary user; as a session, that of its database postgres."""

    def __init__(self, **settings):
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
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.dir,
                    "wal_level": "logical", "max_wal_senders": 100, "max_replication_slots": 100, "max_connections": 300,
                    "max_wal_size": "8GB", "checkpoint_timeout": "1h", "shared_buffers": "256MB",
                    # Runs follow each other, and a subscription's worker is to start at once.
                    "wal_retrieve_retry_interval": "100ms", **settings}
        self.run("pg_ctl", "-D", self.data, "-w", "-l", f"{self.dir}/log", "-o",
                 " ".join(f"-c {name}={value}" for name, value in settings.items()), "start")
        with open(f"{self.data}/postmaster.pid") as file:
            self.postmaster = int(file.readline())
        super().__init__(self, "postgres")
        self.version = int(self.sql("SHOW server_version_num"))

    def run(self, tool, *args):
        subprocess.run(self.prefix + [f"{PG}/{tool}", *args], check=True, stdout=subprocess.DEVNULL, cwd="/")

    def create(self, name, template="template1"):
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template}")
        return Session(self, name)

    def drop(self, *names):
        for name in names:
            self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def cpu(self):
        """CPU seconds of all its processes, those that have ended included."""
        total = cpu(self.postmaster, children=True)
        for name in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                if name.isdigit() and int(fields(name)[1]) == self.postmaster:
                    total += cpu(name)
        return total

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.psql.kill()
        try:
            self.run("pg_ctl", "-D", self.data, "-m", "immediate", "-w", "stop")
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)


class Daemon:
    def __init__(self, source, directory, slot, stdout=None, **settings):
        env = {"PATH": os.environ["PATH"], "SOURCE_URL": source.url, "SOURCE_SLOT_NAME": slot,
               "SOURCE_PUBLICATION_NAME": "bench", "SOURCE_SNAPSHOT": "never", "STATE_DIRECTORY": directory,
               "DBMAZZ_HTTP": "off", **settings}
        self.log = f"{directory}/daemon.log"
        self.start = time.monotonic()
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([BIN], env=env, cwd=directory, stdout=stdout, stderr=log)
        atexit.register(self.process.kill)

    def cpu(self):
        return cpu(self.process.pid)

    def memory(self):
        return memory(self.process.pid)

    def check(self):
        """Ends everything if the daemon has ended."""
        if self.process.poll() is not None:
            sys.exit("the daemon ended:\n" + open(self.log).read())

    def wait_for(self, source, slot, lsn):
        while source.sql(f"SELECT confirmed_flush_lsn >= '{lsn}' FROM pg_replication_slots WHERE slot_name='{slot}'") != "t":
            self.check()
            time.sleep(0.02)
        return time.monotonic() - self.start

    def wait_for_log(self, event):
        """Waits until a line of the log has the message; returns the seconds since the start."""
        while f'"{event}"' not in open(self.log).read():
            self.check()
            time.sleep(0.01)
        return time.monotonic() - self.start

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def fields(pid):
    """The fields of /proc/PID/stat from the state on."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()


def cpu(pid, children=False):
    return sum(map(int, fields(pid)[11:15 if children else 13])) / TICK


def memory(pid):
    """In MB."""
    with open(f"/proc/{pid}/status") as file:
        pairs = (line.split(":") for line in file if ":" in line)
        return {k: int(v.split()[0]) / 1024 for k, v in pairs if k in ("VmRSS", "VmHWM", "RssAnon")}


class Cpu:
    """CPU seconds of processes that come and go: what each had used when it was last looked at."""

    def __init__(self):
        self.pids, self.used = [], {}

    def look(self, pids=None):
        self.pids = [pid for pid in (self.pids if pids is None else pids) if pid]
        for pid in self.pids:
            with contextlib.suppress(OSError):
                self.used[pid] = cpu(pid)

    def total(self):
        return sum(self.used.values())


def watched(command, look=lambda: None, **kwargs):
    """Runs a command to its end, looking now and then: wall seconds, CPU seconds, peak of resident memory."""
    start, peak = time.monotonic(), 0
    process = subprocess.Popen(command, **kwargs)
    # The process stays a zombie while its times are read.
    while not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        peak = max(peak, memory(process.pid).get("VmHWM", 0))
        look()
        time.sleep(0.02)
    wall, used = time.monotonic() - start, cpu(process.pid)
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, command)
    return wall, used, peak


def timed(command, **kwargs):
    before, start = os.times(), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **kwargs)
    wall, after = time.monotonic() - start, os.times()
    return wall, after.children_user - before.children_user + after.children_system - before.children_system


def recvlogical(source, slot, end, *options):
    """The command that drains a slot and throws away what it gets."""
    return [f"{PG}/pg_recvlogical", "-d", source.url, "-S", slot, "--start", "--no-loop", "-f", "/dev/null", "-o",
            "proto_version=2", "-o", "publication_names=bench", *options, "--endpos", end]


def medians(results):
    return [statistics.median(x) for x in zip(*results)]


def report(title, ours, theirs, name):
    (wall, cpu), (wall2, cpu2) = medians(ours), medians(theirs)
    print(f"| {title} | {wall:.2f} | {wall2:.2f} ({name}) | **{wall / wall2:.2f}** | {cpu:.2f} | {cpu2:.2f} | **{cpu / cpu2:.2f}** |",
          flush=True)


def heading():
    print("| what | wall s | beside | ratio | CPU s | beside | ratio |\n|---|---|---|---|---|---|---|", flush=True)


def table(columns, rows):
    """Prints a Markdown table; numbers get two decimals from 0 to 100, none above."""
    def text(cell):
        return cell if isinstance(cell, str) else f"{cell:.2f}" if abs(cell) < 100 else f"{cell:.0f}"

    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(f"| {' | '.join(map(text, row))} |")
    print(flush=True)


def pgbench_command(session, *options, clients=8):
    return [f"{PG}/pgbench", "-n", "-c", str(clients), "-j", "2", *options, session.url]


def pgbench(session, scripts, transactions, clients=8):
    """Runs scripts, or builtin ones by name, mixed by their weights, without waiting for the disk."""
    options = ["-M", "prepared", "-t", str(max(1, transactions // clients))]
    with contextlib.ExitStack() as stack:
        for script, weight in scripts.items():
            if script in ("tpcb-like", "simple-update"):
                options += ["-b", f"{script}@{weight}"]
                continue
            file = stack.enter_context(tempfile.NamedTemporaryFile("w", suffix=".sql"))
            file.write(script)
            file.flush()
            options += ["-f", f"{file.name}@{weight}"]
        subprocess.run(pgbench_command(session, *options, clients=clients), check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, env={**os.environ, "PGOPTIONS": "-c synchronous_commit=off"})


def note(text):
    """Progress, beside the results."""
    print(text, file=sys.stderr, flush=True)
