"""What SQLite lacks for StarRocks' types: exact big numbers, casts, sums."""

from decimal import Decimal, localcontext

from starrocks_errors import SqlError
from starrocks_types import OutOfRange, Type, byte_length, pack, parse_type, unpack

TYPES = {}


def kind_of(text):
    if text not in TYPES:
        TYPES[text] = parse_type(text)
    return TYPES[text]


def number(value, scale):
    """A kept value as a Decimal; None where it is NULL or no number."""
    if value is None:
        return None
    if isinstance(value, bytes):
        return Decimal(unpack(value)).scaleb(-scale) if len(value) == 16 else None
    try:
        return Decimal(value if isinstance(value, (int, str)) else repr(value))
    except ArithmeticError:
        return None


def compare(left, left_scale, right, right_scale):
    with localcontext() as context:
        context.prec = 100
        a, b = number(left, left_scale), number(right, right_scale)
    return None if a is None or b is None else (a > b) - (a < b)


def arithmetic(sign, left, left_scale, right, right_scale, scale):
    """+, - or * of big numbers, packed with `scale` digits; NULL where the result does not fit."""
    with localcontext() as context:
        context.prec = 100
        a, b = number(left, left_scale), number(right, right_scale)
        if a is None or b is None:
            return None
        value = int((a + b if sign == "+" else a - b if sign == "-" else a * b).scaleb(scale))
    return pack(value) if -(1 << 127) <= value < 1 << 127 else None


def real(value, scale):
    found = number(value, scale)
    return None if found is None else float(found)


def cast(value, source, target):
    """CAST between types; NULL where the value is none of the target's."""
    if value is None:
        return None
    kind = kind_of(target)
    text = kind_of(source).show(value) if source else value
    if isinstance(text, bytes):
        if kind.name == "VARBINARY":
            return text
        text = text.decode("utf-8", "replace")
    text = str(text)
    try:
        if kind.name in ("VARCHAR", "CHAR"):
            return text
        if kind.name == "VARBINARY":
            return text.encode()
        if kind.name in ("TINYINT", "SMALLINT", "INT", "BIGINT", "LARGEINT"):
            return kind.read(str(int(Decimal(text))))
        return kind.read(text)
    except (ValueError, ArithmeticError, OutOfRange):
        return None


class Sum:
    """sum() of packed numbers: exact."""

    def __init__(self):
        self.total, self.is_empty = 0, True

    def step(self, value):
        if value is not None:
            self.total += unpack(value)
            self.is_empty = False

    def finalize(self):
        if self.is_empty:
            return None
        if not -(1 << 127) <= self.total < 1 << 127:
            return None
        return pack(self.total)


def unhex(text):
    try:
        return None if text is None else bytes.fromhex(text)
    except ValueError:
        return None


def to_hex(value):
    if value is None:
        return None
    if isinstance(value, int):
        return f"{value & (1 << 64) - 1:X}"
    return (value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")).hex().upper()


def register(connection):
    connection.create_function("sr_compare", 4, compare, deterministic=True)
    connection.create_function("sr_arithmetic", 6, arithmetic, deterministic=True)
    connection.create_function("sr_real", 2, real, deterministic=True)
    connection.create_function("sr_cast", 3, cast, deterministic=True)
    connection.create_function("sr_unhex", 1, unhex, deterministic=True)
    connection.create_function("sr_hex", 1, to_hex, deterministic=True)
    connection.create_function(
        "sr_bytes",
        1,
        lambda v: None if v is None else len(v) if isinstance(v, bytes) else byte_length(str(v)),
        deterministic=True,
    )
    connection.create_function("sr_chars", 1, lambda v: None if v is None else len(v), deterministic=True)
    connection.create_function(
        "sr_concat",
        -1,
        lambda *v: None if None in v else "".join(x.decode("utf-8", "replace") if isinstance(x, bytes) else str(x) for x in v),
        deterministic=True,
    )
    connection.create_aggregate("sr_sum", 1, Sum)


def literal(value):
    """A Python value as SQLite's own literal."""
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, str):
        # A NUL would end the statement's text.
        return (
            f"CAST(X'{value.encode('utf-8', 'surrogateescape').hex()}' AS TEXT)"
            if "\0" in value
            else "'" + value.replace("'", "''") + "'"
        )
    return repr(value)


def typed(kind: Type, text):
    """A literal's text as the type keeps it.

    Raises ValueError where it is none of the type's.
    """
    try:
        return kind.read(text)
    except OutOfRange as error:
        raise ValueError(str(error)) from None


def unknown(message):
    return SqlError(1064, f"Test emulator: cannot work out {message}")
