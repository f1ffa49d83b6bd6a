"""CREATE TABLE and column definitions in StarRocks' grammar, with StarRocks' rules.

# Unverified:
# - the words for types that may not be duplicate keys, and for NOT NULL without default in ADD COLUMN
# - DISTRIBUTED BY of a primary key table has to be of key columns
"""

from starrocks_errors import SqlError
from starrocks_types import OutOfRange, parse_type

KEY_TYPES = {"BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "LARGEINT", "VARCHAR", "DATE", "DATETIME"}
DUPLICATE_KEY_TYPES = KEY_TYPES | {"CHAR", "DECIMAL"}
RESERVED = {"__op", "__row"}
# CreateTable's properties and the version from which each is known.
PROPERTIES = {
    "replication_num": (2, 0),
    "enable_persistent_index": (2, 3),
    "storage_medium": (2, 0),
    "storage_cooldown_time": (2, 0),
    "storage_cooldown_ttl": (3, 0),
    "bloom_filter_columns": (2, 0),
    "colocate_with": (2, 0),
    "in_memory": (2, 0),
    "replicated_storage": (2, 5),
    "write_quorum": (2, 5),
    "compression": (2, 2),
    "light_schema_change": (9, 9),
    "persistent_index_type": (3, 1),
    "primary_index_cache_expire_sec": (3, 0),
    "bucket_size": (3, 2),
    "fast_schema_evolution": (3, 2),
    "partition_live_number": (2, 5),
    "foreign_key_constraints": (3, 0),
    "unique_constraints": (3, 0),
    "datacache.enable": (3, 0),
    "storage_volume": (3, 1),
    "labels.location": (3, 3),
    "mutable_bucket_num": (3, 3),
    "flat_json.enable": (4, 0),
    "file_bundling": (4, 0),
    "base_compaction_forbidden_time_ranges": (3, 3),
}
AVAILABLE_BACKENDS = 3


def analyzing(message, code=1064):
    return SqlError(code, f"Getting analyzing error. Detail message: {message.removesuffix('.')}.")


def column(words, is_primary_default=None):
    """`name type [KEY] [NULL|NOT NULL] [DEFAULT …] [COMMENT …]` as a spec without its store."""
    name, start = words.name(), words.place
    if name.lower() in RESERVED:
        raise analyzing(f"Column name [{name}] is a system reserved name. Please choose a different one.")
    if not name or len(name) > 1024 or "\0" in name:
        raise analyzing(f"Incorrect column name '{name}'.")
    text = words.type_text()
    kind = parse_type(text)
    spec = {"name": name, "type": kind.text(), "nullable": None, "key": False, "comment": "", "store": ""}
    while not words.is_done:
        if words.take("NOT", "NULL"):
            spec["nullable"] = False
        elif words.take("NULL"):
            spec["nullable"] = True
        elif words.take("KEY"):
            spec["key"] = True
        elif words.take("DEFAULT"):
            default(words, spec, kind)
        elif words.take("COMMENT"):
            spec["comment"] = words.text()
        elif any(
            words.peek(word)
            for word in ("SUM", "MAX", "MIN", "REPLACE", "REPLACE_IF_NOT_NULL", "AUTO_INCREMENT", "AS", "CHARSET")
        ):
            raise SqlError(1064, f"Test emulator: {words.tokens[words.place].value} of a column is not supported.")
        else:
            break
    assert words.place > start
    return spec


def default(words, spec, kind):
    if words.take("NULL"):
        spec["default"] = None
        return
    if words.take("CURRENT_TIMESTAMP"):
        if words.take("("):
            words.expect(")")
        if kind.name != "DATETIME":
            raise analyzing(f"Invalid default value for '{spec['name']}'")
        spec["default"] = "CURRENT_TIMESTAMP"
        return
    if kind.name in ("JSON", "VARBINARY", "ARRAY"):
        raise analyzing(f"Invalid default value for '{spec['name']}': Default value for {kind.name} is not supported")
    value = words.text()
    try:
        if not isinstance(kind.read(value), (int, float, str, bytes)):
            raise ValueError
    except (ValueError, OutOfRange):
        raise analyzing(f"Invalid default value for '{spec['name']}'") from None
    spec["default"] = value


def create_table(words, db, version):
    """What follows CREATE TABLE [IF NOT EXISTS] name, as a table's spec."""
    columns, seen = [], set()
    words.expect("(")
    while True:
        if words.peek("INDEX"):
            raise SqlError(1064, "Test emulator: indexes are not supported.")
        spec = column(words)
        if spec["name"].lower() in seen:
            raise analyzing(f"Duplicate column name '{spec['name']}'", 1060)
        seen.add(spec["name"].lower())
        columns.append(spec)
        if not words.take(","):
            break
    words.expect(")")
    table = {
        "kind": "table",
        "columns": columns,
        "comment": "",
        "properties": {},
        "order": [],
        "distribute": None,
        "buckets": 0,
    }
    model, keys = "DUP_KEYS", None
    if words.take("ENGINE"):
        words.take("=")
        if words.name().upper() != "OLAP":
            raise SqlError(1064, "Test emulator: only ENGINE = OLAP is supported.")
    for word, name in (("PRIMARY", "PRIMARY_KEYS"), ("DUPLICATE", "DUP_KEYS")):
        if words.take(word, "KEY"):
            model, keys = name, words.names()
    if words.peek("UNIQUE") or words.peek("AGGREGATE"):
        raise SqlError(1064, f"Test emulator: {words.tokens[words.place].value} KEY tables are not supported.")
    if words.take("COMMENT"):
        table["comment"] = words.text()
    if words.peek("PARTITION"):
        raise SqlError(1064, "Test emulator: partitions are not supported.")
    if words.take("DISTRIBUTED", "BY"):
        if words.take("RANDOM"):
            table["distribute"] = []
        else:
            words.expect("HASH")
            table["distribute"] = words.names()
        if words.take("BUCKETS"):
            table["buckets"] = words.number()
            if table["buckets"] < 1:
                raise analyzing("Number of hash buckets should be larger than zero.")
    if words.take("ORDER", "BY"):
        table["order"] = words.names()
    if words.take("PROPERTIES"):
        table["properties"] = words.properties()
    if not words.is_done:
        words.fail()
    table["model"] = model
    set_keys(table, keys)
    check_distribution(table)
    check_properties(table["properties"], version)
    for index, spec in enumerate(columns):
        spec["store"] = f"c{index + 1}"
    table["next_store"] = len(columns) + 1
    return table


def set_keys(table, keys):
    columns, is_primary = table["columns"], table["model"] == "PRIMARY_KEYS"
    names = [spec["name"].lower() for spec in columns]
    if keys is None:
        keys = default_keys(columns)
    for key in keys:
        if key.lower() not in names:
            raise analyzing(f"Key column({key}) doesn't exist.")
    if [key.lower() for key in keys] != names[: len(keys)]:
        raise analyzing(
            "Key columns must be the first few columns of the schema and the order  of the key columns must be consistent "
            "with the order of the schema."
        )
    for index, spec in enumerate(columns):
        spec["key"] = index < len(keys)
        kind = parse_type(spec["type"])
        if spec["key"]:
            if is_primary and kind.name not in KEY_TYPES:
                raise analyzing(f"primary key column[{spec['name']}] type not supported: {kind.text()}")
            if not is_primary and kind.name not in DUPLICATE_KEY_TYPES:
                raise analyzing(f"Invalid data type of key column '{spec['name']}': '{kind.name}'.")
            if is_primary and spec["nullable"]:
                raise analyzing(f"primary key column[{spec['name']}] cannot be nullable")
            if is_primary:
                spec["nullable"] = False
        if spec["nullable"] is None:
            spec["nullable"] = True
        if spec.get("default", "") is None and not spec["nullable"]:
            raise analyzing(f"Can not set null default value to non nullable column: {spec['name']}")


def default_keys(columns):
    """Without a key clause: a duplicate key of the first three columns at most, as far as their types allow."""
    keys = []
    for spec in columns[:3]:
        kind = parse_type(spec["type"])
        if kind.name not in DUPLICATE_KEY_TYPES:
            break
        keys.append(spec["name"])
        if kind.name == "VARCHAR":
            break
    if not keys:
        raise analyzing(f"Data type of first column cannot be {parse_type(columns[0]['type']).name}")
    return keys


def check_distribution(table):
    names = {spec["name"].lower(): spec for spec in table["columns"]}
    keys = [spec["name"] for spec in table["columns"] if spec["key"]]
    is_primary = table["model"] == "PRIMARY_KEYS"
    if table["distribute"] is None:
        table["distribute"] = keys if is_primary else []
    if is_primary and not table["distribute"]:
        raise analyzing("PRIMARY KEY must use hash distribution")
    for name in table["distribute"]:
        if name.lower() not in names:
            raise analyzing(f"Distribution column({name}) doesn't exist.")
        if is_primary and not names[name.lower()]["key"]:
            raise analyzing(f"Distribution column({name}) is not key column.")
    for name in table["order"]:
        if name.lower() not in names:
            raise analyzing(f"Unknown column '{name}' does not exist")


def check_properties(properties, version):
    for name, value in properties.items():
        if name not in PROPERTIES or version < PROPERTIES[name]:
            raise analyzing(f"Unknown properties: {{{name}={value}}}")
    number = properties.get("replication_num", "3")
    if not number.isdigit() or int(number) < 1:
        raise analyzing("Replication num should larger than 0")
    if int(number) > AVAILABLE_BACKENDS:
        raise analyzing(
            "Table replication num should be less than or equal to the number of available BE nodes. You can change this "
            "default by setting the replication_num table properties. Current alive backend is [10001,10002,10003]. "
        )
    for name in ("enable_persistent_index", "fast_schema_evolution", "replicated_storage"):
        if properties.get(name, "true").lower() not in ("true", "false"):
            raise analyzing(f"Invalid value for property {name}: {properties[name]}")


def quote(name):
    return f"`{name.replace('`', '``')}`"


def show_create(table):
    """As SHOW CREATE TABLE answers."""
    if table.is_view:
        return f"CREATE VIEW {quote(table.name)} AS {table.spec['sql']};"
    lines = []
    for item in table.columns:
        line = f"  {quote(item.name)} {item.type.text()} {'NULL' if item.is_nullable else 'NOT NULL'}"
        if item.has_default and item.default is not None:
            line += " DEFAULT CURRENT_TIMESTAMP" if item.default == "CURRENT_TIMESTAMP" else f' DEFAULT "{item.default}"'
        lines.append(f'{line} COMMENT "{item.comment}"')
    keys = ", ".join(quote(item.name) for item in table.keys)
    text = f"CREATE TABLE {quote(table.name)} (\n" + ",\n".join(lines) + "\n) ENGINE=OLAP \n"
    text += f"{'PRIMARY' if table.is_primary else 'DUPLICATE'} KEY({keys})\n"
    if table.spec["comment"]:
        text += f'COMMENT "{table.spec["comment"]}"\n'
    hashed = ", ".join(quote(name) for name in table.spec["distribute"])
    text += f"DISTRIBUTED BY HASH({hashed})" if hashed else "DISTRIBUTED BY RANDOM"
    text += f" BUCKETS {table.spec['buckets']} \n" if table.spec["buckets"] else "\n"
    if table.spec["order"]:
        text += f"ORDER BY({', '.join(quote(name) for name in table.spec['order'])})\n"
    shown = {"compression": "LZ4", "replication_num": "3", **table.spec["properties"]}
    if table.is_primary:
        shown.setdefault("enable_persistent_index", "true")
    return text + "PROPERTIES (\n" + ",\n".join(f'"{k}" = "{v}"' for k, v in sorted(shown.items())) + "\n);"
