"""ALTER TABLE: fast schema changes at once, others as jobs that take their time.

# Unverified:
# - fast_schema_evolution is off where a table's properties do not say so, in all versions; from 3.3 the server's own default is on
# - columns that a job adds are seen by loads only when it is FINISHED (the real server writes both schemas)
"""

import threading
import time

from starrocks_ddl import analyzing, check_properties, column
from starrocks_errors import SqlError
from starrocks_types import parse_type

ENDED = ("FINISHED", "CANCELLED")
WIDER = {"TINYINT": 1, "SMALLINT": 2, "INT": 3, "BIGINT": 4, "LARGEINT": 5}


class Alter:
    def __init__(self, emulator):
        self.emulator, self.store = emulator, emulator.store
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        """Moves jobs on: PENDING, WAITING_TXN, RUNNING, FINISHED, an equal time each."""
        while True:
            time.sleep(0.02)
            now = time.time()
            rows = (
                self.store.connection()
                .execute("SELECT id, created, ready_at, state FROM sr_alter WHERE state NOT IN ('FINISHED', 'CANCELLED')")
                .fetchall()
            )
            for number, created, ready_at, state in rows:
                if now >= ready_at:
                    self.finish(number)
                    continue
                share = (now - created) / max(ready_at - created, 1e-9)
                following = "PENDING" if share < 0.2 else "WAITING_TXN" if share < 0.5 else "RUNNING"
                if following != state:
                    with self.store.write() as db:
                        db.execute(
                            "UPDATE sr_alter SET state = ? WHERE id = ? AND state NOT IN ('FINISHED', 'CANCELLED')",
                            (following, number),
                        )

    def finish(self, number):
        import json

        with self.store.write() as db:
            row = db.execute(
                "SELECT db, name, spec FROM sr_alter WHERE id = ? AND state NOT IN ('FINISHED', 'CANCELLED')", (number,)
            ).fetchone()
            table = self.store.tables.get((row[0], row[1])) if row else None
            if table is not None:
                self.convert(db, table, json.loads(row[2]))
                db.execute("UPDATE sr_alter SET state = 'FINISHED', finished = ? WHERE id = ?", (time.time(), number))

    def convert(self, db, table, spec):
        """Puts a new spec in force; where a column's type changed its values are read anew."""
        changed = self.store.change_table(db, table, spec)
        for new in changed.columns:
            old = next((item for item in table.columns if item.name == new.name and item.store != new.store), None)
            if old is None:
                continue
            db.create_function(
                "sr_convert", 1, lambda value: None if value is None else new.type.read(str(old.type.show(value)))
            )
            db.execute(f"UPDATE {table.store} SET {new.store} = sr_convert({old.store})")

    def is_running(self, table):
        return (
            self.store.connection()
            .execute(
                "SELECT 1 FROM sr_alter WHERE db = ? AND name = ? AND state NOT IN ('FINISHED', 'CANCELLED')",
                (table.db, table.name),
            )
            .fetchone()
            is not None
        )

    def alter_table(self, words, db):
        database, name = words.qualified(db)
        self.emulator.engine.require("ALTER", database, name)
        with self.store.write() as connection:
            table = self.store.table(database, name)
            if table.is_view:
                raise analyzing(f"Table [{database}.{name}] is not a table")
            if self.is_running(table):
                raise SqlError(
                    1064,
                    f'A schema change operation is in progress on the table "{name}". Please wait until the current '
                    "operation completes.\nTo check the status of the operation, see SHOW ALTER TABLE COLUMN",
                )
            self.apply(words, table, connection)

    def cancel(self, words, db):
        """CANCEL ALTER TABLE COLUMN FROM table: the job ends, and nothing has changed."""
        words.expect("ALTER", "TABLE", "COLUMN", "FROM")
        database, name = words.qualified(db)
        self.emulator.engine.require("ALTER", database, name)
        with self.store.write() as connection:
            done = connection.execute(
                "UPDATE sr_alter SET state = 'CANCELLED', message = 'user cancelled', finished = ? WHERE db = ? AND name = ? "
                "AND state NOT IN ('FINISHED', 'CANCELLED')", (time.time(), database, name)).rowcount
        if not done:
            raise SqlError(1064, f"Table[{name}] is not under SCHEMA_CHANGE.")

    def apply(self, words, table, db):
        import copy

        spec, is_job, renamed = copy.deepcopy(table.spec), False, None
        is_fast = self.emulator.version >= (3, 2) and spec["properties"].get("fast_schema_evolution", "false").lower() == "true"
        is_schema_change = True
        while True:
            if words.take("ADD"):
                words.expect("COLUMN")
                self.add_columns(words, table, spec)
                is_job = is_job or not is_fast
            elif words.take("DROP", "COLUMN"):
                self.drop_column(words.name(), table, spec)
                is_job = is_job or not is_fast
            elif words.take("MODIFY", "COLUMN"):
                self.modify_column(words, table, spec)
                is_job = True
            elif words.take("RENAME", "COLUMN"):
                old = words.name()
                words.expect("TO")
                self.rename_column(old, words.name(), table, spec)
                is_schema_change = False
            elif words.take("RENAME"):
                renamed, is_schema_change = words.name(), False
                if (table.db, renamed) in self.store.tables:
                    raise SqlError(1050, f"Table '{renamed}' already exists")
            elif words.take("SET"):
                found = words.properties()
                check_properties(found, self.emulator.version)
                spec["properties"].update(found)
                is_schema_change = False
            elif words.take("COMMENT"):
                words.take("=")
                spec["comment"], is_schema_change = words.text(), False
            else:
                words.fail()
            if not words.take(","):
                break
        if not words.is_done:
            words.fail()
        if not is_schema_change:
            self.store.change_table(db, table, spec, renamed)
            return
        import json

        now = time.time()
        delay = self.emulator.settings["alter_seconds"] if is_job else 0
        db.execute(
            "INSERT INTO sr_alter (db, name, state, created, finished, ready_at, spec) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                table.db,
                table.name,
                "PENDING" if is_job else "FINISHED",
                now,
                None if is_job else now,
                now + delay,
                json.dumps(spec),
            ),
        )
        if not is_job:
            self.convert(db, table, spec)

    def add_columns(self, words, table, spec):
        is_list = words.take("(")
        while True:
            # Here StarRocks' grammar has no IF NOT EXISTS.
            if words.peek("IF"):
                words.fail("a legal identifier")
            new = column(words)
            self.check_new(new, spec)
            place = len(spec["columns"])
            if words.take("FIRST"):
                place = 0
            elif words.take("AFTER"):
                after = words.name().lower()
                place = next((i + 1 for i, c in enumerate(spec["columns"]) if c["name"].lower() == after), None)
                if place is None:
                    raise analyzing(f"Column[{after}] does not found")
            if new["key"] or place < sum(c["key"] for c in spec["columns"]):
                raise analyzing(
                    f"Can not add key column {new['name']} for primary key table"
                    if table.is_primary
                    else f"Invalid column order. value should be after key: {new['name']}"
                )
            new["store"] = f"c{spec['next_store']}"
            spec["next_store"] += 1
            spec["columns"].insert(place, new)
            if not is_list or not words.take(","):
                break
        if is_list:
            words.expect(")")

    @staticmethod
    def check_new(new, spec):
        if any(c["name"].lower() == new["name"].lower() for c in spec["columns"]):
            raise analyzing(f"Can not add column which already exists in base table: {new['name']}")
        if new["nullable"] is None:
            new["nullable"] = True
        if not new["nullable"] and new.get("default") is None:
            raise analyzing(f"Column[{new['name']}] is NOT NULL and has no default value")

    @staticmethod
    def find(name, spec):
        found = next((c for c in spec["columns"] if c["name"].lower() == name.lower()), None)
        if found is None:
            raise analyzing(f"Column does not exists: {name}")
        return found

    def drop_column(self, name, table, spec):
        found = self.find(name, spec)
        if found["key"] and table.is_primary:
            raise analyzing(f"Can not drop key column in primary data model table: {name}")
        spec["columns"].remove(found)

    def rename_column(self, old, new, table, spec):
        if self.emulator.version < (3, 3, 2):
            raise SqlError(1064, "Getting syntax error. Detail message: Unexpected input 'COLUMN'.")
        found = self.find(old, spec)
        if any(c["name"].lower() == new.lower() for c in spec["columns"]):
            raise analyzing(f"Column name[{new}] is already used")
        found["name"] = new

    def modify_column(self, words, table, spec):
        new = column(words)
        old = self.find(new["name"], spec)
        was, now = parse_type(old["type"]), parse_type(new["type"])
        if old["key"] and table.is_primary:
            raise analyzing(f"Can not modify key column: {new['name']} for primary key table")
        is_wider = was.name == now.name and (was.size or 0) <= (now.size or 0) and (was.scale or 0) <= (now.scale or 0)
        is_wider = (
            is_wider
            or 0 < WIDER.get(was.name, 0) < WIDER.get(now.name, 0)
            or (was.name in WIDER and now.name in ("DOUBLE", "VARCHAR"))
        )
        is_wider = (
            is_wider or now.name == "VARCHAR" and was.name in ("DATE", "DATETIME", "DECIMAL", "DOUBLE", "FLOAT", "JSON", "CHAR")
        )
        if not is_wider:
            raise analyzing(
                f"Can not change {was.name} to {now.name}" if was.name != now.name else "Cannot shorten string length"
            )
        nullable = old["nullable"] if new["nullable"] is None else new["nullable"]
        if old["nullable"] and not nullable:
            raise analyzing(f"Can not change from nullable to non-nullable. {new['name']}")
        old.update({key: value for key, value in new.items() if key not in ("store", "key")}, nullable=nullable)
        if was.text() != now.text():
            old["store"] = f"c{spec['next_store']}"
            spec["next_store"] += 1

    def show(self, db):
        """The rows of SHOW ALTER TABLE COLUMN."""
        rows = self.store.connection().execute(
            "SELECT id, name, created, finished, state, message FROM sr_alter WHERE db = ? ORDER BY id", (db,)
        )
        moment = lambda seconds: None if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))
        return [
            (
                str(11000 + n),
                name,
                moment(created),
                moment(finished),
                name,
                str(12000 + n),
                str(11900 + n),
                "1:0",
                str(n),
                state,
                message,
                "50%" if state == "RUNNING" else None,
                "86400",
            )
            for n, name, created, finished, state, message in rows
        ]


ALTER_COLUMNS = (
    "JobId",
    "TableName",
    "CreateTime",
    "FinishTime",
    "IndexName",
    "IndexId",
    "OriginIndexId",
    "SchemaVersion",
    "TransactionId",
    "State",
    "Msg",
    "Progress",
    "Timeout",
)
