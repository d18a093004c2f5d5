"""Logs: one JSON line per event, with fields from a fixed list. Nothing that identifies a patient can get in."""

from __future__ import annotations

import logging
import sys

import msgspec

ALLOWED = ("event", "service", "result", "ms", "kind", "place", "host", "port", "rule_book", "rules")


class JsonLines(logging.Formatter):
    """Write the allowed fields of an event, and nothing else."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        fields = getattr(record, "fields", {})
        line = {"time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"), "level": record.levelname.lower()}
        line.update({name: fields[name] for name in ALLOWED if name in fields})
        return msgspec.json.encode(line).decode()


def set_up(level: str = "INFO") -> None:
    """Send the service's events to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logger = logging.getLogger("cds_service")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(level)
