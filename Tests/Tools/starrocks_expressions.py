"""Expressions of queries: their text in SQLite and their type in StarRocks."""

from sqlglot import exp

from starrocks_errors import SqlError
from starrocks_functions import literal, typed, unknown
from starrocks_types import Type, parse_type

BIGINT, DOUBLE, BOOLEAN, TEXT, LARGEINT, DATETIME = (
    parse_type(name) for name in ("bigint", "double", "boolean", "varchar(65533)", "largeint", "datetime")
)
INTEGERS = ("BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT")
COMPARISONS = {exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">", exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=", exp.NullSafeEQ: "IS"}
VARIABLES = {
    "version_comment": "StarRocks version {version}",
    "version": "8.0.33",
    "autocommit": "1",
    "max_allowed_packet": "33554432",
    "auto_increment_increment": "1",
    "sql_mode": "ONLY_FULL_GROUP_BY",
    "time_zone": "Asia/Shanghai",
    "wait_timeout": "28800",
    "character_set_client": "utf8",
    "character_set_connection": "utf8",
    "character_set_results": "utf8",
    "character_set_server": "utf8",
    "collation_server": "utf8_general_ci",
    "collation_connection": "utf8_general_ci",
    "interactive_timeout": "3600",
    "lower_case_table_names": "0",
    "net_buffer_length": "16384",
    "net_write_timeout": "60",
    "net_read_timeout": "60",
    "query_timeout": "300",
    "tx_isolation": "REPEATABLE-READ",
    "transaction_isolation": "REPEATABLE-READ",
    "init_connect": "",
    "license": "Apache License 2.0",
    "system_time_zone": "UTC",
    "performance_schema": "0",
    "query_cache_size": "1048576",
    "query_cache_type": "0",
    "tx_read_only": "OFF",
    "transaction_read_only": "OFF",
    "session.auto_increment_increment": "1",
    "session.transaction_isolation": "REPEATABLE-READ",
    "insert_timeout": "14400",
    "enable_insert_strict": "1",
    "insert_max_filter_ratio": "0",
    "exec_mem_limit": "2147483648",
    "sql_dialect": "StarRocks",
    "sql_select_limit": "9223372036854775807",
    "session.tx_isolation": "REPEATABLE-READ",
    "partial_update_mode": "auto",
}


class Expressions:
    """The part of Translator that knows expressions; it asks `column`, `query` and `engine`."""

    def text(self, node):
        return self.translate(node)[0]

    def translate(self, node):
        name = f"on_{type(node).__name__.lower()}"
        if hasattr(self, name):
            return getattr(self, name)(node)
        if type(node) in COMPARISONS:
            return self.compared(COMPARISONS[type(node)], node.this, node.expression), BOOLEAN
        raise unknown(f"{node.sql(dialect='starrocks')[:80]}")

    # Leaves

    def on_column(self, node):
        return self.column(node)

    def on_literal(self, node):
        if node.is_string:
            return literal(node.name), TEXT
        if any(mark in node.name for mark in ".eE"):
            return literal(float(node.name)), DOUBLE
        value = int(node.name)
        if value >= 1 << 63:
            return literal(LARGEINT.read(node.name)), LARGEINT
        return str(value), BIGINT

    def on_hexstring(self, node):
        return f"X'{node.name}'", parse_type("varbinary")

    def on_null(self, node):
        return "NULL", None

    def on_boolean(self, node):
        return str(int(bool(node.this))), BOOLEAN

    def on_sessionparameter(self, node):
        return self.variable(node.this.name)

    def on_parameter(self, node):
        return self.variable(node.this.name)

    def variable(self, name):
        value = self.engine.variable(name.lower(), self.session)
        if value is None:
            raise SqlError(1193, f"Getting analyzing error. Detail message: Unknown system variable '{name}'.")
        return literal(value), TEXT

    def on_currentversion(self, node):
        return literal(f"{self.engine.emulator.version_text}-6d81f75"), TEXT

    def on_currentschema(self, node):
        return literal(self.db), TEXT

    on_currentdatabase = on_currentschema

    def on_currentuser(self, node):
        return literal(f"'{self.session.user if self.session else 'root'}'@'%'"), TEXT

    def on_currenttimestamp(self, node):
        return "strftime('%Y-%m-%d %H:%M:%S', 'now') || '.000000'", DATETIME

    on_localtime = on_currenttimestamp

    # Logic

    def on_paren(self, node):
        text, kind = self.translate(node.this)
        return f"({text})", kind

    def on_and(self, node):
        return f"({self.text(node.this)} AND {self.text(node.expression)})", BOOLEAN

    def on_or(self, node):
        return f"({self.text(node.this)} OR {self.text(node.expression)})", BOOLEAN

    def on_not(self, node):
        return f"NOT ({self.text(node.this)})", BOOLEAN

    def on_is(self, node):
        right = "NULL" if isinstance(node.expression, exp.Null) else self.text(node.expression)
        return f"({self.text(node.this)} IS {right})", BOOLEAN

    def on_in(self, node):
        if query := node.args.get("query"):
            return f"({self.text(node.this)} IN ({self.query(query).sql}))", BOOLEAN
        kinds = self.translate(node.this)
        items = [self.literal_for(kinds[1], item) for item in node.expressions]
        if all(item is not None for item in items):
            return f"({kinds[0]} IN ({', '.join(items)}))", BOOLEAN
        return "(" + " OR ".join(self.compared("=", node.this, item) for item in node.expressions) + ")", BOOLEAN

    def on_between(self, node):
        low, high = node.args["low"], node.args["high"]
        return f"({self.compared('>=', node.this, low)} AND {self.compared('<=', node.this, high)})", BOOLEAN

    def on_like(self, node):
        return f"({self.text(node.this)} LIKE {self.text(node.expression)} ESCAPE '\\')", BOOLEAN

    def on_exists(self, node):
        return f"EXISTS ({self.query(node.this).sql})", BOOLEAN

    def on_subquery(self, node):
        query = self.query(node.this)
        return f"({query.sql})", query.columns[0][1]

    def on_case(self, node):
        parts, kinds = [], []
        for item in node.args["ifs"]:
            test = self.compared("=", node.this, item.this) if node.this else self.text(item.this)
            text, kind = self.translate(item.args["true"])
            parts.append(f"WHEN {test} THEN {text}")
            kinds.append(kind)
        if other := node.args.get("default"):
            text, kind = self.translate(other)
            parts.append(f"ELSE {text}")
            kinds.append(kind)
        return f"CASE {' '.join(parts)} END", next((kind for kind in kinds if kind), None)

    def on_if(self, node):
        yes, kind = self.translate(node.args["true"])
        no, other = self.translate(node.args["false"]) if node.args.get("false") else ("NULL", None)
        return f"CASE WHEN {self.text(node.this)} THEN {yes} ELSE {no} END", kind or other

    def on_coalesce(self, node):
        items = [self.translate(item) for item in [node.this, *node.expressions]]
        kind = next((kind for _, kind in items if kind), None)
        texts = [self.literal_for(kind, item) or text for item, (text, _) in zip([node.this, *node.expressions], items)]
        return f"coalesce({', '.join(texts)})", kind

    # Comparing

    def literal_for(self, kind, node):
        """A literal the way a type is kept; None where it is no literal or none of the type's."""
        text = node.name if isinstance(node, exp.Literal) else None
        if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal) and not node.this.is_string:
            text = "-" + node.this.name
        if isinstance(node, exp.Boolean):
            text = str(int(bool(node.this)))
        if text is None or kind is None:
            return None
        if kind.name in ("VARBINARY",):
            return literal(text.encode("utf-8", "surrogateescape"))
        if kind.name in ("VARCHAR", "CHAR"):
            return literal(text) if node.is_string else None
        try:
            value = typed(kind, text)
        except ValueError:
            return None
        # What rounding would change is compared by value.
        if kind.name == "DECIMAL" and len(text.partition(".")[2]) > kind.scale or kind.name == "FLOAT":
            return None
        return literal(value)

    def compared(self, sign, left, right):
        (a, a_kind), (b, b_kind) = self.translate(left), self.translate(right)
        if (text := self.literal_for(a_kind, right)) is not None:
            return f"({a} {sign} {text})"
        if (text := self.literal_for(b_kind, left)) is not None:
            return f"({text} {sign} {b})"
        names = {kind.name if kind else "" for kind in (a_kind, b_kind)}
        if any(kind and kind.is_wide for kind in (a_kind, b_kind)) and not (
            a_kind and b_kind and a_kind.is_wide and b_kind.is_wide and a_kind.digits == b_kind.digits
        ):
            scales = [kind.digits if kind else 0 for kind in (a_kind, b_kind)]
            if "" in names:
                return f"({a} {sign} {b})"
            return f"(sr_compare({a}, {scales[0]}, {b}, {scales[1]}) {sign} 0)"
        texts, numbers = names & {"VARCHAR", "CHAR"}, names & {*INTEGERS, "DOUBLE", "FLOAT"}
        if texts and numbers:
            a, b = (f"CAST({t} AS REAL)" if k.name in ("VARCHAR", "CHAR") else t for t, k in ((a, a_kind), (b, b_kind)))
        if names == {"DATE", "DATETIME"}:
            a, b = (f"({t} || ' 00:00:00.000000')" if k.name == "DATE" else t for t, k in ((a, a_kind), (b, b_kind)))
        return f"({a} {sign} {b})"

    # Arithmetic

    def on_neg(self, node):
        if isinstance(node.this, exp.Literal) and not node.this.is_string:
            return self.negative(node.this.name)
        text, kind = self.translate(node.this)
        if kind and kind.is_wide:
            return f"sr_arithmetic('-', 0, 0, {text}, {kind.digits}, {kind.digits})", kind
        return f"(-{text})", kind

    def negative(self, digits):
        if any(mark in digits for mark in ".eE"):
            return literal(-float(digits)), DOUBLE
        value = -int(digits)
        return (literal(LARGEINT.read(str(value))), LARGEINT) if value < -(1 << 63) else (literal(value), BIGINT)

    def arithmetic(self, sign, node):
        (a, a_kind), (b, b_kind) = self.translate(node.this), self.translate(node.expression)
        kinds = [kind for kind in (a_kind, b_kind) if kind]
        if any(kind.is_wide for kind in kinds) and not any(kind.name in ("DOUBLE", "FLOAT") for kind in kinds):
            scales = [kind.digits if kind else 0 for kind in (a_kind, b_kind)]
            scale = sum(scales) if sign == "*" else max(scales)
            kind = LARGEINT if not any(kind.name == "DECIMAL" for kind in kinds) else Type("DECIMAL", 38, scale)
            return f"sr_arithmetic('{sign}', {a}, {scales[0]}, {b}, {scales[1]}, {scale})", kind
        if any(kind.name in ("DOUBLE", "FLOAT") for kind in kinds):
            return f"({self.real(a, a_kind)} {sign} {self.real(b, b_kind)})", DOUBLE
        return f"({a} {sign} {b})", BIGINT

    @staticmethod
    def real(text, kind):
        return f"sr_real({text}, {kind.digits})" if kind and kind.is_wide else f"CAST({text} AS REAL)"

    def on_add(self, node):
        return self.arithmetic("+", node)

    def on_sub(self, node):
        return self.arithmetic("-", node)

    def on_mul(self, node):
        return self.arithmetic("*", node)

    def on_div(self, node):
        (a, a_kind), (b, b_kind) = self.translate(node.this), self.translate(node.expression)
        return f"({self.real(a, a_kind)} / nullif({self.real(b, b_kind)}, 0))", DOUBLE

    def on_mod(self, node):
        return f"({self.text(node.this)} % {self.text(node.expression)})", BIGINT

    # Aggregates

    def on_count(self, node):
        inner = node.this
        if isinstance(inner, exp.Star):
            return "count(*)", BIGINT
        if isinstance(inner, exp.Distinct):
            if len(inner.expressions) > 1:
                raise unknown("count(distinct) of several columns")
            return f"count(DISTINCT {self.text(inner.expressions[0])})", BIGINT
        return f"count({self.text(inner)})", BIGINT

    def on_min(self, node):
        text, kind = self.translate(node.this)
        return f"min({text})", kind

    def on_max(self, node):
        text, kind = self.translate(node.this)
        return f"max({text})", kind

    def on_anyvalue(self, node):
        return self.on_min(node)

    def on_sum(self, node):
        text, kind = self.translate(node.this)
        if kind and kind.is_wide:
            return f"sr_sum({text})", LARGEINT if kind.name == "LARGEINT" else Type("DECIMAL", 38, kind.scale)
        is_integer = kind and kind.name in INTEGERS
        return f"sum({text})", BIGINT if is_integer else DOUBLE

    def on_avg(self, node):
        text, kind = self.translate(node.this)
        return f"avg({self.real(text, kind)})", DOUBLE

    # Functions

    def on_cast(self, node):
        target = node.args["to"].sql(dialect="starrocks")
        target = {"SIGNED": "BIGINT", "UNSIGNED": "BIGINT", "VARCHAR": "STRING", "CHAR": "STRING"}.get(target.upper(), target)
        kind = parse_type(target)
        text, source = self.translate(node.this)
        return f"sr_cast({text}, {literal(source.text() if source else '')}, {literal(kind.text())})", kind

    def on_hex(self, node):
        return f"sr_hex({self.text(node.this)})", TEXT

    on_lowerhex = on_hex

    def on_unhex(self, node):
        return f"sr_unhex({self.text(node.this)})", parse_type("varbinary")

    def on_lower(self, node):
        return f"lower({self.text(node.this)})", TEXT

    def on_upper(self, node):
        return f"upper({self.text(node.this)})", TEXT

    def on_length(self, node):
        return f"sr_bytes({self.text(node.this)})", BIGINT

    def on_concat(self, node):
        return f"sr_concat({', '.join(self.shown(item) for item in node.expressions)})", TEXT

    def on_substring(self, node):
        parts = [self.text(node.this), self.text(node.args["start"])]
        if node.args.get("length"):
            parts.append(self.text(node.args["length"]))
        return f"substr({', '.join(parts)})", TEXT

    def on_abs(self, node):
        text, kind = self.translate(node.this)
        if kind and kind.is_wide:
            return f"sr_cast(ltrim(sr_cast({text}, {literal(kind.text())}, 'string'), '-'), '', {literal(kind.text())})", kind
        return f"abs({text})", kind

    def on_parsejson(self, node):
        return f"sr_cast({self.text(node.this)}, '', 'json')", parse_type("json")

    def shown(self, node):
        text, kind = self.translate(node)
        return f"sr_cast({text}, {literal(kind.text())}, 'string')" if kind and kind.name not in ("VARCHAR", "CHAR") else text

    def on_anonymous(self, node):
        name, arguments = node.name.lower(), node.expressions
        if name in ("version", "current_version"):
            return self.on_currentversion(node)
        if name == "connection_id":
            return str(self.session.connection_id if self.session else 0), BIGINT
        if name in ("user", "session_user"):
            return self.on_currentuser(node)
        if name == "char_length":
            return f"sr_chars({self.text(arguments[0])})", BIGINT
        if name == "sleep":
            return "1", BOOLEAN
        if name in ("to_binary", "from_binary") and arguments:
            form = arguments[1].name.lower() if len(arguments) > 1 else "hex"
            if form == "hex":
                return (
                    (f"sr_unhex({self.text(arguments[0])})", parse_type("varbinary"))
                    if name == "to_binary"
                    else (f"sr_hex({self.text(arguments[0])})", TEXT)
                )
        raise SqlError(1064, f"Getting analyzing error. Detail message: No matching function with signature: {name}().")
