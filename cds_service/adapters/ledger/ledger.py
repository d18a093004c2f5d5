"""
The ledger: decisions, feedback, quiet time, used tokens and kill switches, shared by all processes.

A hook call never waits for it but for a used token (replays.py); feedback waits until it is on disk.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import msgspec
from sqlalchemy import Connection, select
from sqlalchemy.exc import SQLAlchemyError

from cds_service import decoding
from cds_service.adapters.ledger import feedback as stored
from cds_service.adapters.ledger import purging, sharing, switches
from cds_service.adapters.ledger.chain import Chain, Link, Ready
from cds_service.adapters.ledger.database import PATIENCE, Database, unavailable, unusable
from cds_service.adapters.ledger.keys import Key, check_key
from cds_service.adapters.ledger.migrating import migrate
from cds_service.adapters.ledger.quiet import LedgerQuiet
from cds_service.adapters.ledger.replays import LedgerReplays
from cds_service.adapters.ledger.schema import decisions, marks
from cds_service.adapters.ledger.schema import switches as switching
from cds_service.adapters.ledger.switches import Switch, Switches
from cds_service.adapters.ledger.writer import Writer
from cds_service.errors import Unavailable
from cds_service.protocol.feedback import OVERRIDDEN, Feedback
from cds_service.recording import Answered, DecisionRow, decision_row
from cds_service.rules.quiet import DAY
from cds_service.rules.tuning_model import Tuning

if TYPE_CHECKING:
    from cds_service.adapters.governance import Governance

log = logging.getLogger("cds_service")
# Switches have to be in force within 5 s (RELIABILITY, issue 4), also where a look takes its whole patience.
LOOK_EVERY = 1.5
# A newly forked process looks once before it answers, and waits so long for it.
FIRST_LOOK = 1.0
# A process that begins while the ledger is away would not know what is switched off or decided (sharing.py).
_NOT_SHARED = "ledger-not-shared"


class State(msgspec.Struct, frozen=True):
    """How the ledger is, for /readyz and metrics. ``trouble`` is "" where the last write and look went well."""

    trouble: str
    waiting: int
    counted: dict[str, int]
    seconds_since_look: float


class Ledger:
    """
    The ledger of one process.

    ``on_tuning`` is told the decisions of admins: in the first look of a process, and whenever they, or the day in
    UTC, have changed.

    It is opened before the processes fork, and holds no connection then; each calls ``start`` afterwards, and
    ``close`` at its end. What one of them learns of switches and decisions all of them know, also those that are forked
    later, and while the ledger is away.
    """

    def __init__(
        self, database: Database, key: Key, clock: Callable[[], float] = time.time, retention_days: int = 0
    ) -> None:
        self.database, self.clock, self.retention_days = database, clock, retention_days
        self.counted: Counter[str] = Counter()
        self.quiet = LedgerQuiet(key.purpose("pseudonym"))
        self.replays = LedgerReplays(database, self.counted)
        self._seal = key.purpose("seal")
        self.signing = key.purpose("links")  # for addresses that any process of any machine can check
        self._writer = Writer(self._store, self.counted)
        self._chain = Chain(secrets.token_hex(8), clock())
        self._off, self._decided = sharing.of_switches(), sharing.of_tunings()
        self._is_shared = True
        self.governance = _governance(database, key, clock)
        self.on_tuning: Callable[[Sequence[Tuning]], None] | None = None
        self._told: tuple[tuple[Tuning, ...], int] | None = None
        self._trouble = ""
        self._looked = time.monotonic()
        self._stop, self._purged = threading.Event(), 0
        self._poller: threading.Thread | None = None

    @classmethod
    def open(cls, url: str, key: Key, clock: Callable[[], float] = time.time, *, retention_days: int = 0) -> Ledger:
        """
        Open the ledger, bring its tables up to date, and learn what is quiet and what is switched off.

        Raises SettingsError: a service that cannot know what was switched off does not start.
        """
        database = Database(url)
        migrate(database)
        ledger = cls(database, key, clock, retention_days)
        try:
            check_key(database, key)
            with database.reading() as connection:
                ledger.quiet.load(connection, clock())
                ledger.learn(connection)
        except Unavailable as problem:
            raise unusable("The ledger's database cannot be read.", problem.slug) from None
        finally:
            database.close()  # a process that forks holds no connection
        return ledger

    # --- the life of a process ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin the work of this process: after a fork, before it answers."""
        self.database.forget()
        self.replays.forget()
        self._writer.reset()
        self._chain = Chain(secrets.token_hex(8), self.clock())
        self._stop, self._told = threading.Event(), None
        for matter in (self._off, self._decided):
            matter.begin()
        self._tell()
        first = threading.Thread(target=self.look, name="ledger-first-look", daemon=True)
        first.start()
        first.join(FIRST_LOOK)
        self._poller = threading.Thread(target=self._poll, name="ledger-poller", daemon=True)
        self._poller.start()

    def close(self, seconds: float = 10.0) -> bool:
        """Store what waits, and let go of the database; say whether all could be stored."""
        self._stop.set()
        done = self._writer.close(seconds)
        if self._poller is not None:
            self._poller.join(PATIENCE)  # else it would open again what is closed now
        self.database.close()
        return done

    def _poll(self) -> None:
        while not self._stop.wait(LOOK_EVERY):
            self.look()
            self._tidy()

    def look(self) -> None:
        """
        Learn what other processes did: cards, overrides, switches, decisions of admins.

        Where that fails, what was known stays, and what another process of this service could learn is taken from it.
        """
        try:
            with self.database.reading(patience=LOOK_EVERY) as connection:
                self.learn(connection)
        except Exception as problem:  # noqa: BLE001 - the poller has to live on: a row may be what nobody foresaw
            self._in_trouble(problem)
            self._follow()
        else:
            self._looked = time.monotonic()

    def _follow(self) -> None:
        try:
            for matter in (self._off, self._decided):
                matter.follow()
            self._tell()
        except Exception as problem:  # noqa: BLE001 - the poller has to live on
            self._in_trouble(problem)

    def learn(self, connection: Connection) -> None:
        """Learn what is switched off, what was shown and overridden, and what admins decided."""
        before = self._off.board.stamp, self._decided.board.stamp
        if self._off.is_new(connection.execute(_NEWEST_SWITCH).scalar() or 0):
            number, off = switches.newest(connection)
            self._off.learn((number,), off, before[0])
        self.quiet.learn(connection)
        numbers, decided = self.governance.numbered(connection)
        if self._decided.is_new(*numbers):
            self._decided.learn(numbers, tuple(decided), before[1])
        self._tell()

    def _tell(self) -> None:
        """Tell the decisions of admins where they, or the day, are new; and the log where processes cannot share."""
        is_shared = self._off.is_shared and self._decided.is_shared
        if self._is_shared and not is_shared:
            self.counted[f"trouble {_NOT_SHARED}"] += 1
            log.warning("ledger", extra={"fields": {"event": "ledger-trouble", "kind": _NOT_SHARED}})
        self._is_shared = is_shared
        decided = self.decided
        known = (decided, int(self.clock() // DAY))
        if self.on_tuning is None or known == self._told:
            return
        try:
            self.on_tuning(decided)
        except Exception as problem:  # noqa: BLE001 - the poller has to live on; what was in force stays
            self._in_trouble(problem)
        self._told = known

    def _tidy(self) -> None:
        """Forget used tokens and what has passed its time; after trouble, see whether it is over."""
        try:
            self.replays.purge(self.clock())
            if self._trouble:
                self.probe()
            today = int(self.clock() // DAY)
            if self.retention_days and today != self._purged:
                purging.daily(self.database, self.retention_days, self.clock())
                self._purged = today
        except Exception as problem:  # noqa: BLE001 - the thread has to live on
            self._in_trouble(problem)

    def probe(self) -> None:
        """Write something small and take it away again. Raises Unavailable where that cannot be done."""
        name = f"probe {os.getpid()}"
        with self.database.writing(patience=LOOK_EVERY) as connection:
            connection.execute(marks.delete().where(marks.c.name == name))
            connection.execute(marks.insert().values(name=name, value=secrets.token_hex(8)))
            connection.execute(marks.delete().where(marks.c.name == name))
        self._trouble = ""

    def _in_trouble(self, problem: BaseException) -> None:
        slug = problem.slug if isinstance(problem, Unavailable) else type(problem).__name__
        self.counted[f"trouble {slug}"] += 1
        if self._trouble != slug:
            log.warning("ledger", extra={"fields": {"event": "ledger-trouble", "kind": slug}})
        self._trouble = slug

    # --- decisions ---------------------------------------------------------------------------------------------------

    def record(self, answered: Answered, weight: int = 0) -> None:
        """
        Take over an answered call; never waits.

        ``weight`` is the size of its body, which is kept until its row is made.
        """
        self._writer.record(partial(self._row, answered), weight)

    def take_down(self) -> None:
        """
        Make the row of a call that was taken over, if one waits: once its answer has left, in the thread that sent it.

        All that it is made of is still at hand then (in the processor's caches), and can go at once. Where nobody does
        this, the ledger's own thread makes rows.
        """
        self._writer.make_next()

    def write(self, row: DecisionRow) -> None:
        """Take over a row that was made elsewhere; never waits."""
        self._writer.record(lambda: row)

    def decision(self, number: str) -> DecisionRow | None:
        """Return a recorded decision by its id; None where there is none, or none yet. Raises Unavailable."""
        with self.database.reading(patience=LOOK_EVERY) as connection:
            row = connection.execute(select(decisions).where(decisions.c.id == number)).mappings().first()
        if row is None:
            return None
        content = decoding.decode(row["content"])
        return DecisionRow(row["id"], row["at"], row["service"], row["patient"], content, row["facts"])

    def flush(self, seconds: float = 10.0) -> bool:
        """Wait until all that was recorded is stored; say whether it is."""
        return self._writer.flush(seconds)

    def _row(self, answered: Answered) -> DecisionRow:
        return decision_row(answered, self.quiet.pseudonym, self.quiet.seen)

    def _store(self, rows: Sequence[Ready]) -> None:
        try:
            # Hook calls are not waited for: a crash of PostgreSQL may lose the last second of them, no feedback.
            with self.database.writing(durable=False) as connection:
                # A commit of which we were never told whether it succeeded: it did, if the last row is there.
                known = connection.execute(_HASH_OF.where(decisions.c.id == rows[-1].id)).first()
                last = Link(*known) if known else self._chain.write(connection, rows)
        except Unavailable as problem:
            self._in_trouble(problem)
            raise
        if last.chain == self._chain.last.chain:
            self._chain.settle(last)
        self._trouble = ""

    # --- feedback ----------------------------------------------------------------------------------------------------

    def feedback(self, items: Sequence[Feedback], service: str, issuer: str = "") -> int:
        """
        Store feedback, all of a message or none; return how many items were new. On disk when it returns.

        Raises Unavailable where it cannot be stored now: after at most 2 s if another process holds the lock.
        """
        who = self.quiet.pseudonym("issuer", issuer) if issuer else ""
        values = stored.rows(items, service, who, self.clock(), self._seal)
        overrides = [item for item in items if item.outcome == OVERRIDDEN]
        try:
            with self.database.writing() as connection:
                new = stored.insert_new(connection, values)
                shown = self.quiet.stored(connection, [item.card for item in overrides])
        except Unavailable as problem:
            self._in_trouble(problem)
            raise
        except SQLAlchemyError as problem:
            self._in_trouble(problem)
            raise unavailable("error") from None
        self._trouble = ""
        for item in overrides:
            self.quiet.overridden(item.card, item.at, shown.get(item.card, ()))
        return new

    # --- switches and decisions --------------------------------------------------------------------------------------

    @property
    def decided(self) -> tuple[Tuning, ...]:
        """The decisions of admins, as this process knows them: at most a few seconds old."""
        return self._decided.known

    def switches(self) -> Switches:
        """Return what is switched off, as this process knows it: at most a few seconds old."""
        return self._off.known

    def switch(self, scope: str, name: str, off: bool, who: str, why: str) -> Switch:
        """Switch a rule, a service or everything off or on; all processes follow within 5 s, and after a restart."""
        one = Switch(scope, name, off, self.clock(), who[:120], why[:2_000])
        with self.database.writing() as connection:
            switches.write(connection, one)
        self.look()
        return one

    def switched(self) -> list[Switch]:
        """Return every time that something was switched, oldest first."""
        with self.database.reading() as connection:
            return switches.history(connection)

    # --- how it is ---------------------------------------------------------------------------------------------------

    def ping(self) -> None:
        """Raise Unavailable where feedback could not be stored now, or processes cannot share what they know."""
        if self._trouble:
            raise Unavailable("The ledger cannot be used now.", slug=self._trouble)
        with self.database.reading(patience=LOOK_EVERY) as connection:
            connection.execute(_NEWEST_SWITCH)
        if not self._is_shared:
            raise Unavailable("What is switched off or decided cannot be shared by the processes.", slug=_NOT_SHARED)

    def state(self) -> State:
        """Say how the ledger is; asks nobody."""
        trouble = self._trouble or ("" if self._is_shared else _NOT_SHARED)
        return State(trouble, self._writer.waiting, dict(self.counted), round(time.monotonic() - self._looked, 1))


_NEWEST_SWITCH = select(switching.c.number).order_by(switching.c.number.desc()).limit(1)
_HASH_OF = select(decisions.c.chain, decisions.c.place, decisions.c.hash)


def _governance(database: Database, key: Key, clock: Callable[[], float]) -> Governance:
    from cds_service.adapters.governance import Governance  # it stands on parts of this package

    return Governance(database, key, clock)
