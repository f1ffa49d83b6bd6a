"""What a load's headers mean for its table: which field goes where, and what the front end refuses.

# Unverified:
# - a name in `columns` that is no column and no expression's argument is skipped by the front end; here it fails the load
# - `__op` on a table without primary key is skipped too by the front end, so that deletes become inserts; here it fails
# - what a partial update fills in for a DATE, DATETIME or JSON that is NOT NULL without a default
"""

import re

from starrocks_errors import LoadError
from starrocks_types import Type, read_hex

WIDE_TEXT = Type("VARCHAR", 1048576)
OPERATION = Type("TINYINT")


class Plan:
    """`fields` is for each field of a row its place in the output, its reader and its column; None skips the field."""

    def __init__(self, table, version, headers, is_json=False):
        self.table = table
        self.is_partial = headers.get("partial_update", "").lower() == "true"
        items = parse_columns(headers.get("columns", ""))
        names = [name for name, expression in items if expression is None]
        expressions = {name.lower(): expression for name, expression in items if expression is not None}
        self.check_names(items, table)
        if not names:
            names = [column.name for column in table.columns]
        if is_json and table.is_primary and "__op" not in [name.lower() for name, _ in items]:
            # A JSON object may say its operation without a word in the header.
            names = names + ["__op"]
        self.names, self.zero_filled, self.revived = names, [], 0
        arguments = {a.lower() for e in expressions.values() for a in e.arguments}
        self.operation_source = next((i for i, n in enumerate(names) if n.lower() == "__op"), None)
        self.operation = expressions.pop("__op", None)
        if (self.operation_source is not None or self.operation) and not table.is_primary:
            raise LoadError(f"Test emulator: __op needs a primary key table, {table.name} has none.")
        self.is_json = is_json
        for name in names:
            if not table.column(name) and name.lower() != "__op" and name.lower() not in arguments:
                raise LoadError(f"Test emulator: column {name} of the header is none of table {table.name}.")
        present = {n.lower() for n in names if table.column(n)} | set(expressions)
        if self.is_partial:
            self.check_partial(present)
        self.columns = [c for c in table.columns if c.name.lower() in present]
        self.defaults = []
        for column in table.columns:
            if column.name.lower() in present:
                continue
            if not column.has_default and not column.is_nullable and not self.is_partial:
                raise LoadError(f"Column has no default value. column: {column.name}")
            self.defaults.append((column, self.filled(column) if self.is_partial else column.default_value()))
        places = {name.lower(): index for index, name in enumerate(names)}
        # Source field, reader, column: in the table's order.
        self.outputs = []
        for column in self.columns:
            name = column.name.lower()
            if name in expressions:
                self.outputs.append((None, expressions[name].compile(places, column, version), column))
            else:
                self.outputs.append((places[name], reader(column.type, version), column))
        self.merge = self.check_merge(headers.get("merge_condition", ""), version)

    def filled(self, column):
        """What a partial update gives a row that was not there: the default, but no CURRENT_TIMESTAMP (issue 44464), and
        without one zero or an empty text, even where the column is NOT NULL (Load_to_Primary_Key_tables.md, issue 43833)."""
        if column.has_default and column.default != "CURRENT_TIMESTAMP":
            return column.default_value()
        if column.is_nullable:
            return None
        self.zero_filled.append(column)
        return column.type.zero()

    def check_names(self, items, table):
        seen, mapped = set(), set()
        for name, expression in items:
            if expression is None:
                if name.lower() in seen:
                    raise LoadError(f"Duplicate column: {name}")
                seen.add(name.lower())
                continue
            if name.lower() in mapped:
                raise LoadError(f"Duplicate column mapping: {name}")
            if not table.column(name) and name != "__op":
                raise LoadError(f"Mapping column is not in table. column: {name}")
            mapped.add(name.lower())

    def check_partial(self, present):
        if not self.table.is_primary:
            raise LoadError("Only primary key table support partial update")
        for column in self.table.keys:
            if column.name.lower() not in present:
                raise LoadError(f"key column {column.name} not in partial update columns")

    def check_merge(self, name, version):
        """After Load.checkMergeCondition."""
        if not name:
            return None
        if not self.table.is_primary:
            raise LoadError(f"Conditional update only support primary key table {self.table.name}")
        column = self.table.column(name)
        if not column:
            raise LoadError(f"Merge condition column {name} should be a column of the table {self.table.name}")
        if column.is_key:
            raise LoadError(f"Merge condition column {name} should not be primary key!")
        if column.type.name in ("CHAR", "VARCHAR", "JSON", "VARBINARY", "ARRAY"):
            raise LoadError("Merge condition column has invalid type maybe bitmap/hll/percentile/json/varchar!")
        if self.is_partial and version < (3, 1, 3):
            raise LoadError("Conditional update and partial update can not be used at the same time")
        if column not in self.columns:
            raise LoadError(f"Merge condition column {name} should be in the columns list")
        return column


