"""Numbers and JSON as StarRocks writes them.

# Unverified:
# - JSON keeps the order of keys and the last of two equal keys; numbers past 64 bits become doubles
# - when a double is written with an exponent
"""

import json
import re
import struct

ODD_JSON = re.compile(r"[0-9][.eE]|[0-9]{19}")


def no_constant(_):
    raise ValueError


READ_JSON = json.JSONDecoder(parse_constant=no_constant).decode
WRITE_JSON = json.JSONEncoder(ensure_ascii=False, check_circular=False).encode


def show_float(value, name="DOUBLE"):
    text = repr(value)
    if name == "FLOAT":
        text = next(
            t for t in (f"{value:.{n}g}" for n in range(6, 10)) if struct.pack("<f", float(t)) == struct.pack("<f", value)
        )
    if text.endswith(".0"):
        return text[:-2]
    return text


def normal_json(text):
    """JSON as StarRocks shows it: a blank behind commas and colons, numbers in their shortest form."""
    try:
        value = READ_JSON(text)
        if ODD_JSON.search(text):
            value = plain_numbers(value)
    except (ValueError, RecursionError):
        raise ValueError from None
    return WRITE_JSON(value)


def plain_numbers(value):
    if isinstance(value, dict):
        return {key: plain_numbers(member) for key, member in value.items()}
    if isinstance(value, list):
        return [plain_numbers(member) for member in value]
    if isinstance(value, int) and not isinstance(value, bool) and not -(1 << 63) <= value < 1 << 64:
        value = float(value)
    if isinstance(value, float):
        if value in (float("inf"), float("-inf")):
            raise ValueError
        return int(value) if value == int(value) and abs(value) < 1e15 and str(value) != "-0.0" else value
    return value
