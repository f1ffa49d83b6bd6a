"""Decodes a load's body into rows, filters what the back end filters, and folds what is left to one operation a key.

# Unverified:
# - `__op` that is neither 0 nor 1 fails the load; the BE takes whatever is not 0 as a delete
# - the rows shown for errors of quoted CSV are the fields joined again
# - a DECIMAL past its precision is found by the sink, also in partial updates
"""

import itertools
import json

from starrocks_apply import Part, encoded_key_length
from starrocks_csv import Format, separator
from starrocks_errors import LoadError
from starrocks_plan import OPERATION
from starrocks_types import OutOfRange

LONGEST_KEY = 128
MAX_ERRORS = 50
BATCH = 5000


class Rejected(Exception):
    """Why a row is filtered; `row` is shown behind it."""

    def __init__(self, message, row=None):
        super().__init__(message)
        self.message, self.row = message, row


class Outcome:
    """What became of the rows."""

    def __init__(self):
        self.total = self.filtered = 0
        self.errors = []
        self.part = None

    @property
    def loaded(self):
        return self.total - self.filtered

    def reject(self, error, row):
        self.filtered += 1
        if len(self.errors) < MAX_ERRORS:
            shown = error.row if error.row is not None else row
            message = error.message if error.message.endswith(".") else error.message + "."
            self.errors.append(f"Error: {message}" + (f" Row: {shown}" if shown else ""))


def csv_format(headers):
    enclose, escape = headers.get("enclose", "")[:1], headers.get("escape", "")[:1]
    try:
        skip = int(headers.get("skip_header", "0"))
    except ValueError:
        raise LoadError("Invalid csv load skip_header format") from None
    if skip < 0:
        raise LoadError("skip_header must be equal or greater than 0")
    trim = boolean(headers, "trim_space", "Invalid trim space format. Must be bool type")
    return Format(
        separator(headers.get("column_separator", "\t"), "column_separator"),
        separator(headers.get("row_delimiter", "\n"), "row_delimiter"),
        enclose,
        escape,
        skip,
        trim,
    )


def boolean(headers, name, message):
    value = headers.get(name, "false").lower()
    if value not in ("true", "false"):
        raise LoadError(message)
    return value == "true"


def decode(plan, body, headers, strict):
    """The rows of a body as an Outcome with its Part, not yet written."""
    outcome = Outcome()
    form = None if plan.is_json else csv_format(headers)
    try:
        text, is_clean = body.decode("utf-8"), True
    except UnicodeDecodeError:
        text, is_clean = body.decode("utf-8", "surrogateescape"), False
    rows = iter(json_rows(text, headers, plan)) if plan.is_json else form.rows(text)
    decoder, fold = Decoder(plan, form, strict), Fold(plan)
    while batch := list(itertools.islice(rows, BATCH)):
        outcome.total += len(batch)
        values = decoder.columns(batch) if is_clean else None
        if values is not None:
            fold.add(values)
            continue
        for fields in batch:
            try:
                if not is_clean and any(not f.isascii() and has_surrogate(f) for f in fields if f):
                    raise Rejected("Invalid UTF-8 row")
                fold.add([decoder.row(fields)])
            except Rejected as error:
                outcome.reject(error, decoder.shown(fields))
    outcome.part = fold.part()
    return outcome


def has_surrogate(text):
    return any("\udc80" <= char <= "\udcff" for char in text)


