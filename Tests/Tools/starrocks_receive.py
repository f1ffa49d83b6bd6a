"""Takes a load's body from the connection and makes rows of it: the same for a load of its own and for one of a transaction."""

import hashlib
import re
import time
import zoneinfo

from starrocks_apply import Part
from starrocks_compression import FORMATS, NAMES, decompress
from starrocks_errors import Gone, LoadError
from starrocks_load import boolean, decode
from starrocks_plan import Plan

LARGEST_BODY = 256 << 20
LARGEST_JSON = 100 << 20
LOG_DIGEST = (
    "columns",
    "format",
    "column_separator",
    "row_delimiter",
    "enclose",
    "escape",
    "skip_header",
    "trim_space",
    "partial_update",
    "partial_update_mode",
    "merge_condition",
    "strict_mode",
    "compression",
    "content-encoding",
    "strip_outer_array",
)
NOT_HERE = (
    "where",
    "partitions",
    "temporary_partitions",
    "enable_merge_commit",
    "merge_commit_async",
    "merge_commit_interval_ms",
    "merge_commit_parallel",
    "channel_num",
    "channel_id",
    "source_type",
)


def check_empty(emulator):
    """What DatabaseTransactionMgr says of a commit without data: empty_load_as_error is true by default."""
    if emulator.settings["empty_load_as_error"]:
        if emulator.version < (3, 3):
            raise LoadError("all partitions have no load data")
        raise LoadError(
            "No partitions have data available for loading. If you are sure there may be no data to be loaded, you can use "
            "`ADMIN SET FRONTEND CONFIG ('empty_load_as_error' = 'false')` to ensure such load jobs can succeed"
        )


