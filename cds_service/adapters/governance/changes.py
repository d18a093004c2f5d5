"""What admins decided: proposed by one person, where need be approved by another; never changed, only followed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any
from unicodedata import normalize

import msgspec
from sqlalchemy import Connection, Row, func, insert, select

from cds_service.adapters.governance import checking
from cds_service.adapters.governance.accounts import OUTSIDE
from cds_service.adapters.governance.audit import Audit
from cds_service.adapters.governance.errors import Conflict, Refused, clean
from cds_service.adapters.governance.tables import LARGEST, accounts, changes, decided, rulings
from cds_service.adapters.ledger.database import Database
from cds_service.rules.tuning_model import Tuning

# ADMIN.md, "Versions": a reason is required, and one word is none.
SHORTEST_REASON, LONGEST_REASON = 10, 2_000
LONGEST_NAME = 120
TURNED_DOWN = ("rejected", "withdrawn")
OUTCOMES = ("approved", *TURNED_DOWN)


class Change(msgspec.Struct, frozen=True):
    """
    One decision, with what became of it.

    ``base`` is the change of the same thing that its author saw, ``asks`` why a second person is asked for ("": nobody
    is), ``restores`` the change whose value it brings back. ``ruling`` is "" as long as nobody has ruled. ``state`` is
    "in force", "waiting", "planned", "rejected", "withdrawn", "superseded" or "ended", as of today.
    """

    number: int
    at: float
    tuning: Tuning
    base: int = 0
    asks: str = ""
    restores: int = 0
    trial: dict[str, Any] | None = None
    ruling: str = ""
    ruled_by: str = ""
    ruled_at: float = 0.0
    ruled_why: str = ""
    state: str = ""

    @property
    def is_decided(self) -> bool:
        """Whether it counts: nobody else was asked for, or they agreed."""
        return self.ruling == "approved" or not (self.asks or self.ruling)

    @property
    def counts(self) -> bool:
        """Whether it is in force, or may still come into force: nobody turned it down."""
        return self.ruling not in TURNED_DOWN


class Changes:
    """The changes of one database."""

    def __init__(self, database: Database, audit: Audit, clock: Callable[[], float]) -> None:
        self._database, self._audit, self._clock = database, audit, clock
        self._known: tuple[tuple[int, int], list[Tuning]] = ((-1, -1), [])

    # --- looking -----------------------------------------------------------------------------------------------------

    def decided(self, connection: Connection | None = None) -> list[Tuning]:
        """Return what was decided and needs nobody's approval, or has it, oldest first. Cheap if nothing is new."""
        if connection is None:
            with self._database.reading() as opened:
                return self.decided(opened)
        return self.numbered(connection)[1]

    def numbered(self, connection: Connection) -> tuple[tuple[int, int], list[Tuning]]:
        """Return the numbers of the newest change and the newest ruling, and what was decided (see ``decided``)."""
        newest = (connection.execute(_NEWEST).scalar() or 0, connection.execute(_NEWEST_RULING).scalar() or 0)
        if newest != self._known[0]:
            self._known = (newest, [one.tuning for one in _read(connection) if one.is_decided])
        return self._known

    def history(self, rule: str | None = None, name: str | None = None) -> list[Change]:
        """Return changes, newest first: all, those of a rule, or those of one thing of a rule."""
        with self._database.reading() as connection:
            found = _read(connection, rule, name)
        today = datetime.fromtimestamp(self._clock(), UTC).date()
        return [msgspec.structs.replace(one, state=_state(one, found, today)) for one in reversed(found)]

    def change(self, number: int) -> Change | None:
        """Return one change; None where there is none of this number."""
        if number > LARGEST:
            return None
        with self._database.reading() as connection:
            row = connection.execute(select(changes.c.rule, changes.c.name).where(changes.c.number == number)).first()
        return next((one for one in self.history(*row) if one.number == number), None) if row else None

    def newest(self, rule: str, name: str) -> int:
        """Return the number of the newest change of one thing; 0 where there is none: the base of the next."""
        with self._database.reading() as connection:
            return _newest_of(connection, rule, name)

    # --- deciding ----------------------------------------------------------------------------------------------------

    def propose(
        self,
        tuning: Tuning,
        *,
        base: int,
        asks: str = "",
        restores: int = 0,
        trial: dict[str, Any] | None = None,
        role: str,
        origin: str,
    ) -> Change:
        """
        Save a decision; it is on disk when it returns, with its entry in the audit.

        Raises Conflict where somebody else changed the same thing since ``base``; Refused without a person or reason.
        """
        tuning = _cleaned(tuning)
        _check_reason(tuning.who, tuning.why)
        plain = tuning.plain()
        with self._database.writing() as connection:
            if _newest_of(connection, tuning.rule, tuning.name) != base:
                raise Conflict(_read(connection, tuning.rule, tuning.name)[-1])
            row = {
                "at": self._clock(),
                "rule": tuning.rule,
                "name": tuning.name,
                "tuning": plain,
                "who": tuning.who,
                "base": base,
                "asks": asks,
                "restores": restores,
                "trial": trial or {},
            }
            [number] = connection.execute(insert(changes).returning(changes.c.number), row).scalars()
            same = _read(connection, tuning.rule, tuning.name)
            if restores and restores not in {one.number for one in same[:-1]}:
                raise Refused("There is no such change to restore.", where=tuning.place)
            before = [_told(one.tuning.plain()) for one in same[:-1] if one.is_decided]
            action = checking.PROPOSED if asks else checking.RESTORED if restores else checking.CHANGED
            subject = checking.subject(tuning.place, number)
            old, new = before[-1] if before else "", _told(plain)
            self._audit.write(connection, action, subject, tuning.who, role, origin, old, new)
        found = self.change(number)
        assert found is not None  # noqa: S101 - it was just written
        return found

    def rule_on(self, number: int, outcome: str, who: str, why: str, role: str, origin: str) -> Change:
        """
        Approve, reject or withdraw what waits.

        Raises Refused where it does not wait, for an approver who proposed it or signs in in another way than the
        person who did, for one who withdraws what another proposed; Conflict where something newer has taken its place.
        """
        who, why = clean(who), clean(why)
        _check_reason(who, why)
        with self._database.writing() as connection:
            one = _check_ruling(_read(connection), number, outcome, who)
            if outcome == "approved":
                _check_kinds(connection, one, who)
            newer = _overtaking(one, _read(connection, one.tuning.rule, one.tuning.name))
            if outcome == "approved" and newer:
                raise Conflict(newer[-1])
            row = {"at": self._clock(), "change": number, "who": who, "outcome": outcome, "why": why}
            connection.execute(insert(rulings), row)
            deed, subject = checking.RULED[outcome], checking.subject(one.tuning.place, number)
            new = _told(one.tuning.plain() | {"ruling": why})
            self._audit.write(connection, deed, subject, who, role, origin, "", new)
        found = self.change(number)
        assert found is not None  # noqa: S101 - it was just read
        return found


