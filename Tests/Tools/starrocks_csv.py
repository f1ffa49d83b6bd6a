"""Splits CSV into rows and fields as the BE's csv_reader.cpp does, the common forms fast, all others as slowly as they are odd.

Without enclose and escape a body is split at its separators and nothing else. With them the BE runs a state machine; two of
its habits matter to whoever writes CSV: a field that is `\\N` after quotes and escapes were taken off is NULL, quoted or not,
and an escape before an ordinary character vanishes and ends the quotation (so with `escape: \\` a bare `\\N` is the text N).

# Unverified:
# - trim_space with quoted fields: blanks around a quoted field are taken off
# - a quotation without an end takes the rest of the body as its field
"""
import re

from starrocks_errors import LoadError

LONGEST_SEPARATOR = 50


class Format:
    """How the body is written; the texts may be of several characters, enclose and escape of one or none."""

    def __init__(self, separator="\t", delimiter="\n", enclose="", escape="", skip=0, trim=False):
        self.separator, self.delimiter, self.enclose, self.escape = separator, delimiter, enclose, escape
        self.skip, self.trim = skip, trim
        # A body of no odd form is a sequence of these, without a gap.
        mark, sign = re.escape(enclose), re.escape(escape)
        ends = f"{re.escape(separator)}|{re.escape(delimiter)}"
        special = f"{mark}{sign}"
        inner = [f"[^{special}]"] if special else ["."]
        if enclose:
            inner.append(mark + mark)
        if escape:
            inner.append(f"{sign}(?:{mark + '|' if mark else ''}{sign}|{ends})")
        if len(separator) == len(delimiter) == 1:
            plain = f"[^{special}{re.escape(separator)}{re.escape(delimiter)}]*"
        else:
            plain = f"(?:(?!{ends})[^{special}])*" if special else f"(?:(?!{ends}).)*"
        quoted = f"{mark}((?:{'|'.join(inner)})*){mark}|" if enclose else "(?!)()|"
        self.pattern = re.compile(f"(?:{quoted}({plain}))({ends})", re.S)
        self.escapes = re.compile(f"{mark}{mark}|{sign}(.)" if enclose and escape else f"{mark}{mark}()" if enclose else f"{sign}(.)", re.S)

    def rows(self, text):
        """All rows, each a list of fields."""
        if not self.enclose and not self.escape:
            rows = self.split(text)
        else:
            rows = self.machine_or_pattern(text)
        if self.skip:
            if len(rows) < self.skip:
                raise LoadError(
                    f"The parameter 'skip_header' is set to {self.skip}, but there are only {len(rows)} rows in the csv file"
                )
            del rows[: self.skip]
        if self.trim:
            rows = [[field.strip(" ") for field in row] for row in rows]
        return rows

    def split(self, text):
        separator = self.separator
        return [row.split(separator) for row in text.split(self.delimiter) if row]

    def machine_or_pattern(self, text):
        if self.enclose not in text if self.enclose else True:
            if self.escape not in text if self.escape else True:
                return self.split(text)
        if text and not text.endswith(self.delimiter):
            text += self.delimiter
        if self.trim:
            return self.machine(text)
        rows, row, end = [], [], 0
        separator, enclose = self.separator, self.enclose
        doubled, single = enclose * 2, enclose
        escape = self.escape
        for match in self.pattern.finditer(text):
            if match.start() != end:
                return self.machine(text)
            end = match.end()
            quoted = match[1]
            if quoted is None:
                row.append(match[2])
            elif escape and escape in quoted:
                row.append(self.escapes.sub(lambda m: m[1] if m[1] is not None else single, quoted))
            else:
                row.append(quoted.replace(doubled, single))
            if match[3] != separator:
                # An empty line is no row; an empty quoted field is one.
                if len(row) > 1 or row[0] or quoted is not None:
                    rows.append(row)
                row = []
        return rows if end == len(text) else self.machine(text)

    def machine(self, text):
        """The BE's state machine, state by state (CSVReader::more_rows)."""
        rows, row, escaped = [], [], set()
        enclose, escape = self.enclose or None, self.escape or None
        separator, delimiter = self.separator, self.delimiter
        state, before, position, start, is_enclosed, size = "start", "start", 0, 0, False, len(text)

        def field(mark):
            kept = "".join(text[i] for i in range(start, position) if i not in escaped)
            return kept[: -len(mark) - 1] if is_enclosed else kept[: -len(mark)]

        while position < size or state in ("row", "column"):
            if state == "row":
                if row or position - len(delimiter) != start:
                    row.append(field(delimiter))
                    rows.append(row)
                state, row, is_enclosed, start = "start", [], False, position
                escaped.clear()
                continue
            if state == "column":
                row.append(field(separator))
                state, is_enclosed = "start", False
                escaped.clear()
                continue
            char = text[position]
            if state == "start":
                while self.trim and char == " ":
                    position += 1
                    char = text[position]
                start = position
            if state == "escape" and char in (enclose, escape):
                state, position = before, position + 1
                continue
            if state != "enclose" and state != "doubled":
                mark = delimiter if text.startswith(delimiter, position) else separator if text.startswith(separator, position) else ""
                if mark:
                    position += len(mark)
                    state = before if state == "escape" else "row" if mark == delimiter else "column"
                    continue
            if state == "doubled":
                state, position = before, position + 1
            elif state == "enclose":
                position += 1
                if char == enclose:
                    before = state
                    if text[position] == enclose:
                        state = "doubled"
                        escaped.add(position - 1)
                    else:
                        state = "ordinary"
                elif char == escape:
                    before, state = state, "escape"
                    escaped.add(position - 1)
            elif char == escape:
                before, state = "ordinary", "escape"
                escaped.add(position)
                position += 1
            elif char == enclose and state == "start":
                position += 1
                start = position
                if text[position] != enclose:
                    state, is_enclosed = "enclose", True
                else:
                    position += 1
                    is_enclosed = text.startswith((delimiter, separator), position)
                    state = "ordinary"
            elif char == enclose:
                before, state = "ordinary", "doubled"
                escaped.add(position)
                position += 1
            else:
                state, position = "ordinary", position + 1
        if row or state not in ("start",):
            row.append("".join(text[i] for i in range(start, size) if i not in escaped))
            rows.append(row)
        return rows


def separator(text, name):
    """A separator header: `\\x01` and `\\t` are read as the front end's Delimiter.convertDelimiter does."""
    if not text:
        raise LoadError(f"Delimiter cannot be empty or null")
    if text.lower().startswith(("\\x", "0x")):
        digits = text[2:]
        if not digits or len(digits) % 2 or not re.fullmatch(r"[0-9a-fA-F]+", digits):
            raise LoadError(f"Invalid delimiter '{text}': ")
        text = bytes.fromhex(digits).decode("utf-8", "surrogateescape")
    else:
        for written, meant in (("\\t", "\t"), ("\\n", "\n"), ("\\r", "\r"), ("\\\\", "\\")):
            text = text.replace(written, meant)
    if len(text.encode("utf-8", "surrogateescape")) > LONGEST_SEPARATOR:
        raise LoadError(f"the length of delimiter must be less than {LONGEST_SEPARATOR}: {name}")
    return text
