"""Print one digest of all answers to the requests in fixtures: the same wherever and however the process runs."""

from __future__ import annotations

import hashlib
import json
from itertools import count

from cds_service.rules.book import load_book
from cds_service.web import Settings, create_app
from tests.build import NOW, ROOT


def digest() -> str:
    """Ask for every request, with uuids that count up, and hash the answers."""
    numbers = count()
    app = create_app(
        Settings(auth="none"), book=load_book(ROOT / "hooks"), clock=NOW.timestamp, new_id=lambda: f"id-{next(numbers)}"
    )
    services = {one["hook"]: one["id"] for one in app.test_client().get("/cds-services").json["services"]}  # type: ignore[index]
    found = hashlib.sha256(app.test_client().get("/cds-services").data)
    for path in sorted((ROOT / "fixtures" / "requests").rglob("*.json")):
        raw = path.read_bytes()
        service = services[json.loads(raw)["hook"]]
        answer = app.test_client().post(f"/cds-services/{service}", data=raw, content_type="application/json")
        found.update(path.name.encode() + str(answer.status_code).encode() + answer.data)
    return found.hexdigest()


if __name__ == "__main__":
    print(digest())  # noqa: T201 - that is what it is for
