"""Transactions and their labels: PREPARE, PREPARED, COMMITTED, VISIBLE, ABORTED, in the file, so that a restart knows them.

Versions of a table become visible in the order in which they were committed: a commit behind one that is not yet visible waits
for it. A transaction that was running when the process was killed is ABORTED after the restart, as the front end does when it
learns that the coordinating back end is gone; a PREPARED or COMMITTED one goes on.
"""

import json
import pickle
import re
import threading
import time

from starrocks_apply import apply_part
from starrocks_errors import LoadError

LABEL = re.compile(r"[-\w]{1,128}\Z", re.ASCII)
FINAL = ("VISIBLE", "ABORTED")


class Transactions:
    def __init__(self, store, settings):
        self.store, self.settings = store, settings
        self.changed = threading.Condition()
        self.stopped = False
        with store.write() as db:
            db.execute(
                "UPDATE sr_transaction SET state = 'ABORTED', reason = 'coordinate BE is down', finished = ? "
                "WHERE state = 'PREPARE'",
                (time.time(),),
            )
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        expired = 0
        while not self.stopped:
            time.sleep(0.05)
            self.publish_due()
            if time.time() > expired + 0.5:
                self.expire()
                expired = time.time()

    # One transaction's life

    def begin(self, db, tables, label, timeout, kind="load"):
        """A new transaction's id; LoadError in the front end's words where its label is taken or wrong."""
        if not LABEL.match(label):
            raise LoadError(f"Label format error. regex: ^[-\\w]{{1,128}}$, label: {label}")
        now = time.time()
        with self.store.write() as connection:
            if (known := self.find(db, label)) and known["state"] != "ABORTED":
                existing = "FINISHED" if known["state"] in ("COMMITTED", "VISIBLE") else "RUNNING"
                raise LoadError(f"Label [{label}] has already been used.", "Label Already Exists", existing)
            running = connection.execute(
                "SELECT count(*) FROM sr_transaction WHERE db = ? AND state IN ('PREPARE', 'PREPARED', 'COMMITTED')", (db,)
            ).fetchone()[0]
            limit = self.settings["max_running_txn_num_per_db"]
            if running >= limit:
                number = self.store.databases.get(db, 0)
                raise LoadError(f"current running txns on db {number} is {running}, larger than limit {limit}")
            return connection.execute(
                "INSERT INTO sr_transaction (db, tables, label, state, started, timeout, kind) VALUES (?, ?, ?, 'PREPARE', ?, ?, ?)",
                (db, json.dumps(tables), label, now, now + timeout, kind),
            ).lastrowid

    def find(self, db, label):
        """What get_load_state speaks of: the label's transaction that was not aborted, else the last."""
        cursor = self.store.connection().execute(
            "SELECT id, state, reason, digest, tables, counts, kind FROM sr_transaction WHERE db = ? AND label = ? "
            "ORDER BY state = 'ABORTED', id DESC LIMIT 1",
            (db, label),
        )
        row = cursor.fetchone()
        return dict(zip(("id", "state", "reason", "digest", "tables", "counts", "kind"), row)) if row else None

    def digests(self, db, label):
        rows = self.store.connection().execute(
            "SELECT digest FROM sr_transaction WHERE db = ? AND label = ? AND digest IS NOT NULL", (db, label)
        )
        return {row[0] for row in rows}

    def set_digest(self, number, digest):
        with self.store.write() as db:
            db.execute("UPDATE sr_transaction SET digest = ? WHERE id = ?", (digest, number))

    def abort(self, number, reason):
        """True when it was not final."""
        with self.store.write() as db:
            done = db.execute(
                "UPDATE sr_transaction SET state = 'ABORTED', reason = ?, finished = ? WHERE id = ? "
                "AND state IN ('PREPARE', 'PREPARED')",
                (reason, time.time(), number),
            ).rowcount
            db.execute("DELETE FROM sr_part WHERE transaction_id = ? AND ?", (number, done))
        self.notify()
        return bool(done)

    def add_part(self, number, part):
        """Keeps what a load of a longer transaction brought."""
        with self.store.write() as db:
            self.check_running(db, number, ("PREPARE",))
            db.execute(
                "INSERT INTO sr_part SELECT ?, coalesce(max(number), 0) + 1, ? FROM sr_part WHERE transaction_id = ?",
                (number, pickle.dumps(part), number),
            )

    def prepare(self, number, timeout=86400):
        with self.store.write() as db:
            self.check_running(db, number, ("PREPARE",))
            db.execute(
                "UPDATE sr_transaction SET state = 'PREPARED', timeout = ? WHERE id = ?", (time.time() + timeout, number)
            )

    def check_running(self, db, number, states):
        row = db.execute("SELECT state, reason FROM sr_transaction WHERE id = ?", (number,)).fetchone()
        if not row:
            raise LoadError(f"transaction not found: {number}")
        if row[0] not in states:
            raise LoadError(
                f"transaction {number} is already {row[0]}, reason: {row[1]}"
                if row[0] != "ABORTED"
                else f"transaction [{number}] is already aborted. abort reason: {row[1]}"
            )

    def commit(self, number, part=None, publish_delay=0):
        """Commits, waits until it is visible; False where that took longer than the publish time-out."""
        now = time.time()
        with self.store.write() as db:
            self.check_running(db, number, ("PREPARE", "PREPARED"))
            tables = json.loads(db.execute("SELECT tables FROM sr_transaction WHERE id = ?", (number,)).fetchone()[0])
            if publish_delay or self.is_behind(db, tables):
                if part is not None:
                    self.add_part_unchecked(db, number, part)
                db.execute(
                    "UPDATE sr_transaction SET state = 'COMMITTED', publish_at = ? WHERE id = ?", (now + publish_delay, number)
                )
                is_visible = False
            else:
                self.publish(db, number, part)
                is_visible = True
        self.notify()
        return is_visible or self.wait_visible(number, self.settings["publish_timeout"])

    @staticmethod
    def add_part_unchecked(db, number, part):
        db.execute(
            "INSERT INTO sr_part SELECT ?, coalesce(max(number), 0) + 1, ? FROM sr_part WHERE transaction_id = ?",
            (number, pickle.dumps(part), number),
        )

    def is_behind(self, db, tables):
        waiting = db.execute("SELECT tables FROM sr_transaction WHERE state = 'COMMITTED'").fetchall()
        return any(set(json.loads(row[0])) & set(tables) for row in waiting)

    def publish(self, db, number, part=None):
        for (payload,) in db.execute(
            "SELECT payload FROM sr_part WHERE transaction_id = ? ORDER BY number", (number,)
        ).fetchall():
            apply_part(self.store, db, pickle.loads(payload))
        if part is not None:
            apply_part(self.store, db, part)
        db.execute("DELETE FROM sr_part WHERE transaction_id = ?", (number,))
        db.execute("UPDATE sr_transaction SET state = 'VISIBLE', finished = ? WHERE id = ?", (time.time(), number))

    def publish_due(self):
        """Makes visible what is due, each only behind all earlier ones of its tables."""
        rows = (
            self.store.connection()
            .execute("SELECT id, tables, publish_at FROM sr_transaction WHERE state = 'COMMITTED' ORDER BY id")
            .fetchall()
        )
        held = set()
        for number, tables, publish_at in rows:
            names = set(json.loads(tables))
            if publish_at > time.time() or names & held:
                held |= names
                continue
            with self.store.write() as db:
                self.publish(db, number)
            self.notify()

    def wait_visible(self, number, seconds):
        end = time.time() + seconds
        with self.changed:
            while time.time() < end:
                row = self.store.connection().execute("SELECT state FROM sr_transaction WHERE id = ?", (number,)).fetchone()
                if not row or row[0] in FINAL:
                    return True
                self.changed.wait(min(0.05, max(0.001, end - time.time())))
        return False

    def notify(self):
        with self.changed:
            self.changed.notify_all()

    # Time

    def expire(self):
        """Aborts what runs for too long, and forgets labels that are old or too many."""
        now, connection = time.time(), self.store.connection()
        late = connection.execute(
            "SELECT id FROM sr_transaction WHERE state IN ('PREPARE', 'PREPARED') AND timeout < ?", (now,)
        )
        for (number,) in late.fetchall():
            self.abort(number, "timeout by txn manager")
        old = now - self.settings["label_keep_max_second"]
        rows = connection.execute(
            "SELECT id FROM sr_transaction WHERE state IN ('VISIBLE', 'ABORTED') AND finished < ?", (old,)
        ).fetchall()
        for (db,) in connection.execute("SELECT DISTINCT db FROM sr_transaction").fetchall():
            rows += connection.execute(
                "SELECT id FROM sr_transaction WHERE db = ? AND state IN ('VISIBLE', 'ABORTED') ORDER BY id DESC LIMIT -1 OFFSET ?",
                (db, self.settings["label_keep_max_num"]),
            ).fetchall()
        if rows:
            with self.store.write() as db:
                db.executemany("DELETE FROM sr_transaction WHERE id = ?", rows)
