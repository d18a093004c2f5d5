"""This service for other servers than its own, without client authentication and at the moment of bench/served.py."""

from __future__ import annotations

from bench.served import NOW
from cds_service.web import Settings, create_app, logs
from cds_service.web.tuning import settle

app = create_app(Settings(auth="none"), clock=lambda: NOW)
# What `cds-service serve` does too: one line of log for each call, and a collector that knows what stays.
logs.set_up()
settle()
