"""
Cohorts to try a change on: patients of a file or folder, or the calls that the ledger has recorded.

    with cohorts.of_folder(path, book, hook="patient-view", as_of="newest", clock=time.time) as cohort:
        backtest.run(before, after, cohort, "patient-view", day=today)

    cohort = cohorts.of_ledger(ledger.database, most=10_000, disguise=cohorts.disguise_of(ledger))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, func, select

from cds_service import decoding
from cds_service.adapters.ehr.cases import Cases, moment_of, open_cases
from cds_service.adapters.ledger import Database, Ledger
from cds_service.adapters.ledger.schema import decisions
from cds_service.backtest import Subject
from cds_service.errors import CdsError
from cds_service.facts import Policy, take_in
from cds_service.facts.intake import Reader
from cds_service.protocol import HookRequest
from cds_service.recording import facts_from
from cds_service.rules.book import RuleBook
from cds_service.rules.exempting import Occasion

# So many recorded calls are read at once.
_AT_ONCE = 500
# Somebody waits for a back-test, but no hook call does.
_PATIENCE = 60.0


class Raw(msgspec.Struct, frozen=True):
    """
    A call as it is kept: the body of a hook call with its moment, or recorded facts. It can be handed to a process.

    ``encounter`` and ``client`` are pseudonyms, ``user`` is the type of the user's resource.
    """

    patient: str
    hook: str
    call: bytes = b""
    now: float = 0.0
    facts: bytes = b""
    decision: str = ""
    encounter: str = ""
    user: str = ""
    client: str = ""


class Kept:
    """
    A cohort (see backtest.Cohort) of calls as they are kept; each is read when it is asked for.

    ``has_bodies`` says that they are whole hook calls, which take longer to read than recorded facts.
    """

    def __init__(
        self, many: int, raws: Callable[[], Iterator[Raw]], opener: Opener, *, has_bodies: bool = False
    ) -> None:
        self.raws, self.opener, self.has_bodies = raws, opener, has_bodies
        self._many = many

    def __len__(self) -> int:
        return self._many

    def __iter__(self) -> Iterator[Subject | None]:
        return map(self.opener.subject, self.raws())


class Opener:
    """Makes facts of what is kept, as the service does."""

    def __init__(self, book: RuleBook, policy: Policy = Policy(), disguise: Callable[[str], str] = str) -> None:  # noqa: B008
        self._reader, self._policy, self._disguise = Reader(book.terminology), policy, disguise

    def subject(self, raw: Raw) -> Subject | None:
        """Return a call with its facts; None where the service would have refused it, or nothing was kept."""
        try:
            if raw.call:
                request = HookRequest.parse(raw.call, raw.hook)
                # No key, no pseudonyms: patients of a file go by the ids they have there.
                who = Occasion(raw.patient, request.encounter_id, request.user_id.partition("/")[0])
                facts = take_in(request, self._reader, raw.now, self._policy)
                return Subject(raw.patient, facts, raw.hook, occasion=who)
            if not raw.facts:
                return None
            occasion = Occasion(raw.patient, raw.encounter, raw.user, raw.client, self._disguise)
            return Subject(raw.patient, facts_from(raw.facts), raw.hook, raw.decision, occasion)
        except CdsError:
            return None


@contextmanager
def of_folder(
    path: Path,
    book: RuleBook,
    *,
    hook: str,
    as_of: str,
    clock: Callable[[], float],
    policy: Policy = Policy(),  # noqa: B008
    lenient_status: bool = True,
) -> Iterator[Kept]:
    """
    Open a file or folder of patients (Bundles, NDJSON) or of complete hook calls.

    ``as_of`` is "newest" (the day of each patient's newest result), "today" or a day. Raises UnreadableFile.
    """
    with open_cases(path, book, hook=hook, lenient_status=lenient_status) as cases:
        yield Kept(len(cases), lambda: _of_cases(cases, as_of, clock), Opener(book, policy), has_bodies=True)


def _of_cases(cases: Cases, as_of: str, clock: Callable[[], float]) -> Iterator[Raw]:
    for case in cases:
        yield Raw(case.patient_id, case.service.service.hook, case.call, moment_of(case.record, as_of, clock))


def of_ledger(
    database: Database, book: RuleBook, *, most: int, hook: str = "", disguise: Callable[[str], str] = str
) -> Kept:
    """
    Return the newest recorded calls, those of one hook if it is named; they are read page by page.

    ``disguise`` makes the pseudonym of a client (see ``disguise_of``). Raises Unavailable.
    """
    names = [name for name, one in book.services.items() if one.service.hook == hook] if hook else list(book.services)
    asked = decisions.c.service.in_(names)
    with database.reading(patience=_PATIENCE) as connection:
        many = connection.execute(select(func.count()).select_from(decisions).where(asked)).scalar() or 0
    return Kept(min(many, most), lambda: _recorded(database, asked, most), Opener(book, disguise=disguise))


def disguise_of(ledger: Ledger) -> Callable[[str], str]:
    """Return what makes of the name of a client its pseudonym in this ledger."""
    return lambda issuer: ledger.quiet.pseudonym("issuer", issuer)


class _Content(msgspec.Struct):
    hook: str = ""
    encounter: str = ""
    user_kind: str = ""
    issuer: str = ""


_content = decoding.decoder(_Content)


def _recorded(database: Database, asked: ColumnElement[bool], most: int) -> Iterator[Raw]:
    """Yield recorded calls, newest first; between pages nothing is kept open, so that the ledger can go on."""
    columns = (decisions.c.number, decisions.c.id, decisions.c.patient, decisions.c.content, decisions.c.facts)
    found, before, left = select(*columns).where(asked).order_by(decisions.c.number.desc()), None, most
    while left > 0:
        page = found if before is None else found.where(decisions.c.number < before)
        with database.reading(patience=_PATIENCE) as connection:
            rows: Any = connection.execute(page.limit(min(left, _AT_ONCE))).all()
        if not rows:
            return
        for _, number, patient, content, facts in rows:
            told = _content.decode(content)
            yield Raw(
                patient,
                told.hook,
                facts=facts,
                decision=number,
                encounter=told.encounter,
                user=told.user_kind,
                client=told.issuer,
            )
        before, left = rows[-1][0], left - len(rows)
