"""This service as it runs, without client authentication and at a fixed moment."""

from __future__ import annotations

from datetime import UTC, datetime

from cds_service.web import Settings, create_app, logs
from cds_service.web.tuning import settle

# The day after the newest result of the payloads.
NOW = datetime(2026, 2, 28, 12, tzinfo=UTC).timestamp()

app = create_app(Settings(auth="none"), clock=lambda: NOW)
# What `cds-service serve` does too: one line of log for each call, and a collector that knows what stays.
logs.set_up()
settle()
