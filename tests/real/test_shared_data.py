"""
Every patient of the MIMIC-IV demo and of Synthea is answered without an error; nobody gets a card without trouble of
its kind; what a card says stands in the record. None of MIMIC is copied.

MIMIC codes diagnoses in local systems (ICD without the dot): the ICD-10-CM ones are read as that, the ICD-9 ones mean
nothing to the rules. Its Conditions have no clinicalStatus, which counts as active (KNOWLEDGE 2.3).
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from cds_service.protocol.cards import to_json
from cds_service.replay import Replayer
from cds_service.rules.book import RuleBook, load_book
from cds_service.screening import Screening, Tally, open_cases
from tests.build import ROOT
from tests.real.trouble import Resource, lacking, newest, troubles

DATA = ROOT.parent / "shared" / "data"
MIMIC_ICD10 = (
    "http://fhir.mimic.mit.edu/CodeSystem/diagnosis-icd10",
    "http://mimic.mit.edu/fhir/mimic/CodeSystem/mimic-diagnosis-icd10",
)
EXTENSION = "org.calcinosis-cds"
# The hooks that need no orders.
HOOKS = ("patient-view", "encounter-start", "encounter-discharge")
# The populations, and how many patients each has at least.
FOLDERS = {
    "mimic": 70,
    "synthea/bulk10-2025": 10,
    "synthea/smart-2019": 30,
    "synthea/pysynthea-2026": 60,
    "server-load": 14,
}
_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),  # the first test that asks evaluates a whole population
    pytest.mark.skipif(not DATA.is_dir(), reason="the populations are kept outside the project (../shared/data)"),
]


@pytest.fixture(scope="module")
def book() -> RuleBook:
    """Load the rules, which read MIMIC's copies of ICD-10-CM as ICD-10-CM."""
    found = load_book(ROOT / "hooks")
    found.terminology.systems = found.terminology.systems.with_aliases(dict.fromkeys(MIMIC_ICD10, "ICD-10-CM"))
    return found


class Seen(msgspec.Struct, frozen=True):
    """One patient of a population, by the answer to one hook call."""

    patient: str
    resources: Sequence[Resource]
    cards: list[dict[str, Any]]

    @property
    def rules(self) -> set[str]:
        """The rules that the cards speak for."""
        return {rule["id"] for card in self.cards for rule in card["extension"][EXTENSION]["rules"]}


class Population(msgspec.Struct):
    """Every patient of a folder at one hook, and what came of them."""

    tally: Tally
    seen: list[Seen] = []


def evaluated(folder: str, book: RuleBook, hook: str) -> Population:
    """Ask one hook about every patient of a folder, each on the day of the newest resource."""
    screening = Screening(Replayer(book, lambda: str(uuid4())), "newest", time.time, time.perf_counter)
    found = Population(Tally(book))
    with open_cases(DATA / folder, book, hook=hook, lenient_status=True) as cases:
        for case in cases:
            screened = screening.screen(case)
            found.tally.add(screened)
            said = json.loads(to_json(screened.replayed.response)) if screened.replayed.response else {"cards": []}
            if said["cards"]:
                found.seen.append(Seen(case.patient_id, case.record.resources, said["cards"]))
    return found


@pytest.fixture(scope="module")
def populations(book: RuleBook) -> Callable[[str, str], Population]:
    """Ask each hook about each folder once, when a test wants to know."""
    return cache(lambda folder, hook: evaluated(folder, book, hook))


Ask = Callable[[str, str], Population]
every_population = pytest.mark.parametrize("folder", FOLDERS)
every_hook = pytest.mark.parametrize("hook", HOOKS)


@every_hook
@every_population
def test_every_patient_is_answered(populations: Ask, folder: str, hook: str) -> None:
    tally = populations(folder, hook).tally

    assert ({}, {}) == (dict(tally.failed), dict(tally.refused))
    assert tally.patients >= FOLDERS[folder]


@every_hook
@every_population
def test_nobody_gets_a_card_without_trouble_of_its_kind(populations: Ask, folder: str, hook: str) -> None:
    """
    KNOWLEDGE 5: no card for a patient without kidney, calcium, phosphate, calcinosis or another subject of a rule.
    """
    for one in populations(folder, hook).seen:
        found = troubles(one.resources)

        for rule in one.rules:
            assert [] == lacking(rule, found), f"{one.patient}: {rule} with {sorted(found)}"


def test_most_patients_have_no_card(populations: Ask) -> None:
    """
    Otherwise the promise above would be empty.
    """
    for folder in FOLDERS:
        found = populations(folder, "patient-view")
        if found.tally.patients > len(FOLDERS):
            assert len(found.seen) * 4 <= found.tally.patients, folder


@every_hook
@every_population
def test_a_card_can_be_read_at_a_glance(populations: Ask, folder: str, hook: str) -> None:
    for one in populations(folder, hook).seen:
        assert 3 >= len(one.cards)
        for card in one.cards:
            assert 100 >= len(card["summary"])
            assert not re.search(r"[{}]|\bnan\b", card["summary"] + card["detail"])
            assert 8_000 >= len(card["detail"])
            assert 8 >= len(card.get("suggestions", ()))
            for number in re.findall(r"\d+\.\d+", card["summary"]):
                assert number in card["detail"], card["summary"]


def test_the_phosphate_of_a_card_is_the_newest_of_the_record(populations: Ask) -> None:
    """
    The number in the summary is read again from the raw record.
    """
    shown = []
    for one in populations("mimic", "patient-view").seen:
        for card in one.cards:
            shown += [(one, text) for text in re.findall(r"phosphate (\d+(?:\.\d+)?) mg/dL", card["summary"])]

    assert shown
    for one, text in shown:
        assert newest(one.resources, "2777-1") == float(text)


@pytest.mark.parametrize("folder", ["mimic", "synthea/pysynthea-2026"])
def test_kidney_failure_with_a_high_phosphate_is_never_missed(populations: Ask, folder: str) -> None:
    """
    The road from a local code system to a card is open: who has both, and may be told, is told.
    """
    told = {rule for one in populations(folder, "patient-view").seen for rule in one.rules}

    assert {"eskd-missing-labs"} <= told
    assert folder != "mimic" or {"eskd-hyperphosphatemia", "ca-p-product-precipitation"} <= told


def test_nothing_of_mimic_is_copied_into_the_project() -> None:
    """
    MIMIC's licence is share-alike; its resources have ids that are found nowhere else.
    """
    theirs = set()
    for path in (DATA / "mimic").glob("*.ndjson.gz"):
        theirs |= set(_UUID.findall(gzip.decompress(path.read_bytes())))

    ours = {found for path in published() for found in _UUID.findall(path.read_bytes())}

    assert len(theirs) > 1000
    assert set() == theirs & ours


def published() -> list[Path]:
    """List the files that git holds or would take."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if (ROOT / name).is_file()]
