"""gunicorn inside our own process: threads behind a socket that is already open, and content that HUP loads anew."""

from __future__ import annotations

import logging
import socket
from typing import Any

import click
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]

from cds_service.web.settings import Settings, content_folder

log = logging.getLogger("cds_service")


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
        self._options = {
            # The open socket is handed over: only it knows the port where port 0 was asked for.
            "bind": f"fd://{listening.detach()}",
            "worker_class": "gthread",
            "workers": workers,
            "threads": threads,
            "graceful_timeout": 20,
            "keepalive": 30,
            "loglevel": "warning",
            # It would open a socket in $HOME, which a container may not have.
            "control_socket_disable": True,
            # Only now do signals end the service in good order, and somebody may be waiting for the line to send one.
            "when_ready": self._announce,
            "on_reload": self._reload,
        }
        super().__init__()

    def load_config(self) -> None:
        """Give gunicorn its settings."""
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Return the application."""
        return self._app

    def _announce(self, _arbiter: Any) -> None:
        click.echo(self._said)

    def _reload(self, _arbiter: Any) -> None:
        """Load the content anew before the new workers start; a broken book never replaces a good one."""
        shelf = self._app.extensions["cds"].shelf
        sound = shelf.reload(content_folder(self._settings), self._settings.site)
        fields = {"event": "reload", "result": "ok" if sound else shelf.stale.slug, "rule_book": shelf.book.fingerprint}
        log.log(logging.INFO if sound else logging.ERROR, "reload", extra={"fields": fields})
