#!/usr/bin/env python3
"""ClickHouse's HTTP interface over chdb, the real engine as a Python module; for tests only.

    clickhouse-front.py PORT DATADIR      with the Python of scripts/install-clickhouse; listens on 127.0.0.1

The engine reads the bytes that a client sends, compressed as they are. What is this front's own: one statement runs at
a time; users (`POST /_users`, {"name": "password"}); system.processes and KILL QUERY, which the serialised engine
could not answer while something runs; async inserts are not tested by it. It is stricter than the server: headers
X-ClickHouse-* that it does not know are refused. A client that goes away does not stop its insert.

    POST /_fault   a fault to come, see clickhouse_faults.py; GET /_fault: all, and how often each happened
    GET  /_log     all requests as JSON lines
    POST /_reset   forgets faults, users, log and numbers; the tables stay

A file DATADIR/grants has the privileges of the engine's one user, a GRANT a line; without it the user may do anything.

What a test itself asks carries the header X-Aside: no fault, no user and no log concerns it.
"""
import base64
import gzip
import json
import os
import random
import re
import shutil
import signal
import socket
import string
import sys
import threading
import time
import urllib.parse
import uuid

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from clickhouse_engine import (
    COMPRESSIONS, NAMES, PARAMETERS, UNSUPPORTED, ClickHouseError, Engine, Statement, quote, words,
)
from clickhouse_faults import Faults, Log

HEADERS = {"x-clickhouse-user", "x-clickhouse-key", "x-clickhouse-database", "x-clickhouse-format"}
READERS = {"SELECT", "WITH", "SHOW", "DESCRIBE", "DESC", "EXISTS", "EXPLAIN", "CHECK"}


class Gone(Exception):
    """The connection ends here, without an answer."""


