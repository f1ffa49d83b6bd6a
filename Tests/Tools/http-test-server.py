#!/usr/bin/env python3
"""An HTTP/1.1 server with every bad habit that HTTPClientTests want to meet, and strict about what it is sent.

    http-test-server.py DIRECTORY

Listens on 127.0.0.1 on five ports of the system's choosing and writes them into DIRECTORY/ports, a line each with name and
port: plain, other (plain as well), tls, mutual (TLS with a client's certificate), silent (accepts, never answers). The
certificates are DIRECTORY/server.crt, server.key and ca.crt. Each path is a behaviour, see `Connection.answer`.
"""
import os, socket, ssl, struct, sys, threading, time, zlib
from urllib.parse import parse_qs, urlsplit

directory = sys.argv[1]
lock = threading.Lock()
connections = 0
counts = {}  # path -> requests


class Refused(Exception):
    """The request is not what HTTP allows."""


class Connection:
    def __init__(self, peer, listener):
        global connections
        with lock:
            connections += 1
            self.number = connections
        self.peer, self.listener, self.requests = peer, listener, 0
        self.buffer = b""

    # Reading

    def read_until(self, mark, limit=200_000):
        while mark not in self.buffer:
            piece = self.peer.recv(65536)
            if not piece:
                return None
            self.buffer += piece
            if self.buffer.startswith(b"\x16"):
                raise Refused("TLS")
            if len(self.buffer) > limit and mark not in self.buffer:
                raise Refused("headers too long")
        head, self.buffer = self.buffer.split(mark, 1)
        return head

    def read_head(self):
        head = self.read_until(b"\r\n\r\n")
        if head is None:
            return False
        lines = head.decode("latin-1").split("\r\n")
        parts = lines[0].split(" ")
        if len(parts) != 3 or parts[2] != "HTTP/1.1":
            raise Refused(f"request line {lines[0]!r}")
        self.method, self.target, _ = parts
        self.headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip() or "\n" in line or "\r" in line:
                raise Refused(f"header {line!r}")
            if name.lower() in self.headers:
                raise Refused(f"{name} twice")
            self.headers[name.lower()] = value.strip()
        if "host" not in self.headers:
            raise Refused("no Host")
        if "transfer-encoding" in self.headers:
            raise Refused("a body without a length")
        self.length = int(self.headers.get("content-length", "0"))
        url = urlsplit(self.target)
        self.path = url.path
        self.query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        self.requests += 1
        with lock:
            counts[self.path] = counts.get(self.path, 0) + 1
        return True

    @property
    def expects(self):
        expect = self.headers.get("expect")
        if expect is not None and expect.lower() != "100-continue":
            raise Refused(f"Expect: {expect}")
        return expect is not None

    def read_body(self, go=True):
        """Reads the body; with `go` the client is told to send it, where it asks."""
        if go and self.expects and self.length:
            self.send("HTTP/1.1 100 Continue\r\n\r\n")
        body = bytearray(self.buffer[: self.length])
        self.buffer = self.buffer[self.length :]
        while len(body) < self.length:
            piece = self.peer.recv(min(1 << 20, self.length - len(body)))
            if not piece:
                raise ConnectionError("cut inside a body")
            body += piece
        return body

    # Writing

    def send(self, data):
        self.peer.sendall(data if isinstance(data, bytes) else data.encode())

    def reply(self, status, body=b"", headers=()):
        if isinstance(body, str):
            body = body.encode()
        head = f"HTTP/1.1 {status} Whatever\r\nContent-Length: {len(body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
        self.send(head.encode() + (b"" if self.method == "HEAD" else body))

    def echo(self, body, headers=()):
        """What came, a line each."""
        lines = [
            f"method={self.method}", f"target={self.target}", f"listener={self.listener}",
            f"connection={self.number}", f"request={self.requests}", f"length={len(body)}", f"crc={zlib.crc32(body)}",
        ]
        lines += [f"header.{name}={value}" for name, value in self.headers.items()]
        self.reply(200, "\n".join(lines) + "\n", headers)

    def close_hard(self):
        """The client sees a reset."""
        self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def wait_for_end(self):
        """Reads and drops until the client closes."""
        self.peer.settimeout(10)
        while self.peer.recv(65536):
            pass

    def answer(self):
        """One request; False closes the connection."""
        path, query = self.path, self.query
        if path == "/echo":
            self.echo(self.read_body())
        elif path == "/count":
            self.read_body()
            with lock:
                self.reply(200, str(counts.get(query["of"], 0)))
        elif path == "/redirect":
            # As a front end does: without reading the body, where the client waits for leave to send it.
            headers = [("Location", query["to"]), ("X-Hop", "redirect")]
            if self.expects:
                self.reply(int(query["status"]), "", headers + [("Connection", "close")])
                return False
            self.read_body()
            self.reply(int(query["status"]), "moved", headers)
        elif path == "/slow-100":
            time.sleep(float(query["seconds"]))
            self.echo(self.read_body())
        elif path == "/no-100":
            self.echo(self.read_body(go=False))
        elif path == "/no-expect":
            if self.expects:
                self.reply(417)
            else:
                self.echo(self.read_body())
        elif path == "/early":
            # The answer comes before the body was read; then what was sent is drained, so that nothing is reset.
            self.reply(int(query["status"]), "early", [("Connection", "close")])
            self.peer.shutdown(socket.SHUT_WR)
            self.wait_for_end()
            return False
        elif path == "/nothing":
            self.read_body()
            return False
        elif path == "/reset":
            self.read_body()
            self.close_hard()
            return False
        elif path == "/cut-request":
            self.peer.recv(1000)
            self.close_hard()
            return False
        elif path == "/cut-length":
            self.read_body()
            self.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.")
            return False
        elif path == "/cut-chunk":
            self.read_body()
            self.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\nten bytes.")
            return False
        elif path == "/cut-end":
            # Every chunk is whole; only the last, empty one is missing.
            self.read_body()
            self.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nten bytes.\r\n")
            return False
        elif path == "/stall":
            self.read_body()
            self.wait_for_end()
            return False
        elif path == "/stall-body":
            self.read_body()
            self.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.")
            self.wait_for_end()
            return False
        elif path == "/stall-reading":
            time.sleep(8)
            return False
        elif path == "/drip":
            self.read_body()
            self.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
            for _ in range(10):
                time.sleep(float(query["seconds"]) / 10)
                self.send(b".")
        elif path == "/trailers":
            self.read_body()
            self.send(
                "HTTP/1.1 103 Early Hints\r\nX-Hint: hint\r\n\r\n"
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Late\r\nX-Early: 1\r\nX-EARLY:  2 \r\n\r\n"
                "5\r\nhello\r\n0\r\nX-Late: too late\r\n\r\n"
            )
        elif path == "/headers":
            self.read_body()
            count = int(query["bytes"]) // 1000
            self.reply(200, "", [(f"X-{number}", "h" * 990) for number in range(count)])
        elif path == "/long-header":
            self.read_body()
            self.reply(200, "", [("X-Long", "h" * int(query["bytes"]))])
        elif path == "/body":
            self.read_body()
            self.reply(200, b"b" * int(query["bytes"]))
        elif path == "/garbage":
            self.read_body()
            self.send(b"SSH-2.0-OpenSSH_9.2\r\n")
            return False
        else:
            self.read_body()
            self.reply(404, "no such behaviour")
        return self.headers.get("connection", "").lower() != "close"

    def serve(self):
        try:
            while self.read_head() and self.answer():
                pass
        except Refused as error:
            self.method = "GET"
            self.reply(400, f"refused: {error}", [("Connection", "close")])
        except (OSError, ValueError, KeyError) as error:
            print(f"{self.listener}: {error!r}", flush=True)
        finally:
            self.peer.close()


