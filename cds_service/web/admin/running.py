"""What is running here: the service, its rules, its software and its settings; secrets are only said to be there."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version

import msgspec
from flask import current_app
from flask.typing import ResponseReturnValue

from cds_service import __version__
from cds_service.adapters.governance import ROLES
from cds_service.web.admin.frame import AdminDesk, allowed, blueprint, desk, page
from cds_service.web.operations import Operations
from cds_service.web.settings import SETTINGS, Setting, Settings

# Settings that hold a secret, or the address of one, are named and never shown.
SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD", "DATABASE_URL")
PACKAGE = "calcinosis-cds"
_NAME = re.compile(r"[A-Za-z0-9._-]+")


class Running(msgspec.Struct, frozen=True):
    """A group of facts about what is running here."""

    title: str
    rows: list[tuple[str, str]]


class Said(msgspec.Struct, frozen=True):
    """A setting as it is in force; ``changed`` where it is not the default."""

    name: str
    value: str
    means: str
    changed: bool


class Start(msgspec.Struct, frozen=True):
    """With what the service was started: its settings, and the environment that may hold secrets besides."""

    settings: Settings
    environment: Mapping[str, str]


@blueprint.get("/settings")
@allowed(*ROLES)
def settings() -> ResponseReturnValue:
    """Show what runs here, in which version, with which settings."""
    here, start = desk(), current_app.extensions["admin-start"]
    groups = [Running("This service", list(_service(here))), Running("Rules", list(_rules(here)))]
    groups.append(Running("Software", list(_software())))
    refused = here.engine.shelf.unfit
    return page("admin/settings.html", groups=groups, settings=said(start), refused=refused, rule_ids=here.book.rules)


def _service(here: AdminDesk) -> Iterator[tuple[str, str]]:
    operations: Operations = current_app.extensions["operations"]
    reasons = operations.reasons()
    yield "Version", __version__
    yield "Ready", "yes" if not reasons else "look at: " + ", ".join(reasons)
    yield "Worker processes", f"{_gauge(operations, 'cds_workers'):.0f}"
    yield "Memory of all of them", f"{_gauge(operations, 'cds_resident_bytes') / 1024 / 1024:.0f} MB"
    yield "Calls have to be signed (JWT)", "no" if here.engine.door.open_to_all else "yes"
    yield "Reads from FHIR servers", "yes" if here.engine.completing is not None else "no"
    ledger = here.engine.ledger
    if ledger is None:
        return
    state = ledger.state()
    yield "Ledger", "SQLite" if ledger.database.path is not None else "PostgreSQL"
    yield "Trouble with the ledger", state.trouble or "none"
    yield "Decisions not written yet", f"{state.waiting} (this process)"


def _gauge(operations: Operations, name: str) -> float:
    """Return a number that every process says of itself, added up."""
    operations.tally.flush()
    return sum(one.value for family in operations.tally.collect() if family.name == name for one in family.samples)


def _rules(here: AdminDesk) -> Iterator[tuple[str, str]]:
    statuses = [rule.status for rule in here.book.rules.values()]
    stale = here.engine.shelf.stale
    switched = here.engine.ledger.switches() if here.engine.ledger else None
    yield "Rule book in force", here.book.fingerprint
    yield "Rule book of the files", here.base.fingerprint
    yield "Newest files", "could not be loaded: " + stale.what if stale else "are in force"
    yield "Site file", here.base.site or "none"
    yield "Rules", ", ".join(f"{statuses.count(one)} {one}" for one in ("active", "pilot", "draft", "retired"))
    yield "Services", str(len(here.book.services))
    decided = len(here.governance.decided())
    yield "Decisions of admins", f"{decided}, of which these rules refuse {_refused(here)}" if decided else "none"
    if switched is not None:
        off = len(switched.rules) + len(switched.services)
        yield "Switched off", "everything" if switched.everything else str(off) if off else "nothing"


def _refused(here: AdminDesk) -> str:
    return str(len(here.engine.shelf.unfit) or "none")


def _software() -> Iterator[tuple[str, str]]:
    """Name Python, and every package that the service asks for, as they are installed."""
    yield "Python", f"{platform.python_version()} ({sys.implementation.name}, {platform.system()})"
    try:
        asked = [one for one in requires(PACKAGE) or () if "extra ==" not in one]
    except PackageNotFoundError:
        return
    names = {found.group() for one in asked if (found := _NAME.match(one))}
    for name in sorted(names, key=str.casefold):
        with suppress(PackageNotFoundError):  # one that this system does not need
            yield name, version(name)


def said(start: Start) -> list[Said]:
    """Return every setting as it is in force."""
    return [_said(one, start) for one in SETTINGS]


def _said(one: Setting, start: Start) -> Said:
    if any(word in one.name for word in SECRET):
        given = bool(start.environment.get(one.name, "").strip())
        return Said(one.name, "set, not shown" if given else one.default or "not set", one.means, given)
    value, usual = _of(start.settings, one.name), _of(_USUAL, one.name)
    return Said(one.name, _written(value), one.means, value != usual)


def _of(chosen: Settings, name: str) -> object:
    if name == "CDS_OTHER_PATIENT":  # the one that is kept under another name
        return "drop" if chosen.drop_strangers else "refuse"
    return getattr(chosen, name.removeprefix("CDS_").lower())


def _written(value: object) -> str:
    """Write a value as people read it."""
    match value:
        case bool():
            return "yes" if value else "no"
        case tuple() | frozenset():
            return ", ".join(sorted(map(str, value))) or "not set"
        case None | "":
            return "not set"
        case _:
            return str(value)


_USUAL = Settings()
