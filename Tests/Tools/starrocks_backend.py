"""The back end's HTTP port: takes loads and runs them.

# Unverified:
# - a client that is gone before its whole body was read leaves an ABORTED transaction, reason "Cancelled"
"""

import hashlib
import json
import select
import time

from starrocks_errors import Gone, LoadError
from starrocks_http import Handler
from starrocks_receive import Request
from starrocks_transaction_api import handle_on_back_end
from starrocks_users import basic

WORDS = {
    "too-many-versions": "Failed to load data into tablet 10042, because of too many versions, current/limit: 1001/1000. You can reduce the "
    "loading job concurrency, or increase loading data batch size. If you are loading data with Routine Load, you can "
    "increase FE configs routine_load_task_consume_second and max_routine_load_batch_size,: be:10.0.0.1",
    "running-txns": "current running txns on db 10001 is 1000, larger than limit 1000",
    "close-channel": "close index channel failed. channel_name=NodeChannel[10003], load_info=load_id=4f4a1d3e-9bd3-4b21-8c0e-b8a5b3d1a1f7",
    "shutting-down": "Service is shutting down, please retry later!",
}
HELD = 600


class BackEnd(Handler):
    side = "be"

    def route(self):
        parts = self.parts
        if len(parts) == 4 and parts[0] == "api" and parts[3] == "_stream_load" and self.command == "PUT":
            self.start("load", db=parts[1], table=parts[2], label=self.fields.get("label", ""))
            return self.load(parts[1], parts[2])
        if len(parts) == 3 and parts[:2] == ["api", "transaction"] and self.command in ("POST", "PUT"):
            kind = "load" if parts[2] == "load" else "transaction"
            self.start(
                kind, db=self.fields.get("db", ""), table=self.fields.get("table", ""), label=self.fields.get("label", "")
            )
            return handle_on_back_end(self, parts[2])
        if parts == ["api", "_load_error_log"] and self.command == "GET":
            self.start("error-log")
            return self.error_log()
        if parts == ["api", "health"] and self.command == "GET":
            return self.answer_json({"status": "OK", "msg": "To Be Added"}, close=False)
        self.start("other")
        self.emulator.log.violation(self.entry, f"no such thing: {self.command} {self.url.path}")
        self.answer(404, b"Not Found", kind="text/html")
        self.drain()

    def error_log(self):
        text = self.emulator.errors.get(self.query.get("file", ""))
        if text is None:
            return self.answer(404, b"", kind="text/plain")
        self.answer(200, text, kind="text/plain", close=False)

    # A load of its own

    def load(self, db, table):
        self.number, self.request_, self.began = -1, None, time.time()
        try:
            is_visible = self.run_load(db, table)
            return self.reply(LoadError("OK", "Success") if is_visible else LoadError("Publish timeout", "Publish Timeout"))
        except LoadError as error:
            self.abort(error.message)
            self.reply(error)
            self.drain()
        except (Gone, ConnectionError):
            self.abort("Cancelled")
            raise

    def abort(self, reason):
        if self.number > 0:
            self.emulator.transactions.abort(self.number, reason)

    def check_user(self, db, table):
        known = basic(self.headers.get("Authorization"))
        if known is None:
            raise LoadError("no valid Basic authorization")
        users = self.emulator.users
        if users.password(known[0]) != known[1]:
            raise LoadError(f"Access denied for {known[0]}@{self.client_address[0]}")
        if not users.may(known[0], "INSERT", db, table):
            raise LoadError(
                "Access denied; you need (at least one of) the INSERT privilege(s) on TABLE "
                f"{table} for this operation. Please ask the admin to grant permission(s)."
            )
        self.entry["user"] = known[0]

    def run_load(self, db, table):
        """True when the load is visible, False when it is only committed."""
        emulator, fault, transactions = self.emulator, self.fault, self.emulator.transactions
        self.check_user(db, table)
        if problems := self.check_headers():
            raise LoadError(f"Test emulator: {', '.join(problems)}")
        self.check_injected(("shutting-down", "running-txns"))
        self.request_ = request = Request(self, db, table)
        label = self.fields.get("label") or emulator.new_label()
        self.label = label
        if db not in emulator.store.databases:
            raise LoadError(f"unknown database, database={db}")
        self.check_reuse(request, db, label)
        self.number = transactions.begin(db, [f"{db}.{table}"], label, request.timeout)
        self.entry["txn"] = self.number
        plan = request.make_plan()
        body = request.receive(fault)
        digest = request.digest(body)
        known = transactions.digests(db, label)
        if known and digest not in known:
            emulator.log.violation(self.entry, f"labelReuse: {label} came with other bytes before")
        transactions.set_digest(self.number, digest)
        self.entry["digest"] = digest
        outcome = request.rows(plan, body)
        del body
        self.check_injected(("too-many-versions", "close-channel", "fail"))
        return self.commit(outcome)

    def check_injected(self, kinds):
        what = self.fault.get("do")
        if what in kinds:
            raise LoadError(self.fault.get("message") or WORDS.get(what, "injected"))

    def check_reuse(self, request, db, label):
        """A finished label's bytes are not sent again; its headers and its length are known all the same."""
        emulator = self.emulator
        known = emulator.transactions.find(db, label)
        if not known or known["state"] == "ABORTED" or not known["digest"]:
            return
        if emulator.settings["read_body_on_reuse"]:
            if request.digest(request.receive({})) != known["digest"]:
                emulator.log.violation(self.entry, f"labelReuse: {label} came with other bytes before")
            return
        if json.loads(known["counts"]).get("head") != self.head():
            emulator.log.violation(self.entry, f"labelReuse: {label} came with other headers or another length before")

    def head(self):
        hidden = {"authorization", "host", "user-agent", "accept", "connection", "expect", "timeout"}
        return hashlib.sha256(repr(sorted((n, v) for n, v in self.fields.items() if n not in hidden)).encode()).hexdigest()

    def commit(self, outcome):
        fault, transactions = self.fault, self.emulator.transactions
        what = fault.get("do")
        if what == "reset-before-commit":
            self.abort("Cancelled")
            self.reset("reset before the commit")
        if what == "delay-before-commit":
            time.sleep(fault.get("seconds", 1))
        with self.emulator.store.write() as db:
            db.execute("UPDATE sr_transaction SET counts = ? WHERE id = ?", (json.dumps({"head": self.head()}), self.number))
        if what == "hang":
            return self.hang(outcome)
        delay = fault.get("seconds", 3) if what == "publish-timeout" else 0
        is_visible = transactions.commit(self.number, outcome.part, delay)
        self.entry["outcome"] = "visible" if is_visible else "committed"
        if what == "reset-after-commit":
            self.reset("reset after the commit")
        if what == "delay-after-commit":
            time.sleep(fault.get("seconds", 1))
        if what == "status-after-commit":
            self.answer(fault.get("code", 500), b"")
            raise Gone
        return is_visible

    def hang(self, outcome):
        """No answer ever; the load ends after a while all the same, whether or not the client still waits."""
        time.sleep(self.fault.get("seconds", 1))
        if self.fault.get("then", "visible") == "aborted":
            self.abort(self.fault.get("message", "Cancelled"))
            self.entry["outcome"] = "aborted, not answered"
        else:
            self.emulator.transactions.commit(self.number, outcome.part)
            self.entry["outcome"] = "visible, not answered"
        number, end = self.number, time.time() + HELD
        self.number = -1
        while time.time() < end and not select.select([self.connection], [], [], 0.2)[0]:
            pass
        self.entry["txn"] = number
        raise Gone

    def reply(self, result):
        """StreamLoadContext::to_json."""
        request = self.request_
        outcome = getattr(request, "outcome", None)
        is_done = result.status in ("Success", "Publish Timeout")
        milliseconds = int((time.time() - self.began) * 1000)
        reply = {"TxnId": self.number, "Label": getattr(self, "label", self.fields.get("label", "")), "Status": result.status}
        if result.existing:
            reply["ExistingJobStatus"] = result.existing
        reply["Message"] = result.message
        reply["NumberTotalRows"] = outcome.total if outcome else 0
        reply["NumberLoadedRows"] = outcome.loaded if outcome else 0
        reply["NumberFilteredRows"] = outcome.filtered if outcome else 0
        reply["NumberUnselectedRows"] = 0
        reply["LoadBytes"] = self.entry.get("bytes", 0)
        reply["LoadTimeMs"] = milliseconds
        for name in ("BeginTxnTimeMs", "StreamLoadPlanTimeMs", "ReadDataTimeMs", "WriteDataTimeMs", "CommitAndPublishTimeMs"):
            reply[name] = 0
        if request is not None and getattr(request, "error_url", None):
            reply["ErrorURL"] = request.error_url
            if self.fields.get("log_rejected_record_num", "0") != "0":
                reply["RejectedRecordPath"] = f"/storage/rejected_record/{self.fields.get('label', '')}/{self.number}"
        self.entry["reply"] = result.status
        self.entry["outcome"] = self.entry.get("outcome") or result.message
        self.entry["message"] = result.message
        self.answer_json(reply, close=not is_done)