class Decoder:
    """Rows of fields to (operation, values), or Rejected."""

    def __init__(self, plan, form, strict):
        self.plan, self.form, self.strict = plan, form, strict
        self.count = len(plan.names)
        self.operation_source = plan.operation_source
        self.constant = 0
        if plan.operation is not None:
            self.operation_source = None
            words = {"upsert": 0, "delete": 1, "0": 0, "1": 1}
            if plan.operation.function == "same":
                source = [n.lower() for n in plan.names].index(plan.operation.arguments[0].lower())
                self.operation_source = source
            else:
                self.constant = words.get(plan.operation.literal.lower())
                if self.constant is None:
                    raise LoadError(f"load op type string not supported: {plan.operation.literal}")

    def shown(self, fields):
        if self.form is None:
            return json.dumps(dict(zip(self.plan.names, fields)), ensure_ascii=False)
        return self.form.separator.join(fields).encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    def columns(self, rows):
        """[(operation, values)] for rows that are all right, column by column; None where one may not be."""
        if self.form is None or any(len(fields) != self.count for fields in rows):
            return None
        fields = list(zip(*rows))
        if self.operation_source is None:
            operations = [self.constant] * len(rows)
        else:
            column = fields[self.operation_source]
            if not {"0", "1"}.issuperset(column):
                return None
            operations = [0 if text == "0" else 1 for text in column]
        values = []
        for source, read, column in self.plan.outputs:
            try:
                if source is None:
                    found = [read(row) for row in rows]
                else:
                    read_column = column.type.read_column if read == column.type.read else column.type.read_column_base64
                    found = read_column(fields[source])
            except ValueError:
                return None
            if not column.is_nullable and None in found:
                return None
            values.append(found)
        return list(zip(operations, zip(*values)))

    def row(self, fields):
        if len(fields) != self.count:
            raise Rejected(
                f"Target column count: {self.count} doesn't match source value column count: {len(fields)}. "
                f"Column separator: {visible(self.form.separator)}, Row delimiter: {visible(self.form.delimiter)}"
            )
        values = []
        for source, read, column in self.plan.outputs:
            if source is None:
                value = self.derived(read, column, fields)
            else:
                field = fields[source]
                if field == "\\N" or field is None:
                    value = None
                else:
                    try:
                        value = read(field)
                    except OutOfRange as error:
                        raise Rejected(
                            f"Decimal '{error}' is out of range. The type of '{column.name}' is {column.type.debug()}'", ""
                        ) from None
                    except ValueError:
                        if self.strict:
                            self.refuse(source, field, column)
                        value = None
            if value is None and not column.is_nullable:
                raise Rejected(f"NULL value in non-nullable column '{column.name}'", self.debug_row(fields))
            values.append(value)
        return self.operation(fields), values

    def derived(self, evaluate, column, fields):
        try:
            return evaluate(fields)
        except OutOfRange as error:
            raise Rejected(
                f"Decimal '{error}' is out of range. The type of '{column.name}' is {column.type.debug()}'", ""
            ) from None
        except ValueError:
            if self.strict:
                raise Rejected(
                    f"Value '{self.shown(fields)[:50]}' is out of range. The type of '{column.name}' is {column.type.debug()}'"
                ) from None
            return None

    def refuse(self, source, field, column):
        length = len(field.encode("utf-8", "surrogateescape"))
        raise Rejected(
            f"The field (name = {column.name}, pos = {source}) is out of range. Type: {column.type.debug()}, "
            f"Value length: {length}, Value: {field}"
        )

    def debug_row(self, fields):
        shown = ("NULL" if f == "\\N" or f is None else f"'{f}'" for f in fields)
        return f"[{', '.join(shown)}]".encode("utf-8", "surrogateescape").decode("utf-8", "replace")

    def operation(self, fields):
        if self.operation_source is None:
            return self.constant
        text = fields[self.operation_source]
        if text == "0" or text is None and self.form is None:
            return 0
        if text == "1":
            return 1
        try:
            number = OPERATION.read(text)
        except ValueError:
            raise Rejected(
                f"The field (name = __op, pos = {self.operation_source}) is out of range. Type: TINYINT, "
                f"Value length: {len(text)}, Value: {text}"
            ) from None
        if number not in (0, 1):
            raise LoadError(f"Test emulator: __op is {number}, and has to be 0 or 1.")
        return number


def visible(text):
    """A separator as the BE's messages show it (string_2_asc)."""
    shown = (("\\n" if c == "\n" else "\\t" if c == "\t" else c if " " <= c <= "~" else f"0x{ord(c):x}") for c in text)
    return "'" + "".join(shown) + "'"


