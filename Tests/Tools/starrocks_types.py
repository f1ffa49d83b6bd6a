"""StarRocks' types: how a value is read from a load, kept in SQLite, compared there, and written to a client.

How values are kept, so that SQLite's own comparisons, min and max are right: booleans and integers as INTEGER; LARGEINT and
DECIMAL as 16 bytes, big end first, the (unscaled) number plus 2^127; floats as REAL, but -0, which SQLite would make 0, as the
text `-0` (so it is shown right and compared wrong); text, JSON and arrays as TEXT; DATE as
`YYYY-MM-DD`, DATETIME always with six digits behind the point; VARBINARY as BLOB.

# Unverified:
# - FLOAT and DOUBLE refuse nan, inf and infinity, which the BE's string_to_float may take
# - DATETIME refuses a zone or any other rest behind the value
# - text for DATE and DATETIME in the old short forms (20240101, 24-1-1) is refused
"""

import base64
import json
import re
import struct

from starrocks_errors import SqlError
from starrocks_json import normal_json, show_float

INTEGERS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64, "LARGEINT": 128}
OFFSET = 1 << 127
MAX_VARCHAR = 1048576
STRING_LENGTH = 65533
INTEGER = re.compile(r"[ \t]*([+-]?[0-9]+)[ \t]*\Z")
FLOAT = re.compile(r"[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t]*\Z")
DECIMAL = re.compile(r"[ \t]*([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]{1,4}))?[ \t]*\Z")
DATETIME = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:[ T]([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:\.([0-9]+))?)?\Z")
CLOCK = re.compile(r" (?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}\Z")
DAYS = set()
DIGITS = frozenset("0123456789-+")
ALIASES = {
    "INTEGER": "INT",
    "STRING": "VARCHAR",
    "TEXT": "VARCHAR",
    "BOOL": "BOOLEAN",
    "BINARY": "VARBINARY",
    "NUMERIC": "DECIMAL",
    "DECIMAL32": "DECIMAL",
    "DECIMAL64": "DECIMAL",
    "DECIMAL128": "DECIMAL",
    "JSONB": "JSON",
}
NAMES = {"BOOLEAN", "FLOAT", "DOUBLE", "DECIMAL", "CHAR", "VARCHAR", "DATE", "DATETIME", "JSON", "VARBINARY", *INTEGERS}
MINUS_ZERO = "-0"
MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def pack(number):
    return (number + OFFSET).to_bytes(16, "big")


def unpack(data):
    return int.from_bytes(data, "big") - OFFSET


def byte_length(text):
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))


def negative_zero(value):
    return MINUS_ZERO if value == 0 and str(value).startswith("-") else value


class OutOfRange(ValueError):
    """A decimal that does not fit: found by the table's sink, so strict_mode does not make it NULL."""


