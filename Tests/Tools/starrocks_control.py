"""The port by which tests command the emulator and ask what it saw; no client of StarRocks ever comes here."""

import json
import re
import urllib.parse
from http.server import BaseHTTPRequestHandler

from starrocks_errors import SqlError


ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})
SPECIAL = re.compile(r"[\\\t\n\r\0]")


def table(result, query):
    """A result as JSON, or with format=tsv its rows as lines of escaped fields, \\N for NULL."""
    if query.get("format") != "tsv":
        return result
    lines = ("\t".join("\\N" if v is None else field(v) for v in row) + "\n" for row in result["rows"])
    return "".join(lines).encode("utf-8", "replace")


def field(value):
    text = value if isinstance(value, str) else str(value) if isinstance(value, int) else json.dumps(value, ensure_ascii=False)
    return text.translate(ESCAPES) if SPECIAL.search(text) else text


class Control(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    emulator = None

    def log_message(self, *_):
        pass

    def do(self):
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            value = json.loads(body) if body.strip() else {}
            result = self.run(self.command, url.path.strip("/"), query, value)
        except SqlError as error:
            return self.answer(422, {"code": error.code, "error": error.message})
        except (ValueError, KeyError, TypeError) as error:
            return self.answer(400, {"error": f"{type(error).__name__}: {error}"})
        if result is None:
            return self.answer(404, {"error": f"no such thing: {self.command} {url.path}"})
        self.answer(200, result)

    do_GET = do_POST = do_DELETE = do

    def answer(self, status, value):
        data = value if isinstance(value, bytes) else (json.dumps(value, ensure_ascii=False) + "\n").encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def run(self, method, path, query, value):
        emulator = self.emulator
        if method == "GET":
            return self.tell(path, query)
        if method == "DELETE" and path == "faults":
            emulator.faults.remove(int(query["id"]) if "id" in query else None)
            return {}
        if method != "POST":
            return None
        if path == "faults":
            return {"id": emulator.faults.add(value)}
        if path == "pause":
            emulator.pause(bool(value.get("paused", True)))
        elif path == "version":
            emulator.set_version(value["version"])
        elif path == "users":
            emulator.users.set(value)
        elif path == "throttle":
            emulator.settings.set("throttle", int(value["bytes_per_second"]))
        elif path == "settings":
            for name, setting in value.items():
                emulator.settings.set(name, setting)
        elif path == "expire-labels":
            emulator.expire_labels(query.get("db"))
        elif path == "sql":
            return table(emulator.run_sql(value["sql"], value.get("db")), query)
        elif path == "reset":
            emulator.reset()
        else:
            return None
        return {}

    def tell(self, path, query):
        emulator = self.emulator
        if path == "ready":
            return {"ready": True, "version": emulator.version_text}
        if path == "faults":
            return emulator.faults.listing()
        if path == "requests":
            return emulator.log.read()
        if path == "violations":
            return [
                {"n": e["n"], "kind": e["kind"], "url": e.get("url"), "violation": v}
                for e in emulator.log.entries()
                for v in e.get("violations", [])
            ]
        if path == "settings":
            return emulator.settings.all()
        if path == "labels":
            return emulator.labels(query.get("db"))
        if path == "dump":
            return table(emulator.dump(query["db"], query["table"]), query)
        return None
