"""Runs statements: decides what each is, checks privileges, and gives back rows."""

import re

import sqlglot
from sqlglot.errors import SqlglotError

from starrocks_alter import Alter
from starrocks_catalog import relation
from starrocks_ddl import analyzing, create_table
from starrocks_dml import Changes
from starrocks_errors import LoadError, SqlError
from starrocks_expressions import VARIABLES
from starrocks_functions import register
from starrocks_json import show_float
from starrocks_show import Show
from starrocks_translate import Query, Translator
from starrocks_words import Words

NAME = re.compile(r"[A-Za-z_][\w-]{0,255}\Z", re.ASCII)


class Result:
    """Columns as (name, type or None), rows of text, bytes or None, and how many rows a statement changed."""

    def __init__(self, columns=(), rows=(), affected=0, database=None):
        self.columns, self.rows, self.affected, self.database = list(columns), list(rows), affected, database


class Engine:
    """`run` is for any thread; a session of None is the tests' own and may do everything."""

    def __init__(self, emulator):
        self.emulator, self.store = emulator, emulator.store
        self.store.on_connect.append(register)
        register(self.store.connection())
        self.alter, self.show, self.changes = Alter(emulator), Show(self), Changes(self)

    # What the parts ask

    def require(self, privilege, db, table="*", session=None):
        session = session or getattr(self.store.local, "session", None)
        if session is None or self.emulator.users.may(session.user, privilege, db, table):
            return
        target = f"DATABASE {db}" if table in (None, "*") else f"TABLE {table}"
        raise SqlError(
            5203,
            f"Access denied; you need (at least one of) the {privilege} privilege(s) on {target} for this operation. "
            "Please ask the admin to grant permission(s) or try activating existing roles using <set [default] role>. "
            "Current role(s): NONE. Inactivated role(s): NONE.",
        )

    def find(self, db, name):
        if db not in self.store.databases:
            raise analyzing(f"Unknown database '{db}'", 5501)
        return self.store.table(db, name)

    def variable(self, name, session):
        own = session.variables_set.get(name) if session else None
        value = own if own is not None else VARIABLES.get(name)
        return None if value is None else str(value).replace("{version}", self.emulator.version_text)

    def parse(self, sql):
        try:
            found = sqlglot.parse(sql, read="starrocks")
        except SqlglotError as error:
            raise SqlError(1064, f"Getting syntax error. Detail message: {str(error)[:200]}") from None
        except RecursionError:
            raise SqlError(1064, "Getting syntax error. Detail message: the statement is nested too deeply") from None
        found = [item for item in found if item is not None]
        if len(found) != 1:
            raise SqlError(1064, f"Getting syntax error. Detail message: {len(found)} statements in one.")
        return found[0]

    def information_schema(self, name, session):
        return relation(self, name.lower(), session)

    # Statements

    def run(self, sql, session, db):
        self.store.local.session = session
        try:
            return self.dispatch(sql, session, db)
        except LoadError as error:
            raise SqlError(1064, error.message) from None
        finally:
            self.store.local.session = None

    def dispatch(self, sql, session, db):
        words = Words(sql)
        if words.is_done:
            return Result()
        first = words.tokens[0].value.upper() if words.tokens[0].kind == "word" else words.tokens[0].value
        if first in ("SELECT", "WITH", "("):
            return self.select(sql, session, db)
        words.place = 1
        if first == "USE":
            name = words.name()
            self.check_database(name)
            return Result(database=name)
        if first == "SET":
            return self.set(sql, words, session)
        if first in ("BEGIN", "START", "COMMIT", "ROLLBACK"):
            return Result()
        if first == "SHOW":
            return self.show.run(words, session, db)
        if first == "ADMIN" and words.take("SHOW", "FRONTEND", "CONFIG"):
            self.require("ALL", "*", None)
            return self.show.config(words)
        if first in ("DESC", "DESCRIBE"):
            return self.show.describe(*words.qualified(db))
        if first in ("CREATE", "DROP", "TRUNCATE", "ALTER"):
            return self.define(first, words, db)
        if first == "CANCEL":
            self.alter.cancel(words, db)
            return Result()
        if first in ("INSERT", "UPDATE", "DELETE"):
            return Result(affected=self.changes.run(self.parse(sql), session, db))
        if first == "SYNC":
            # https://docs.starrocks.io/docs/sql-reference/sql-statements/cluster-management/nodes_processes/SYNC
            return Result()
        words.place = 0
        words.fail()

    def check_database(self, name):
        if name.lower() != "information_schema" and name not in self.store.databases:
            raise SqlError(5501 if self.emulator.version >= (3, 1) else 1049, f"Unknown database '{name}'")

    def select(self, sql, session, db):
        query = Translator(self, session, db).query(self.parse(sql))
        return Result(query.columns, self.fetch(query))

    def fetch(self, query):
        """A query's rows as the text protocol has them."""
        cursor = self.store.connection().execute(query.sql)
        shows = [
            (
                lambda value: (
                    value
                    if isinstance(value, bytes) or value is None
                    else show_float(value)
                    if isinstance(value, float)
                    else str(value)
                )
            )
            if kind is None
            else kind.show
            for _, kind in query.columns
        ]
        return [[show(value) for show, value in zip(shows, row)] for row in cursor]

    def set(self, sql, words, session):
        """SET: variables that StarRocks has, and NAMES and its like."""
        if (
            words.peek("NAMES")
            or words.peek("CHARACTER")
            or words.peek("CHARSET")
            or words.peek("PASSWORD")
            or words.peek("ROLE")
        ):
            return Result()
        while not words.is_done:
            for scope in ("SESSION", "GLOBAL", "LOCAL"):
                words.take(scope)
            name = words.name() if not words.peek("@@SESSION") else words.name()
            name = re.sub(r"^@@(?:session\.|global\.)?", "", name.lower())
            if name == "transaction":
                return Result()
            if not words.take("="):
                words.expect(":", "=")
            if not name.startswith("@") and name not in VARIABLES:
                raise SqlError(
                    1193,
                    f"Getting analyzing error. Detail message: Unknown system variable '{name}', the most similar "
                    "variables are {'version'}.",
                )
            value = words.tokens[words.place].value if not words.is_done else words.fail()
            while not words.is_done and not words.take(","):
                words.place += 1
            if session:
                session.variables_set[name] = value
        return Result()

    # Definitions

    def define(self, verb, words, db):
        if verb == "CREATE":
            return self.create(words, db)
        if verb == "DROP":
            return self.drop(words, db)
        words.expect("TABLE")
        if verb == "ALTER":
            self.alter.alter_table(words, db)
            return Result()
        database, name = words.qualified(db)
        self.require("DELETE", database, name)
        self.store_wait(database, name)
        with self.store.write() as connection:
            table = self.find(database, name)
            if table.is_view:
                raise analyzing(f"Only support truncate table but {name} is VIEW")
            connection.execute(f"DELETE FROM {table.store}")
        return Result()

    def store_wait(self, db, name):
        """A statement that writes by itself stands behind the versions that are committed and not yet visible."""
        transactions = self.emulator.transactions
        for row in (
            self.store.connection().execute("SELECT id, tables FROM sr_transaction WHERE state = 'COMMITTED'").fetchall()
        ):
            if f'"{db}.{name}"' in row[1]:
                transactions.wait_visible(row[0], 60)

    def create(self, words, db):
        is_replacing = words.take("OR", "REPLACE")
        if words.take("DATABASE") or words.take("SCHEMA"):
            is_optional = words.take("IF", "NOT", "EXISTS")
            name = words.name()
            self.require("CREATE DATABASE", name, None)
            if not words.is_done and not words.take("PROPERTIES"):
                words.fail()
            if not NAME.match(name):
                raise analyzing(f"Incorrect database name '{name}'")
            with self.store.write() as connection:
                if name not in self.store.databases:
                    self.store.add_database(connection, name)
                elif not is_optional:
                    raise SqlError(1007, f"Can't create database '{name}'; database exists")
            return Result()
        if words.take("VIEW"):
            return self.create_view(words, db, is_replacing)
        words.take("EXTERNAL")
        words.expect("TABLE")
        is_optional = words.take("IF", "NOT", "EXISTS")
        database, name = words.qualified(db)
        if words.peek("LIKE") or words.peek("AS"):
            raise SqlError(1064, "Test emulator: CREATE TABLE LIKE and AS are not supported.")
        self.check_new(database, name, "CREATE TABLE")
        spec = create_table(words, database, self.emulator.version)
        with self.store.write() as connection:
            if (database, name) not in self.store.tables:
                self.store.add_table(connection, database, name, spec)
            elif not is_optional:
                raise SqlError(1050, f"Getting analyzing error. Detail message: Table '{name}' already exists.")
        return Result()

    def check_new(self, database, name, privilege):
        if database not in self.store.databases:
            raise analyzing(f"Unknown database '{database}'", 5501)
        self.require(privilege, database, None)
        if not name or len(name) > 1024 or "\0" in name or "/" in name:
            raise analyzing(f"Incorrect table name {name}")

    def create_view(self, words, db, is_replacing):
        is_optional = words.take("IF", "NOT", "EXISTS")
        database, name = words.qualified(db)
        self.check_new(database, name, "CREATE VIEW")
        names = None
        if words.peek("("):
            words.expect("(")
            names = []
            while not words.take(")"):
                names.append(words.name())
                if words.take("COMMENT"):
                    words.text()
                words.take(",")
        comment = words.text() if words.take("COMMENT") else ""
        words.expect("AS")
        sql = words.rest()
        query = Translator(self, None, database).query(self.parse(sql))
        if names is not None and len(names) != len(query.columns):
            raise analyzing("The column names and the query's columns differ in number")
        shown = names or [column for column, _ in query.columns]
        if len({column.lower() for column in shown}) != len(shown):
            raise analyzing("Duplicate column name in the view", 1060)
        columns = [
            {
                "name": column,
                "store": "",
                "key": False,
                "type": kind.text() if kind else "varchar(65533)",
                "nullable": True,
                "comment": "",
            }
            for column, (_, kind) in zip(shown, query.columns)
        ]
        spec = {"kind": "view", "sql": sql, "names": names, "comment": comment, "columns": columns}
        with self.store.write() as connection:
            old = self.store.tables.get((database, name))
            if old is not None and not (is_replacing and old.is_view):
                if is_optional:
                    return Result()
                raise SqlError(1050, f"Getting analyzing error. Detail message: Table '{name}' already exists.")
            if old is not None:
                self.store.drop_table(connection, old)
            self.store.add_table(connection, database, name, spec)
        return Result()

    def drop(self, words, db):
        if words.take("DATABASE") or words.take("SCHEMA"):
            is_optional = words.take("IF", "EXISTS")
            name = words.name()
            words.take("FORCE")
            self.require("DROP", name, None)
            with self.store.write() as connection:
                if name in self.store.databases:
                    self.store.drop_database(connection, name)
                elif not is_optional:
                    raise SqlError(1008, f"Can't drop database '{name}'; database doesn't exist")
            return Result()
        is_view = words.take("VIEW")
        if not is_view:
            words.expect("TABLE")
        is_optional = words.take("IF", "EXISTS")
        database, name = words.qualified(db)
        words.take("FORCE")
        if not words.is_done:
            words.fail()
        self.require("DROP", database, name)
        with self.store.write() as connection:
            table = self.store.tables.get((database, name))
            if table is None or table.is_view != is_view:
                if is_optional:
                    return Result()
                raise analyzing(f"Unknown {'view' if is_view else 'table'} '{database}.{name}'", 5502)
            self.store.drop_table(connection, table)
        return Result()


__all__ = ["Engine", "Query", "Result"]