class Type:
    """One of StarRocks' types; `size` is the length in bytes or the precision."""

    def __init__(self, name, size=None, scale=None, element=None):
        self.name, self.size, self.scale, self.element = name, size, scale, element
        self.read = getattr(self, f"read_{name.lower()}", None) or self.read_integer
        if name in INTEGERS:
            half = 1 << (INTEGERS[name] - 1)
            self.low, self.high = -half, half - 1

    def __eq__(self, other):
        return isinstance(other, Type) and self.text() == other.text()

    @property
    def is_wide(self):
        return self.name in ("LARGEINT", "DECIMAL")

    @property
    def digits(self):
        """The scale of the number that the 16 bytes hold."""
        return self.scale or 0

    # Reading: what the CSV converters do with a field, ValueError where they say no

    def read_integer(self, text):
        match = INTEGER.match(text)
        if not match:
            raise ValueError
        number = int(match[1])
        if not self.low <= number <= self.high:
            raise ValueError
        return number

    def read_column(self, texts):
        """All values of a column, None for the text of NULL; ValueError where one is wrong."""
        if self.name in ("TINYINT", "SMALLINT", "INT", "BIGINT") and DIGITS.issuperset("".join(t for t in texts if t != "\\N")):
            values = [None if text == "\\N" else int(text) for text in texts]
            numbers = [value for value in values if value is not None] if None in values else values
            if numbers and not (self.low <= min(numbers) and max(numbers) <= self.high):
                raise ValueError
            return values
        read = self.read
        return [None if text == "\\N" else read(text) for text in texts]

    def read_largeint(self, text):
        return pack(self.read_integer(text))

    def read_boolean(self, text):
        word = text.strip(" \t").lower()
        if word in ("true", "false"):
            return int(word == "true")
        return int(float(self.read_double(text)) != 0)

    def read_double(self, text):
        if not FLOAT.match(text):
            raise ValueError
        value = float(text)
        if value in (float("inf"), float("-inf")):
            raise ValueError
        return negative_zero(value)

    def read_float(self, text):
        try:
            return negative_zero(struct.unpack("<f", struct.pack("<f", float(self.read_double(text))))[0])
        except OverflowError:
            raise ValueError from None

    def read_decimal(self, text):
        return pack(self.unscaled(text))

    def unscaled(self, text):
        match = DECIMAL.match(text)
        if not match or not (match[2] or match[3]):
            raise ValueError
        fraction = match[3] or ""
        digits, point = match[2] + fraction, len(match[2]) + int(match[4] or 0)
        shift = self.scale - (len(digits) - point)
        number = int(digits)
        if shift >= 0:
            # A wild exponent is out of range whatever it is exactly.
            number *= 10 ** min(shift, 100)
        else:
            divisor = 10 ** min(-shift, 5000)
            # Digits past the scale are rounded, half up, without a word.
            number = (2 * number + divisor) // (2 * divisor)
        if number >= 10**self.size:
            raise OutOfRange(("-" if match[1] == "-" else "") + self.show_unscaled(number))
        return -number if match[1] == "-" else number

    def read_varchar(self, text):
        if byte_length(text) > self.size:
            raise ValueError
        return text

    read_char = read_varchar

    def read_date(self, text):
        return self.moment(text)[:10]

    def read_datetime(self, text):
        return self.moment(text)

    @staticmethod
    def moment(text):
        # The usual form, of a day that was seen before.
        if len(text) == 26 and text[:10] in DAYS and CLOCK.match(text, 10):
            return text
        match = DATETIME.match(text.strip(" "))
        if not match:
            raise ValueError
        year, month, day = int(match[1]), int(match[2]), int(match[3])
        hour, minute, second = int(match[4] or 0), int(match[5] or 0), int(match[6] or 0)
        is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        if not 1 <= month <= 12 or not 1 <= day <= MONTHS[month - 1] or (month == 2 and day == 29 and not is_leap):
            raise ValueError
        if hour > 23 or minute > 59 or second > 59:
            raise ValueError
        date = f"{year:04}-{month:02}-{day:02}"
        if len(DAYS) < 100_000:
            DAYS.add(date)
        # Digits past the microseconds are cut off without a word.
        return f"{date} {hour:02}:{minute:02}:{second:02}.{((match[7] or '') + '000000')[:6]}"

    def read_json(self, text):
        return normal_json(text)

    def read_varbinary(self, text):
        return self.limited(read_hex(text.lstrip(" \t")))

    def read_varbinary_base64(self, text):
        """What the BE does from 3.2 on: base64 where it is base64, the field's own bytes where it is not."""
        text = text.lstrip(" \t")
        if not text:
            return b""
        try:
            return self.limited(base64.b64decode(text, validate=True))
        except (ValueError, UnicodeError):
            return self.limited(text.encode("utf-8", "surrogateescape"))

    def read_column_base64(self, texts):
        return [None if text == "\\N" else self.read_varbinary_base64(text) for text in texts]

    def limited(self, data):
        if len(data) > self.size:
            raise ValueError
        return data

    def read_array(self, text):
        return json.dumps([self.element.canonical(v) for v in self.items(text)], ensure_ascii=False)

    def items(self, text):
        """The elements of `[1,null,"x"]`, after array_reader.cpp: split at commas outside of quotes and brackets."""
        if len(text) < 2 or text[0] != "[" or text[-1] != "]":
            raise ValueError
        inner = text[1:-1]
        if not inner:
            return []
        parts, start, quoted, depth = [], 0, False, 0
        for index, char in enumerate(inner):
            if char == '"':
                quoted = not quoted
            elif quoted:
                continue
            elif char == "[":
                depth += 1
            elif char == "]":
                depth -= 1
            elif char == "," and depth == 0:
                parts.append(inner[start:index])
                start = index + 1
        if quoted or depth != 0:
            raise ValueError
        parts.append(inner[start:])
        return [None if part == "null" else self.element.read_quoted(part) for part in parts]

    def read_quoted(self, part):
        if self.name in ("VARCHAR", "CHAR", "DATE", "DATETIME", "JSON", "VARBINARY"):
            if len(part) < 2 or part[0] != '"' or part[-1] != '"':
                raise ValueError
            part = part[1:-1].replace('""', '"')
        return self.read(part)

    def zero(self):
        """What stands for no value in a column that is NOT NULL."""
        moment = "0000-01-01 00:00:00"
        texts = {"VARCHAR": "", "CHAR": "", "VARBINARY": "", "DATE": moment, "DATETIME": moment, "JSON": "null", "ARRAY": "[]"}
        return self.read(texts.get(self.name, "0"))

    # Showing: what the text protocol sends

    def show(self, value):
        if value is None:
            return None
        if self.name == "DECIMAL":
            return self.show_unscaled(unpack(value))
        if self.name == "LARGEINT":
            return str(unpack(value))
        if self.name == "DATETIME":
            return value[:19] if value.endswith(".000000") else value
        if self.name in ("DOUBLE", "FLOAT"):
            return value if value == MINUS_ZERO else show_float(value, self.name)
        if self.name == "ARRAY":
            return self.show_array(json.loads(value))
        return value if isinstance(value, (str, bytes)) else str(value)

    def show_unscaled(self, number):
        sign, digits = "-" if number < 0 else "", str(abs(number)).rjust(self.digits + 1, "0")
        return sign + (f"{digits[: -self.digits]}.{digits[-self.digits :]}" if self.digits else digits)

    def show_array(self, items):
        return "[" + ",".join(self.show_element(item) for item in items) + "]"

    def show_element(self, item):
        kind = self.element
        if item is None:
            return "null"
        if kind.name == "ARRAY":
            return kind.show_array(item)
        if kind.name in ("VARCHAR", "CHAR", "DATE", "DATETIME", "JSON", "VARBINARY"):
            return '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return str(item)

    def canonical(self, value):
        """A form for JSON in which equal values are equal: exact numbers as text, bytes as hex."""
        if value is None or self.name in ("BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT"):
            return value
        if self.name == "ARRAY":
            return json.loads(value)
        if self.name == "VARBINARY":
            return value.hex()
        return self.show(value)

    # Names

    def text(self, upper=False):
        """As SHOW CREATE TABLE and COLUMN_TYPE have it."""
        if self.name == "ARRAY":
            name = f"array<{self.element.text()}>"
        elif self.name == "DECIMAL":
            name = f"decimal({self.size}, {self.scale})"
        elif self.name in ("VARCHAR", "CHAR"):
            name = f"{self.name.lower()}({self.size})"
        elif self.name == "VARBINARY":
            name = "varbinary" if self.size == MAX_VARCHAR else f"varbinary({self.size})"
        else:
            name = {
                "TINYINT": "tinyint(4)",
                "SMALLINT": "smallint(6)",
                "INT": "int(11)",
                "BIGINT": "bigint(20)",
                "LARGEINT": "largeint(40)",
            }.get(self.name, self.name.lower())
        return name.upper() if upper else name

    def debug(self):
        """As the BE names it in a load's errors."""
        if self.name == "DECIMAL":
            width = 32 if self.size <= 9 else 64 if self.size <= 18 else 128
            return f"DECIMAL{width}({self.size}, {self.scale})"
        if self.name in ("VARCHAR", "CHAR"):
            return f"{self.name}({self.size})"
        if self.name == "ARRAY":
            return f"ARRAY<{self.element.debug()}>"
        return self.name

    @property
    def storage(self):
        if self.name in ("BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT"):
            return "INTEGER"
        return {"FLOAT": "", "DOUBLE": "", "LARGEINT": "BLOB", "DECIMAL": "BLOB", "VARBINARY": "BLOB"}.get(self.name, "TEXT")


