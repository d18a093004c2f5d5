"""
A population as large as you like, from the two hundred invented patients of fixtures/population.

    python -m bench.population DIR --patients 100000

Patient number i is one of the two hundred with another id, dates moved by whole days and results varied by some
percent: the same i gives the same patient, however many are made. Written as Bulk Data NDJSON, a file per kind.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from cds_service import decoding

POPULATION = Path(__file__).resolve().parents[1] / "fixtures" / "population"
SEED, SPREAD, FAR = 7, 0.05, 40
_ID = re.compile(r"population-[0-9]{3}")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_DATES = ("effectiveDateTime", "issued", "onsetDateTime", "recordedDate", "authoredOn", "performedDateTime")

Resource = dict[str, Any]
_decode = decoding.decoder(Resource).decode
_encode = msgspec.json.Encoder().encode


def templates() -> list[list[str]]:
    """Return the lines of each patient."""
    people: dict[str, list[str]] = {}
    for file in sorted(POPULATION.glob("*.ndjson")):
        for line in file.read_text(encoding="utf-8").splitlines():
            found = _ID.search(line)
            if found:
                people.setdefault(found[0], []).append(line)
    return [people[name] for name in sorted(people)]


def person(known: list[list[str]], number: int) -> Iterator[Resource]:
    """Yield the resources of one patient."""
    dice = Random(f"{SEED}:{number}")
    days, name = timedelta(days=dice.randint(-FAR, 0)), f"made-{number:07d}"
    for line in dice.choice(known):
        resource = _decode(_ID.sub(name, line))
        for key in _DATES:
            if key in resource:
                resource[key] = _DAY.sub(lambda day: str(date.fromisoformat(day[0]) + days), resource[key], count=1)
        quantity = resource.get("valueQuantity")
        if quantity:
            decimals = 0 if isinstance(quantity["value"], int) else 1
            value = round(quantity["value"] * dice.lognormvariate(0, SPREAD), decimals)
            quantity["value"] = value if decimals else int(value)
        yield resource


def make(folder: Path, patients: int) -> int:
    """Write a population; return how many resources it has."""
    folder.mkdir(parents=True, exist_ok=True)
    known, files, count = templates(), {}, 0
    for number in range(patients):
        for resource in person(known, number):
            kind = resource["resourceType"]
            if kind not in files:
                files[kind] = (folder / f"{kind}.ndjson").open("wb")
            files[kind].write(_encode(resource) + b"\n")
            count += 1
    for file in files.values():
        file.close()
    return count


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--patients", type=int, default=1_000)
    asked = parser.parse_args()
    print(make(asked.folder, asked.patients), "resources")