def _check_reason(who: str, why: str) -> None:
    if not who.strip():
        raise Refused("Somebody has to answer for it.", where="who", remedy="Give a name.")
    if len(who) > LONGEST_NAME:
        raise Refused(f"A name has at most {LONGEST_NAME} characters.", where="who")
    if not SHORTEST_REASON <= len(why.strip()) <= LONGEST_REASON:
        raise Refused(f"A reason of {SHORTEST_REASON} to {LONGEST_REASON:,} characters is needed.", where="why")


def _cleaned(tuning: Tuning) -> Tuning:
    value = clean(tuning.value) if isinstance(tuning.value, str) else tuning.value
    return msgspec.structs.replace(tuning, value=value, who=clean(tuning.who), why=clean(tuning.why))


def person(name: str) -> str:
    """Return a name as it tells people apart: not by case, spaces or how its letters were composed."""
    return " ".join(normalize("NFKC", name).casefold().split())


def _check_ruling(every: Iterable[Change], number: int, outcome: str, who: str) -> Change:
    """Return the change that is ruled on. Raises Refused where this person cannot do that."""
    one = next((one for one in every if one.number == number), None)
    if one is None or outcome not in OUTCOMES:
        raise Refused("There is no such change.", where="number")
    if one.ruling or not one.asks:
        raise Refused("This change does not wait for anybody.", where=f"change {one.number}")
    own = person(one.tuning.who) == person(who)
    if outcome == "approved" and own:
        raise Refused("Another person has to approve it.", where=f"change {one.number}", slug="own-change")
    if outcome == "withdrawn" and not own:
        raise Refused("Only the person who proposed it can withdraw it.", where=f"change {one.number}")
    return one


