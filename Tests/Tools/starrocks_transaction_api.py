"""The transaction endpoints: begin, load, prepare, commit, rollback.

A single-table transaction is begun, loaded and ended on the back end, to which the front end sends all of it; a transaction of
`transaction_type: multi` (from 4.0) is begun and ended on the front end itself, has no prepare, and takes loads of any table
of its database.

The words are TransactionWithoutChannelHandler's and MultiStatementTransactionHandler's.

A transaction takes bodies without a look at their rows: what is wrong with them is told by prepare or commit; and all loads of a
table in it have the same headers (TransactionStreamLoadAction::_exec_plan_fragment, TransactionMgr::_commit_transaction,
StreamLoadMultiStmtTask, which has one plan for each table).

# Unverified:
# - statuses other than OK, FAILED and LABEL_ALREADY_EXISTS; TXN_NOT_EXISTS for a label that the back end does not know
# - a multi-table transaction without a timeout header ends after 20 seconds, a single-table one after 600
# - what a load says whose table is not the transaction's
"""

import json
import urllib.parse

from starrocks_errors import LoadError
from starrocks_receive import LOG_DIGEST, Request, check_empty

OPERATIONS = ("begin", "load", "prepare", "commit", "rollback")
MULTI = "multi"
MULTI_TIMEOUT = 20
SINGLE_TIMEOUT = 600


def answer(handler, reply, label=None):
    entry = handler.entry
    entry["reply"], entry["outcome"], entry["message"] = reply["Status"], reply["Status"], reply.get("Message", "")
    handler.answer_json(reply)
    if reply["Status"] != "OK":
        handler.drain()


def failed(handler, error, status=None):
    if error.existing:
        return answer(
            handler, {"Status": "LABEL_ALREADY_EXISTS", "ExistingJobStatus": error.existing, "Message": error.message}
        )
    prefix = ""
    if handler.side == "fe":
        name = "StarRocksException" if handler.emulator.version >= (3, 4) else "UserException"
        prefix = f"class com.starrocks.common.{name}: "
    reply = {"Status": status or "FAILED", "Message": prefix + error.message}
    if error.url:
        reply["ErrorURL"] = error.url
    answer(handler, reply)


def check(handler, operation):
    """The headers that every operation needs; the transaction's database and label."""
    fields = handler.fields
    if problems := handler.check_headers():
        raise LoadError(f"Test emulator: {', '.join(problems)}")
    if operation not in OPERATIONS:
        raise LoadError(f"Unknown transaction operation: {operation}")
    if not fields.get("db"):
        raise LoadError("No database selected.")
    if not fields.get("label"):
        raise LoadError("empty label.")
    if fields["db"] not in handler.emulator.store.databases:
        raise LoadError(f"unknown database, database={fields['db']}")
    return fields["db"], fields["label"]


def is_multi(handler, operation, db, label):
    kind = handler.fields.get("transaction_type", "").lower()
    if kind and kind != MULTI:
        raise LoadError(f"Test emulator: transaction_type is multi, not {kind}.")
    if kind == MULTI or operation in ("begin", "load"):
        # Only the end of a transaction is told by its label what it is.
        return kind == MULTI
    known = handler.emulator.transactions.find(db, label)
    return bool(known and known["kind"] == MULTI)