class Front:
    """What all connections share."""

    def __init__(self, directory):
        self.engine = Engine(os.path.join(directory, "engine"), self.grants(directory))
        self.log = Log(os.path.join(directory, "requests.jsonl"))
        self.faults = Faults()
        self.lock = threading.Lock()
        self.running = {}
        self.users = {"default": ""}
        self.asides = 0

    @staticmethod
    def grants(directory):
        try:
            with open(os.path.join(directory, "grants")) as lines:
                return [line.strip() for line in lines if line.strip()]
        except FileNotFoundError:
            return None

    def aside(self):
        with self.lock:
            self.asides += 1
            return self.asides

    def begin(self, entry):
        with self.lock:
            if any(other["query_id"] == entry["query_id"] for other in self.running.values()):
                raise ClickHouseError(216, f"Query with id = {entry['query_id']} is already running.")
            self.running[entry["number"]] = dict(entry, cancelled=threading.Event(), since=time.monotonic())

    def end(self, entry):
        with self.lock:
            self.running.pop(entry["number"], None)

    def processes(self):
        """system.processes as a table of literals: what runs, waits for the engine, or was given up by its client."""
        with self.lock:
            rows = [
                f"({quote(one['query_id'])}, {quote(one['query'])}, {quote(one['user'])}, "
                f"{time.monotonic() - one['since']:.6f}, {int(one['cancelled'].is_set())}, 1)"
                for one in self.running.values()
            ]
        types = "query_id String, query String, user String, elapsed Float64, is_cancelled UInt8, is_initial_query UInt8"
        return f"(SELECT * FROM values({quote(types)}, {', '.join(rows)}))"

    def rewrite(self, text):
        # Names in quotes are left alone: they are no words.
        spots = words(re.sub(r"[()]", " ", text))
        for (one, begin, _), (other, _, end) in zip(reversed(spots[:-1]), reversed(spots[1:])):
            if (one, other) == ("SYSTEM", "PROCESSES"):
                text = text[:begin] + self.processes() + text[end:]
        return text

    def kill(self, text):
        """KILL QUERY WHERE condition: a query that has not reached the engine yet ends with 394, as on the server."""
        match = re.match(r"(?is)\s*KILL\s+QUERY\s+(?:ON\s+CLUSTER\s+\S+\s+)?WHERE\s+(.*?)\s*(SYNC|ASYNC|TEST)?\s*(?:FORMAT\s+\w+)?;?\s*$", text)
        if not match:
            raise ClickHouseError(62, "Syntax error: KILL QUERY WHERE condition [SYNC|ASYNC|TEST]")
        chosen = Statement(f"SELECT query_id, user, query FROM {self.processes()} WHERE {match[1]}", b"", "")
        output = self.engine.run(chosen, {}, "default", "JSONCompact")[0]
        rows = json.loads(output)["data"]
        if (match[2] or "").upper() != "TEST":
            with self.lock:
                for one in self.running.values():
                    if one["query_id"] in [row[0] for row in rows]:
                        one["cancelled"].set()
        return "".join(f"waiting\t{a}\t{b}\t{c}\n" for a, b, c in rows).encode()

    def wait(self, number, seconds):
        """A delay that KILL QUERY ends."""
        with self.lock:
            cancelled = self.running[number]["cancelled"]
        if cancelled.wait(seconds):
            raise ClickHouseError(394, "Query was cancelled.")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "clickhouse-front", ""
    # An answer leaves in one piece: two small ones wait 40 ms for each other (Nagle, delayed acknowledgement).
    wbufsize, disable_nagle_algorithm = 1 << 16, True
    front = None

    def log_message(self, *_):
        pass

    def handle_one_request(self):
        # The server takes URIs of 1 MiB (http_max_uri_size); Python's own limit is 64 KiB.
        self.raw_requestline = self.rfile.readline((1 << 20) + 65_536)
        if not self.raw_requestline:
            self.close_connection = True
        elif len(self.raw_requestline) > 1 << 20:
            self.requestline = self.request_version = self.command = ""
            self.send_error(414)
        elif self.parse_request():
            {"GET": self.do_get, "POST": self.do_post}.get(self.command, lambda: self.send_error(501))()
            self.wfile.flush()

    def handle_expect_100(self):
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def do_get(self):
        self.dispatch(b"")

    def do_post(self):
        self.dispatch(None)

    def dispatch(self, body):
        url = urllib.parse.urlsplit(self.path)
        try:
            if url.path == "/ping" or (body is not None and self.path == "/"):
                self.answer(200, b"Ok.\n")
            elif url.path.startswith("/_"):
                self.administer(url.path, body)
            elif url.path == "/":
                self.serve(url)
            else:
                text = f"There is no handle {self.path}\n\nUse / or /ping for health checks.\n"
                self.read_body(None)
                self.answer(404, text.encode())
        except (Gone, ConnectionError):
            self.hang_up()

    def hang_up(self):
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    # Administration

    def administer(self, path, body):
        front = self.front
        try:
            given = json.loads(self.read_body(None) or b"null") if body is None else None
            if path == "/_log":
                return self.answer(200, front.log.read())
            if path == "/_fault":
                if given is not None:
                    front.faults.add(given)
                return self.answer(200, json.dumps(front.faults.listing()).encode())
            if path == "/_users" and given is not None:
                front.users = given
                return self.answer(200, b"")
            if path == "/_reset" and body is None:
                front.faults.clear()
                front.log.clear()
                front.users = {"default": ""}
                return self.answer(200, b"")
            self.answer(404, b"no such administration\n")
        except (ValueError, TypeError, re.error) as error:
            self.answer(400, f"{error}\n".encode())

    # Requests

    def serve(self, url):
        front = self.front
        # Of a parameter that is there twice the last counts.
        parameters = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        settings = {k: v for k, v in parameters.items() if k not in PARAMETERS and k not in UNSUPPORTED}
        hidden = {"x-clickhouse-key", "authorization"}
        self.user, self.password = self.credentials(parameters)
        self.is_aside = "X-Aside" in self.headers
        entry = {
            "number": -front.aside() if self.is_aside else front.log.next(), "method": self.command, "query": parameters.get("query", ""),
            "query_id": parameters.get("query_id") or str(uuid.uuid4()), "user": self.user,
            "database": parameters.get("database") or self.headers.get("X-ClickHouse-Database") or "default",
            "settings": settings, "headers": {k: v for k, v in self.headers.items() if k.lower() not in hidden},
            "body_bytes": 0, "rows": 0, "status": 0, "code": 0, "outcome": "", "fault": None, "time": time.time(),
        }
        self.entry, self.tag = entry, "".join(random.choices(string.ascii_lowercase, k=16))
        try:
            self.handle_query(parameters, settings)
        except (Gone, ConnectionError):
            entry["outcome"] = entry["outcome"] or "client gone"
            raise
        finally:
            front.end(entry)
            entry["seconds"] = round(time.time() - entry["time"], 4)
            if not self.is_aside:
                front.log.write(entry)

    def handle_query(self, parameters, settings):
        front, entry = self.front, self.entry
        query = parameters.get("query", "")
        # A statement in the body is known only when the body is read: then faults are matched with it.
        in_body = not query.strip()
        body = self.read_body(None) if in_body else None
        if in_body:
            entry["query"] = body[:10_000].decode("utf-8", "replace")
        fault = None if self.is_aside else front.faults.choose(entry["number"], entry["query"])
        kind = fault["kind"] if fault else ""
        entry["fault"] = kind or None
        if kind == "cut-before":
            entry["outcome"] = "cut before"
            raise Gone
        if body is None:
            body = self.read_body(fault)
        entry["body_bytes"] = len(body)
        try:
            if not self.is_aside:
                self.authenticate()
            self.check_headers(parameters)
            front.engine.check_settings(settings)
            encoding = self.headers.get("Content-Encoding", "").lower()
            if encoding and encoding not in COMPRESSIONS:
                raise ClickHouseError(48, f"Unknown compression method: {encoding}")
            if encoding == "gzip" and in_body:
                body, encoding = gzip.decompress(body), ""
                entry["query"] = body[:10_000].decode("utf-8", "replace")
            statement = Statement(query, body, encoding)
            if self.command == "GET" and statement.verb not in READERS:
                raise ClickHouseError(
                    164,
                    "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. "
                    "You should use method POST for modifying queries.",
                )
            front.begin(entry)
            if kind == "delay":
                front.wait(entry["number"], fault["seconds"])
            # Not run at all, unless the fault says that it happens after the commit.
            if kind in ("exception", "exception-after-200", "status") and not fault.get("commit"):
                output, rows, elapsed, entry["outcome"] = b"", 0, 0, "not run"
            elif statement.verb == "KILL":
                output, rows, elapsed, entry["outcome"] = front.kill(statement.text), 0, 0, "done"
            else:
                form = parameters.get("default_format") or self.headers.get("X-ClickHouse-Format") or "TabSeparated"
                output, rows, elapsed = front.engine.run(statement, settings, entry["database"], form, front.rewrite)
                entry["outcome"] = "done"
            entry["rows"] = rows
        except ClickHouseError as error:
            entry["outcome"] = "error"
            return self.fail(error)
        if kind == "delay-after":
            time.sleep(fault["seconds"])
        front.end(entry)
        self.conclude(kind, fault, output, rows, elapsed)

    def conclude(self, kind, fault, output, rows, elapsed):
        entry = self.entry
        if kind == "cut-after":
            raise Gone
        if kind == "status":
            entry["status"] = fault["status"]
            return self.answer(
                fault["status"], fault.get("body", "").encode(), [], fault.get("content_type", "text/html")
            )
        if kind == "exception":
            return self.fail(self.injected(fault))
        numbers = {
            "read_rows": rows, "read_bytes": entry["body_bytes"], "written_rows": rows,
            "written_bytes": entry["body_bytes"], "total_rows_to_read": 0, "result_rows": rows,
            "result_bytes": entry["body_bytes"], "elapsed_ns": elapsed, "memory_usage": 0,
        }
        headers = self.common() + [("X-ClickHouse-Summary", json.dumps({k: str(v) for k, v in numbers.items()}))]
        entry["status"] = 200
        if kind == "exception-after-200":
            error = self.injected(fault)
            entry["code"] = error.code
            text = error.body(self.front.engine.version)
            frame = b"\r\n__exception__\r\n%s\r\n%s%d %s\r\n__exception__\r\n" % (
                self.tag.encode(), text, len(text), self.tag.encode()
            )
            # The server leaves the last chunk away; "complete" sends it, as a proxy between might.
            return self.answer(200, output + frame, headers, is_complete=fault.get("complete", False))
        if kind == "truncate-answer":
            return self.answer(200, output[: len(output) // 2], headers, is_complete=False)
        self.answer(200, output, headers)

    def injected(self, fault):
        code = fault["code"]
        return ClickHouseError(code, fault.get("text", f"{NAMES.get(code, 'error')} as the test wants it."))

    def fail(self, error):
        self.entry["status"], self.entry["code"] = error.status, error.code
        self.answer(
            error.status,
            error.body(self.front.engine.version),
            self.common() + [("X-ClickHouse-Exception-Code", str(error.code))],
        )

    def common(self):
        return [
            ("X-ClickHouse-Server-Display-Name", "front"), ("X-ClickHouse-Query-Id", self.entry["query_id"]),
            ("X-ClickHouse-Timezone", "UTC"), ("X-ClickHouse-Exception-Tag", self.tag),
        ]

    def credentials(self, parameters):
        user, password = self.headers.get("X-ClickHouse-User"), self.headers.get("X-ClickHouse-Key")
        basic = self.headers.get("Authorization", "")
        self.is_mixed = (user is not None or password is not None) + bool(basic) + ("user" in parameters) > 1
        if basic.startswith("Basic "):
            user, _, password = base64.b64decode(basic[6:]).decode("utf-8", "replace").partition(":")
        return user or parameters.get("user") or "default", password or parameters.get("password") or ""

    def authenticate(self):
        if self.is_mixed:
            raise ClickHouseError(516, "Invalid authentication: it is not allowed to use several ways of it simultaneously")
        if self.front.users.get(self.user) != self.password:
            raise ClickHouseError(
                516,
                f"{self.user}: Authentication failed: password is incorrect, or there is no user with such name.",
            )

    def check_headers(self, parameters):
        for name in self.headers:
            if name.lower().startswith("x-clickhouse-") and name.lower() not in HEADERS:
                raise ClickHouseError(48, f"Test front: header {name} is not known.")
        for name in parameters:
            if name in UNSUPPORTED:
                raise ClickHouseError(48, f"Test front: parameter {name} is not supported.")

    # Bytes

    def read_body(self, fault):
        """The body as it came; a client that goes away in its middle has sent nothing."""
        kind = fault["kind"] if fault else ""
        pace = fault["bytes_per_second"] if kind == "slow" else None
        parts, total = [], 0
        for size in self.body_sizes():
            if kind == "cut-middle":
                self.rfile.read(size // 2)
                self.entry["outcome"] = "cut in the middle"
                raise Gone
            left = size
            while left > 0:
                data = self.rfile.read(min(left, max(1, pace // 20) if pace else 1 << 20))
                if not data:
                    self.incomplete()
                parts.append(data)
                left, total = left - len(data), total + len(data)
                if pace:
                    time.sleep(len(data) / pace)
        return b"".join(parts)

    def body_sizes(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", "").lower():
            yield int(self.headers.get("Content-Length") or 0)
            return
        while True:
            line = self.rfile.readline(1000)
            if not line.strip():
                self.incomplete()
            size = int(line.split(b";")[0], 16)
            if size == 0:
                while self.rfile.readline(1000) not in (b"\r\n", b""):
                    pass
                return
            yield size
            self.rfile.readline(10)

    def incomplete(self):
        if hasattr(self, "entry"):
            self.entry["outcome"] = "client gone in its body"
        raise Gone

    def answer(self, status, body, headers=(), content_type="text/plain; charset=UTF-8", is_complete=True):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(b"%x\r\n" % len(body) + body + b"\r\n")
        if not is_complete:
            self.wfile.flush()
            raise Gone
        self.wfile.write(b"0\r\n\r\n")


class Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128

    def handle_error(self, request, client_address):
        # A client that is gone is no news here.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def main():
    port, directory = int(sys.argv[1]), sys.argv[2]
    os.makedirs(directory, exist_ok=True)
    Handler.front = Front(directory)
    server = Server(("127.0.0.1", port), Handler)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    parent = os.getppid()

    def leave_with_parent():
        while os.getppid() == parent:
            time.sleep(1)
        # Whoever would have removed it is gone.
        if directory.startswith("/tmp/dbmazz-ch-"):
            shutil.rmtree(directory, ignore_errors=True)
        os._exit(1)

    if os.environ.get("DBMAZZ_FRONT_WITH_PARENT"):
        threading.Thread(target=leave_with_parent, daemon=True).start()
    print("ready", port, flush=True)
    server.serve_forever()
    Handler.front.engine.close()


main()