class Fold:
    """Keeps one operation a key, as the memtable does: the last, or with a merge condition the last of the greatest.

    So a delete that an upsert of the same load follows never happens: in a partial update the columns that the load does not
    have keep what they were before the delete. The plan counts such rows.
    """

    def __init__(self, plan):
        self.plan, table = plan, plan.table
        self.stores = [column.store for column in plan.columns]
        self.kinds = [column.type for column in table.keys]
        self.places = [plan.columns.index(column) for column in table.keys] if table.is_primary else []
        self.merge = plan.columns.index(plan.merge) if plan.merge else None
        self.last, self.rows = {}, []

    def add(self, rows):
        if not self.places:
            self.rows += [tuple(values) for _, values in rows]
            return
        last, places, merge = self.last, self.places, self.merge
        single = places[0] if len(places) == 1 else None
        for operation, values in rows:
            key = values[single] if single is not None else tuple(values[place] for place in places)
            if merge is not None and operation == 0 and (old := last.get(key)) and old[0] == 0:
                if old[1][merge] is not None and (values[merge] is None or values[merge] < old[1][merge]):
                    continue
            if self.plan.is_partial and operation == 0 and last.get(key, (0,))[0] == 1:
                self.plan.revived += 1
            last[key] = (operation, values)

    def part(self):
        plan, table = self.plan, self.plan.table
        defaults = [(column.store, value) for column, value in plan.defaults if value is not None]
        if not self.places:
            return Part(table.id, self.stores, [], self.rows, [], defaults)
        is_single = len(self.places) == 1
        if any(kind.storage in ("TEXT", "BLOB") for kind in self.kinds) or len(self.kinds) > 7:
            for key in self.last:
                if encoded_key_length(self.kinds, (key,) if is_single else key) > LONGEST_KEY:
                    raise LoadError("primary key size exceed the limit.")
        upserts = [tuple(values) for operation, values in self.last.values() if operation == 0]
        deletes = [(key,) if is_single else key for key, (operation, _) in self.last.items() if operation == 1]
        return Part(
            table.id,
            self.stores,
            [column.store for column in table.keys],
            upserts,
            deletes,
            defaults,
            plan.merge.store if plan.merge else None,
        )


def json_rows(text, headers, plan):
    """JSON objects as rows of text in the order of the plan's names; numbers keep their digits."""
    for name in ("jsonpaths", "json_root"):
        if headers.get(name):
            raise LoadError(f"Test emulator: {name} is not supported.")
    for column in plan.columns:
        if column.type.name in ("VARBINARY",):
            raise LoadError(f"Unsupported column type: {column.type.name}")
    is_array = headers.get("strip_outer_array", "").lower() == "true"
    try:
        if is_array:
            value = json.loads(text, parse_float=Number, parse_int=Number)
            if not isinstance(value, list):
                raise LoadError("failed to parse array, the input is not array, please check strip_outer_array")
        else:
            value, decoder, position = [], json.JSONDecoder(parse_float=Number, parse_int=Number), 0
            while position < len(text):
                if text[position] in " \t\r\n":
                    position += 1
                    continue
                item, position = decoder.raw_decode(text, position)
                value.append(item)
    except ValueError as error:
        raise LoadError(f"parse json failed: {error}") from None
    rows = []
    for item in value:
        if not isinstance(item, dict):
            raise LoadError(
                "The value is an array type in json document stream, you can set strip_outer_array=true to parse each element"
                if isinstance(item, list)
                else "the value should be object type"
            )
        members = {key.lower(): member for key, member in item.items()}
        rows.append([json_field(members.get(name.lower())) for name in plan.names])
    return rows


class Number(str):
    """A number as it was written."""


def json_field(value):
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(unwrap(value), ensure_ascii=False)


def unwrap(value):
    if isinstance(value, Number):
        return int(value) if value.lstrip("-").isdigit() else float(value)
    if isinstance(value, dict):
        return {key: unwrap(member) for key, member in value.items()}
    if isinstance(value, list):
        return [unwrap(member) for member in value]
    return value
