"""A ledger with some hundred calls and answers that came through the service, and its figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask

from cds_service.adapters.governance import Governance
from cds_service.insight import Figures
from cds_service.web import Settings, create_app
from cds_service.web.admin.figures import figures as figures_of
from tests.admin.conftest import CHEAP, PASSWORD, PEOPLE, Admin
from tests.insight.life import LAST, SECRET, Life, population


def desk_of(life: Life) -> Any:
    """Return as much of an admin's desk as figures need."""
    return SimpleNamespace(engine=SimpleNamespace(ledger=life.ledger), today=LAST)


@pytest.fixture(scope="session")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    """Live through twelve weeks."""
    lived = Life(tmp_path_factory.mktemp("life"))
    lived.live(list(population()))
    yield lived
    for ledger in lived.ledgers:
        ledger.close()


@pytest.fixture(scope="session")
def figures(life: Life) -> Figures:
    return figures_of(desk_of(life))


@pytest.fixture(scope="session")
def admin_site(life: Life) -> Flask:
    """Give the admin pages over the made-up life."""
    return site_of(life)


def site_of(life: Life, **settings: Any) -> Flask:
    """Return the admin pages over a made-up life, and let in who may sign in."""
    life.ledger.governance = Governance(life.ledger.database, SECRET, life.clock, CHEAP)
    for name, roles in PEOPLE.items():
        if life.ledger.governance.accounts.find(name) is None:
            life.ledger.governance.accounts.create(name, PASSWORD, roles)
    chosen = Settings(**{"auth": "none", "sandbox": True, "admin": True, **settings})
    return create_app(chosen, clock=life.clock, ledger=life.ledger)


@pytest.fixture
def enter(admin_site: Flask) -> Callable[[str], Admin]:
    """Sign somebody in."""

    def signed_in(name: str) -> Admin:
        one = Admin(admin_site)
        assert 303 == one.sign_in(name).status_code
        return one

    return signed_in
