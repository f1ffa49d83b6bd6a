"""Writes what a load decoded into its table."""


class Part:
    """The rows of one load for one table: folded to one operation a key, in SQLite's forms.

    `stores` are the columns that the rows have, keys first where the table has keys; `defaults` is what the other columns get
    in a row that was not there; `merge` the column whose value has to be at least the old one.
    """

    def __init__(self, table, stores, keys, upserts, deletes, defaults=(), merge=None):
        self.table, self.stores, self.keys, self.upserts, self.deletes = table, stores, keys, upserts, deletes
        self.defaults, self.merge = list(defaults), merge


def apply_part(store, db, part):
    """Inside a write. Rows of a table that is gone by now are gone too."""
    if not any(table.id == part.table for table in store.tables.values()):
        return
    name, keys, stores = f"t{part.table}", part.keys, part.stores
    if part.deletes:
        db.executemany(f"DELETE FROM {name} WHERE {' AND '.join(f'{key} = ?' for key in keys)}", part.deletes)
    if not part.upserts:
        return
    columns = list(stores) + [column for column, _ in part.defaults]
    values = [value for _, value in part.defaults]
    marks = ", ".join(["?"] * len(columns))
    statement = f"INSERT INTO {name} ({', '.join(columns)}) VALUES ({marks})"
    if keys:
        others = [column for column in stores if column not in keys]
        if others:
            statement += f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in others)}"
            if part.merge:
                statement += f" WHERE {name}.{part.merge} IS NULL OR excluded.{part.merge} >= {name}.{part.merge}"
        else:
            statement += f" ON CONFLICT ({', '.join(keys)}) DO NOTHING"
    if values:
        db.executemany(statement, (tuple(row) + tuple(values) for row in part.upserts))
    else:
        db.executemany(statement, part.upserts)


def encoded_key_length(types, key):
    """The length of PrimaryKeyEncoder's form: fixed sizes, text raw at the end and escaped before it."""
    sizes = {"BOOLEAN": 1, "TINYINT": 1, "SMALLINT": 2, "INT": 4, "BIGINT": 8, "LARGEINT": 16, "DATE": 4, "DATETIME": 8}
    total, last = 0, len(types) - 1
    for index, (kind, value) in enumerate(zip(types, key)):
        if kind.name in sizes:
            total += sizes[kind.name]
            continue
        data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        total += len(data) if index == last else len(data) + data.count(b"\0") + 2
    return total
