"""
Everything that can be wrong, as one tree. Only ``web/problems.py`` knows HTTP status codes.

CdsError
├── RequestError            the caller's message cannot be used (4xx)
│   ├── MalformedJson           not JSON, too deep, a member twice, NaN
│   ├── InvalidRequest          JSON, but not a CDS Hooks request
│   ├── RequestTooLarge         more resources than one call may hold (413)
│   ├── UnknownService          no such service
│   └── UnknownRule             no such rule
├── NotAuthenticated        the caller did not prove who it is (401)
├── TooManyRequests         the client calls more often than it may (429, slow down)
├── Unavailable             something of ours is not there at the moment (503, try again)
├── CannotEvaluate          the message is fine, the clinical data are not there (412)
│   ├── NoData                  nothing was sent that any rule could be evaluated on
│   └── WrongPatient            data of somebody other than the hook's patient
└── ContentError            rules, concepts or services do not load (never reaches a caller)
    └── SettingsError           the service is configured in a way it refuses to run in

Every error says what, where, why and what to do, and has a slug that a support desk can search for.
The texts never quote what was received: a value may identify a patient.
"""

from __future__ import annotations


class CdsError(Exception):
    """Something is wrong, said in four parts."""

    slug = "error"

    def __init__(self, what: str, *, where: str = "", why: str = "", remedy: str = "", slug: str = "") -> None:
        super().__init__(what)
        self.what, self.where, self.why, self.remedy = what, where, why, remedy
        self.slug = slug or type(self).slug

    def __str__(self) -> str:
        """Render as text for a terminal: place first, so that editors can jump to it."""
        lines = [f"{self.where}\n  {self.what}" if self.where else self.what]
        lines += [f"  {part}" for part in (self.why, self.remedy) if part]
        return "\n".join(lines) + f"  [{self.slug}]"


class RequestError(CdsError):
    """The caller's message cannot be used; ``where`` is a JSON Pointer into it."""

    slug = "request"


class MalformedJson(RequestError):
    """The body is not JSON that two readers would understand in the same way."""

    slug = "malformed-json"


class InvalidRequest(RequestError):
    """The body is JSON, but not the CDS Hooks request that this service expects."""

    slug = "invalid-request"


class RequestTooLarge(RequestError):
    """The message holds more than can be answered in time."""

    slug = "too-large"


class UnknownService(RequestError):
    """No service has this id."""

    slug = "unknown-service"


class UnknownRule(RequestError):
    """No rule has this id."""

    slug = "unknown-rule"


class NotAuthenticated(CdsError):
    """The caller did not prove who it is. ``reason`` is for our log: callers are told nothing they could learn from."""

    slug = "not-authenticated"

    def __init__(self, reason: str) -> None:
        super().__init__("The client is not authenticated.")
        self.reason = reason


class TooManyRequests(CdsError):
    """The client calls more often than the site allows; ``wait`` says after how many seconds it may call again."""

    slug = "too-many-requests"

    def __init__(self, wait: float) -> None:
        super().__init__("The client calls more often than it may.", remedy="Wait as long as Retry-After says.")
        self.wait = wait


class Unavailable(CdsError):
    """Something of ours is not there at the moment; trying again later may help."""

    slug = "unavailable"


class CannotEvaluate(CdsError):
    """The request is well formed, but the clinical data it needs are not there (CDS Hooks: 412)."""

    slug = "cannot-evaluate"


class NoData(CannotEvaluate):
    """Nothing was sent that any rule of the service could be evaluated on."""

    slug = "no-data"


class WrongPatient(CannotEvaluate):
    """The request carries data of somebody other than the hook's patient."""

    slug = "wrong-patient"


class ContentError(CdsError):
    """A rule, concept, service or vignette does not load; ``where`` is ``file:line``."""

    slug = "content"


class SettingsError(ContentError):
    """The service refuses to run in this configuration."""

    slug = "settings"