def reader(kind, version):
    # StarRocks/starrocks pull request 26911, which was not taken back into 3.1; the documents still say hex.
    if kind.name == "VARBINARY" and version >= (3, 2, 0):
        return kind.read_varbinary_base64
    return kind.read


class Expression:
    """A function of one source column, of the few that loads of these types need."""

    def __init__(self, text):
        self.text = text.strip()
        match = re.fullmatch(r"(?is)([a-z_0-9]+)\s*\(\s*(`[^`]+`|[a-z_][\w]*)\s*(?:,\s*['\"]?([a-z0-9]+)['\"]?\s*)?\)", self.text)
        self.function = match[1].lower() if match else None
        self.format = (match[3] or "").lower() if match else ""
        self.arguments = [match[2].strip("`")] if match else []
        if not match:
            if literal := re.fullmatch(r"(?s)'([^']*)'|\"([^\"]*)\"|(-?[0-9]+)", self.text):
                self.literal = next(part for part in literal.groups() if part is not None)
            elif re.fullmatch(r"`[^`]+`|[A-Za-z_]\w*", self.text):
                self.function, self.arguments = "same", [self.text.strip("`")]
            else:
                raise LoadError(f"Test emulator: cannot work out the expression {self.text!r}.")

    def compile(self, places, column, version):
        """A function of the row's fields; its result is text for the column's type, or bytes for a VARBINARY."""
        if self.function is None:
            return lambda fields: column.type.read(self.literal)
        name = self.arguments[0].lower()
        if name not in places:
            raise LoadError(f"unknown reference column, column={self.arguments[0]}, reference={self.arguments[0]}")
        place = places[name]
        if self.function == "same":
            read = reader(column.type, version)
            return lambda fields: None if fields[place] == "\\N" else read(fields[place])
        if self.function == "parse_json" and column.type.name == "JSON":
            return lambda fields: None if fields[place] == "\\N" else column.type.read(fields[place])
        if self.function in ("substr", "substring") and self.format.isdigit():
            begin, read = int(self.format) - 1, reader(column.type, version)
            return lambda fields: None if fields[place] == "\\N" else read(fields[place][begin:])
        form = {"unhex": "hex", "to_binary": self.format or "hex", "hex_decode_binary": "hex"}.get(self.function)
        if form == "hex" and column.type.name == "VARBINARY":
            return lambda fields: None if fields[place] == "\\N" else column.type.limited(read_hex(fields[place]))
        if form == "encode64" and column.type.name == "VARBINARY" or self.function == "base64_decode_binary":
            import base64

            return lambda fields: (
                None if fields[place] == "\\N" else column.type.limited(base64.b64decode(fields[place], validate=True))
            )
        if form == "utf8" and column.type.name == "VARBINARY":
            return lambda fields: (
                None if fields[place] == "\\N" else column.type.limited(fields[place].encode("utf-8", "surrogateescape"))
            )
        raise LoadError(f"Test emulator: cannot work out the expression {self.text!r}.")


def parse_columns(text):
    """`a`, `b`, c = f(b) as pairs of name and Expression; None for a plain name."""
    items = []
    for item in split_top(text):
        name, equals, expression = item.partition("=")
        name = name.strip()
        if name.startswith("`") and name.endswith("`") and len(name) > 2:
            name = name[1:-1].replace("``", "`")
        elif not re.fullmatch(r"[A-Za-z_][\w$]*", name):
            raise LoadError(f"parse columns header failed: syntax error near {item.strip()!r}")
        items.append((name, Expression(expression) if equals else None))
    return items


def split_top(text):
    parts, start, depth, quote = [], 0, 0, ""
    for index, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"`":
            quote = char
        elif char in "()":
            depth += 1 if char == "(" else -1
        elif char == "," and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    rest = text[start:]
    return parts + ([rest] if rest.strip() or parts else [])
