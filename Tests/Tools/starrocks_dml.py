"""INSERT, UPDATE and DELETE.

# Unverified:
# - the words for a value that a column does not take
# - DELETE on a table without primary key takes any condition here
"""

import uuid

from sqlglot import exp

from starrocks_apply import Part, encoded_key_length
from starrocks_ddl import analyzing
from starrocks_errors import SqlError
from starrocks_functions import cast, literal
from starrocks_load import LONGEST_KEY
from starrocks_translate import Source, Translator
from starrocks_types import OutOfRange


class Changes:
    def __init__(self, engine):
        self.engine, self.store = engine, engine.store

    def run(self, node, session, db):
        """The number of rows that were changed."""
        if isinstance(node, exp.Insert):
            return self.insert(node, session, db)
        if isinstance(node, exp.Update):
            return self.update(node, session, db)
        if isinstance(node, exp.Delete):
            return self.delete(node, session, db)
        raise SqlError(1064, "Getting syntax error. Detail message: no such statement")

    def target(self, node, db, privilege, session):
        database = node.args["db"].name if node.args.get("db") else db
        if not database:
            raise SqlError(1046, "Getting analyzing error. Detail message: No database selected")
        table = self.engine.find(database, node.name)
        self.engine.require(privilege, database, node.name, session)
        if table.is_view:
            raise analyzing(f"the data of '{node.name}' cannot be changed because '{node.name}' is a view")
        return table

    # INSERT

    def insert(self, node, session, db):
        if node.args.get("overwrite") or node.args.get("ignore"):
            raise SqlError(1064, "Test emulator: INSERT OVERWRITE and IGNORE are not supported.")
        target, names = node.this, None
        if isinstance(target, exp.Schema):
            target, names = target.this, [item.name for item in target.expressions]
        table = self.target(target, db, "INSERT", session)
        columns = self.insert_columns(table, names)
        rows = [self.row(table, columns, row) for row in self.values(node.expression, columns, session, db)]
        self.write(table, rows)
        return len(rows)

    @staticmethod
    def insert_columns(table, names):
        if names is None:
            return table.columns
        columns = []
        for name in names:
            if not table.column(name):
                raise analyzing(f"Unknown column '{name}' in '{table.name}'", 1054)
            if table.column(name) in columns:
                raise analyzing(f"Column '{name}' specified twice", 1110)
            columns.append(table.column(name))
        for column in table.columns:
            if column not in columns and not column.has_default and not column.is_nullable:
                raise analyzing(f"'{column.name}' must be explicitly mentioned in column permutation")
        return columns

    def values(self, node, columns, session, db):
        """Rows of values in the columns' forms."""
        if isinstance(node, exp.Values):
            for item in node.expressions:
                cells = (
                    item.expressions if isinstance(item, exp.Tuple) else [item.this if isinstance(item, exp.Paren) else item]
                )
                if len(cells) != len(columns):
                    raise analyzing("Column count doesn't match value count", 1058)
                yield [self.cell(cell, column, session, db) for cell, column in zip(cells, columns)]
            return
        query = Translator(self.engine, session, db).query(node)
        if len(query.columns) != len(columns):
            raise analyzing("Column count doesn't match value count", 1058)
        for row in self.store.connection().execute(query.sql).fetchall():
            yield [self.converted(value, kind, column) for value, (_, kind), column in zip(row, query.columns, columns)]

    def cell(self, node, column, session, db):
        if isinstance(node, exp.Null):
            return None
        if isinstance(node, (exp.Array, exp.Bracket)) and column.type.name == "ARRAY":
            return self.read(column, self.array(node))
        if isinstance(node, exp.Literal):
            return self.read_literal(column, node.name, node.is_string)
        if type(node).__name__ == "Default" or isinstance(node, exp.Var) and node.name.upper() == "DEFAULT":
            return column.default_value()
        text, kind = Translator(self.engine, session, db).translate(node)
        return self.converted(self.store.connection().execute(f"SELECT {text}").fetchone()[0], kind, column)

    def array(self, node):
        parts = []
        for item in node.expressions:
            if isinstance(item, (exp.Array, exp.Bracket)):
                parts.append(self.array(item))
            elif isinstance(item, exp.Null):
                parts.append("null")
            elif isinstance(item, exp.Literal) and item.is_string:
                parts.append('"' + item.name.replace('"', '""') + '"')
            else:
                parts.append(item.sql())
        return "[" + ",".join(parts) + "]"

    def read_literal(self, column, text, is_string):
        if column.type.name == "VARBINARY":
            return column.type.limited(text.encode("utf-8", "surrogateescape"))
        return self.read(column, text)

    def converted(self, value, kind, column):
        if value is None or kind is not None and kind.text() == column.type.text():
            return value
        if isinstance(value, bytes) and column.type.name == "VARBINARY" and not (kind and kind.is_wide):
            return value
        found = cast(value, kind.text() if kind else "", column.type.text())
        if found is None:
            self.refuse(column, value)
        return found

    def read(self, column, text):
        try:
            return column.type.read(text)
        except (ValueError, OutOfRange):
            self.refuse(column, text)

    @staticmethod
    def refuse(column, value):
        raise SqlError(
            1064,
            f"Insert has filtered data in strict mode. Error: Value '{str(value)[:80]}' is out of range. "
            f"The type of '{column.name}' is {column.type.debug()}'.",
        )

    def row(self, table, columns, values):
        """A whole row in the table's order."""
        given = dict(zip((column.store for column in columns), values))
        row = tuple(given[c.store] if c.store in given else c.default_value() for c in table.columns)
        for column, value in zip(table.columns, row):
            if value is None and not column.is_nullable:
                raise SqlError(
                    1064, f"Insert has filtered data in strict mode. Error: NULL value in non-nullable column '{column.name}'."
                )
        if table.is_primary and encoded_key_length([c.type for c in table.keys], row[: len(table.keys)]) > LONGEST_KEY:
            raise SqlError(1064, "primary key size exceed the limit.")
        return row

    def write(self, table, rows):
        part = Part(
            table.id, [c.store for c in table.columns], [c.store for c in table.keys] if table.is_primary else [], rows, []
        )
        transactions = self.engine.emulator.transactions
        number = transactions.begin(table.db, [f"{table.db}.{table.name}"], f"insert_{uuid.uuid4()}", 14400, "insert")
        transactions.commit(number, part)

    # UPDATE and DELETE

    def scoped(self, table, session, db):
        """A translator whose only source is the table itself, under its own name in SQLite."""
        translator = Translator(self.engine, session, db)
        translator.sources.append(
            Source(table.name, {c.name.lower(): (f"{table.store}.{c.store}", c.type, c.name) for c in table.columns})
        )
        return translator

    def update(self, node, session, db):
        table = self.target(node.this, db, "UPDATE", session)
        if not table.is_primary:
            raise analyzing(f"table {table.name} is not primary key table")
        if not node.args.get("where"):
            raise analyzing("must specify where clause to prevent full table update")
        translator, parts = self.scoped(table, session, db), []
        for item in node.expressions:
            column = table.column(item.this.name)
            if not column:
                raise analyzing(f"Unknown column '{item.this.name}' in '{table.name}'", 1054)
            if column.is_key:
                raise analyzing(f"primary key column cannot be updated: {column.name}")
            parts.append(f"{column.store} = {self.assigned(item.expression, column, translator, session, db)}")
        self.engine.store_wait(table.db, table.name)
        with self.store.write() as connection:
            return connection.execute(
                f"UPDATE {table.store} SET {', '.join(parts)} WHERE {translator.text(node.args['where'].this)}"
            ).rowcount

    def assigned(self, node, column, translator, session, db):
        if isinstance(node, (exp.Null, exp.Literal, exp.Array)):
            value = self.cell(node, column, session, db)
            if value is None and not column.is_nullable:
                raise analyzing(f"NULL value in non-nullable column '{column.name}'")
            return literal(value)
        text, kind = translator.translate(node)
        if kind and kind.text() == column.type.text():
            return text
        return f"sr_cast({text}, {literal(kind.text() if kind else '')}, {literal(column.type.text())})"

    def delete(self, node, session, db):
        target = node.this
        table = self.target(target, db, "DELETE", session)
        if not node.args.get("where"):
            raise analyzing("Delete must specify where clause to prevent full table delete")
        where = self.scoped(table, session, db).text(node.args["where"].this)
        self.engine.store_wait(table.db, table.name)
        with self.store.write() as connection:
            return connection.execute(f"DELETE FROM {table.store} WHERE {where}").rowcount
