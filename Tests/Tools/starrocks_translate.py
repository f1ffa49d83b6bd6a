"""Translates queries that sqlglot parsed from StarRocks' dialect into SQLite's, with the types of all columns.

Each expression becomes SQLite's text and a type (None for what has none of StarRocks'). A literal that meets a column is
written the way that the column's type is kept; big numbers that do not meet their like are compared by functions of ours.

# Unverified:
# - text that meets a number is compared as a double
# - the names of columns without alias are the expression's text in lower case
"""

from sqlglot import exp

from starrocks_errors import SqlError
from starrocks_expressions import Expressions
from starrocks_functions import unknown


class Source:
    """A table in FROM: its alias and its columns, lower-case name -> (SQLite's text, type, name as written)."""

    def __init__(self, alias, columns):
        self.alias, self.columns = alias, columns


class Query:
    """A translated query: SQLite's text, and the names and types of its columns."""

    def __init__(self, sql, columns):
        self.sql, self.columns = sql, columns


class Translator(Expressions):
    """`catalog` gives tables, views and information_schema; see Engine."""

    def __init__(self, engine, session, db, depth=0, with_tables=None):
        self.engine, self.session, self.db, self.depth = engine, session, db, depth
        self.with_tables = dict(with_tables or {})
        self.sources = []
        if depth > 20:
            raise unknown("views within views without end")

    def query(self, node):
        if isinstance(node, exp.Subquery):
            return self.query(node.this)
        if isinstance(node, exp.Union):
            return self.union(node)
        if not isinstance(node, exp.Select):
            raise unknown(f"the query {node.sql()[:80]}")
        return Translator(self.engine, self.session, self.db, self.depth + 1, self.with_tables).select(node)

    def union(self, node):
        self.read_with(node)
        left, right = self.query(node.this), self.query(node.expression)
        if len(left.columns) != len(right.columns):
            raise SqlError(1064, "Getting analyzing error. Detail message: Operands have unequal number of columns")
        word = "UNION" if node.args.get("distinct") else "UNION ALL"
        sql = f"SELECT * FROM ({left.sql}) {word} SELECT * FROM ({right.sql})"
        if node.args.get("order"):
            names = {name.lower(): i + 1 for i, (name, _) in enumerate(left.columns)}
            parts = []
            for item in node.args["order"].expressions:
                place = names.get(item.this.name.lower()) or int(item.this.name)
                parts.append(f"{place}{' DESC' if item.args.get('desc') else ''}")
            sql += f" ORDER BY {', '.join(parts)}"
        return Query(sql + self.limits(node), left.columns)

    def read_with(self, node):
        clause = node.args.get("with_") or node.args.get("with")
        for item in clause.expressions if clause else []:
            self.with_tables[item.alias.lower()] = self.query(item.this)

    def select(self, node):
        self.read_with(node)
        sql = self.from_clause(node)
        items = []
        for item in node.expressions:
            items += self.select_item(item)
        columns = [(name, kind) for name, _, kind in items]
        self.aliases = {name.lower(): (text, kind) for name, text, kind in items}
        self.items = items
        distinct = "DISTINCT " if node.args.get("distinct") else ""
        text = f"SELECT {distinct}{', '.join(f'{t} AS o{i}' for i, (_, t, _) in enumerate(items))}{sql}"
        if where := node.args.get("where"):
            text += f" WHERE {self.text(where.this)}"
        if group := node.args.get("group"):
            text += f" GROUP BY {', '.join(self.grouped(item) for item in group.expressions)}"
        if having := node.args.get("having"):
            text += f" HAVING {self.text(having.this)}"
        if order := node.args.get("order"):
            parts = [self.grouped(item.this) + (" DESC" if item.args.get("desc") else "") for item in order.expressions]
            text += f" ORDER BY {', '.join(parts)}"
        return Query(text + self.limits(node), columns)

    def limits(self, node):
        text = ""
        if limit := node.args.get("limit"):
            text += f" LIMIT {int(limit.expression.name)}"
        if offset := node.args.get("offset"):
            text += f"{'' if limit else ' LIMIT -1'} OFFSET {int(offset.expression.name)}"
        return text

    def grouped(self, node):
        """An item of GROUP BY or ORDER BY: an ordinal, an alias, or an expression."""
        if isinstance(node, exp.Literal) and not node.is_string:
            place = int(node.name)
            if not 1 <= place <= len(self.items):
                raise SqlError(
                    1064, f"Getting analyzing error. Detail message: ORDER BY position {place} is not in select list."
                )
            return self.items[place - 1][1]
        if isinstance(node, exp.Column) and not node.table and node.name.lower() in self.aliases:
            if not any(node.name.lower() in source.columns for source in self.sources):
                return self.aliases[node.name.lower()][0]
        return self.text(node)

    def select_item(self, item):
        """[(name, SQLite's text, type)]; several for a star."""
        if isinstance(item, exp.Star) or isinstance(item, exp.Column) and isinstance(item.this, exp.Star):
            wanted = item.table.lower() if isinstance(item, exp.Column) else ""
            sources = [source for source in self.sources if not wanted or source.alias.lower() == wanted]
            if not sources:
                raise SqlError(1064, "Getting analyzing error. Detail message: No tables used")
            return [(name, text, kind) for source in sources for text, kind, name in source.columns.values()]
        inner = item.this if isinstance(item, exp.Alias) else item
        text, kind = self.translate(inner)
        name = item.alias if isinstance(item, exp.Alias) else inner.name if isinstance(inner, exp.Column) else self.label(inner)
        return [(name, text, kind)]

    @staticmethod
    def label(node):
        if isinstance(node, exp.Literal):
            return f"'{node.name}'" if node.is_string else node.name
        if isinstance(node, exp.SessionParameter):
            return f"@@{node.this.name}"
        if isinstance(node, exp.CurrentVersion):
            return "current_version()"
        if isinstance(node, exp.CurrentSchema):
            return "database()"
        return node.sql(dialect="starrocks").lower()

    # FROM

    def from_clause(self, node):
        clause = node.args.get("from_") or node.args.get("from")
        if not clause:
            return ""
        sql = " FROM " + self.source(clause.this)
        for join in node.args.get("joins") or []:
            side = (join.side or "").upper()
            kind = (join.args.get("kind") or "").upper()
            if side == "LEFT":
                word = "LEFT JOIN"
            elif side:
                raise unknown(f"a {side} JOIN")
            else:
                word = "CROSS JOIN" if kind == "CROSS" or not join.args.get("on") and not join.args.get("using") else "JOIN"
            sql += f" {word} {self.source(join.this)}"
            if on := join.args.get("on"):
                sql += f" ON {self.text(on)}"
            elif using := join.args.get("using"):
                sql += " ON " + " AND ".join(self.joined(item.name) for item in using)
        return sql

    def joined(self, name):
        left = next(s for s in self.sources[:-1] if name.lower() in s.columns)
        return f"{left.columns[name.lower()][0]} = {self.sources[-1].columns[name.lower()][0]}"

    def source(self, node):
        if isinstance(node, exp.Subquery):
            return self.derived(node.alias or f"q{len(self.sources)}", self.query(node.this))
        if not isinstance(node, exp.Table):
            raise unknown(f"{node.sql()[:80]} in FROM")
        name, db = node.name, node.args["db"].name if node.args.get("db") else self.db
        alias = node.alias or name
        if not node.args.get("db") and name.lower() in self.with_tables:
            return self.derived(alias, self.with_tables[name.lower()])
        if db and db.lower() == "information_schema":
            query = self.engine.information_schema(name, self.session)
            return self.derived(alias, query)
        if not db:
            raise SqlError(1046, "Getting analyzing error. Detail message: No database selected")
        table = self.engine.find(db, name)
        self.engine.require("SELECT", db, name, self.session)
        if table.is_view:
            view = Translator(self.engine, None, db, self.depth + 1)
            return self.derived(alias, view.query(self.engine.parse(table.spec["sql"])), table.spec.get("names"))
        mark = f"s{self.depth}_{len(self.sources)}"
        columns = {c.name.lower(): (f"{mark}.{c.store}", c.type, c.name) for c in table.columns}
        self.sources.append(Source(alias, columns))
        return f"{table.store} AS {mark}"

    def derived(self, alias, query, names=None):
        mark = f"s{self.depth}_{len(self.sources)}"
        names = names or [name for name, _ in query.columns]
        columns = {name.lower(): (f"{mark}.o{i}", kind, name) for i, (name, (_, kind)) in enumerate(zip(names, query.columns))}
        self.sources.append(Source(alias, columns))
        return f"({query.sql}) AS {mark}"

    def column(self, node):
        name, wanted = node.name.lower(), (node.table or "").lower()
        found = [
            source.columns[name]
            for source in self.sources
            if name in source.columns and (not wanted or source.alias.lower() == wanted)
        ]
        if len(found) > 1:
            raise SqlError(1052, f"Getting analyzing error. Detail message: Column '{node.name}' is ambiguous.")
        if found:
            return found[0][0], found[0][1]
        if not wanted and name in getattr(self, "aliases", {}):
            return self.aliases[name]
        raise SqlError(
            1064, f"Getting analyzing error. Detail message: Column '{node.sql()}' cannot be resolved.".replace('"', "`")
        )
