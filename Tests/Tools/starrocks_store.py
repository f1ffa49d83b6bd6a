"""Where everything is kept: one SQLite file with the catalog, the transactions and a table for each table.

A row is written only inside the SQLite transaction that also writes its load's state, so that a kill leaves both or neither.
"""

import json
import os
import sqlite3
import threading
import time

from starrocks_errors import SqlError
from starrocks_types import parse_type

SCHEMA = """
CREATE TABLE IF NOT EXISTS sr_database (name TEXT PRIMARY KEY, id INTEGER);
CREATE TABLE IF NOT EXISTS sr_table (id INTEGER PRIMARY KEY AUTOINCREMENT, db TEXT, name TEXT, spec TEXT, UNIQUE (db, name));
CREATE TABLE IF NOT EXISTS sr_transaction (
    id INTEGER PRIMARY KEY AUTOINCREMENT, db TEXT, tables TEXT, label TEXT, state TEXT, reason TEXT DEFAULT '', digest TEXT,
    started REAL, finished REAL, timeout REAL, publish_at REAL, kind TEXT DEFAULT 'load', counts TEXT DEFAULT '{}');
CREATE INDEX IF NOT EXISTS sr_transaction_label ON sr_transaction (db, label);
CREATE TABLE IF NOT EXISTS sr_part (transaction_id INTEGER, number INTEGER, payload BLOB, PRIMARY KEY (transaction_id, number));
CREATE TABLE IF NOT EXISTS sr_alter (
    id INTEGER PRIMARY KEY AUTOINCREMENT, db TEXT, name TEXT, state TEXT, message TEXT DEFAULT '', created REAL, finished REAL,
    ready_at REAL, spec TEXT);
CREATE TABLE IF NOT EXISTS sr_setting (name TEXT PRIMARY KEY, value TEXT);
"""
FIRST_TRANSACTION = 1000


class Column:
    """A table's column; `store` is its name in SQLite, which no other column of the table ever had."""

    def __init__(self, spec):
        self.name, self.store, self.is_key = spec["name"], spec["store"], spec["key"]
        self.type_text, self.is_nullable = spec["type"], spec["nullable"]
        self.default, self.comment, self.has_default = spec.get("default"), spec.get("comment", ""), "default" in spec
        self.type = parse_type(self.type_text)

    def spec(self):
        spec = {
            "name": self.name,
            "store": self.store,
            "key": self.is_key,
            "type": self.type_text,
            "nullable": self.is_nullable,
            "comment": self.comment,
        }
        if self.has_default:
            spec["default"] = self.default
        return spec

    def default_value(self):
        """What a row gets that does not say: now for CURRENT_TIMESTAMP, else the literal, else NULL."""
        if not self.has_default or self.default is None:
            return None
        if self.default == "CURRENT_TIMESTAMP":
            return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime()) + ".000000"
        return self.type.read(self.default)


class Table:
    """A table or a view, as the catalog has it; replaced as a whole by every change."""

    def __init__(self, number, db, name, spec):
        self.id, self.db, self.name, self.spec = number, db, name, spec
        self.is_view = spec["kind"] == "view"
        self.model = spec.get("model", "")
        self.columns = [Column(column) for column in spec.get("columns", [])]
        self.by_name = {column.name.lower(): column for column in self.columns}
        self.keys = [column for column in self.columns if column.is_key]

    @property
    def is_primary(self):
        return self.model == "PRIMARY_KEYS"

    @property
    def store(self):
        return f"t{self.id}"

    def column(self, name):
        return self.by_name.get(name.lower())