def _check_kinds(connection: Connection, one: Change, who: str) -> None:
    """
    Refuse an approver who signs in in another way than the author: both accounts may be those of one person.

    Names tell people apart only among accounts of one kind: those with a password here, or those of the hospital. A
    name without an account is one that a shell gave.
    """
    names = [person(name) for name in (one.tuning.who, who)]
    asked = select(accounts.c.name, accounts.c.secret).where(accounts.c.name.in_(names))
    kinds = {row.name: row.secret == OUTSIDE for row in connection.execute(asked)}
    if len({kinds[name] for name in names if name in kinds}) > 1:
        raise Refused(
            "It was proposed by somebody who signs in in another way: the two accounts may be those of one person.",
            where=f"change {one.number}",
            slug="other-kind",
            remedy="Sign in as its author does, by password or through the hospital, or ask somebody who can.",
        )


def _told(plain: dict[str, Any]) -> str:
    return msgspec.json.encode(plain).decode()


def _read(connection: Connection, rule: str | None = None, name: str | None = None) -> list[Change]:
    asked = _CHANGES if rule is None else _CHANGES.where(decided.c.rule == rule)
    return [_change(row) for row in connection.execute(asked if name is None else asked.where(decided.c.name == name))]


def _change(row: Row[Any]) -> Change:
    return Change(
        row.number,
        row.at,
        _tuning(row),
        row.base,
        row.asks,
        row.restores,
        row.trial or None,
        row.ruling or "",
        row.ruled_by or "",
        row.ruled_at or 0.0,
        row.ruled_why or "",
    )


def _tuning(row: Row[Any]) -> Tuning:
    """
    Read a decision; one that this version cannot read is one that no book takes, and never begins.

    It is then told as unfit (``rules.tuning.unfit``), and keeps nobody from the others.
    """
    try:
        return Tuning.of_plain(row.tuning)
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError):
        return Tuning(row.rule, row.name, "", date.max, row.who, "This version of the service cannot read it.")


def _state(one: Change, every: Iterable[Change], today: date) -> str:
    """Say what became of a change; ``every`` holds at least all about the same thing, oldest first."""
    if not one.counts:
        return one.ruling
    place = (one.tuning.rule, one.tuning.name)
    same = [other for other in every if other.counts and (other.tuning.rule, other.tuning.name) == place]
    if not one.is_decided:
        return "superseded" if _overtaking(one, same) else "waiting"
    return _state_of_decided(one, [other for other in same if other.is_decided], today)


def _overtaking(one: Change, same: Iterable[Change]) -> list[Change]:
    """Return what was said later of the same thing, from the same day on or before: nothing of this one is left."""
    later = (other for other in same if other.counts and other.number > one.number)
    return [other for other in later if other.tuning.since <= one.tuning.since]


def _state_of_decided(one: Change, same: Sequence[Change], today: date) -> str:
    if one.tuning.until is not None and one.tuning.until <= today:
        return "ended"
    if one.tuning.since > today:
        later = [other for other in same if other.number > one.number and other.tuning.since <= one.tuning.since]
        return "superseded" if any(other.tuning.until is None for other in later) else "planned"
    holding = [other.number for other in same if other.tuning.holds_on(today)]
    return "in force" if holding and holding[-1] == one.number else "superseded"


def _newest_of(connection: Connection, rule: str, name: str) -> int:
    asked = select(func.max(changes.c.number)).where(changes.c.rule == rule, changes.c.name == name)
    return connection.execute(asked).scalar() or 0


_NEWEST = select(func.max(changes.c.number))
_NEWEST_RULING = select(func.max(rulings.c.number))
_CHANGES = select(decided).order_by(decided.c.number)
