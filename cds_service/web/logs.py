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
from collections.abc import Mapping
from functools import lru_cache

import msgspec

_encode = msgspec.json.Encoder().encode
ALLOWED = (
    *("event", "service", "result", "status", "ms", "request", "instance", "cards", "budget_left"),
    *("kind", "place", "what", "host", "port", "rule_book", "rules", "count"),
)
# What is to be written: a record of logging, or the moment and the fields of an event of level INFO.
Event = logging.LogRecord | tuple[float, Mapping[str, object]]
# Lines that may wait, and how long they do, in seconds.
MOST, PAUSE = 10_000, 0.1


class JsonLines(logging.Formatter):
    """Write the allowed fields of an event, and nothing else."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        return _line(record.created, record.levelname.lower(), getattr(record, "fields", {}))


def _line(moment: float, level: str, fields: Mapping[str, object]) -> str:
    line: dict[str, object] = {"time": _second(int(moment)), "level": level}
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
        self._waiting: deque[Event] = deque()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Take a line over; never waits."""
        if self._thread is None:
            self._write(record, only_at_once=True)
        else:
            self._wait(record)

    def take(self, fields: Mapping[str, object]) -> bool:
        """Take over the fields of an event of level INFO, if lines are written by a thread; never waits."""
        if self._thread is None:
            return False
        self._wait((time.time(), fields))
        return True

    def _wait(self, line: Event) -> None:
        if len(self._waiting) >= MOST:
            self.lost += 1
        else:
            self._waiting.append(line)

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

    def _write(self, event: Event, *, only_at_once: bool = False) -> None:
        try:
            there = sys.stderr.fileno()
            if only_at_once and not select.select([], [there], [], 0)[1]:
                raise BlockingIOError
            said = self.format(event) if isinstance(event, logging.LogRecord) else _line(event[0], "info", event[1])
            line = self._torn + said.encode() + b"\n"
            whole = os.write(there, line) == len(line)
            self._torn = b"" if whole else b"\n"  # where the disk took a part of a line, the next one begins anew
            self.lost += not whole
        except (OSError, ValueError, TypeError):
            self.lost += 1


_here = ToStandardError()
_log = logging.getLogger("cds_service")


def say(fields: Mapping[str, object]) -> None:
    """
    Log an event of level INFO, as every call is one.

    Where lines go to standard error and nowhere else, past what makes a LogRecord: that took 10 us of a call of 1 ms.
    """
    if _log.isEnabledFor(logging.INFO) and not (_log.handlers == [_here] and _here.take(fields)):
        _log.info(fields["event"], extra={"fields": fields})


def set_up(level: str = "INFO") -> None:
    """Send the service's events to standard error."""
    _here.setFormatter(JsonLines())
    _log.handlers, _log.propagate = [_here], False
    _log.setLevel(level)
    _leave_out_what_no_line_shows()


def start() -> None:
    """Let a thread of this process write, if events are sent to standard error at all."""
    if _here in _log.handlers:
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
