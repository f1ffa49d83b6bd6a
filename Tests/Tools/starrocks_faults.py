"""The faults that tests ask for, and the log of all requests."""

import json
import os
import re
import threading
import time

# What can go wrong, and the kind of request that it happens to where a rule does not say; None is any.
KINDS = {
    "delay": None,
    "reset": None,
    "status": None,
    "cut-reply": None,
    "redirect-to": "redirect",
    "error": "sql",
    "reset-after": "sql",
    **dict.fromkeys(
        (
            "reset-before-body",
            "reset-in-body",
            "reset-before-commit",
            "reset-after-commit",
            "delay-before-commit",
            "delay-after-commit",
            "hang",
            "publish-timeout",
            "fail",
            "too-many-versions",
            "running-txns",
            "close-channel",
            "shutting-down",
            "status-after-commit",
        ),
        "load",
    ),
}
PATTERNS = ("url", "db", "table", "label", "sql")
FIELDS = {"do", "on", "nth", "count", "every", "seconds", "message", "code", "host", "port", "then", *PATTERNS}
REQUESTS = {"redirect", "load", "state", "transaction", "sql", "error-log", "other"}


class Faults:
    """Rules in the order in which they were given; the first that fits a request is applied, all count it.

    A rule fits requests of kind `on` (left out: what KINDS says) whose url, db, table, label and sql match its regular expressions, from
    its `nth` match (1) on `count` times (1; 0 for ever), or at every `every`th match.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.rules = []
        self.number = 0

    def add(self, rule):
        if rule.get("do") not in KINDS:
            raise ValueError(f"do is one of {sorted(KINDS)}")
        if unknown := set(rule) - FIELDS:
            raise ValueError(f"unknown fields: {sorted(unknown)}")
        if rule.get("on", "load") not in REQUESTS:
            raise ValueError(f"on is one of {sorted(REQUESTS)}")
        rule = dict(rule, seen=0, fired=0)
        if KINDS[rule["do"]]:
            rule.setdefault("on", KINDS[rule["do"]])
        rule["patterns"] = {name: re.compile(rule[name], re.S | re.I) for name in PATTERNS if name in rule}
        with self.lock:
            self.number += 1
            rule["id"] = self.number
            self.rules.append(rule)
            return rule["id"]

    def remove(self, number=None):
        with self.lock:
            self.rules = [rule for rule in self.rules if number is not None and rule["id"] != number]

    def listing(self):
        with self.lock:
            return [{key: value for key, value in rule.items() if key != "patterns"} for rule in self.rules]

    def choose(self, kind, **fields):
        chosen = None
        with self.lock:
            for rule in self.rules:
                if rule.get("on", kind) != kind:
                    continue
                if not all(pattern.search(fields.get(name) or "") for name, pattern in rule["patterns"].items()):
                    continue
                rule["seen"] += 1
                if "every" in rule:
                    fits = rule["seen"] % rule["every"] == 0
                else:
                    first, times = rule.get("nth", 1), rule.get("count", 1)
                    fits = rule["seen"] >= first and (times == 0 or rule["seen"] < first + times)
                if fits and chosen is None:
                    rule["fired"] += 1
                    chosen = {key: value for key, value in rule.items() if key != "patterns"}
        return chosen


class Log:
    """All requests as JSON lines, in a file that outlives a kill; the last ones also in memory."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.number = 0
        for line in self.read().splitlines():
            if match := re.match(rb'\{"n": (\d+)', line):
                self.number = max(self.number, int(match[1]))

    def start(self, kind, **fields):
        with self.lock:
            self.number += 1
            return {"n": self.number, "time": time.time(), "kind": kind, **fields}

    def violation(self, entry, text):
        """A rule that the client broke, whether or not the real server would have said a word."""
        entry.setdefault("violations", []).append(text)

    def write(self, entry):
        entry["seconds"] = round(time.time() - entry["time"], 4)
        line = (json.dumps(entry, default=str) + "\n").encode()
        with self.lock:
            with open(self.path, "ab") as file:
                file.write(line)

    def read(self):
        try:
            with open(self.path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return b""
        return data[: data.rfind(b"\n") + 1]

    def entries(self):
        return [json.loads(line) for line in self.read().splitlines()]

    def clear(self):
        with self.lock:
            self.number = 0
            if os.path.exists(self.path):
                os.unlink(self.path)