def handle_on_front_end(handler, operation):
    handler.number = -1
    try:
        db, label = check(handler, operation)
        multi = is_multi(handler, operation, db, label)
        if multi and operation == "prepare":
            raise LoadError("Unsupported operation: TXN_PREPARE")
        if operation == "begin" and multi:
            return begin(handler, db, label, MULTI)
        if operation in ("commit", "rollback") and multi:
            return end(handler, operation, db, label)
        known = handler.emulator.transactions.find(db, label)
        if operation in ("prepare", "commit", "rollback") and known and known["state"] != "PREPARE":
            return end(handler, operation, db, label)
        if operation in ("load", "prepare", "commit", "rollback") and not known:
            raise LoadError(f"No transaction found by label {label}")
    except LoadError as error:
        if handler.number > 0:
            handler.emulator.transactions.abort(handler.number, error.message)
        return failed(handler, error)
    emulator = handler.emulator
    host, port = emulator.advertised_host, emulator.be_port
    if handler.fault.get("do") == "redirect-to":
        host, port = handler.fault.get("host", host), handler.fault.get("port", port)
    handler.entry["outcome"] = "redirected"
    path = urllib.parse.quote(urllib.parse.unquote(handler.url.path), safe="/_")
    handler.answer(307, b"", [("Location", f"http://{host}:{port}{path}?{handler.url.query}")], kind="text/html")
    handler.drain()


def handle_on_back_end(handler, operation):
    handler.number = -1
    try:
        db, label = check(handler, operation)
        if operation == "begin":
            handler.check_user(db, handler.fields.get("table", "*"))
            return begin(handler, db, label, "single")
        if operation == "load":
            return load(handler, db, label)
        handler.check_user(db, None)
        return end(handler, operation, db, label)
    except LoadError as error:
        # A begun transaction does not survive an error of its own.
        if handler.number > 0:
            handler.emulator.transactions.abort(handler.number, error.message)
        return failed(handler, error, "TXN_NOT_EXISTS" if "not exists" in error.message else None)


def begin(handler, db, label, kind):
    emulator, fields = handler.emulator, handler.fields
    if kind == MULTI and emulator.version < (4, 0, 0):
        raise LoadError("Test emulator: transaction_type: multi is known from 4.0.0 on")
    table = fields.get("table")
    if kind != MULTI:
        if not table:
            raise LoadError("No table selected.")
        if (db, table) not in emulator.store.tables:
            raise LoadError(f"unknown table, table={db}.{table}")
    try:
        timeout = int(fields.get("timeout", MULTI_TIMEOUT if kind == MULTI else SINGLE_TIMEOUT))
    except ValueError:
        raise LoadError("Invalid timeout format") from None
    number = emulator.transactions.begin(db, [] if kind == MULTI else [f"{db}.{table}"], label, timeout, kind)
    handler.entry["txn"] = number
    answer(handler, {"Status": "OK", "Message": "", "Label": label, "TxnId": number, "BeginTxnTimeMs": 0})


def load(handler, db, label):
    emulator, table = handler.emulator, handler.fields.get("table")
    if not table:
        raise LoadError("No table selected.")
    handler.check_user(db, table)
    known = emulator.transactions.find(db, label)
    if not known or known["kind"] == "load":
        raise LoadError(f"transaction with label {label} not exists")
    if known["state"] != "PREPARE":
        raise LoadError(f"Transaction State Invalid: {known['state']}")
    if (known["kind"] == MULTI) != (handler.fields.get("transaction_type", "").lower() == MULTI):
        raise LoadError(f"transaction with label {label} not exists")
    tables = json.loads(known["tables"])
    if known["kind"] != MULTI and f"{db}.{table}" not in tables:
        raise LoadError(f"Request db {db} table {table} not match transaction's {tables[0]}")
    handler.number = handler.entry["txn"] = known["id"]
    handler.check_injected(("shutting-down", "running-txns"))
    request = Request(handler, db, table, in_transaction=True)
    plan = request.make_plan()
    counts = json.loads(known["counts"])
    form = {name: handler.fields.get(name, "") for name in LOG_DIGEST}
    if counts.setdefault("forms", {}).setdefault(table, form) != form:
        raise LoadError("load request not equal last.")
    body, total = request.receive(handler.fault), handler.entry["bytes"]
    try:
        outcome = request.rows(plan, body)
        handler.check_injected(("too-many-versions", "close-channel", "fail"))
    except LoadError as error:
        error.url = error.url or getattr(request, "error_url", None)
        counts.setdefault("error", [error.message, error.url])
        with emulator.store.write() as connection:
            connection.execute("UPDATE sr_transaction SET counts = ? WHERE id = ?", (json.dumps(counts), known["id"]))
        return loaded(handler, label, known["id"], total)
    with emulator.store.write() as connection:
        emulator.transactions.add_part(known["id"], outcome.part)
        for name, value in (
            ("total", outcome.total),
            ("loaded", outcome.loaded),
            ("filtered", outcome.filtered),
            ("bytes", total),
        ):
            counts[name] = counts.get(name, 0) + value
        connection.execute(
            "UPDATE sr_transaction SET counts = ?, tables = ? WHERE id = ?",
            (json.dumps(counts), json.dumps(sorted({*tables, f"{db}.{table}"})), known["id"]),
        )
    if handler.fault.get("do") == "reset-after-commit":
        handler.reset("reset after the load")
    loaded(handler, label, known["id"], total)


