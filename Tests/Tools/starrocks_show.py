"""SHOW and DESCRIBE."""

import re

from starrocks_alter import ALTER_COLUMNS
from starrocks_ddl import show_create
from starrocks_errors import SqlError
from starrocks_expressions import VARIABLES


def like(pattern):
    """A LIKE pattern as a regular expression."""
    parts = {"%": ".*", "_": "."}
    return re.compile("".join(parts.get(char) or re.escape(char) for char in pattern), re.S | re.I)


class Show:
    def __init__(self, engine):
        self.engine, self.store = engine, engine.store

    def result(self, names, rows):
        from starrocks_query import Result

        return Result([(name, None) for name in names], rows)

    def run(self, words, session, db):
        words.take("FULL")
        words.take("GLOBAL")
        words.take("SESSION")
        if words.take("DATABASES") or words.take("SCHEMAS"):
            return self.filtered(words, ["Database"], [[row[1]] for row in self.relation("schemata", session)])
        if words.take("TABLES"):
            name = words.name() if words.take("FROM") or words.take("IN") else db
            if not name:
                raise SqlError(1046, "Getting analyzing error. Detail message: No database selected")
            self.engine.check_database(name)
            rows = [[row[2]] for row in self.relation("tables", session) if row[1] == name]
            return self.filtered(words, [f"Tables_in_{name}"], rows)
        if words.take("CREATE"):
            return self.create(words, session, db)
        if words.take("VARIABLES"):
            rows = [[name, self.engine.variable(name, session)] for name in sorted(VARIABLES) if "." not in name]
            return self.filtered(words, ["Variable_name", "Value"], rows)
        if words.take("ALTER"):
            return self.alter(words, db)
        if words.take("COLUMNS") or words.take("FIELDS"):
            if not words.take("FROM"):
                words.expect("IN")
            return self.describe(*words.qualified(db))
        if words.take("GRANTS"):
            return self.grants(session)
        if words.take("WARNINGS") or words.take("ERRORS"):
            return self.result(["Level", "Code", "Message"], [])
        if words.take("STATUS") or words.take("PROCESSLIST") or words.take("ENGINES"):
            return self.result(["Variable_name", "Value"], [])
        if words.take("BACKENDS"):
            return self.result(
                ["BackendId", "IP", "HttpPort", "Alive"],
                [[str(10001 + i), "127.0.0.1", str(self.engine.emulator.be_port), "true"] for i in range(3)],
            )
        if words.take("FRONTENDS"):
            return self.result(
                ["Id", "IP", "QueryPort", "Role", "Alive"],
                [["1", "127.0.0.1", str(self.engine.emulator.options.mysql_port), "LEADER", "true"]],
            )
        words.fail()

    def relation(self, name, session):
        return self.engine.fetch(self.engine.information_schema(name, session))

    def filtered(self, words, names, rows):
        """LIKE 'pattern' or WHERE column = 'text' on the first column."""
        if words.take("LIKE"):
            pattern = like(words.text())
            rows = [row for row in rows if pattern.fullmatch(row[0])]
        elif words.take("WHERE"):
            place = [name.lower() for name in names].index(words.name().lower())
            is_like = words.take("LIKE")
            if not is_like:
                words.expect("=")
            pattern = like(words.text()) if is_like else re.compile(re.escape(words.text()))
            rows = [row for row in rows if pattern.fullmatch(row[place] or "")]
        if not words.is_done:
            words.fail()
        return self.result(names, rows)

    def create(self, words, session, db):
        is_view = words.take("VIEW")
        if not is_view:
            if words.take("DATABASE"):
                name = words.name()
                self.engine.check_database(name)
                return self.result(["Database", "Create Database"], [[name, f"CREATE DATABASE `{name}`"]])
            words.expect("TABLE")
        database, name = words.qualified(db)
        table = self.engine.find(database, name)
        if session is not None and not self.engine.emulator.users.sees(session.user, database, name):
            self.engine.require("SELECT", database, name, session)
        what = "View" if table.is_view else "Table"
        return self.result([what, f"Create {what}"], [[name, show_create(table)]])

    def alter(self, words, db):
        """SHOW ALTER TABLE COLUMN [FROM db] [WHERE …] [ORDER BY column [DESC]] [LIMIT n]."""
        words.expect("TABLE", "COLUMN")
        database = words.name() if words.take("FROM") or words.take("IN") else db
        if not database:
            raise SqlError(1046, "Getting analyzing error. Detail message: No database selected")
        if database not in self.store.databases:
            raise SqlError(5501, f"Getting analyzing error. Detail message: Unknown database '{database}'.")
        rows, names = self.engine.alter.show(database), [name.lower() for name in ALTER_COLUMNS]
        if words.take("WHERE"):
            while True:
                name = words.name().lower()
                if name not in ("tablename", "createtime", "finishtime", "state"):
                    raise SqlError(
                        1064,
                        f"Getting analyzing error. Detail message: The columns of TableName/CreateTime/FinishTime/State are "
                        f"supported. '{name}' is not.",
                    )
                words.expect("=")
                wanted, place = words.text(), names.index(name)
                rows = [row for row in rows if row[place] == wanted]
                if not words.take("AND"):
                    break
        if words.take("ORDER", "BY"):
            place = names.index(words.name().lower())
            is_descending = words.take("DESC")
            words.take("ASC")
            rows = sorted(rows, key=lambda row: (row[place] or "", int(row[0])), reverse=is_descending)
        if words.take("LIMIT"):
            rows = rows[: words.number()]
        if not words.is_done:
            words.fail()
        return self.result(ALTER_COLUMNS, rows)

    def config(self, words):
        """ADMIN SHOW FRONTEND CONFIG [LIKE 'pattern'], of what the emulator has."""
        settings, names = self.engine.emulator.settings, ("Key", "AliasNames", "Value", "Type", "IsMutable", "Comment")
        known = ("label_keep_max_num", "label_keep_max_second", "max_running_txn_num_per_db")
        return self.filtered(words, names, [[name, "[]", str(settings[name]), "int", "true", ""] for name in known])

    def describe(self, database, name):
        table = self.engine.find(database, name)
        rows = [
            [
                item.name,
                item.type.text(),
                "YES" if item.is_nullable else "NO",
                "true" if item.is_key else "false",
                item.default,
                "",
            ]
            for item in table.columns
        ]
        return self.result(["Field", "Type", "Null", "Key", "Default", "Extra"], rows)

    def grants(self, session):
        name = session.user if session else "root"
        grants = self.engine.emulator.users.users.get(name, {}).get("grants", [])
        rows = [
            [f"'{name}'@'%'", "default_catalog", f"GRANT {privilege} ON {target} TO USER '{name}'@'%'"]
            for privilege, target in grants
        ]
        return self.result(["UserIdentity", "Catalog", "Grants"], rows)
