"""information_schema, as relations of text and numbers, in StarRocks' forms."""

import time

from starrocks_errors import SqlError
from starrocks_functions import literal
from starrocks_translate import Query
from starrocks_types import MAX_VARCHAR, parse_type

TEXT, BIGINT = parse_type("varchar(65533)"), parse_type("bigint")
SCHEMATA = ("CATALOG_NAME", "SCHEMA_NAME", "DEFAULT_CHARACTER_SET_NAME", "DEFAULT_COLLATION_NAME", "SQL_PATH")
TABLES = (
    "TABLE_CATALOG",
    "TABLE_SCHEMA",
    "TABLE_NAME",
    "TABLE_TYPE",
    "ENGINE",
    "VERSION",
    "ROW_FORMAT",
    "TABLE_ROWS",
    "AVG_ROW_LENGTH",
    "DATA_LENGTH",
    "MAX_DATA_LENGTH",
    "INDEX_LENGTH",
    "DATA_FREE",
    "AUTO_INCREMENT",
    "CREATE_TIME",
    "UPDATE_TIME",
    "CHECK_TIME",
    "TABLE_COLLATION",
    "CHECKSUM",
    "CREATE_OPTIONS",
    "TABLE_COMMENT",
)
COLUMNS = (
    "TABLE_CATALOG",
    "TABLE_SCHEMA",
    "TABLE_NAME",
    "COLUMN_NAME",
    "ORDINAL_POSITION",
    "COLUMN_DEFAULT",
    "IS_NULLABLE",
    "DATA_TYPE",
    "CHARACTER_MAXIMUM_LENGTH",
    "CHARACTER_OCTET_LENGTH",
    "NUMERIC_PRECISION",
    "NUMERIC_SCALE",
    "DATETIME_PRECISION",
    "CHARACTER_SET_NAME",
    "COLLATION_NAME",
    "COLUMN_TYPE",
    "COLUMN_KEY",
    "EXTRA",
    "PRIVILEGES",
    "COLUMN_COMMENT",
    "COLUMN_SIZE",
    "DECIMAL_DIGITS",
    "GENERATION_EXPRESSION",
    "SRS_ID",
)
CONFIG = (
    "TABLE_SCHEMA",
    "TABLE_NAME",
    "TABLE_ENGINE",
    "TABLE_MODEL",
    "PRIMARY_KEY",
    "PARTITION_KEY",
    "DISTRIBUTE_KEY",
    "DISTRIBUTE_TYPE",
    "DISTRIBUTE_BUCKET",
    "SORT_KEY",
    "PROPERTIES",
    "TABLE_ID",
)
LOADS = ("ID", "LABEL", "PROFILE_ID", "DB_NAME", "TABLE_NAME", "USER", "WAREHOUSE", "STATE", "PROGRESS", "TYPE")
NUMBERS = {
    "ORDINAL_POSITION",
    "CHARACTER_MAXIMUM_LENGTH",
    "CHARACTER_OCTET_LENGTH",
    "NUMERIC_PRECISION",
    "NUMERIC_SCALE",
    "DATETIME_PRECISION",
    "COLUMN_SIZE",
    "DECIMAL_DIGITS",
    "TABLE_ROWS",
    "AVG_ROW_LENGTH",
    "DATA_LENGTH",
    "MAX_DATA_LENGTH",
    "INDEX_LENGTH",
    "DATA_FREE",
    "AUTO_INCREMENT",
    "VERSION",
    "CHECKSUM",
    "DISTRIBUTE_BUCKET",
    "TABLE_ID",
    "ID",
    "SRS_ID",
}
DIGITS = {"TINYINT": 3, "SMALLINT": 5, "INT": 10, "BIGINT": 19, "LARGEINT": 39, "FLOAT": 7, "DOUBLE": 15, "BOOLEAN": 1}


def relation(engine, name, session):
    """A table of information_schema as a translated query."""
    makers = {
        "schemata": (SCHEMATA, schemata),
        "tables": (TABLES, tables),
        "columns": (COLUMNS, columns),
        "tables_config": (CONFIG, tables_config),
        "loads": (LOADS, loads),
        "views": (("TABLE_SCHEMA", "TABLE_NAME", "VIEW_DEFINITION"), views),
    }
    if name not in makers:
        raise SqlError(5502, f"Getting analyzing error. Detail message: Unknown table 'information_schema.{name}'.")
    names, make = makers[name]
    rows = [f"({', '.join(map(literal, row))})" for row in make(engine, session)]
    body = f"VALUES {', '.join(rows)}" if rows else f"SELECT {', '.join(['NULL'] * len(names))} WHERE 0"
    places = ", ".join(f"column{i + 1} AS o{i}" for i in range(len(names)))
    if not rows:
        places = ", ".join(f"NULL AS o{i}" for i in range(len(names)))
        return Query(f"SELECT {places} WHERE 0", [(n, BIGINT if n in NUMBERS else TEXT) for n in names])
    return Query(f"SELECT {places} FROM ({body})", [(n, BIGINT if n in NUMBERS else TEXT) for n in names])


