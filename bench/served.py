"""This service as ``cds-service serve`` runs it, with one worker and at a fixed moment: the day of the payloads."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from cds_service.adapters.ledger import Ledger, read_key
from cds_service.cli.server import Server
from cds_service.cli.serving import listen
from cds_service.rules.book import RuleBook
from cds_service.web import Settings, create_app, logs
from cds_service.web.tuning import settle

# The day after the newest result of the payloads.
NOW = datetime(2026, 2, 28, 12, tzinfo=UTC).timestamp()
AUDIENCE, ISSUER = "bench", "https://ehr.example.org/bench"
# The rules that there were when the limit for one call was set (issue 2).
EIGHT = ("CC-01", "CC-02", "CC-03", "CC-04", "CC-05", "CC-07", "CC-11", "CC-25")


def only(book: RuleBook, numbers: Sequence[str]) -> None:
    """Leave every service of a book only the rules with these numbers; the book stays what it is otherwise."""
    missing = set(numbers) - {rule.number for rule in book.rules.values()}
    if missing:
        raise SystemExit(f"There is no rule {', '.join(sorted(missing))}.")
    for name, service in book.services.items():
        kept = tuple(rule for rule in service.rules if rule.number in numbers)
        book.services[name] = msgspec.structs.replace(service, rules=kept)


def main() -> None:
    """Serve until a signal ends it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--ledger", type=Path, help="a folder for the ledger (SQLite); without one there is no ledger")
    parser.add_argument("--issuers", default="", help="the file of issuers; without one everybody may call")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", default="", help="numbers of rules, with commas; without it all rules are asked")
    chosen = parser.parse_args()
    settings = Settings(auth="jwt" if chosen.issuers else "none", issuers=chosen.issuers)
    url = f"sqlite:///{chosen.ledger}/ledger.db" if chosen.ledger else ""
    ledger = Ledger.open(url, read_key(os.environ, url), lambda: NOW) if url else None
    app = create_app(settings, clock=lambda: NOW, ledger=ledger)
    if chosen.only:
        only(app.extensions["cds"].shelf.book, chosen.only.split(","))
    logs.set_up()
    settle()
    Server(app, settings, listen("127.0.0.1", chosen.port), "ready", workers=chosen.workers, threads=64).run()


if __name__ == "__main__":
    main()
