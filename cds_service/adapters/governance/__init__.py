"""
Governance: what admins decide, who they are, and what they did. In the ledger's database, shared by all processes.

Whatever is acknowledged is on disk, together with its entry in the audit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection

from cds_service.adapters.governance import passwords
from cds_service.adapters.governance.accounts import ROLES, Account, Accounts, Session, Sessions
from cds_service.adapters.governance.audit import Audit, Entry
from cds_service.adapters.governance.changes import Change, Changes
from cds_service.adapters.governance.errors import Conflict, Refused, clean
from cds_service.adapters.governance.passwords import STRONG, Cost
from cds_service.adapters.governance.trials import Trial, Trials
from cds_service.adapters.ledger import switches
from cds_service.adapters.ledger.database import Database
from cds_service.adapters.ledger.keys import Key
from cds_service.adapters.ledger.switches import Switch
from cds_service.rules.tuning_model import Tuning

__all__ = [
    "ROLES",
    "STRONG",
    "Account",
    "Change",
    "Conflict",
    "Cost",
    "Entry",
    "Governance",
    "Refused",
    "Session",
    "Trial",
    "passwords",
]


class Governance:
    """Everything about admins that one database holds."""

    def __init__(self, database: Database, key: Key, clock: Callable[[], float], cost: Cost = STRONG) -> None:
        self.database, self._clock = database, clock
        self.audit = Audit(database, key.purpose("audit"), clock)
        self.accounts = Accounts(database, self.audit, key.purpose("attempts"), clock, cost)
        self.sessions = Sessions(database, clock)
        self.trials = Trials(database, clock)
        self._changes = Changes(database, self.audit, clock)

    def decided(self, connection: Connection | None = None) -> Sequence[Tuning]:
        """Return the decisions that need no approval, or have it, oldest first."""
        return self._changes.decided(connection)

    def numbered(self, connection: Connection) -> tuple[tuple[int, int], Sequence[Tuning]]:
        """Return how far the decisions are, and those that need no approval, or have it, oldest first."""
        return self._changes.numbered(connection)

    def history(self, rule: str | None = None, name: str | None = None) -> list[Change]:
        """Return changes, newest first."""
        return self._changes.history(rule, name)

    def change(self, number: int) -> Change | None:
        """Return one change."""
        return self._changes.change(number)

    def newest(self, rule: str, name: str) -> int:
        """Return the number of the newest change of one thing: the base of the next; 0 for none."""
        return self._changes.newest(rule, name)

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
        """Save a decision (see Changes.propose). Raises Conflict, Refused, Unavailable."""
        return self._changes.propose(
            tuning, base=base, asks=asks, restores=restores, trial=trial, role=role, origin=origin
        )

    def rule_on(self, number: int, outcome: str, who: str, why: str, role: str, origin: str) -> Change:
        """Approve, reject or withdraw what waits (see Changes.rule_on). Raises Conflict, Refused, Unavailable."""
        return self._changes.rule_on(number, outcome, who, why, role, origin)

    def switch(self, scope: str, name: str, off: bool, who: str, why: str, role: str, origin: str) -> Switch:
        """Switch a rule, a service or everything off or on, with its entry in the audit; all follow within 5 s."""
        if scope not in switches.SCOPES:
            raise Refused(f"What can be switched: {', '.join(switches.SCOPES)}.", where="scope")
        one = Switch(scope, name, off, self._clock(), clean(who)[:120], clean(why)[:2_000])
        with self.database.writing() as connection:
            switches.write(connection, one)
            subject = f"{scope} {name}".strip()
            self.audit.write(connection, "switch off" if off else "switch on", subject, who, role, origin, "", why)
        return one