def loaded(handler, label, number, total):
    reply = {
        "Status": "OK",
        "Message": "",
        "Label": label,
        "TxnId": number,
        "LoadBytes": total,
        "StreamLoadPlanTimeMs": 0,
        "ReceivedDataTimeMs": 0,
    }
    answer(handler, reply)


def end(handler, operation, db, label):
    """prepare, commit and rollback."""
    transactions, fault = handler.emulator.transactions, handler.fault
    known = transactions.find(db, label)
    if not known or known["kind"] == "load":
        raise LoadError(f"transaction with label {label} not exists")
    number, state = known["id"], known["state"]
    handler.entry["txn"] = number
    reply = {"Status": "OK", "Message": "", "Label": label, "TxnId": number}
    if operation == "rollback":
        if state in ("COMMITTED", "VISIBLE"):
            raise LoadError(f"Can not abort {state} transaction {number}, label is {label}")
        if state == "ABORTED":
            reply["Message"] = f"Transaction {number} has already aborted, label is {label}"
        transactions.abort(number, "User Aborted")
        return answer(handler, reply)
    if state == "ABORTED":
        raise LoadError(f"Can not {operation} ABORTED transaction {number}, label is {label}")
    if (error := json.loads(known["counts"]).get("error")) and state == "PREPARE":
        transactions.abort(number, error[0])
        raise LoadError(error[0], url=error[1])
    if operation == "prepare":
        if state != "PREPARE":
            reply["Message"] = f"Transaction {number} has already {state}, label is {label}"
            return answer(handler, reply)
        transactions.prepare(number, int(handler.fields.get("prepared_timeout", 86400)))
    elif state in ("COMMITTED", "VISIBLE"):
        reply["Message"] = f"Transaction {number} has already committed, label is {label}"
        return answer(handler, reply)
    else:
        if not json.loads(known["counts"]).get("loaded"):
            handler.number = number
            check_empty(handler.emulator)
        if fault.get("do") == "reset-before-commit":
            handler.reset("reset before the commit")
        delay = fault.get("seconds", 3) if fault.get("do") == "publish-timeout" else 0
        if not transactions.commit(number, None, delay):
            reply["Status"], reply["Message"] = "PUBLISH_TIMEOUT", "publish timeout"
        if fault.get("do") == "reset-after-commit":
            handler.reset("reset after the commit")
    counts = json.loads(known["counts"])
    # The front end, which commits what is prepared, does not know the rows.
    if handler.side == "be":
        reply.update(
            NumberTotalRows=counts.get("total", 0),
            NumberLoadedRows=counts.get("loaded", 0),
            NumberFilteredRows=counts.get("filtered", 0),
            NumberUnselectedRows=0,
            LoadBytes=counts.get("bytes", 0),
            LoadTimeMs=0,
            StreamLoadPlanTimeMs=0,
            ReceivedDataTimeMs=0,
            WriteDataTimeMs=0,
            CommitAndPublishTimeMs=0,
        )
    answer(handler, reply)
