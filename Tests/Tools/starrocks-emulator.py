#!/usr/bin/env python3
"""StarRocks for tests: the front end's HTTP port, the back end's, the MySQL port, and a port to command it by.

    starrocks-emulator.py --http-port P --be-port P --mysql-port P --control-port P --directory D
        [--version 3.3.5] [--advertise-host HOST] [--user NAME --password TEXT]

Listens on 127.0.0.1, prints `ready` and writes DIRECTORY/ready when all four ports answer. Rows, labels and the states of loads
are in DIRECTORY and outlive a kill. The control port takes and gives JSON: POST /faults (starrocks_faults.py has the kinds),
GET and DELETE /faults, GET /requests (a line each), GET /violations, GET /labels, GET /dump?db=&table=, POST /sql, POST /pause,
/version, /users, /throttle, /settings (starrocks_settings.py), /expire-labels, /reset.

It takes what StarRocks' documents and sources say that StarRocks takes, says no in the same
words, does silently what StarRocks does silently, and writes into its log what a client should not have done. What nobody could
find out about the real one is under `# Unverified:` at the head of each module; there the stricter way was chosen.
"""

import argparse
import os
import shutil
import signal
import socket
import sys
import threading
import time
import uuid

from starrocks_backend import BackEnd
from starrocks_control import Control
from starrocks_errors import version_number
from starrocks_faults import Faults, Log
from starrocks_frontend import FrontEnd
from starrocks_http import Server
from starrocks_mysql import MySQL
from starrocks_query import Engine
from starrocks_settings import Settings
from starrocks_store import Store
from starrocks_transactions import Transactions
from starrocks_users import Users

KEPT_ERROR_LOGS = 200


class Emulator:
    def __init__(self, options):
        self.options = options
        self.store = Store(options.directory)
        self.settings = Settings(self.store)
        self.log = Log(os.path.join(options.directory, "requests.jsonl"))
        self.faults = Faults()
        self.users = Users(self.store)
        if options.user:
            self.users.set({options.user: {"password": options.password, "grants": [["ALL", "*.*"]]}})
        self.engine = Engine(self)
        self.set_version(self.store.setting("version") or options.version)
        self.transactions = Transactions(self.store, self.settings)
        self.advertised_host, self.be_port = options.advertise_host, options.be_port
        self.errors = {}
        self.running = threading.Event()
        self.running.set()

    def set_version(self, text):
        self.version = version_number(text)
        self.version_text = text
        self.store.set("version", text)

    def wait_while_paused(self):
        self.running.wait()

    def pause(self, is_paused):
        self.running.clear() if is_paused else self.running.set()

    def new_label(self):
        return str(uuid.uuid4())

    def keep_errors(self, lines):
        """The address at which a load's errors can be read."""
        name = f"error_log_{uuid.uuid4().hex[:16]}_{uuid.uuid4().hex[:16]}"
        self.errors[name] = ("\n".join(lines) + "\n").encode("utf-8", "replace")
        while len(self.errors) > KEPT_ERROR_LOGS:
            self.errors.pop(next(iter(self.errors)))
        return f"http://{self.advertised_host}:{self.be_port}/api/_load_error_log?file={name}"

    def expire_labels(self, db=None):
        with self.store.write() as connection:
            connection.execute(
                "DELETE FROM sr_transaction WHERE state IN ('VISIBLE', 'ABORTED') AND (?1 IS NULL OR db = ?1)", (db,)
            )

    def labels(self, db=None):
        rows = self.store.connection().execute(
            "SELECT id, db, tables, label, state, reason, digest FROM sr_transaction WHERE ?1 IS NULL OR db = ?1 ORDER BY id",
            (db,),
        )
        return [dict(zip(("txn", "db", "tables", "label", "state", "reason", "digest"), row)) for row in rows]

    def dump(self, db, name):
        table = self.store.tables[db, name]
        order = ", ".join(column.store for column in table.keys or table.columns)
        columns = ", ".join(column.store for column in table.columns)
        rows = self.store.connection().execute(f"SELECT {columns} FROM {table.store} ORDER BY {order}")
        return {
            "columns": [column.name for column in table.columns],
            "types": [column.type.text() for column in table.columns],
            "rows": [[column.type.canonical(value) for column, value in zip(table.columns, row)] for row in rows],
        }

    def run_sql(self, sql, db=None):
        """A statement as root, that no fault and no log concerns."""
        result = self.engine.run(sql, None, db)
        rows = [
            [value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value for value in row]
            for row in result.rows
        ]
        return {"columns": [name for name, _ in result.columns], "rows": rows, "affected": result.affected}

    def reset(self):
        """Forgets faults, log, settings and pauses; databases and labels stay."""
        self.faults.remove()
        self.log.clear()
        self.settings.clear()
        self.pause(False)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(kind, port, emulator, receive_buffer=None):
    kind.emulator = emulator
    server = Server(("127.0.0.1", port), kind, receive_buffer)
    threading.Thread(target=server.serve_forever, args=(0.2,), daemon=True).start()
    return server


def leave_with_parent(directory):
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        # Whoever would have removed it is gone.
        if directory.startswith("/tmp/dbmazz-sr-"):
            shutil.rmtree(directory, ignore_errors=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main():
    parser = argparse.ArgumentParser(description="StarRocks for tests")
    for name in ("http", "be", "mysql", "control"):
        parser.add_argument(f"--{name}-port", type=int, default=0)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--version", default="3.3.5")
    parser.add_argument("--advertise-host", default="127.0.0.1")
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    parser.add_argument("--receive-buffer", type=int, help="bytes that the back end's sockets buffer")
    options = parser.parse_args()
    for name in ("http_port", "be_port", "mysql_port", "control_port"):
        if not getattr(options, name):
            setattr(options, name, free_port())
    os.makedirs(options.directory, exist_ok=True)
    ready = os.path.join(options.directory, "ready")
    if os.path.exists(ready):
        os.unlink(ready)
    emulator = Emulator(options)
    if os.environ.get("DBMAZZ_FRONT_WITH_PARENT"):
        leave_with_parent(options.directory)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    serve(FrontEnd, options.http_port, emulator)
    serve(BackEnd, options.be_port, emulator, options.receive_buffer)
    serve(Control, options.control_port, emulator)
    MySQL(emulator, options.mysql_port).start()
    ports = f"http {options.http_port} be {options.be_port} mysql {options.mysql_port} control {options.control_port}"
    with open(ready, "w") as file:
        file.write(ports + "\n")
    print("ready", ports, flush=True)
    stop.wait()
    os.unlink(ready)
    # Loads under way are lost to their clients, as they are when a server stops.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
