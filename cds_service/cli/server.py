"""gunicorn inside our own process: threads behind a socket that is already open, and content that HUP loads anew."""

from __future__ import annotations

import gc
import logging
import os
import resource
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import click
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from gunicorn.arbiter import Arbiter  # type: ignore[import-untyped]

from cds_service.cli.server_log import Log
from cds_service.cli.worker import Worker
from cds_service.web.metrics import Board
from cds_service.web.settings import Settings, content_folder
from cds_service.web.tuning import settle
from cds_service.web.warming import check_orders

log = logging.getLogger("cds_service")
# Seconds. A worker that stops waits so long for calls in flight, and then so long for the ledger; the master waits
# a little longer than both together before it ends it.
IN_FLIGHT, LEDGER, MASTER = 10, 5, 17
KEEP_ALIVE = 30
# More than a worker can answer at once may be connected to it: who is silent costs no thread.
CONNECTIONS = 1_000
# How far loading anew stands back for workers that answer: where they need the whole CPU it gets a tenth of it, and
# takes some seconds. And how long, in seconds, workers that end wait for those that replace them.
NICE, HANDOVER = 10, 5.0


class Server(BaseApplication):  # type: ignore[misc] # gunicorn has no types
    """
    The production server.

    The application is built before this, and so before any worker is forked: the workers share its memory, and faulty
    content ends the start before a port is open. gunicorn's own ``preload_app`` would do the same but for one thing:
    HUP could not load new content.
    """

    def __init__(
        self, app: Any, settings: Settings, listening: socket.socket, said: str, *, workers: int, threads: int
    ) -> None:
        self._app, self._settings, self._said = app, settings, said
        self._operations, engine = app.extensions["operations"], app.extensions["cds"]
        # Workers that end and those that replace them overlap: each has its own place.
        self.board = Board(4 * workers + 4)
        self._operations.share(self.board)
        engine.guard.limit(max(1, threads - threads // 8))
        engine.pace.rate = settings.rate / workers
        self._options = {
            # The open socket is handed over: only it knows the port where port 0 was asked for.
            "bind": f"fd://{listening.detach()}",
            "worker_class": Worker,
            "logger_class": Log,
            "workers": workers,
            "threads": threads,
            "worker_connections": _connections(),
            "graceful_timeout": MASTER,
            "keepalive": KEEP_ALIVE,
            "loglevel": "warning",
            # It would open a socket in $HOME, which a container may not have.
            "control_socket_disable": True,
            # Only now do signals end the service in good order, and somebody may be waiting for the line to send one.
            "when_ready": self._announce,
            "on_reload": self._reload,
            "pre_fork": self._give_place,
            "post_fork": self._begin,
            "worker_exit": self._end,
        }
        super().__init__()

    def load_config(self) -> None:
        """Give gunicorn its settings."""
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Return the application."""
        return self._app

    def run(self) -> None:
        """Serve until a signal ends it."""
        Master(self, self.board, self._settings.drain_seconds).run()

    def stopping(self) -> bool:
        """Say whether the whole service is stopping, not only one of its workers."""
        return self.board.stopping

    def _announce(self, _arbiter: Any) -> None:
        click.echo(self._said)

    def _reload(self, _arbiter: Any) -> None:
        """Load the content anew before the new workers start, in a thread: only that can be nice for a while."""
        loading = threading.Thread(target=self._load_anew, name="reload")
        loading.start()
        loading.join()

    def _load_anew(self) -> None:
        """A broken book never replaces a good one."""
        _stand_back()
        shelf = self._app.extensions["cds"].shelf
        gc.unfreeze()  # else the old book would stay for ever
        folder, site = content_folder(self._settings), self._settings.site
        sound = shelf.reload(folder, site, check=lambda book: check_orders(book.terminology))
        settle()
        fields = {"event": "reload", "result": "ok" if sound else shelf.stale.slug, "rule_book": shelf.book.fingerprint}
        if not sound:
            fields |= {"place": shelf.stale.where, "what": shelf.stale.what}
        log.log(logging.INFO if sound else logging.ERROR, "reload", extra={"fields": fields})

    # --- workers ----------------------------------------------------------------------------------------------------

    def _give_place(self, arbiter: Any, worker: Any) -> None:
        """Give a worker a place on the board that no living one has; it goes on counting from what stands there."""
        taken = {one.place for one in arbiter.WORKERS.values()}
        worker.born = worker.tmp.last_update()
        worker.place = next((place for place in range(self.board.places) if place not in taken), None)

    def _begin(self, _arbiter: Any, worker: Any) -> None:
        worker.cfg.set("graceful_timeout", IN_FLIGHT)
        self._operations.start(worker.place)

    def _end(self, _arbiter: Any, _worker: Any) -> None:
        self._operations.stop(LEDGER)


class Master(Arbiter):  # type: ignore[misc]
    """gunicorn's master process, which says that it is about to stop before it does."""

    def __init__(self, app: Server, board: Board, drain_seconds: float) -> None:
        super().__init__(app)
        self._board, self._drain = board, drain_seconds

    def handle_term(self) -> None:
        """TERM: /readyz says 503 from now on; when whoever sends calls has had time to see it, stop."""
        self._board.stopping = True
        time.sleep(self._drain)
        super().handle_term()

    def manage_workers(self) -> None:
        """Let old workers go only when those that replace them answer: until then calls would wait at the door."""
        until = time.monotonic() + HANDOVER
        while len(self.WORKERS) > self.num_workers and self._some_begin() and time.monotonic() < until:
            time.sleep(0.01)
        super().manage_workers()

    def _some_begin(self) -> bool:
        """Say whether there are workers that have not yet said that they live."""
        return any(worker.tmp.last_update() == worker.born for worker in self.WORKERS.values())


def _stand_back() -> None:
    """Let others go first from now on, in this thread only; what it forks would inherit that."""
    if sys.platform == "linux":  # elsewhere a thread has no priority of its own
        thread = threading.get_native_id()
        usual = os.getpriority(os.PRIO_PROCESS, thread)
        os.setpriority(os.PRIO_PROCESS, thread, min(19, usual + NICE))


def _connections() -> int:
    """Return how many connections a worker may hold with the file descriptors it is allowed (RELIABILITY 3.36)."""
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if allowed == resource.RLIM_INFINITY:
        return CONNECTIONS
    return max(4, min(CONNECTIONS, (allowed - sum(1 for _ in Path("/proc/self/fd").iterdir())) // 2))
