"""The MySQL port, by mysql-mimic: logins, statements as text, answers with StarRocks' numbers of errors.

# Unverified:
# - the types in a result's head: LARGEINT, JSON and ARRAY are sent as strings
"""

import asyncio
import hashlib
import logging
import secrets
import sqlite3
import threading

import mysql_mimic.server
from mysql_mimic import MysqlServer
from mysql_mimic.auth import Forbidden, IdentityProvider, NativePasswordAuthPlugin, Success, User
from mysql_mimic.charset import CharacterSet
from mysql_mimic.connection import Connection
from mysql_mimic.errors import SQLSTATES, MysqlError
from mysql_mimic.results import ResultColumn, ResultSet
from mysql_mimic.session import BaseSession
from mysql_mimic.stream import ConnectionClosed
from mysql_mimic.types import ColumnType
from mysql_mimic.variables import GlobalVariables, SessionVariables

from starrocks_errors import SqlError

KINDS = {
    "BOOLEAN": ColumnType.TINY,
    "TINYINT": ColumnType.TINY,
    "SMALLINT": ColumnType.SHORT,
    "INT": ColumnType.LONG,
    "BIGINT": ColumnType.LONGLONG,
    "FLOAT": ColumnType.FLOAT,
    "DOUBLE": ColumnType.DOUBLE,
    "DECIMAL": ColumnType.NEWDECIMAL,
    "DATE": ColumnType.DATE,
    "DATETIME": ColumnType.DATETIME,
    "VARBINARY": ColumnType.BLOB,
}
MAX_LOGGED = 2000
# ErrorCode.java; what is not there is HY000.
SQLSTATES.update(
    {1007: b"HY000", 1050: b"42S01", 1052: b"23000", 1054: b"42S22", 1058: b"21S01", 1060: b"42S21", 1064: b"HY000"}
    | {5203: b"42000", 5501: b"3F000", 5502: b"42602"}
)


def encode(_, value):
    """Values come as the text that the protocol sends."""
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")


class Cut(Exception):
    """A fault ends the connection here."""


class Password(NativePasswordAuthPlugin):
    async def auth(self, auth_info=None):
        machine = super().auth(auth_info)
        decision = await machine.__anext__()
        while isinstance(decision, bytes):
            auth_info = yield decision
            decision = await machine.asend(auth_info)
        if not isinstance(decision, Success):
            given = "YES" if auth_info.data else "NO"
            decision = Forbidden(f"Access denied for user '{auth_info.username}' (using password: {given})")
        yield decision


class Identities(IdentityProvider):
    def __init__(self, users):
        self.users, self.plugin = users, Password()

    def get_plugins(self):
        return [self.plugin]

    async def get_user(self, username):
        password = self.users.password(username)
        if password is None:
            # Nobody's: no password fits it.
            return User(username, hashlib.sha1(secrets.token_bytes(20)).hexdigest(), Password.name)
        return User(username, Password.create_auth_string(password) if password else None, Password.name)


class Session(BaseSession):
    def __init__(self, emulator):
        self.emulator = emulator
        self.variables = SessionVariables(GlobalVariables())
        self.variables.set("version", "8.0.33", force=True)
        self.username = self.database = self.connection = None
        self.variables_set = {}
        self.is_welcome, self.affected = False, 0

    @property
    def user(self):
        return self.username

    @property
    def connection_id(self):
        return self.connection.connection_id if self.connection else 0

    async def init(self, connection):
        self.connection = connection
        if self.username is None:
            # The client was told; mysql-mimic would go on to take its statements.
            raise ConnectionClosed

    async def close(self):
        self.connection = None

    async def reset(self):
        self.variables_set = {}

    async def use(self, database):
        try:
            self.emulator.engine.check_database(database)
        except SqlError as error:
            raise MysqlError(error.message, Code(error.code)) from None
        self.database = database

    async def handle_query(self, sql, attrs):
        return await asyncio.to_thread(self.run, sql)

    def run(self, sql):
        emulator, self.affected = self.emulator, 0
        emulator.wait_while_paused()
        entry = emulator.log.start("sql", sql=sql[:MAX_LOGGED], db=self.database or "", user=self.username)
        fault = emulator.faults.choose("sql", sql=sql, db=self.database) or {}
        entry["fault"] = what = fault.get("do")
        try:
            if what == "delay":
                threading.Event().wait(fault.get("seconds", 1))
            if what == "reset":
                self.cut()
            if what == "error":
                raise SqlError(fault.get("code", 1064), fault.get("message", "injected"))
            result = emulator.engine.run(sql, self, self.database)
            entry["rows"], entry["affected"] = len(result.rows), result.affected
            if what == "reset-after":
                self.cut()
            entry["outcome"] = "done"
        except SqlError as error:
            entry["code"], entry["outcome"] = error.code, error.message
            raise MysqlError(error.message, Code(error.code)) from None
        except sqlite3.Error as error:
            entry["outcome"] = f"SQLite: {error}"
            raise MysqlError(f"Test emulator: {error}", Code(1064)) from None
        except Cut:
            entry["outcome"] = "connection cut"
            raise ConnectionClosed from None
        finally:
            emulator.log.write(entry)
        if result.database:
            self.database = result.database
        self.affected = result.affected
        if not result.columns:
            return None
        columns = [
            ResultColumn(
                name,
                KINDS.get(kind.name, ColumnType.VAR_STRING) if kind else ColumnType.VAR_STRING,
                CharacterSet.binary if kind and kind.name == "VARBINARY" else CharacterSet.utf8mb4,
                text_encoder=encode,
            )
            for name, kind in result.columns
        ]
        return ResultSet(result.rows, columns)

    def cut(self):
        transport = self.connection.stream.writer.transport
        transport.get_loop().call_soon_threadsafe(transport.abort) if hasattr(transport, "get_loop") else transport.abort()
        raise Cut


class Code(int):
    """A number of StarRocks' own, which mysql-mimic's list does not have."""

    name = "ERROR"


class ToldConnection(Connection):
    """Says in its OK how many rows a statement changed, and refuses a login to a database that is not there."""

    def ok(self, **fields):
        session = self.session
        if not session.is_welcome:
            session.is_welcome = True
            try:
                if session.database:
                    session.emulator.engine.check_database(session.database)
            except SqlError as error:
                session.username = None
                return self.error(msg=error.message, code=Code(error.code))
        return super().ok(**{"affected_rows": session.affected, **fields})


mysql_mimic.server.Connection = ToldConnection


class Server(MysqlServer):
    async def _client_connected_cb(self, reader, writer):
        async def exactly(count):
            # mysql-mimic takes a packet's head for whole even when only a part of it has come.
            try:
                return await reader.readexactly(count)
            except asyncio.IncompleteReadError:
                return b""

        reader.read = exactly
        await super()._client_connected_cb(reader, writer)


class MySQL:
    """The server in a thread of its own, with an event loop of its own."""

    def __init__(self, emulator, port):
        self.emulator, self.port = emulator, port
        self.is_ready, self.failure = threading.Event(), None
        logging.getLogger("mysql_mimic").setLevel(logging.CRITICAL)
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    def start(self):
        threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True).start()
        self.is_ready.wait(20)
        if self.failure:
            raise self.failure

    async def serve(self):
        server = Server(lambda: Session(self.emulator), identity_provider=Identities(self.emulator.users))
        try:
            await server.start_server(host="127.0.0.1", port=self.port)
        except OSError as error:
            self.failure = error
            return
        finally:
            self.is_ready.set()
        await server.serve_forever()