def read_hex(text):
    """The BE's hex before 3.2, and to_binary(x, 'hex')."""
    if len(text) % 2 or not re.fullmatch(r"[0-9A-Fa-f]*", text):
        raise ValueError
    return bytes.fromhex(text)


def parse_type(text):
    """A type by its SQL name.

    Raises SqlError in the front end's words.
    """
    text = text.strip()
    if match := re.fullmatch(r"(?is)ARRAY\s*<(.*)>", text):
        return Type("ARRAY", element=parse_type(match[1]))
    match = re.fullmatch(r"(?is)([a-z0-9]+)\s*(?:\(\s*([0-9]+|\*)\s*(?:,\s*([0-9]+)\s*)?\))?", text)
    word = match[1].upper() if match else ""
    name = ALIASES.get(word, word)
    if not match or name not in NAMES:
        raise SqlError(1064, f"Getting syntax error. Detail message: No viable statement for input '{text[:60]}'.")
    size = MAX_VARCHAR if match[2] == "*" else int(match[2]) if match[2] else None
    if name == "DECIMAL":
        return decimal(size, match[3])
    if match[3]:
        raise SqlError(1064, f"Getting syntax error. Detail message: Input '{text[:60]}' is not valid.")
    if name == "VARCHAR":
        size = STRING_LENGTH if word in ("STRING", "TEXT") else 1 if size is None else size
        if not 1 <= size <= MAX_VARCHAR:
            raise SqlError(1064, f"Getting analyzing error. Detail message: Varchar size must be <= {MAX_VARCHAR}: {size}.")
        return Type(name, size)
    if name == "CHAR":
        size = size or 1
        if size > 255:
            raise SqlError(1064, f"Getting analyzing error. Detail message: Char size must be <= 255: {size}.")
        return Type(name, size)
    if name == "VARBINARY":
        size = size or MAX_VARCHAR
        if size > MAX_VARCHAR:
            raise SqlError(1064, f"Getting analyzing error. Detail message: Varbinary size must be <= {MAX_VARCHAR}: {size}.")
        return Type(name, size)
    # A display width, as in int(11), says nothing.
    return Type(name)


def decimal(precision, scale):
    precision = 10 if precision is None else precision
    scale = int(scale or 0)
    if not 1 <= precision <= 38:
        raise SqlError(1064, "Getting analyzing error. Detail message: DECIMAL's precision should range from 1 to 38.")
    if scale > precision:
        raise SqlError(
            1064, "Getting analyzing error. Detail message: DECIMAL's scale should be less than or equal to precision."
        )
    return Type("DECIMAL", precision, scale)
