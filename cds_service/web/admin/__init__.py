"""
The admin pages: what the rules are, what they did, what another number would do; saved with a reason, and undone.

Off unless the settings say otherwise, and only with a ledger, which keeps what is decided.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask
from itsdangerous import URLSafeTimedSerializer

from cds_service.errors import SettingsError
from cds_service.web.admin import (
    activity,
    change,
    changes,
    drift,
    explain,
    exports,
    feedback,
    frame,
    near,
    oidc,
    operating,
    problems,
    rules,
    running,
    signing_in,
    trials,
)
from cds_service.web.admin.frame import LOOPBACK, AdminDesk, blueprint
from cds_service.web.cds import Engine
from cds_service.web.settings import Settings, content_folder

__all__ = ["register"]
# Each adds its pages to the one blueprint when it is imported.
_PARTS = (
    *(activity, change, changes, drift, explain, exports, feedback, frame, near, oidc, operating, problems, rules),
    *(running, signing_in, trials),
)


def register(app: Flask, engine: Engine, settings: Settings, environment: Mapping[str, str] = os.environ) -> None:
    """Add the pages to an application. Raises SettingsError where they could not be safe."""
    if engine.ledger is None:
        raise SettingsError(
            "CDS_ADMIN needs a ledger: what is decided has to be kept.", where="CDS_ADMIN", slug="bad-setting"
        )
    own = _own_address(settings)
    app.extensions["admin"] = AdminDesk(
        engine=engine,
        governance=engine.ledger.governance,
        content=content_folder(settings),
        cohorts=tuple([Path(one) for one in settings.cohorts]),
        approve_everything=settings.approvals == "all",
        origin=own,
        secure=own.startswith("https:"),
        notices=URLSafeTimedSerializer(engine.ledger.signing, salt="admin-notice"),
    )
    app.extensions["admin-hospital"] = oidc.read_hospital(settings, engine, engine.ledger.signing)
    app.extensions["admin-start"] = running.Start(settings, environment)
    app.register_blueprint(blueprint)


def _own_address(settings: Settings) -> str:
    """Return scheme and host of our own pages; "" in the sandbox, which believes the address that was called."""
    parts = urlsplit(settings.public_url)
    if parts.scheme == "https" or (parts.hostname or "") in LOOPBACK:
        return f"{parts.scheme}://{parts.netloc}"
    if settings.sandbox and not settings.public_url:
        return ""
    raise SettingsError(
        "CDS_ADMIN needs CDS_PUBLIC_URL, the https address under which people reach the pages.",
        where="CDS_PUBLIC_URL",
        slug="bad-setting",
        why="Cookies of people who sign in go over TLS only, and forms are taken from our own pages only.",
        remedy="Set it to https://cds.hospital.example; on this machine http://127.0.0.1:8080 will do.",
    )
