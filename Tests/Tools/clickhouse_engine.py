"""The ClickHouse engine (chdb) behind one lock, and what HTTP statements have to be turned into for it."""
import json
import os
import re
import threading
import time
from xml.sax.saxutils import escape

from chdb import session

# What the real server takes as URL parameters beside settings, and what of it this front can do.
PARAMETERS = {"query", "database", "user", "password", "query_id", "default_format", "wait_end_of_query", "buffer_size"}
UNSUPPORTED = {
    "compress", "decompress", "session_id", "session_timeout", "session_check", "close_session", "role", "quota_key",
    "stacktrace", "client_protocol_version",
}
COMPRESSIONS = {"gzip", "deflate", "br", "xz", "zstd", "lz4", "bz2", "snappy"}
NAMES = {
    3: "UNEXPECTED_END_OF_FILE", 36: "BAD_ARGUMENTS", 48: "NOT_IMPLEMENTED", 60: "UNKNOWN_TABLE", 62: "SYNTAX_ERROR",
    81: "UNKNOWN_DATABASE", 115: "UNKNOWN_SETTING", 159: "TIMEOUT_EXCEEDED", 164: "READONLY",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES", 203: "NO_FREE_CONNECTION", 209: "SOCKET_TIMEOUT", 210: "NETWORK_ERROR",
    216: "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", 236: "ABORTED", 241: "MEMORY_LIMIT_EXCEEDED",
    242: "TABLE_IS_READ_ONLY", 252: "TOO_MANY_PARTS", 285: "TOO_FEW_LIVE_REPLICAS", 319: "UNKNOWN_STATUS_OF_INSERT",
    394: "QUERY_WAS_CANCELLED", 425: "SYSTEM_ERROR", 497: "ACCESS_DENIED", 516: "AUTHENTICATION_FAILED",
    691: "UNKNOWN_ELEMENT_OF_ENUM", 999: "KEEPER_EXCEPTION",
}
BAD_REQUEST = {
    # As the server's exceptionCodeToHTTPStatus.cpp has it.
    6, 7, 8, 15, 25, 26, 27, 36, 38, 41, 44, 53, 62, 69, 72, 117, 167, 168, 169, 321, 386, 427, 441, 675, 676,
}
NOT_FOUND = {46, 47, 50, 56, 60, 63, 73, 78, 81, 97, 115, 334, 336, 511}
FORBIDDEN = {192, 193, 497, 512, 516}