class Request:
    """A load's headers, checked as StreamLoadAction::_on_header and _process_put check them."""

    def __init__(self, handler, db, table, in_transaction=False):
        self.in_transaction = in_transaction
        self.handler, self.emulator, self.fields = handler, handler.emulator, handler.fields
        self.db, self.table = db, table
        fields = self.fields
        for name in NOT_HERE:
            if fields.get(name):
                raise LoadError(f"Test emulator: header {name} is not supported.")
        if fields.get("negative", "").lower() == "true":
            raise LoadError("Test emulator: negative loads are not supported.")
        self.format = fields.get("format", "csv").lower()
        if self.format not in FORMATS:
            raise LoadError(f"unknown data format, format={fields['format']}")
        length = fields.get("content-length")
        self.length = int(length) if length else None
        if self.length is not None and self.length > LARGEST_BODY:
            raise LoadError(
                f"body size {self.length} exceed limit: {LARGEST_BODY}, . You can increase the limit by setting "
                "streaming_load_max_mb in be.conf."
            )
        if self.format == "json" and (self.length or 0) > LARGEST_JSON and fields.get("ignore_json_size", "").lower() != "true":
            raise LoadError(
                f"The size of this batch exceed the max size [{LARGEST_JSON}]  of json type data  data [ {self.length} ]. "
                "Set ignore_json_size to skip the check, although it may lead huge memory consuming."
            )
        self.timeout = self.number("timeout", 600, "Invalid timeout format")
        if not 1 <= self.timeout <= 259200:
            raise LoadError("Invalid timeout. Timeout should between 1 and 259200 seconds")
        self.number("log_rejected_record_num", 0, "Invalid log_rejected_record_num format", -1)
        self.number("load_mem_limit", 0, "Invalid load mem limit format")
        self.number("exec_mem_limit", 1, "exec_mem_limit must be greater than 0")
        self.strict = boolean(fields, "strict_mode", "Invalid strict mode format. Must be bool type")
        boolean(fields, "partial_update", "Invalid partial update flag format. Must be bool type")
        if fields.get("partial_update_mode", "row") not in ("row", "column", "auto"):
            raise LoadError(f"Test emulator: partial_update_mode is row, column or auto, not {fields['partial_update_mode']}.")
        self.check_timezone()
        self.ratio = self.filter_ratio()
        if fields.get("content-encoding") and fields.get("compression"):
            raise LoadError("Only one of http header content-encoding and compression can be set")
        self.compression = FORMATS[self.format]
        named = (fields.get("content-encoding") or fields.get("compression") or "").lower()
        if named:
            if self.emulator.version < (3, 2, 7):
                raise LoadError("Test emulator: compression and Content-Encoding are known from 3.2.7 on.")
            if named not in NAMES:
                raise LoadError(f"Unsupported compression algorithm {named}")
            self.compression = named

    def number(self, name, default, message, low=0):
        text = self.fields.get(name)
        if not text:
            return default
        try:
            value = int(text)
        except ValueError:
            raise LoadError(message) from None
        if value < low:
            raise LoadError(message)
        return value

    def check_timezone(self):
        """No conversion of the types here depends on it; a wrong name is refused all the same."""
        name = self.fields.get("timezone")
        if name and not re.fullmatch(r"[+-](0\d|1[0-4]):[0-5]\d", name):
            try:
                zoneinfo.ZoneInfo(name)
            except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
                raise LoadError(f"Unknown or incorrect time zone: '{name}'") from None

    def filter_ratio(self):
        text = self.fields.get("max_filter_ratio", "0")
        try:
            ratio = float(text)
        except ValueError:
            # strtod reads what it can, which is nothing: 0.
            ratio = 0.0
        if not 0 <= ratio <= 1:
            raise LoadError(f"Test emulator: max_filter_ratio is from 0 to 1, not {text}.")
        return ratio

    def make_plan(self):
        store = self.emulator.store
        if self.db not in store.databases:
            raise LoadError(f"unknown database, database={self.db}")
        table = store.tables.get((self.db, self.table))
        if table is None or table.is_view:
            raise LoadError(
                f"unknown table, table={self.db}.{self.table}"
                if table is None
                else f"load table type is not OlapTable, type={'VIEW'}"
            )
        return Plan(table, self.emulator.version, self.fields, self.format == "json")

    # The body

    def receive(self, fault):
        """The body's bytes, asked for with 100 Continue; Gone where the client goes away."""
        handler = self.handler
        if self.fields.get("expect", "").lower() == "100-continue":
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            handler.wfile.flush()
        if fault.get("do") == "reset-before-body":
            handler.reset("reset before the body")
        parts, total = [], 0
        for size in self.sizes():
            left = size
            while left > 0:
                pace = self.emulator.settings["throttle"]
                piece = min(left, max(1, int(pace / 20)) if pace else 1 << 20)
                if fault.get("do") == "reset-in-body" and total + piece > (self.length or 0) // 2:
                    piece = max(1, min(piece, (self.length or 2) // 2 - total))
                data = handler.rfile.read(piece)
                if not data:
                    raise Gone
                parts.append(data)
                left, total = left - len(data), total + len(data)
                if fault.get("do") == "reset-in-body" and total >= (self.length or 0) // 2:
                    handler.reset("reset in the body")
                if pace:
                    time.sleep(len(data) / pace)
            if total > LARGEST_BODY:
                raise LoadError("body exceeds max size")
        body = b"".join(parts)
        handler.entry["bytes"] = total
        return body

    def sizes(self):
        if "chunked" not in self.fields.get("transfer-encoding", "").lower():
            yield self.length or 0
            return
        read = self.handler.rfile
        while True:
            line = read.readline(1000)
            if not line.strip():
                raise Gone
            size = int(line.split(b";")[0], 16)
            if size == 0:
                while read.readline(1000) not in (b"\r\n", b""):
                    pass
                return
            yield size
            read.readline(10)

    def digest(self, body):
        parts = [f"{name}={self.fields.get(name, '')}" for name in LOG_DIGEST]
        return hashlib.sha256("\0".join([self.db, self.table, *parts]).encode("latin-1", "replace") + b"\0" + body).hexdigest()

    def rows(self, plan, body):
        """The decoded rows as an Outcome, LoadError where too many are filtered."""
        if self.compression:
            body = decompress(self.compression, body, LARGEST_BODY)
        outcome = decode(plan, body, self.fields, self.strict)
        entry = self.handler.entry
        entry["rows"], entry["filtered"] = outcome.total, outcome.filtered
        self.outcome = outcome
        if outcome.errors:
            self.error_url = self.emulator.keep_errors(outcome.errors)
        if outcome.total and outcome.filtered / outcome.total > self.ratio:
            raise LoadError("too many filtered rows")
        if outcome.loaded == 0 and not self.in_transaction:
            check_empty(self.emulator)
        if plan.revived:
            self.emulator.log.violation(
                self.handler.entry,
                f"revived: {plan.revived} rows deleted and partially updated in one load of "
                f"{self.table} keep their old columns",
            )
        self.check_filled(plan, outcome.part)
        return outcome

    def check_filled(self, plan, part: Part):
        """Tells of rows that a partial update makes with zeros in columns that are NOT NULL: no client means that."""
        if not plan.zero_filled or not part.upserts:
            return
        places = [part.stores.index(key) for key in part.keys]
        condition = " AND ".join(f"{key} = ?" for key in part.keys)
        connection = self.emulator.store.connection()
        for row in part.upserts:
            if not connection.execute(
                f"SELECT 1 FROM t{part.table} WHERE {condition}", [row[place] for place in places]
            ).fetchone():
                names = ", ".join(column.name for column in plan.zero_filled)
                self.emulator.log.violation(
                    self.handler.entry, f"zeroFilled: a partial update made a row of {self.table} without {names}"
                )
                return
