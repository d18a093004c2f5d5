"""
Logs: one JSON line per event, with fields from a fixed list. Nothing that identifies a patient can get in.

Nobody waits for a line to be written: lines are collected, and a thread writes them. Where the disk is full or
whoever reads the pipe has stopped, lines are lost and counted, and calls go on.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import threading
import time
from collections import deque
from functools import lru_cache

import msgspec

_encode = msgspec.json.Encoder().encode
ALLOWED = (
    *("event", "service", "result", "status", "ms", "request", "instance", "cards", "budget_left"),
    *("kind", "place", "what", "host", "port", "rule_book", "rules", "count"),
)
# Lines that may wait, and how long they do, in seconds.
MOST, PAUSE = 10_000, 0.1


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
    """
    Collect lines, and let a thread write each of them whole: lines of several workers never mix.

    Before ``start`` (in the process that forks the workers, which must have no threads) a line is written at once, if
    that can be done without waiting.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lost = 0
        self._torn = b""
        self._waiting: deque[logging.LogRecord] = deque()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line over; never waits."""
        if self._thread is None:
            self._write(record, only_at_once=True)
        elif len(self._waiting) >= MOST:
            self.lost += 1
        else:
            self._waiting.append(record)

    def start(self) -> None:
        """Begin to write in a thread, in this process."""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def stop(self, seconds: float = 1.0) -> None:
        """Write what waits, as far as that can be done in time."""
        thread, self._thread = self._thread, None
        self._over.set()
        if thread is not None:
            thread.join(seconds)

    def _run(self) -> None:
        while not self._over.wait(PAUSE):
            self._write_all()
        self._write_all()

    def _write_all(self) -> None:
        while self._waiting:
            self._write(self._waiting.popleft())

    def _write(self, record: logging.LogRecord, *, only_at_once: bool = False) -> None:
        try:
            there = sys.stderr.fileno()
            if only_at_once and not select.select([], [there], [], 0)[1]:
                raise BlockingIOError
            line = self._torn + self.format(record).encode() + b"\n"
            whole = os.write(there, line) == len(line)
            self._torn = b"" if whole else b"\n"  # where the disk took a part of a line, the next one begins anew
            self.lost += not whole
        except (OSError, ValueError, TypeError):
            self.lost += 1


_here = ToStandardError()


def set_up(level: str = "INFO") -> None:
    """Send the service's events to standard error."""
    _here.setFormatter(JsonLines())
    logger = logging.getLogger("cds_service")
    logger.handlers, logger.propagate = [_here], False
    logger.setLevel(level)
    _leave_out_what_no_line_shows()


def start() -> None:
    """Let a thread of this process write, if events are sent to standard error at all."""
    if _here in logging.getLogger("cds_service").handlers:
        _here.start()


def stop() -> None:
    """Write what waits."""
    _here.stop()


def lost() -> int:
    """Return how many lines of this process could not be written."""
    return _here.lost


def _leave_out_what_no_line_shows() -> None:
    """Spare every line the search for its caller, thread and process (Python's Logging HOWTO, "Optimization")."""
    logging._srcfile = None  # noqa: SLF001 - so the HOWTO says
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
