"""What the emulator's HTTP servers have in common."""

import json
import os
import socket
import struct
import sys
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from starrocks_errors import Gone

STANDARD = {
    "host",
    "user-agent",
    "accept",
    "authorization",
    "expect",
    "content-length",
    "transfer-encoding",
    "content-type",
    "connection",
    "content-encoding",
    "accept-encoding",
    "te",
}
# http_common.h of 3.3 to 4.0, and the version from which each is known where that is later than 3.0.
KNOWN = {
    "label": None,
    "db": None,
    "table": None,
    "format": None,
    "columns": None,
    "where": None,
    "column_separator": None,
    "row_delimiter": None,
    "skip_header": None,
    "trim_space": None,
    "enclose": None,
    "escape": None,
    "max_filter_ratio": None,
    "timeout": None,
    "idle_transaction_timeout": None,
    "partitions": None,
    "temporary_partitions": None,
    "negative": None,
    "strict_mode": None,
    "timezone": None,
    "load_mem_limit": None,
    "exec_mem_limit": None,
    "jsonpaths": None,
    "json_root": None,
    "ignore_json_size": None,
    "strip_outer_array": None,
    "partial_update": None,
    "partial_update_mode": None,
    "merge_condition": None,
    "transmission_compression_type": None,
    "load_dop": None,
    "log_rejected_record_num": (3, 1, 0),
    "compression": (3, 2, 7),
    "warehouse": (3, 3, 0),
    "prepared_timeout": (3, 5, 4),
    "transaction_type": (4, 0, 0),
    "source_type": None,
    "channel_num": None,
    "channel_id": None,
    "enable_merge_commit": (3, 4, 0),
    "merge_commit_async": (3, 4, 0),
    "merge_commit_interval_ms": (3, 4, 0),
    "merge_commit_parallel": (3, 4, 0),
}


class Handler(BaseHTTPRequestHandler):
    """One connection; `emulator` is set by who starts the server."""

    protocol_version = "HTTP/1.1"
    # Headers and body go in one piece each, without waiting for the peer's acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1
    emulator = None
    side = ""

    def log_message(self, *_):
        pass

    def handle_expect_100(self):
        # Each handler says itself when it wants the body.
        return True

    def handle_one_request(self):
        self.entry, self.is_logged = None, False
        try:
            super().handle_one_request()
        except (Gone, ConnectionError):
            self.close_connection = True
            if self.entry is not None and not self.entry.get("outcome"):
                self.entry["outcome"] = "client gone"
        finally:
            self.log()

    def log(self):
        """Writes the request's line, once: before its answer, so that who has the answer finds the line."""
        if self.entry is not None and not self.is_logged:
            self.is_logged = True
            self.emulator.log.write(self.entry)

    def do(self):
        self.url = urllib.parse.urlsplit(self.path)
        self.parts = [urllib.parse.unquote(part) for part in self.url.path.split("/")[1:]]
        self.query = dict(urllib.parse.parse_qsl(self.url.query, keep_blank_values=True))
        # The back end takes a header's bytes as they are, and the front end reads them as UTF-8.
        self.fields = {name.lower(): value.encode("latin-1", "replace").decode("utf-8", "replace").strip()
                       for name, value in self.headers.items()}
        self.emulator.wait_while_paused()
        self.route()

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do

    def start(self, kind, **fields):
        """A new line of the log, and the fault that it meets; those of any request happen at once."""
        shown = {name: value for name, value in self.headers.items() if name.lower() != "authorization"}
        self.entry = self.emulator.log.start(kind, side=self.side, method=self.command, url=self.path, headers=shown, **fields)
        self.fault = self.emulator.faults.choose(kind, url=self.path, **fields) or {}
        self.entry["fault"] = self.fault.get("do")
        what = self.fault.get("do")
        if what == "delay":
            time.sleep(self.fault.get("seconds", 1))
        elif what == "reset":
            self.reset("reset")
        elif what == "status":
            self.answer(self.fault.get("code", 500), b"")
            raise Gone
        return self.entry

    def check_headers(self):
        """The names of headers that are neither HTTP's nor StarRocks', or not yet of this version."""
        names = [name.lower() for name in self.headers]
        problems = [f"header {name} is there twice" for name in sorted(set(names)) if names.count(name) > 1]
        for name in sorted(set(names) - STANDARD):
            if name not in KNOWN:
                problems.append(f"unknown header {name}")
            elif KNOWN[name] and self.emulator.version < KNOWN[name]:
                problems.append(f"header {name} is known from {'.'.join(map(str, KNOWN[name]))} on")
        for problem in problems:
            self.emulator.log.violation(self.entry, problem)
        return problems

    def reset(self, outcome):
        """Ends the connection with a RST: what was not read is lost to the peer as well."""
        if self.entry is not None:
            self.entry["outcome"] = outcome
            self.log()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The reader and the writer still hold the socket: close what is below them.
        os.close(self.connection.detach())
        raise Gone

    def answer(self, status, body, headers=(), kind="application/json", close=True):
        is_cut = self.entry is not None and self.fault.get("do") == "cut-reply"
        if self.entry is not None:
            self.entry["status"] = status
            if is_cut:
                self.entry["outcome"] = "reply cut"
            self.log()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        if close:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if is_cut:
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            raise Gone
        self.wfile.write(body)
        self.wfile.flush()

    def answer_json(self, value, status=200, headers=(), close=True):
        self.answer(status, json.dumps(value, indent=4, ensure_ascii=False).encode(), headers, close=close)

    def drain(self):
        """Takes what the peer may still send, for a moment, so that our answer is not lost to a RST."""
        try:
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(0.3)
            end = time.time() + 0.3
            while time.time() < end and self.connection.recv(1 << 16):
                pass
        except OSError:
            pass


class Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 128

    def __init__(self, address, handler, receive_buffer=None):
        self.receive_buffer = receive_buffer
        super().__init__(address, handler)

    def server_bind(self):
        # Small buffers let a client feel a slow back end soon; accepted connections inherit them.
        if self.receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
        super().server_bind()

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (OSError, ValueError)):
            super().handle_error(request, client_address)
