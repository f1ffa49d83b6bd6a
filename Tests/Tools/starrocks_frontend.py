"""The front end's HTTP port: sends loads on to the back end without reading them, and knows the states of labels.

# Unverified:
# - the words for a user who may not ask for a label's state
# - a path or a method that is none gets 404
"""

import urllib.parse

from starrocks_errors import Gone
from starrocks_http import Handler
from starrocks_transaction_api import handle_on_front_end
from starrocks_users import basic


class FrontEnd(Handler):
    side = "fe"

    def route(self):
        parts = self.parts
        if len(parts) == 4 and parts[0] == "api" and parts[3] == "_stream_load" and self.command == "PUT":
            self.start("redirect", db=parts[1], table=parts[2], label=self.fields.get("label", ""))
            return self.load()
        if len(parts) == 3 and parts[0] == "api" and parts[2] == "get_load_state" and self.command == "GET":
            self.start("state", db=parts[1], label=self.query.get("label", ""))
            return self.state(parts[1])
        if len(parts) == 3 and parts[:2] == ["api", "transaction"] and self.command in ("POST", "PUT"):
            self.start(
                "transaction",
                db=self.fields.get("db", ""),
                table=self.fields.get("table", ""),
                label=self.fields.get("label", ""),
            )
            self.authenticate()
            return handle_on_front_end(self, parts[2])
        if parts == ["api", "health"] and self.command == "GET":
            return self.answer_json({"online_backend_num": 1, "total_backend_num": 1, "status": "OK"}, close=False)
        self.start("other")
        self.emulator.log.violation(self.entry, f"no such thing: {self.command} {self.url.path}")
        self.answer(404, b"Not Found", kind="text/html")
        self.drain()

    def authenticate(self):
        """The user; 401 and the end where it is none of ours."""
        known = basic(self.headers.get("Authorization"))
        if known is None:
            self.refuse(401, "Need auth information.")
        if self.emulator.users.password(known[0]) != known[1]:
            self.refuse(401, f"Access denied for {known[0]}@{self.client_address[0]}")
        self.user = self.entry["user"] = known[0]
        return known[0]

    def refuse(self, status, message):
        self.entry["outcome"] = message
        self.answer_json(
            {"status": "FAILED", "code": "1", "msg": message, "message": message},
            status,
            [("WWW-Authenticate", 'Basic realm=""')],
        )
        self.drain()
        raise Gone

    def failed(self, message):
        """What TransactionResult says for a DdlException: with status 200."""
        self.entry["outcome"] = message
        self.answer_json({"Status": "FAILED", "Message": f"class com.starrocks.common.DdlException: {message}"})
        self.drain()

    def load(self):
        user, (_, db, table, _) = self.authenticate(), self.parts
        if problems := self.check_headers():
            return self.failed(f"Test emulator: {', '.join(problems)}")
        if self.fields.get("expect", "").lower() != "100-continue":
            self.emulator.log.violation(self.entry, "no Expect: 100-continue")
            return self.failed("There is no 100-continue header")
        if not self.emulator.users.may(user, "INSERT", db, table):
            return self.refuse(
                401,
                "Access denied; you need (at least one of) the INSERT privilege(s) on TABLE "
                f"{table} for this operation. Please ask the admin to grant permission(s).",
            )
        self.redirect()

    def redirect(self):
        emulator = self.emulator
        host, port = emulator.advertised_host, emulator.be_port
        if self.fault.get("do") == "redirect-to":
            host, port = self.fault.get("host", host), self.fault.get("port", port)
        path = urllib.parse.quote(urllib.parse.unquote(self.url.path), safe="/_")
        self.entry["outcome"] = "redirected"
        self.answer(307, b"", [("Location", f"http://{host}:{port}{path}?{self.url.query}")], kind="text/html")
        # The real one closes at once; a body that was sent early meets a RST there as well.
        self.drain()

    def state(self, db):
        user = self.authenticate()
        label = self.query.get("label")
        if not label:
            return self.base_failed("No label selected.")
        if db not in self.emulator.store.databases:
            return self.base_failed(f"unknown database, database={db}")
        if not self.emulator.users.sees(user, db):
            return self.refuse(401, "Access denied; you need (at least one of) the INSERT privilege(s) on this database")
        known = self.emulator.transactions.find(db, label) or {"state": "UNKNOWN", "reason": None}
        self.entry["outcome"] = known["state"]
        reply = {"state": known["state"], "status": "OK", "code": "0", "msg": "Success", "message": "OK"}
        if known["reason"] is not None:
            reply["reason"] = known["reason"]
        self.answer_json(reply, close=False)

    def base_failed(self, message):
        self.entry["outcome"] = message
        self.answer_json({"status": "FAILED", "code": "1", "msg": message, "message": message}, close=False)
