"""The faults that tests ask for, and the log of all requests."""
import json
import os
import re
import threading

KINDS = {
    "cut-before", "cut-middle", "cut-after", "delay", "delay-after", "exception", "exception-after-200", "slow",
    "status", "truncate-answer",
}
FIELDS = {
    "kind", "number", "match", "occurrence", "times", "every", "seconds", "code", "text", "commit", "complete",
    "bytes_per_second", "status", "body", "content_type",
}


class Faults:
    """Rules in the order in which they were given; the first that fits a request is applied, all count it.

    A rule fits by the request's `number` (from 1, since the last reset; /ping and administration do not count), or by
    a regular expression `match` on the query (left out: every request), from its `occurrence`th match (1) on `times`
    times (1; 0 for ever), or at every `every`th match.
    """

    def __init__(self):
        self.lock = threading.Lock()
        self.rules = []

    def add(self, rule):
        if rule.get("kind") not in KINDS:
            raise ValueError(f"kind is one of {sorted(KINDS)}")
        if unknown := set(rule) - FIELDS:
            raise ValueError(f"unknown fields: {sorted(unknown)}")
        rule = dict(rule, seen=0, fired=0)
        rule["pattern"] = re.compile(rule.get("match", ""), re.S | re.I)
        with self.lock:
            self.rules.append(rule)

    def clear(self):
        with self.lock:
            self.rules.clear()

    def listing(self):
        with self.lock:
            return [{key: value for key, value in rule.items() if key != "pattern"} for rule in self.rules]

    def choose(self, number, query):
        chosen = None
        with self.lock:
            for rule in self.rules:
                if not rule["pattern"].search(query):
                    continue
                rule["seen"] += 1
                if "number" in rule:
                    fits = number == rule["number"]
                elif "every" in rule:
                    fits = rule["seen"] % rule["every"] == 0
                else:
                    first, times = rule.get("occurrence", 1), rule.get("times", 1)
                    fits = rule["seen"] >= first and (times == 0 or rule["seen"] < first + times)
                if fits and chosen is None:
                    rule["fired"] += 1
                    chosen = rule
        return chosen


class Log:
    """All requests as JSON lines, in a file that outlives a kill."""

    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.number = 0
        for line in self.read().splitlines():
            # The last line can be cut short by a kill.
            if match := re.match(rb'\{"number": (\d+)', line):
                self.number = max(self.number, int(match[1]))

    def next(self):
        with self.lock:
            self.number += 1
            return self.number

    def write(self, entry):
        line = (json.dumps(entry) + "\n").encode()
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

    def clear(self):
        with self.lock:
            self.number = 0
            if os.path.exists(self.path):
                os.unlink(self.path)
