"""Logs: one JSON line per event, with fields from a fixed list. Nothing that identifies a patient can get in."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import suppress
from functools import lru_cache

import msgspec

_encode = msgspec.json.Encoder().encode
ALLOWED = ("event", "service", "result", "ms", "kind", "place", "host", "port", "rule_book", "rules", "count")


class JsonLines(logging.Formatter):
    """Write the allowed fields of an event, and nothing else."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        fields = getattr(record, "fields", {})
        line = {"time": _second(int(record.created)), "level": record.levelname.lower()}
        line.update({name: fields[name] for name in ALLOWED if name in fields})
        return _encode(line).decode()


@lru_cache(maxsize=2)
def _second(moment: int) -> str:
    """Word a moment to the second, once a second."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(moment))


class ToStandardError(logging.Handler):
    """Write each line whole and at once: lines of several workers never mix, and none waits in a buffer."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; where nobody can read it any more, the call goes on."""
        with suppress(OSError, ValueError):
            os.write(sys.stderr.fileno(), self.format(record).encode() + b"\n")


def set_up(level: str = "INFO") -> None:
    """Send the service's events to standard error."""
    handler = ToStandardError()
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("cds_service")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(level)
    _leave_out_what_no_line_shows()


def _leave_out_what_no_line_shows() -> None:
    """Spare every line the search for its caller, thread and process (Python's Logging HOWTO, "Optimization")."""
    logging._srcfile = None  # noqa: SLF001 - so the HOWTO says
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