class Store:
    """The file, its catalog in memory, and a connection for each thread."""

    def __init__(self, directory):
        os.makedirs(directory, exist_ok=True)
        self.path = os.path.join(directory, "starrocks.db")
        self.local = threading.local()
        # One writer at a time; it also guards the catalog's dictionaries.
        self.lock = threading.RLock()
        self.on_connect = []
        with self.write() as db:
            db.executescript(SCHEMA)
            db.execute(
                "INSERT OR IGNORE INTO sqlite_sequence (name, seq) SELECT 'sr_transaction', ? WHERE NOT EXISTS "
                "(SELECT 1 FROM sqlite_sequence WHERE name = 'sr_transaction')",
                (FIRST_TRANSACTION,),
            )
        self.load()

    def connection(self):
        connection = getattr(self.local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
            # A kill of the process loses nothing that was written; a power cut is none of a test's business.
            connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA case_sensitive_like=ON;")
            for action in self.on_connect:
                action(connection)
            self.local.connection = connection
        return connection

    def write(self):
        return Write(self)

    def load(self):
        connection = self.connection()
        self.databases = {row[0]: row[1] for row in connection.execute("SELECT name, id FROM sr_database")}
        self.tables = {}
        for number, db, name, spec in connection.execute("SELECT id, db, name, spec FROM sr_table"):
            self.tables[db, name] = Table(number, db, name, json.loads(spec))

    def table(self, db, name):
        table = self.tables.get((db, name))
        if table is None:
            raise SqlError(5502, f"Getting analyzing error. Detail message: Unknown table '{db}.{name}'.")
        return table

    def setting(self, name, default=None):
        row = self.connection().execute("SELECT value FROM sr_setting WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else default

    def set(self, name, value):
        with self.write() as db:
            db.execute("INSERT OR REPLACE INTO sr_setting VALUES (?, ?)", (name, json.dumps(value)))

    # The catalog's changes, inside a write

    def add_database(self, db, name):
        db.execute("INSERT INTO sr_database VALUES (?, ?)", (name, 10000 + len(self.databases)))
        self.databases[name] = 10000 + len(self.databases)

    def drop_database(self, db, name):
        for key in [key for key in self.tables if key[0] == name]:
            self.drop_table(db, self.tables[key])
        db.execute("DELETE FROM sr_database WHERE name = ?", (name,))
        db.execute("DELETE FROM sr_transaction WHERE db = ?", (name,))
        self.databases.pop(name, None)

    def add_table(self, db, database, name, spec):
        number = db.execute(
            "INSERT INTO sr_table (db, name, spec) VALUES (?, ?, ?)", (database, name, json.dumps(spec))
        ).lastrowid
        table = Table(number, database, name, spec)
        if not table.is_view:
            columns = [f"{c.store} {c.type.storage}" for c in table.columns]
            if table.is_primary:
                columns.append(f"PRIMARY KEY ({', '.join(c.store for c in table.keys)})")
            db.execute(f"CREATE TABLE {table.store} ({', '.join(columns)}){' WITHOUT ROWID' if table.is_primary else ''}")
        self.tables[database, name] = table
        return table

    def change_table(self, db, table, spec, name=None):
        """Replaces a table's spec; new columns get their default in all rows, dropped ones stay behind in SQLite."""
        name = name or table.name
        changed = Table(table.id, table.db, name, spec)
        known = {column.store: column for column in table.columns}
        for column in changed.columns:
            if column.store not in known:
                db.execute(f"ALTER TABLE {table.store} ADD COLUMN {column.store} {column.type.storage}")
                if (value := column.default_value()) is not None:
                    db.execute(f"UPDATE {table.store} SET {column.store} = ?", (value,))
        db.execute("UPDATE sr_table SET spec = ?, name = ? WHERE id = ?", (json.dumps(spec), name, table.id))
        self.tables.pop((table.db, table.name), None)
        self.tables[table.db, name] = changed
        return changed

    def drop_table(self, db, table):
        db.execute("DELETE FROM sr_table WHERE id = ?", (table.id,))
        db.execute(
            "UPDATE sr_alter SET state = 'CANCELLED', message = 'Table is dropped', finished = ? WHERE db = ? AND name = ? "
            "AND state NOT IN ('FINISHED', 'CANCELLED')",
            (time.time(), table.db, table.name),
        )
        if not table.is_view:
            db.execute(f"DROP TABLE {table.store}")
        self.tables.pop((table.db, table.name), None)


class Write:
    """A transaction of SQLite's under the store's lock; nested ones belong to the outermost."""

    def __init__(self, store):
        self.store = store

    def __enter__(self):
        self.store.lock.acquire()
        connection = self.store.connection()
        self.is_outermost = not connection.in_transaction
        if self.is_outermost:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except BaseException:
                self.store.lock.release()
                raise
        return connection

    def __exit__(self, kind, *_):
        try:
            if self.is_outermost:
                connection = self.store.connection()
                if connection.in_transaction:
                    connection.execute("COMMIT" if kind is None else "ROLLBACK")
                if kind is not None:
                    self.store.load()
        finally:
            self.store.lock.release()
