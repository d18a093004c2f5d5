"""The ids of cards and suggestions."""

from __future__ import annotations

import uuid

from cds_service.web.app import random_id


def test_every_id_is_a_random_uuid_of_its_own() -> None:
    """Feedback names a card by its id, so no two cards may share one."""
    ids = [random_id() for _ in range(1000)]

    assert 1000 == len(set(ids))
    assert {4} == {uuid.UUID(one).version for one in ids}
    assert {uuid.RFC_4122} == {uuid.UUID(one).variant for one in ids}
    assert ids == [str(uuid.UUID(one)) for one in ids]