def serve(listener, name, context):
    while True:
        peer, _ = listener.accept()
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def run(peer=peer):
            try:
                if name == "silent":
                    time.sleep(30)
                    return
                peer.settimeout(30)
                if context:
                    peer = context.wrap_socket(peer, server_side=True, do_handshake_on_connect=False)
                    try:
                        peer.do_handshake()
                    except ssl.SSLError:
                        # Closed at once, the client would often not get to read why.
                        time.sleep(0.3)
                        raise
                Connection(peer, name).serve()
            except OSError as error:
                print(f"{name}: {error!r}", flush=True)
            finally:
                peer.close()

        threading.Thread(target=run, daemon=True).start()


def tls(demands_certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{directory}/server.crt", f"{directory}/server.key")
    if demands_certificate:
        context.load_verify_locations(f"{directory}/ca.crt")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


contexts = {"plain": None, "other": None, "silent": None, "tls": tls(False), "mutual": tls(True)}
lines = []
for name, context in contexts.items():
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    lines.append(f"{name} {listener.getsockname()[1]}\n")
    threading.Thread(target=serve, args=(listener, name, context), daemon=True).start()
# Renamed when it is complete: its presence says that everybody listens.
with open(f"{directory}/ports.new", "w") as file:
    file.write("".join(lines))
os.rename(f"{directory}/ports.new", f"{directory}/ports")
# The tests end with their process, this one not long after if nobody killed it.
parent = os.getppid()
while os.getppid() == parent:
    time.sleep(1)
