"""Splits SQL into words, for the statements that are StarRocks' own."""

import re

from starrocks_errors import SqlError

TOKEN = re.compile(
    r"""\s+|--[^\n]*|\#[^\n]*|/\*.*?\*/|(?P<name>`(?:[^`]|``)*`)|(?P<text>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*")"""
    r"""|(?P<number>[0-9]+(?:\.[0-9]+)?)|(?P<word>[^\W\d][\w$]*|@@?[\w.]+)|(?P<sign><=|>=|<>|!=|.)""",
    re.S,
)
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "b": "\b", "Z": "\x1a"}


class Word:
    """A token: its kind (name, text, number, word, sign), what it means, and where it begins."""

    def __init__(self, kind, value, start):
        self.kind, self.value, self.start = kind, value, start


def unquote(text):
    quote, inner = text[0], text[1:-1]
    if quote == "`":
        return inner.replace("``", "`")
    inner = inner.replace(quote * 2, quote)
    return re.sub(r"\\(.)", lambda m: ESCAPES.get(m[1], m[1]), inner, flags=re.S)


class Words:
    """A cursor over a statement's tokens."""

    def __init__(self, sql):
        self.sql, self.place, self.tokens = sql, 0, []
        for match in TOKEN.finditer(sql):
            if kind := match.lastgroup:
                value = match[kind]
                self.tokens.append(Word(kind, unquote(value) if kind in ("name", "text") else value, match.start()))
        while self.tokens and self.tokens[-1].kind == "sign" and self.tokens[-1].value == ";":
            self.tokens.pop()

    @property
    def is_done(self):
        return self.place >= len(self.tokens)

    def peek(self, *words):
        """Whether these words or signs come next."""
        for offset, word in enumerate(words):
            if self.place + offset >= len(self.tokens):
                return False
            token = self.tokens[self.place + offset]
            if token.kind not in ("word", "sign") or token.value.upper() != word:
                return False
        return True

    def take(self, *words):
        if not self.peek(*words):
            return False
        self.place += len(words)
        return True

    def expect(self, *words):
        for word in words:
            if not self.take(word):
                self.fail(word)

    def fail(self, wanted=""):
        """The front end's words for what its grammar does not have."""
        if self.is_done:
            where, what = len(self.sql), "<EOF>"
        else:
            where, what = self.tokens[self.place].start, self.tokens[self.place].value
        line = self.sql.count("\n", 0, where) + 1
        column = where - (self.sql.rfind("\n", 0, where) + 1)
        hint = f", the most similar input is {{'{wanted}'}}" if wanted else ""
        raise SqlError(
            1064, f"Getting syntax error at line {line}, column {column}. Detail message: Unexpected input '{what}'{hint}."
        )

    def name(self):
        if self.is_done or self.tokens[self.place].kind not in ("name", "word"):
            self.fail("a legal identifier")
        self.place += 1
        return self.tokens[self.place - 1].value

    def text(self):
        if self.is_done or self.tokens[self.place].kind != "text":
            self.fail()
        self.place += 1
        return self.tokens[self.place - 1].value

    def number(self):
        if self.is_done or self.tokens[self.place].kind != "number":
            self.fail("INTEGER_VALUE")
        self.place += 1
        return int(self.tokens[self.place - 1].value)

    def qualified(self, db):
        """`db`.`name` or `name` as (db, name)."""
        first = self.name()
        if self.take("."):
            return first, self.name()
        if not db:
            raise SqlError(1046, "Getting analyzing error. Detail message: No database selected.")
        return db, first

    def names(self):
        """(`a`, `b`)."""
        self.expect("(")
        names = [self.name()]
        while self.take(","):
            names.append(self.name())
        self.expect(")")
        return names

    def properties(self):
        """("key" = "value", …)."""
        found = {}
        self.expect("(")
        while not self.take(")"):
            key = self.text()
            self.expect("=")
            found[key] = self.text()
            if not self.peek(")"):
                self.expect(",")
        return found

    def type_text(self):
        """A type's own text, as far as its brackets go."""
        start = self.tokens[self.place].start if not self.is_done else len(self.sql)
        self.name()
        depth = 0
        while not self.is_done:
            token = self.tokens[self.place]
            if token.kind == "sign" and token.value in "(<":
                depth += 1
            elif token.kind == "sign" and token.value in ")>" and depth > 0:
                depth -= 1
            elif depth == 0:
                break
            self.place += 1
        end = self.tokens[self.place].start if not self.is_done else len(self.sql.rstrip().rstrip(";"))
        return self.sql[start:end].strip()

    def rest(self):
        """What is left, as it was written."""
        if self.is_done:
            return ""
        start = self.tokens[self.place].start
        self.place = len(self.tokens)
        return self.sql[start:].strip().rstrip(";")
