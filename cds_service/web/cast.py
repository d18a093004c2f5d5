"""The cast of fixtures/: who is in it, their stories, and their records. Everybody in it is invented."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from cds_service import decoding
from cds_service.adapters.ehr import LocalRecord
from cds_service.adapters.ehr.files import read_json
from cds_service.schemas import strict_yaml

_DAY = re.compile(r'(?<=")\d{4}-\d{2}-\d{2}(?=["T])')


class Member(msgspec.Struct, frozen=True):
    """
    One patient of the cast.

    ``cards`` are those the service must show, each as its indicator and the rules that speak in it.
    """

    patient: str
    story: str
    expect: str
    cards: tuple[str, ...]


class Cast(msgspec.Struct, frozen=True):
    """The cast, and the day on which all its stories play."""

    folder: Path
    day: date
    members: tuple[Member, ...]

    @property
    def noon(self) -> float:
        """The moment at which the charts are opened: noon of the day, in seconds since 1970 (UTC)."""
        return datetime(self.day.year, self.day.month, self.day.day, 12, tzinfo=UTC).timestamp()

    def days_until(self, now: float) -> int:
        """
        Return by how many days the stories are moved to play now.

        Their noon is then less than a day ago, never to come: no result of theirs is dated in the future.
        """
        return int((now - self.noon) // 86_400)

    def member(self, patient: str) -> Member | None:
        """Return one member by the name of their story."""
        return next((one for one in self.members if one.patient == patient), None)

    def record(self, member: Member) -> LocalRecord:
        """Open a member's record, on the day of the stories."""
        return LocalRecord(member.patient, self.resources(member, 0))

    def resources(self, member: Member, days: int) -> list[dict[str, Any]]:
        """Return a member's resources with every date moved by so many days."""
        bundle = read_json(self.folder / "patients" / f"{member.patient}.json")
        text = msgspec.json.encode([entry["resource"] for entry in bundle["entry"]]).decode()
        found: list[dict[str, Any]] = decoding.decode(moved(text, days))
        return found


def read_cast(folder: Path) -> Cast:
    """Read the cast of a fixtures folder."""
    document = strict_yaml.read(folder / "cast.yaml", shown_as="fixtures/cast.yaml")
    members = decoding.convert(document["cast"], tuple[Member, ...])
    return Cast(folder, date.fromisoformat(document["day"]), members)


def moved(text: str, days: int) -> str:
    """Move every date of a JSON text by so many days, so that an old story can be told as if it were today's."""
    return _DAY.sub(lambda found: (date.fromisoformat(found.group()) + timedelta(days=days)).isoformat(), text)