class ClickHouseError(Exception):
    """An exception of ClickHouse: its number, and its text without number and version."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code, self.text = code, text

    @property
    def status(self):
        if self.code in BAD_REQUEST:
            return 400
        if self.code in NOT_FOUND:
            return 404
        if self.code in FORBIDDEN:
            return 403
        return {194: 401, 48: 501, 75: 503, 76: 503, 209: 503, 159: 408, 381: 411, 439: 503, 223: 413}.get(
            self.code, 500
        )

    def body(self, version):
        """The text as the server writes it."""
        text = self.text
        name = NAMES.get(self.code)
        if name and not text.endswith(f"({name})"):
            text += f" ({name})"
        return f"Code: {self.code}. DB::Exception: {text} (version {version} (official build))\n".encode()


def words(query):
    """The words of a statement at parenthesis depth 0, outside quotes: (upper-cased word, begin, end)."""
    found, depth, at, size = [], 0, 0, len(query)
    while at < size:
        char = query[at]
        if char in "`'\"":
            at += 1
            while at < size and query[at] != char:
                at += 2 if query[at] == "\\" else 1
            at += 1
        elif query.startswith("--", at):
            end = query.find("\n", at)
            at = size if end < 0 else end
        elif query.startswith("/*", at):
            end = query.find("*/", at)
            at = size if end < 0 else end + 2
        elif char in "([{":
            depth, at = depth + 1, at + 1
        elif char in ")]}":
            depth, at = depth - 1, at + 1
        elif char.isalnum() or char == "_":
            end = at
            while end < size and (query[end].isalnum() or query[end] == "_"):
                end += 1
            if depth == 0:
                found.append((query[at:end].upper(), at, end))
            at = end
        else:
            at += 1
    return found


class Statement:
    """What a request asks for: a statement, and data if it is an insert that brings some."""

    def __init__(self, query, body, encoding):
        self.infile = None
        head = query if query.strip() else body[:65536].decode("latin-1")
        first = words(head[:400])
        self.verb = first[0][0] if first else ""
        if self.verb != "INSERT":
            if encoding and body:
                raise ClickHouseError(48, f"Test front: a compressed body ({encoding}) is read for inserts only.")
            self.text = query + ("\n" if query.strip() and body else "") + text_of(body)
            return
        data = body
        if not query.strip():
            # The statement is in the body, and its data begins behind FORMAT's name and a line break.
            match = next((m for m in re.finditer(rb"\bFORMAT[ \t]+\w+[ \t]*(\r?\n|$)", body, re.I)), None)
            if match and not re.match(rb"(?i).*\b(SELECT|VALUES)\b", body[: match.start()], re.S):
                query, data = text_of(body[: match.end()]), body[match.end():]
            else:
                query, data = text_of(body), b""
        self.text = query.rstrip().rstrip(";")
        all_words = words(self.text)
        names = [word for word, _, _ in all_words]
        if "SELECT" in names or "INFILE" in names:
            return
        if "VALUES" in names:
            if encoding:
                raise ClickHouseError(48, "Test front: a compressed body needs a FORMAT in the statement.")
            self.text += " " + text_of(data)
            return
        at = max((i for i, name in enumerate(names) if name == "FORMAT"), default=None)
        if at is None or at + 2 != len(names):
            raise ClickHouseError(62, "Syntax error: INSERT needs FORMAT, VALUES or SELECT, and nothing behind FORMAT's name.")
        head, form = self.text[: all_words[at][1]], self.text[all_words[at + 1][1]:]
        settings = next((begin for name, begin, _ in all_words if name == "SETTINGS"), len(head))
        self.insert = (head[:settings].rstrip(), head[settings:].strip(), form)
        self.infile = data
        self.encoding = encoding

    def sql(self, path):
        """The statement for the engine, with the data at `path`."""
        if self.infile is None:
            return self.text
        head, settings, form = self.insert
        how = f" COMPRESSION '{self.encoding}'" if self.encoding else " COMPRESSION 'none'"
        return f"{head} FROM INFILE '{path}'{how} {settings} FORMAT {form}"


class Engine:
    """The one engine: statements run one after the other, which is this front's limit and not ClickHouse's."""

    def __init__(self, directory, grants=None):
        os.makedirs(directory, exist_ok=True)
        self.lock = threading.Lock()
        path = directory if grants is None else f"{directory}?config-file={self.configure(directory, grants)}"
        self.session = session.Session(path)
        self.query("CREATE DATABASE IF NOT EXISTS default")
        self.version = self.query("SELECT version()").decode().strip()
        rows = json.loads(self.query("SELECT name, value, changed FROM system.settings", "JSONCompact"))["data"]
        # The engine's settings at its start, to which every one returns that a request does not name.
        self.settings = {name: value if changed else None for name, value, changed in rows}
        self.current, self.database, self.rows = {}, None, 0
        self.inserted()

    @staticmethod
    def configure(directory, grants):
        """Writes a configuration whose one user, who runs every statement, has these privileges and no others."""
        users, config = directory + "-users.xml", directory + "-config.xml"
        queries = "".join(f"<query>{escape(grant)}</query>" for grant in grants)
        with open(users, "w") as out:
            out.write(
                "<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default><password/>"
                "<networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>"
                f"<grants>{queries}</grants></default></users></clickhouse>"
            )
        with open(config, "w") as out:
            out.write(
                f"<clickhouse><user_directories><users_xml><path>{users}</path></users_xml></user_directories></clickhouse>"
            )
        return config

    def query(self, text, form="TabSeparated"):
        try:
            result = self.session.query(text, form)
        except Exception as error:
            raise self.error(str(error)) from None
        return result.bytes() if result is not None else b""

    @staticmethod
    def error(text):
        """chdb may say number, version and name twice."""
        code = 1002
        while match := re.match(r"Code: (\d+)\. DB::Exception: ", text):
            code, text = int(match[1]), text[match.end():]
        text = re.sub(r" \(version [0-9.]+[^)]*\)\.? \([A-Z0-9_]+\)\s*$", "", text.strip())
        return ClickHouseError(code, text)

    def check_settings(self, settings):
        for name in settings:
            if name not in self.settings and not name.startswith("param_"):
                raise ClickHouseError(
                    115,
                    f"Setting {name} is neither a builtin setting nor started with the prefix 'SQL_' registered for "
                    "user-defined settings.",
                )

    def run(self, statement, settings, database, form, rewrite=lambda text: text):
        """Runs a request's statement: its output, how many rows were written, and nanoseconds."""
        with self.lock:
            file = None
            try:
                self.prepare(settings, database)
                path = None
                if statement.infile is not None:
                    # In memory, and gone with the process: the engine opens it by its path.
                    file = os.memfd_create("insert")
                    with open(file, "wb", closefd=False) as out:
                        out.write(statement.infile)
                    path = f"/proc/self/fd/{file}"
                begin = time.monotonic_ns()
                output = self.query(rewrite(statement.sql(path)), form)
                elapsed = time.monotonic_ns() - begin
                return output, self.inserted() if statement.verb == "INSERT" else 0, elapsed
            except ClickHouseError:
                # What a failed insert has written is not the next one's.
                self.inserted()
                raise
            finally:
                if file is not None:
                    os.close(file)
                if statement.verb not in ("INSERT", "SELECT"):
                    # It may have changed what is in force.
                    self.database = None

    def prepare(self, settings, database):
        """Brings database and settings to what a request wants; what the one before wanted may be the same."""
        if database != self.database:
            self.database = None
            self.query("USE " + quote_name(database))
            self.database = database
        for name in [name for name in self.current if name not in settings]:
            value = self.settings[name]
            self.query(f"SET {name} = {'DEFAULT' if value is None else quote(value)}")
            del self.current[name]
        for name, value in settings.items():
            if self.current.get(name) != value:
                self.query(f"SET {name} = {quote(value)}")
                if not name.startswith("param_"):
                    self.current[name] = value

    def inserted(self):
        """Rows written since this was asked before; exact, since nothing runs beside."""
        before = self.rows
        self.rows = int(self.query("SELECT value FROM system.events WHERE event = 'InsertedRows'") or b"0")
        return self.rows - before

    def close(self):
        with self.lock:
            self.session.close()


def text_of(body):
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise ClickHouseError(48, f"Test front: statements are UTF-8 ({error}); data goes behind FORMAT.") from None


def quote(text):
    return "'" + str(text).replace("\\", "\\\\").replace("'", "\\'") + "'"


def quote_name(text):
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"
