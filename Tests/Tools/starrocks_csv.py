"""Splits CSV into rows and fields as the BE's csv_reader.cpp does, the common forms fast, all others as slowly as they are odd.

Without enclose and escape a body is split at its separators and nothing else. With them the BE runs a state machine; two of
its habits matter to whoever writes CSV: a field that is `\\N` after quotes and escapes were taken off is NULL, quoted or not,
and an escape before an ordinary character vanishes and ends the quotation (so with `escape: \\` a bare `\\N` is the text N).

# Unverified:
# - with enclose, trim_space leaves the blanks behind a field without quotes, as the state machine does
# - a quotation without an end takes the rest of the body as its field
"""

import re

from starrocks_errors import LoadError

LONGEST_SEPARATOR = 50
CHUNK = 1 << 20


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
        self.escapes = re.compile(
            f"{mark}{mark}|{sign}(.)" if enclose and escape else f"{mark}{mark}()" if enclose else f"{sign}(.)", re.S
        )

    def rows(self, text):
        """All rows one by one, each a list of fields."""
        is_plain = not (self.enclose and self.enclose in text) and not (self.escape and self.escape in text)
        rows = self.split(text) if is_plain else self.quoted(text)
        for number in range(self.skip):
            if next(rows, None) is None:
                raise LoadError(
                    f"The parameter 'skip_header' is set to {self.skip}, but there are only {number} rows in the csv file"
                )
        return rows

    def split(self, text):
        separator, delimiter, position, size = self.separator, self.delimiter, 0, len(text)
        while position < size:
            # A few megabytes at a time, up to a row's end.
            end = text.find(delimiter, position + CHUNK)
            end = size if end < 0 else end
            for row in text[position:end].split(delimiter):
                if row:
                    yield [field.strip(" ") for field in row.split(separator)] if self.trim else row.split(separator)
            position = end + len(delimiter)

    def quoted(self, text):
        if text and not text.endswith(self.delimiter):
            text += self.delimiter
        row, end, begin, size = [], 0, 0, len(text)
        separator, doubled, single, escape = self.separator, self.enclose * 2, self.enclose, self.escape
        while end < size:
            for match in self.pattern.finditer(text, end) if not self.trim else ():
                if match.start() != end:
                    break
                end = match.end()
                quoted, plain, mark = match.groups()
                if quoted is None:
                    row.append(plain)
                elif escape and escape in quoted:
                    row.append(self.escapes.sub(lambda m: m[1] if m[1] is not None else single, quoted))
                else:
                    row.append(quoted.replace(doubled, single))
                if mark != separator:
                    # An empty line is no row; an empty quoted field is one.
                    if len(row) > 1 or row[0] or quoted is not None:
                        yield row
                    row, begin = [], end
            if end < size:
                # An odd field: its row is read as the BE reads it.
                row, end = self.machine(text, begin)
                if row:
                    yield row
                row, begin = [], end

    def machine(self, text, position):
        """One row by the BE's state machine, state by state (CSVReader::more_rows), and where the next begins."""
        row, escaped, blank = [], set(), None
        enclose, escape = self.enclose or None, self.escape or None
        separator, delimiter = self.separator, self.delimiter
        state, before, start, is_enclosed, size = "start", "start", position, False, len(text)

        def field(mark):
            end = position - len(mark) if blank is None else blank
            return "".join(text[i] for i in range(start, end - 1 if is_enclosed else end) if i not in escaped)

        while position < size or state in ("row", "column"):
            if state == "row":
                if row or position - len(delimiter) != start:
                    row.append(field(delimiter))
                return row, position
            if state == "column":
                row.append(field(separator))
                state, is_enclosed, blank = "start", False, None
                escaped.clear()
                continue
            char = text[position]
            if self.trim and state == "ordinary" and before == "enclose":
                # The blanks behind a quotation are no part of the field.
                blank = position if char == " " else None
                before = "ordinary"
            if state == "start":
                while self.trim and char == " ":
                    position += 1
                    char = text[position]
                start = position
            if state == "escape" and char in (enclose, escape):
                state, position = before, position + 1
                continue
            if state != "enclose" and state != "doubled":
                mark = (
                    delimiter
                    if text.startswith(delimiter, position)
                    else separator
                    if text.startswith(separator, position)
                    else ""
                )
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
                    if text.startswith(enclose, position):
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
                if not text.startswith(enclose, position):
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
        row.append("".join(text[i] for i in range(start, size) if i not in escaped))
        return row, size


def separator(text, name):
    """A separator header: `\\x01` and `\\t` are read as the front end's Delimiter.convertDelimiter does."""
    if not text:
        raise LoadError("Delimiter cannot be empty or null")
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
