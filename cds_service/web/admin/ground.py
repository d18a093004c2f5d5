"""Where the parts meet that trying a change needs: the desk, the ledger, the cohorts that a site lists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from flask import current_app

from cds_service.checking import read_silent
from cds_service.web.admin.frame import AdminDesk, desk
from cds_service.web.admin.trying import POPULATION, RECORDED, Ground, Jobs
from cds_service.web.settings import packaged


def jobs() -> Jobs:
    """Return the back-tests of this process."""
    found: Jobs = current_app.extensions.setdefault("admin-jobs", Jobs())
    return found


def folders(here: AdminDesk) -> Mapping[str, Path]:
    """Return the folders with patients that the site lists, by name."""
    return {path.name: path for path in here.cohorts if path.name not in (POPULATION, RECORDED)}


def cohort_choices() -> list[tuple[str, str]]:
    """Return the cohorts that may be chosen, with what each is called."""
    fixed = [(POPULATION, "the invented population: 200 patients who do not exist")]
    fixed += [(RECORDED, "the calls that this service recorded: the newest 10,000")]
    return [*fixed, *((name, f"the folder {name}") for name in folders(desk()))]


def ground(here: AdminDesk) -> Ground:
    """Return what trying a change needs."""
    ledger = here.engine.ledger
    assert ledger is not None  # noqa: S101 - the admin pages are there only with a ledger
    return Ground(
        base=here.base,
        decided=here.governance.decided(),
        today=here.today,
        vignettes=here.vignettes(),
        silent=here.base.once(("silent", here.content), lambda: read_silent(here.content)),
        ledger=ledger,
        clock=here.engine.clock,
        population=packaged("fixtures") / "population",
        folders=folders(here),
        policy=here.engine.policy,
    )
