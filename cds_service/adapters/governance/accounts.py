"""The people who may use the admin pages, and their sessions."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from cds_service.adapters.governance import passwords
from cds_service.adapters.governance.audit import Audit
from cds_service.adapters.governance.errors import Refused, clean
from cds_service.adapters.governance.passwords import Cost
from cds_service.adapters.governance.tables import accounts, attempts, sessions
from cds_service.adapters.ledger.database import Database
from cds_service.errors import TooManyRequests

ROLES = ("viewer", "editor", "approver", "operator", "auditor")
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{1,79}")
# What is kept where a password would be: the hospital's sign-in says who it is, and no password fits.
OUTSIDE = "outside"
# SECURITY.md, "Login": five tries in five minutes for each name and address; 15 minutes idle, 8 hours at most.
TRIES, WINDOW = 5, 300.0
IDLE, LONGEST = 15 * 60.0, 8 * 3600.0
# A session is marked as used no more often than this: a page with many parts is one use.
_TOUCH = 30.0


class Account(msgspec.Struct, frozen=True):
    """Somebody who may use the admin pages."""

    name: str
    roles: tuple[str, ...]
    disabled: bool = False
    made: float = 0.0
    changed: float = 0.0


class Session(msgspec.Struct, frozen=True):
    """Somebody who has signed in; ``csrf`` has to come with whatever they send."""

    account: Account
    csrf: str
    made: float
    seen: float


class Accounts:
    """The accounts of one database. ``cost`` is what one try of a password costs."""

    def __init__(
        self, database: Database, audit: Audit, secret: bytes, clock: Callable[[], float], cost: Cost = passwords.STRONG
    ) -> None:
        self._database, self._audit, self._secret, self._clock = database, audit, secret, clock
        self._cost = cost

    # --- who there is ------------------------------------------------------------------------------------------------

    def find(self, name: str) -> Account | None:
        """Return an account by its name."""
        row = self._row(_plain(name))
        return _account(row) if row else None

    def _row(self, name: str) -> RowMapping | None:
        if not _NAME.fullmatch(name):
            return None
        with self._database.reading() as connection:
            return connection.execute(select(accounts).where(accounts.c.name == name)).mappings().first()

    def all(self) -> list[Account]:
        """Return every account, by name."""
        with self._database.reading() as connection:
            return [_account(row) for row in connection.execute(select(accounts).order_by(accounts.c.name)).mappings()]

    def create(
        self, name: str, password: str, roles: Sequence[str], who: str = "shell", origin: str = "shell"
    ) -> Account:
        """Make an account. Raises Refused for a name that is taken, a role there is not, a password too easy."""
        chosen, roles = _plain(name), list(dict.fromkeys(roles))
        if not _NAME.fullmatch(chosen):
            raise Refused(
                "A name has 2 to 80 letters, digits, points, hyphens, underscores or @.", where="name", slug="bad-name"
            )
        _check_roles(roles)
        passwords.check(chosen, password)
        kept, now = passwords.sealed(password, self._cost), self._clock()
        row = {"name": chosen, "secret": kept, "roles": roles, "disabled": 0, "made": now, "changed": now}
        with self._database.writing() as connection:
            if connection.execute(select(accounts.c.name).where(accounts.c.name == chosen)).first():
                raise Refused("There is an account of this name.", where="name", slug="name-taken")
            connection.execute(insert(accounts), row)
            self._tell(connection, "make account", chosen, who, origin, new=", ".join(roles))
        return Account(chosen, tuple(roles), made=now, changed=now)

    def set_password(self, name: str, password: str, who: str = "shell", origin: str = "shell") -> None:
        """
        Give an account another password; whoever is signed in with it is signed out.

        Raises Refused for an account of the hospital: its kind tells people apart (changes.py), and stays.
        """
        passwords.check(_plain(name), password)
        row = self._row(_plain(name))
        if row and row["secret"] == OUTSIDE:
            raise Refused("This account signs in through the hospital: it has no password here.", where="name")
        kept = passwords.sealed(password, self._cost)
        self._change(name, {"secret": kept}, "change password", who, origin)

    def set_roles(self, name: str, roles: Sequence[str], who: str = "shell", origin: str = "shell") -> None:
        """Give an account other roles; whoever is signed in with it is signed out."""
        roles = list(dict.fromkeys(roles))
        _check_roles(roles)
        self._change(name, {"roles": roles}, "change roles", who, origin, ", ".join(roles))

    def disable(self, name: str, who: str = "shell", origin: str = "shell") -> None:
        """Let nobody sign in with an account any more."""
        self._change(name, {"disabled": 1}, "disable account", who, origin)

    def enable(self, name: str, who: str = "shell", origin: str = "shell") -> None:
        """Let an account be used again."""
        self._change(name, {"disabled": 0}, "enable account", who, origin)

    def _change(self, name: str, values: dict[str, Any], action: str, who: str, origin: str, new: str = "") -> None:
        chosen = _plain(name)
        with self._database.writing() as connection:
            old = connection.execute(select(accounts).where(accounts.c.name == chosen)).mappings().first()
            if old is None:
                raise Refused("There is no account of this name.", where="name", slug="unknown-account")
            # Later than before, whatever the clock says: a session that is being opened sees that it came too late.
            changed = max(self._clock(), old["changed"] + 0.001)
            connection.execute(update(accounts).where(accounts.c.name == chosen).values(changed=changed, **values))
            connection.execute(delete(sessions).where(sessions.c.account == chosen))
            before = ", ".join(old["roles"]) if "roles" in values else ""
            self._tell(connection, action, chosen, who, origin, before, new)

    def _tell(
        self, connection: Connection, action: str, name: str, who: str, origin: str, old: str = "", new: str = ""
    ) -> None:
        self._audit.write(connection, action, f"account {name}", who, "account", origin, old, new)

    # --- signing in --------------------------------------------------------------------------------------------------

    def authenticate(self, name: str, password: str, origin: str, deed: str = "sign in") -> Account | None:
        """
        Return whose password it is; None where it is nobody's, without saying why. ``deed`` is told to the audit.

        Raises TooManyRequests after five tries that failed, whether or not there is such an account.
        """
        chosen = _plain(name)[:80]
        trier = hmac.new(self._secret, f"{clean(chosen)}\0{origin}".encode(), hashlib.sha256).hexdigest()
        self._count(trier)
        row = self._row(chosen)
        # A password is tried in any case: how long it takes must not tell whether the account exists.
        kept = row["secret"] if row and row["secret"] != OUTSIDE else passwords.nobodys(self._cost)
        fits = passwords.matches(password, kept)
        if row is None or row["disabled"] or not fits:
            # A name that nobody has may be a password typed into the wrong field: it is not written down.
            known = chosen if row else "(unknown)"
            self._audit.append(f"failed {deed}", f"account {known}", "", "account", origin)
            return None
        dearer = passwords.sealed(password, self._cost) if passwords.cost_of(row["secret"]) != self._cost else ""
        with self._database.writing() as connection:
            connection.execute(delete(attempts).where(attempts.c.who == trier))
            if dearer:
                connection.execute(update(accounts).where(accounts.c.name == chosen).values(secret=dearer))
            self._tell(connection, deed, chosen, chosen, origin)
        return _account(row)

    def admit(self, name: str, roles: Sequence[str], origin: str) -> Account | None:
        """
        Return the account of somebody whom the hospital's sign-in vouches for, made if need be; None if disabled.

        Raises Refused where the name cannot be used, or is that of an account with a password of ours.
        """
        chosen = _plain(name)
        if not _NAME.fullmatch(chosen):
            raise Refused("This name cannot be used.", where="name", slug="bad-name")
        _check_roles(roles)
        row = self._row(chosen) or self._add_outside(chosen, roles, origin)
        if row["secret"] != OUTSIDE:
            raise Refused("There is an account of this name with a password.", where="name", slug="name-taken")
        if row["disabled"]:
            self._audit.append("failed sign in", f"account {chosen}", "", "account", origin)
            return None
        if set(row["roles"]) != set(roles):
            self.set_roles(chosen, roles, "hospital sign-in", origin)
        self._audit.append("sign in", f"account {chosen}", chosen, "account", origin)
        return self.find(chosen)

    def _add_outside(self, name: str, roles: Sequence[str], origin: str) -> dict[str, Any]:
        now = self._clock()
        row = {"name": name, "secret": OUTSIDE, "roles": list(roles), "disabled": 0, "made": now, "changed": now}
        with self._database.writing() as connection:
            known = connection.execute(select(accounts).where(accounts.c.name == name)).mappings().first()
            if known is not None:  # made a moment ago, by another process
                return dict(known)
            connection.execute(insert(accounts), row)
            self._tell(connection, "make account", name, "hospital sign-in", origin, new=", ".join(roles))
        return row

    def _count(self, trier: str) -> None:
        """Count a try before it is made: of a hundred at once five are made."""
        now = self._clock()
        recent = (attempts.c.who == trier, attempts.c.at > now - WINDOW)
        with self._database.writing() as connection:
            connection.execute(delete(attempts).where(attempts.c.at <= now - WINDOW))
            many, first = connection.execute(select(func.count(), func.min(attempts.c.at)).where(*recent)).one()
            if many >= TRIES:
                raise TooManyRequests(max(1.0, first + WINDOW - now))
            connection.execute(insert(attempts), {"who": trier, "at": now})


class Sessions:
    """Who is signed in; shared by all processes, ended by signing out, time, or a change of the account."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database, self._clock = database, clock

    def open(self, account: Account) -> str:
        """
        Begin a session; return its token, which is kept nowhere but with whoever signed in.

        Raises Refused where the account has changed since the password was tried.
        """
        token, now = secrets.token_urlsafe(32), self._clock()
        row = {"id": _digest(token), "account": account.name, "made": now, "seen": now}
        with self._database.writing() as connection:
            connection.execute(
                delete(sessions).where((sessions.c.seen < now - IDLE) | (sessions.c.made < now - LONGEST))
            )
            now_known = select(accounts.c.changed).where(accounts.c.name == account.name, accounts.c.disabled == 0)
            if connection.execute(now_known).scalar() != account.changed:
                raise Refused("The account has just been changed.", where="name", remedy="Sign in again.")
            connection.execute(insert(sessions), row | {"csrf": secrets.token_urlsafe(32)})
        return token

    def find(self, token: str) -> Session | None:
        """Return the session of a token, if it has not ended, and count it as used."""
        now = self._clock()
        asked = select(sessions, accounts.c.roles, accounts.c.disabled, accounts.c.changed).join(
            accounts, accounts.c.name == sessions.c.account
        )
        with self._database.reading() as connection:
            row = connection.execute(asked.where(sessions.c.id == _digest(token))).mappings().first()
        if row is None or row["disabled"] or now - row["seen"] > IDLE or now - row["made"] > LONGEST:
            return None
        if now - row["seen"] > _TOUCH:
            with self._database.writing(durable=False) as connection:
                connection.execute(update(sessions).where(sessions.c.id == row["id"]).values(seen=now))
        account = Account(row["account"], tuple(row["roles"]), changed=row["changed"])
        return Session(account, row["csrf"], row["made"], row["seen"])

    def close(self, token: str) -> None:
        """End a session."""
        with self._database.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.id == _digest(token)))

    def close_all(self, account: str) -> None:
        """End every session of an account."""
        with self._database.writing() as connection:
            connection.execute(delete(sessions).where(sessions.c.account == _plain(account)))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(name: str) -> str:
    return name.strip().casefold()


def _check_roles(roles: Sequence[str]) -> None:
    if not roles or not set(roles) <= set(ROLES):
        raise Refused(f"Roles are: {', '.join(ROLES)}; at least one.", where="roles", slug="bad-roles")


def _account(row: Any) -> Account:
    return Account(row["name"], tuple(row["roles"]), bool(row["disabled"]), row["made"], row["changed"])
