"""What the server below the application has to say: events in our log, in our shape."""

from __future__ import annotations

import logging
import signal
import sys
from functools import partialmethod
from typing import Any

_log = logging.getLogger("cds_service")
_SIGNALS = frozenset(signal.Signals.__members__)


class Log:
    """
    What gunicorn has to say, as events of ours.

    Of its messages only the wording is logged, never what is put into it: that may be an address with its query. But
    for the name of a signal: whether a worker was killed or crashed (SIGSEGV) is what an operator has to know.
    """

    def __init__(self, cfg: Any) -> None:
        self.cfg = cfg

    def setup(self, cfg: Any) -> None:
        """Take new settings; there are none for logs."""
        self.cfg = cfg

    def log(self, level: int, msg: object, *words: object, **_: object) -> None:
        """Log an event of the server."""
        failed = sys.exc_info()[0]
        kind = failed.__name__ if failed else next((word for word in map(str, words) if word in _SIGNALS), "")
        fields = {"event": "server", "what": str(msg)[:120], "kind": kind}
        _log.log(level, "server", extra={"fields": fields})

    critical = partialmethod(log, logging.CRITICAL)
    error = partialmethod(log, logging.ERROR)
    warning = partialmethod(log, logging.WARNING)
    exception = partialmethod(log, logging.ERROR)

    def nothing(self, *_: object, **__: object) -> None:
        """Leave out what is for gunicorn's developers; and the access log, since each call has its own line."""

    info = debug = access = reopen_files = close_on_exec = nothing