def seen(engine, session):
    """The tables that the user has any privilege on."""
    users = engine.emulator.users
    for (db, name), table in sorted(engine.store.tables.items()):
        if session is None or users.sees(session.user, db, name):
            yield table


def schemata(engine, session):
    users = engine.emulator.users
    for name in ["information_schema", *sorted(engine.store.databases)]:
        if session is None or name == "information_schema" or users.sees(session.user, name):
            yield "def", name, "utf8", "utf8_general_ci", None


def tables(engine, session):
    now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    for table in seen(engine, session):
        count = (
            None if table.is_view else engine.store.connection().execute(f"SELECT count(*) FROM {table.store}").fetchone()[0]
        )
        kind = "VIEW" if table.is_view else "BASE TABLE"
        yield (
            "def",
            table.db,
            table.name,
            kind,
            "" if table.is_view else "StarRocks",
            None,
            None,
            count,
            0,
            0,
            None,
            None,
            None,
            None,
            now,
            now,
            None,
            "utf8_general_ci",
            None,
            None,
            table.spec.get("comment", ""),
        )


def columns(engine, session):
    for table in seen(engine, session):
        for place, item in enumerate(table.columns):
            kind = item.type
            is_text = kind.name in ("VARCHAR", "CHAR")
            length = kind.size if is_text or kind.name == "VARBINARY" and kind.size != MAX_VARCHAR else None
            digits = kind.size if kind.name == "DECIMAL" else DIGITS.get(kind.name)
            scale = (
                kind.scale
                if kind.name == "DECIMAL"
                else 0
                if kind.name in DIGITS and kind.name not in ("FLOAT", "DOUBLE")
                else None
            )
            key = ("PRI" if table.is_primary else "DUP") if item.is_key and not table.is_view else ""
            data_type = (
                "tinyint" if kind.name == "BOOLEAN" else "bigint unsigned" if kind.name == "LARGEINT" else kind.name.lower()
            )
            shown = (
                "tinyint(1)" if kind.name == "BOOLEAN" else "bigint(20) unsigned" if kind.name == "LARGEINT" else kind.text()
            )
            yield (
                "def",
                table.db,
                table.name,
                item.name,
                place + 1,
                item.default,
                "YES" if item.is_nullable else "NO",
                data_type,
                length,
                length,
                digits,
                scale,
                None,
                None,
                None,
                shown,
                key,
                "",
                "",
                item.comment,
                kind.size if is_text or kind.name == "DECIMAL" else digits,
                scale,
                None,
                None,
            )


def tables_config(engine, session):
    import json

    for table in seen(engine, session):
        if table.is_view:
            continue
        keys = ", ".join(f"`{item.name}`" for item in table.keys)
        hashed = ", ".join(f"`{name}`" for name in table.spec["distribute"])
        properties = {"compression": "LZ4", "replication_num": "3", **table.spec["properties"]}
        yield (
            table.db,
            table.name,
            "OLAP",
            table.model,
            keys,
            "",
            hashed,
            "HASH" if hashed else "RANDOM",
            table.spec["buckets"],
            ", ".join(f"`{name}`" for name in table.spec["order"]) or keys,
            json.dumps(properties, sort_keys=True),
            table.id,
        )


def loads(engine, session):
    states = {
        "PREPARE": "LOADING",
        "PREPARED": "PREPARED",
        "COMMITTED": "COMMITTED",
        "VISIBLE": "FINISHED",
        "ABORTED": "CANCELLED",
    }
    for number, db, names, label, state in engine.store.connection().execute(
        "SELECT id, db, tables, label, state FROM sr_transaction ORDER BY id"
    ):
        yield (
            number,
            label,
            None,
            db,
            names.strip('[]"').partition(".")[2].strip('"'),
            "root",
            "",
            states[state],
            "",
            "STREAM_LOAD",
        )


def views(engine, session):
    for table in seen(engine, session):
        if table.is_view:
            yield table.db, table.name, table.spec["sql"]
