"""What the tests of screening share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _no_ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let no ledger of whoever runs these tests, and nothing that was decided in it, come into them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CDS_DATABASE_URL", f"sqlite:///{tmp_path_factory.mktemp('no-ledger')}/none.db")
        yield
